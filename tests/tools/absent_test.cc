// What is optional and cannot be seen: absent, hidden, broken, hung.
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

TEST_F(C6_HungHome, H46_AStateDirectoryThereCostsTheTokenItsDurabilityAndNoMore) {
  const Finished run =
      Call({"run", "x", "--scope", "", "--config", "/dev/null", "--state-dir",
            served_.mount_point() + "/state", "--", "sh", "-c", "echo \"$SOLEGUARD_TOKEN\""});
  EXPECT_EQ(run.code, 0) << run.errors;
  EXPECT_NE(run.output, "\n");
}

// What a start needs of /proc, check and doctor ask for.
TEST(ProcThatShowsNoProcesses, H46_CheckSaysWhatRunDoes) {
  if (getuid() != 0) GTEST_SKIP() << "only root can mount";
  const Guardcheck guardcheck;
  for (const std::string prepare : {"mount -t proc -o subset=pid proc /proc", "umount -l /proc",
                                    "mount -t tmpfs tmpfs /proc/sys", "mount -t proc proc /proc"}) {
    const auto call = [&](const Words& words) {
      return RunProgram(
          {.argv = Words{"unshare", "-mpf", "sh", "-c", prepare + " && exec \"$@\"", "sh"} +
                   guardcheck.Argv(words),
           // A sanitizer looks for leaks through /proc.
           .environment = {{"ASAN_OPTIONS", "detect_leaks=0"}}});
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
