// What is optional and cannot be seen: absent, hidden, broken, hung.
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/fd.h"
#include "support/child.h"
#include "support/served_filesystem.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kUid[] = "52473";
constexpr char kSettings[] = "/.config/soleguard/config.toml";

// The commands that a person types, and what they exit with where nobody has the name.
struct Asked {
  Words words;
  int code;
};
std::vector<Asked> Everything() {
  return {{{"run", "x", "--scope", "", "--", "echo", "started"}, 0},
          {{"status", "x", "--scope", ""}, 3},
          {{"check", "x", "--scope", ""}, 0},
          {{"doctor", "x", "--scope", ""}, 0},
          {{"stop", "x", "--scope", ""}, 0},
          {{"list", "--scope", ""}, 0}};
}

// A user who has a home in the password database and nothing else.
class C4_HiddenHome : public ::testing::Test {
 protected:
  void SetUp() override {
    if (getuid() != 0) GTEST_SKIP() << "only root can be another user";
    ASSERT_EQ(chmod(directory_.path().c_str(), 0755), 0);
    ASSERT_EQ(mkdir(home_.c_str(), 0700), 0);
    ASSERT_EQ(mkdir(scope_.c_str(), 0700), 0);
    for (const std::string& path : {home_, scope_}) Give(path);
    std::ofstream(passwd_) << "root:x:0:0::/root:/bin/sh\nbob:x:" << kUid << ":" << kUid
                           << "::" << home_ << ":/bin/sh\n";
    if (AsBob({"true"}).code != 0) GTEST_SKIP() << "no mount namespaces here";
  }
  void Give(const std::string& path) const {
    ASSERT_EQ(chown(path.c_str(), std::stoi(kUid), std::stoi(kUid)), 0);
  }
  Finished AsBob(const Words& words) const {
    return RunProgram({.argv = Words{"unshare", "-m", "sh", "-c",
                                     absl::StrCat("mount --bind ", passwd_,
                                                  " /etc/passwd && exec setpriv --reuid ", kUid,
                                                  " --regid ", kUid, " --clear-groups \"$@\""),
                                     "sh"} +
                               words});
  }
  Finished Call(Words words) const {
    for (std::string& word : words) {
      if (word.empty()) word = scope_;
    }
    return AsBob(Words{Program()} + words);
  }
  // Where the other user gets at it.
  std::string Program() const {
    const std::string copy = directory_ / "guardcheck";
    if (access(copy.c_str(), X_OK) != 0) {
      (void)RunProgram({.argv = {"cp", Beside("guardcheck"), copy}});
    }
    return copy;
  }

  const TempDir directory_;
  const std::string home_ = directory_ / "home";
  const std::string scope_ = directory_ / "scope";
  const std::string passwd_ = directory_ / "passwd";
};

TEST_F(C4_HiddenHome, H46_StopsNoCommandAndIsSaid) {
  for (const std::string hidden : {"", "/.config"}) {
    if (!hidden.empty()) {
      ASSERT_EQ(mkdir((home_ + hidden).c_str(), 0700), 0);
    }
    // ProtectHome=yes of systemd; what sudo left.
    ASSERT_EQ(chmod((home_ + hidden).c_str(), 0), 0);
    for (const Asked& asked : Everything()) {
      const Finished finished = Call(asked.words);
      EXPECT_EQ(finished.code, asked.code) << asked.words[0] << ": " << finished.errors;
      EXPECT_THAT(finished.errors,
                  AllOf(HasSubstr("goes on without the settings of "), HasSubstr(home_ + kSettings),
                        HasSubstr("Permission denied")));
    }
    ASSERT_EQ(chmod((home_ + hidden).c_str(), 0700), 0);
  }
}

TEST_F(C4_HiddenHome, H46_AHomeThatCanBeSeenIsNothingToSay) {
  for (const Asked& asked : Everything()) {
    const Finished finished = Call(asked.words);
    EXPECT_EQ(finished.code, asked.code) << asked.words[0] << ": " << finished.errors;
    EXPECT_THAT(finished.errors, Not(HasSubstr("settings")));
  }
}

// What is there to be seen is meant: to start without it could be to start in another scope.
TEST_F(C4_HiddenHome, H46_AFileThatIsThereAndCannotBeReadIsRefused) {
  const std::string file = home_ + kSettings;
  for (const std::string directory : {"/.config", "/.config/soleguard"}) {
    ASSERT_EQ(mkdir((home_ + directory).c_str(), 0755), 0);
  }
  std::ofstream(file) << "policy = 'file'\n";
  ASSERT_EQ(chmod(file.c_str(), 0600), 0);  // root's
  const Finished finished = Call({"check", "x", "--scope", ""});
  EXPECT_EQ(finished.code, 64);
  EXPECT_THAT(finished.errors, AllOf(HasSubstr("cannot open"), HasSubstr(file)));
  // The way out.
  const Finished none = Call({"check", "x", "--scope", "", "--config", "/dev/null"});
  EXPECT_EQ(none.code, 0) << none.errors;
  EXPECT_EQ(none.errors, "");
}

TEST_F(C4_HiddenHome, H46_AFileThatWasNamedMustBeSeen) {
  ASSERT_EQ(chmod(home_.c_str(), 0), 0);
  const Finished finished = Call({"check", "x", "--scope", "", "--config", home_ + kSettings});
  EXPECT_EQ(finished.code, 64);
  EXPECT_THAT(finished.errors, HasSubstr("cannot open"));
}

// Where the name services do not answer, nobody knows which home it is. (The C library asks nscd(8)
// first, and gives it 5 s.)
TEST_F(C4_HiddenHome, H46_AHomeThatNoNameServiceTellsStopsNoCommandAndIsSaid) {
  constexpr char kUnknown[] = "52474";
  ASSERT_EQ(chown(scope_.c_str(), std::stoi(kUnknown), std::stoi(kUnknown)), 0);
  // (setpriv(1) would ask for the name itself.)
  const Words as_unknown = {"unshare", "--setgid", kUnknown, "--setuid", kUnknown};
  const std::string program = Program();
  const std::string said = InChild([&]() -> std::string {
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("tmpfs", "/run", "tmpfs", 0, nullptr) != 0 || mkdir("/run/nscd", 0755) != 0) {
      return "skip";
    }
    const auto check = [&] {
      return RunProgram({.argv = as_unknown + Words{program, "check", "x", "--scope", scope_,
                                                    "--policy", "file"}});
    };
    const Finished no_such_user = check();
    const UniqueFd silent(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/nscd/socket"};
    if (bind(silent.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        chmod("/run/nscd/socket", 0666) != 0 || listen(silent.get(), 8) != 0) {
      return "nobody listens";
    }
    const Finished no_answer = check();
    if (!UniqueFd(accept4(silent.get(), nullptr, nullptr, SOCK_CLOEXEC))) return "skip";
    return absl::StrCat(no_such_user.code, no_such_user.errors, "\n", no_answer.code, " ",
                        no_answer.errors);
  });
  if (said == "skip") GTEST_SKIP() << "no mount namespaces here, or this C library asks no nscd";
  EXPECT_EQ(said,
            absl::StrCat("0\n0 guardcheck: goes on without the settings of the user: no name "
                         "service has answered within 2s: the password database names no home "
                         "of uid ",
                         kUnknown, "\n"));
}

// The home of root, for this test and what it starts, on a filesystem whose server is stopped.
class C6_HungHome : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!served_.unusable().empty()) GTEST_SKIP() << served_.unusable();
    const std::string passwd = served_.directory() / "passwd";
    std::ofstream(passwd) << "root:x:0:0::" << home_ << ":/bin/sh\n";
    ASSERT_EQ(mount(passwd.c_str(), "/etc/passwd", nullptr, MS_BIND, nullptr), 0);
    bound_ = true;
    ASSERT_EQ(mkdir(scope_.c_str(), 0700), 0);
    served_.server().Signal(SIGSTOP);
    served_.server().WaitUntilStopped();
  }
  void TearDown() override {
    if (served_.unusable().empty()) served_.server().Signal(SIGCONT);
    if (bound_) (void)umount2("/etc/passwd", MNT_DETACH);
  }
  Finished Call(Words words) const {
    for (std::string& word : words) {
      if (word.empty()) word = scope_;
    }
    return RunProgram({.argv = Words{Beside("guardcheck")} + words});
  }

  ServedFilesystem served_;
  const std::string home_ = served_.mount_point() + "/root";
  const std::string scope_ = served_.directory() / "scope";
  bool bound_ = false;
};

TEST_F(C6_HungHome, H46_StopsNoCommandAndIsSaid) {
  for (const Asked& asked : Everything()) {
    const absl::Time before = absl::Now();
    const Finished finished = Call(asked.words);
    EXPECT_EQ(finished.code, asked.code) << asked.words[0] << ": " << finished.errors;
    EXPECT_THAT(finished.errors,
                AllOf(HasSubstr("goes on without the settings of "),
                      HasSubstr("does not answer within 2s"), HasSubstr(served_.mount_point())));
    EXPECT_LT(absl::Now() - before, absl::Seconds(20));
  }
}

TEST_F(C6_HungHome, H46_ALinkToItIsTheSame) {
  const std::string link = served_.directory() / "link";
  const std::string passwd = served_.directory() / "passwd.2";
  ASSERT_EQ(symlink("mount/somewhere/..", link.c_str()), 0);
  std::ofstream(passwd) << "root:x:0:0::" << link << "/root:/bin/sh\n";
  ASSERT_EQ(mount(passwd.c_str(), "/etc/passwd", nullptr, MS_BIND, nullptr), 0);
  const Finished check = Call({"check", "x", "--scope", ""});
  EXPECT_EQ(check.code, 0) << check.errors;
  EXPECT_THAT(check.errors, HasSubstr("does not answer within 2s"));
  (void)umount2("/etc/passwd", MNT_DETACH);
}

TEST_F(C6_HungHome, H46_TheCallersTimeBoundsItToo) {
  const Finished run = Call({"run", "x", "--scope", "", "--wait=300ms", "--", "echo", "started"});
  EXPECT_EQ(run.code, 0) << run.errors;
  EXPECT_THAT(run.errors, HasSubstr("does not answer within "));
  EXPECT_THAT(run.errors, Not(HasSubstr("within 2s")));
}

// A file that is only a link to one behind that server.
TEST_F(C6_HungHome, H46_AFileThatLeadsThereIsTheSame) {
  const std::string home = served_.directory() / "home";
  const std::string settings = home + kSettings;
  std::filesystem::create_directories(home + "/.config/soleguard");
  ASSERT_EQ(symlink("config.2", settings.c_str()), 0);
  ASSERT_EQ(symlink((served_.mount_point() + "/config.toml").c_str(),
                    (home + "/.config/soleguard/config.2").c_str()),
            0);
  const std::string passwd = served_.directory() / "passwd.2";
  std::ofstream(passwd) << "root:x:0:0::" << home << ":/bin/sh\n";
  ASSERT_EQ(mount(passwd.c_str(), "/etc/passwd", nullptr, MS_BIND, nullptr), 0);
  const Finished check = Call({"check", "x", "--scope", ""});
  EXPECT_EQ(check.code, 0) << check.errors;
  EXPECT_THAT(check.errors, AllOf(HasSubstr("goes on without the settings of " + settings),
                                  HasSubstr("does not answer within 2s")));
  const Finished named = Call({"check", "x", "--scope", "", "--config", settings});
  EXPECT_EQ(named.code, 64) << named.errors;
  EXPECT_THAT(named.errors, HasSubstr("does not answer within 2s"));
  (void)umount2("/etc/passwd", MNT_DETACH);
}

// No time to wait for the holder is no reason to take a home that answers for one that is away.
TEST_F(C6_HungHome, H46_OneThatAnswersIsReadWhateverTimeIsLeft) {
  served_.server().Signal(SIGCONT);
  std::filesystem::create_directories(home_ + "/.config/soleguard");
  std::ofstream(home_ + kSettings) << "scope = '" << scope_ << "'\n";
  ASSERT_EQ(chmod((home_ + kSettings).c_str(), 0600), 0);
  Guarded holder({.argv = {Beside("guardcheck"), "run", "x", "--", Beside("instance")}});
  holder.Settle();
  for (const Words& options : {Words{"--wait=0s"}, Words{"--deadline", "0s"}, Words{}}) {
    const Finished run = Call(Words{"run", "x"} + options + Words{"--", "echo", "started"});
    EXPECT_EQ(run.code, 75) << run.errors;
    EXPECT_THAT(run.errors, Not(HasSubstr("goes on without")));
  }
  const Finished stop = Call({"stop", "x", "--timeout", "0s"});
  EXPECT_EQ(stop.code, 75) << stop.output << stop.errors;
  EXPECT_THAT(stop.output + stop.errors, HasSubstr("x still runs"));
  EXPECT_EQ(holder.Line(), "got TERM");
  EXPECT_EQ(holder.Exit(0), 0);
}

// It bounds the holder's end, and nothing else.
TEST_F(C6_HungHome, H46_TheTimeoutOfAStopDoesNotBoundTheWaitForIt) {
  const Finished stop = Call({"stop", "x", "--scope", "", "--timeout", "10ms"});
  EXPECT_EQ(stop.code, 0) << stop.errors;
  EXPECT_THAT(stop.errors, HasSubstr("does not answer within 2s"));
  const Finished send = Call({"send", "x", "--scope", "", "--timeout", "10ms"});
  EXPECT_THAT(send.errors, AllOf(HasSubstr("does not answer within "), Not(HasSubstr("within 2s")),
                                 Not(HasSubstr("within 9ms"))));
}

TEST_F(C6_HungHome, H46_AStateDirectoryThereCostsTheTokenItsDurabilityAndNoMore) {
  const Finished run =
      Call({"run", "x", "--scope", "", "--config", "/dev/null", "--state-dir",
            served_.mount_point() + "/state", "--", "sh", "-c", "echo \"$SOLEGUARD_TOKEN\""});
  EXPECT_EQ(run.code, 0) << run.errors;
  EXPECT_NE(run.output, "\n");
  EXPECT_THAT(run.errors, HasSubstr("token is not durable"));
  EXPECT_THAT(run.errors, HasSubstr("does not answer within 2s"));
}

TEST_F(C6_HungHome, H46_DoctorSaysOfAStateDirectoryThereThatItIsAway) {
  const Finished doctor = Call({"doctor", "x", "--scope", "", "--config", "/dev/null",
                                "--state-dir", served_.mount_point() + "/state"});
  EXPECT_THAT(doctor.output, HasSubstr("does not answer within 2s"));
  EXPECT_EQ(doctor.code, 0) << doctor.output << doctor.errors;
}

TEST_F(C6_HungHome, H46_APlaceThereIsAnErrorOfTheCall) {
  const Finished status = Call({"status", "--name-from", served_.mount_point() + "/shop", "--scope",
                                "", "--config", "/dev/null"});
  EXPECT_EQ(status.code, 64) << status.output;
  EXPECT_THAT(status.errors, AllOf(HasSubstr("--name-from: "), HasSubstr("does not answer")));
}

// What a start needs of /proc, check and doctor ask for.
TEST(ProcThatShowsNoProcesses, H46_CheckSaysWhatRunDoes) {
  if (getuid() != 0) GTEST_SKIP() << "only root can mount";
  const Guardcheck guardcheck;
  for (const std::string prepare : {"mount -t proc -o subset=pid proc /proc", "umount -l /proc",
                                    "mount -t tmpfs tmpfs /proc/sys", "mount -t proc proc /proc"}) {
#ifdef __SANITIZE_ADDRESS__
    if (prepare == "umount -l /proc") continue;  // it looks for leaks, and for its options, there
#endif
    const auto call = [&](const Words& words) {
      return RunProgram(
          {.argv = Words{"unshare", "-mpf", "sh", "-c", prepare + " && exec \"$@\"", "sh"} +
                   guardcheck.Argv(words)});
    };
    const Finished run = call({"run", "x", "--", "true"});
    if (run.errors.find("unshare") != std::string::npos) GTEST_SKIP() << run.errors;
    const Finished check = call({"check", "x"});
    const Finished doctor = call({"doctor", "x"});
    const bool whole = prepare == "mount -t proc proc /proc";
    EXPECT_EQ(run.code, whole ? 0 : 69) << prepare << ": " << run.errors;
    EXPECT_EQ(check.code, run.code) << prepare << ": " << check.output << check.errors;
    EXPECT_EQ(doctor.code, run.code) << prepare << ": " << doctor.output << doctor.errors;
    if (whole) continue;
    EXPECT_THAT(run.errors, HasSubstr("/proc"));
    EXPECT_THAT(check.output + check.errors, HasSubstr("/proc"));
    EXPECT_THAT(doctor.output + doctor.errors, HasSubstr("/proc"));
  }
}

}  // namespace
}  // namespace soleguard::testing
