// guardcheck doctor: what stands in the way of a guard on this machine, and what that is worth
// under the policy. Each condition is made for real: namespaces, mounts, locks, listeners.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/fd.h"
#include "soleguard/process.h"
#include "support/quoted.h"
#include "support/served_filesystem.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// What doctor said: its exit code, and its findings.
struct Said {
  int code = 0;
  boost::json::object json;

  // "SEVERITY: CONSEQUENCE" of the finding of `layer` that says `what`, or all that was said.
  std::string Of(const std::string& layer, const std::string& what) const {
    for (const boost::json::value& finding : json.at("findings").as_array()) {
      if (finding.at("layer").as_string() != layer) continue;
      if (finding.at("what").as_string().find(what) == boost::json::string::npos) continue;
      const auto& consequence = finding.at("consequence");
      return absl::StrCat(std::string(finding.at("severity").as_string()), ": ",
                          consequence.is_null() ? "nothing" : std::string(consequence.as_string()));
    }
    return "not said; " + boost::json::serialize(json.at("findings"));
  }
};

class DoctorTest : public ::testing::Test {
 protected:
  // `before`: words of a program that starts it, such as unshare.
  Said Ask(const Words& options, const Words& before = {}, const std::string& name = "x",
           const std::map<std::string, std::string>& environment = {}) const {
    const Words words = name.empty() ? Words{"doctor"} : Words{"doctor", name};
    const Finished finished =
        RunProgram({.argv = before + guardcheck_.Argv(words + Words{"--json"} + options),
                    .environment = environment});
    EXPECT_EQ(finished.errors, "");
    return {.code = finished.code, .json = ParseObject(finished.output)};
  }
  // A shell does `script` in namespaces of its own and then becomes doctor.
  Said AskAfter(const std::string& script, const Words& unshare, const Words& options) const {
    return Ask(options,
               Words{"unshare"} + unshare + Words{"sh", "-c", script + " && exec \"$@\"", "sh"});
  }
  static bool MayUnshare() {
    return RunProgram({.argv = {"unshare", "--mount", "--net", "--ipc", "true"}}).code == 0;
  }

  const Guardcheck guardcheck_{};
};

#define SKIP_WITHOUT_NAMESPACES() \
  if (!MayUnshare()) GTEST_SKIP() << "namespaces cannot be made here"

TEST_F(DoctorTest, AHealthyMachineIsSaidInWordsAndCreatesNothing) {
  const Finished text = guardcheck_.Call({"doctor", "x"});
  EXPECT_EQ(text.code, 0) << text.output;
  EXPECT_THAT(text.output,
              StartsWith("x can be guarded here, under policy all(file, mutex, port)"));
  EXPECT_EQ(guardcheck_.Call({"doctor"}).code, 0);
  EXPECT_TRUE(std::filesystem::is_empty(guardcheck_.directory().path()));
}

TEST_F(DoctorTest, JsonHasTheKeysOfTheReference) {
  const Said said = Ask({});
  EXPECT_THAT(Keys(said.json),
              ElementsAre("schema", "name", "scope", "policy", "healthy", "findings"));
  EXPECT_EQ(said.json.at("healthy"), true);
  for (const boost::json::value& finding : said.json.at("findings").as_array()) {
    EXPECT_THAT(Keys(finding),
                ElementsAre("severity", "layer", "what", "consequence", "fix", "event", "threat"));
  }
  EXPECT_TRUE(Ask({}, {}, "").json.at("name").is_null());
}

TEST_F(DoctorTest, H22_AnInvalidNameIsAUsageError) {
  EXPECT_EQ(guardcheck_.Call({"doctor", "a/b"}).code, 64);
}

TEST_F(DoctorTest, AHolderIsNotDisturbedAndItsNamespacesAreCompared) {
  Guarded run = guardcheck_.Start();
  run.Settle();
  const Said said = Ask({});
  EXPECT_EQ(said.code, 0);
  EXPECT_THAT(said.Of("holder", "lives in the same namespaces"), StartsWith("ok"));
  EXPECT_EQ(run.Exit(0), 0);
}

TEST_F(DoctorTest, H06_AHolderInOtherNamespacesCannotBeSeenByTheLayersThatLiveThere) {
  SKIP_WITHOUT_NAMESPACES();
  Guarded run({.argv = Words{"unshare", "--net", "--ipc"} +
                       guardcheck_.InstanceWords({"--policy", "file"})});
  run.Settle();
  // A policy that has a layer for which it makes no difference.
  const Said all = Ask({});
  EXPECT_EQ(all.code, 0);
  EXPECT_THAT(all.Of("holder", "another network namespace"),
              AllOf(StartsWith("warning"), HasSubstr("no longer meets the other: port"),
                    HasSubstr("a holder still refuses it")));
  EXPECT_THAT(all.Of("holder", "another ipc namespace"), HasSubstr("mutex"));
  // One that has none.
  const Said port = Ask({"--policy", "port"});
  EXPECT_EQ(port.code, 69);
  EXPECT_THAT(port.Of("holder", "another network namespace"),
              AllOf(StartsWith("problem"), HasSubstr("a second instance can run")));
  // Each alone is survived here, both together are not.
  const Said both = Ask({"--policy", "all(mutex, port)"});
  EXPECT_EQ(both.code, 69);
  EXPECT_THAT(both.Of("holder", "another ipc namespace"), StartsWith("warning"));
  EXPECT_THAT(both.Of("policy", "all of the above together"),
              AllOf(StartsWith("problem"), HasSubstr("a second instance can run")));
  EXPECT_EQ(run.Exit(0), 0);
}

TEST_F(DoctorTest, H06_AHolderInAnotherPidNamespaceIsSaid) {
  SKIP_WITHOUT_NAMESPACES();
  Guarded run({.argv = Words{"unshare", "--pid", "--fork", "--mount-proc"} +
                       guardcheck_.InstanceWords({"--policy", "file"})});
  EXPECT_THAT(run.Line(), StartsWith("ready "));
  const Said said = Ask({});
  EXPECT_EQ(said.code, 0);
  EXPECT_THAT(said.Of("holder", "another pid namespace"),
              HasSubstr("no layer of the policy minds"));
  EXPECT_THAT(said.Of("holder", "another mount namespace"), StartsWith("note"));
  run.program().WriteLine("exit 0");
  EXPECT_EQ(run.program().Wait(), 0);
}

TEST_F(DoctorTest, AReadOnlyOrFullFilesystemRefusesEveryStart) {
  SKIP_WITHOUT_NAMESPACES();
  const std::string mount = guardcheck_.directory() / "mount";
  std::filesystem::create_directory(mount);
  const Words scope = {"--scope", mount + "/s"};
  const auto ask = [&](const std::string& script) {
    return RunProgram({.argv = Words{"unshare", "--mount", "sh", "-c", script + " && exec \"$@\"",
                                     "sh", Beside("guardcheck"), "doctor", "x"} +
                               scope});
  };
  const Finished read_only = ask("mount -t tmpfs -o ro none " + mount);
  EXPECT_EQ(read_only.code, 69) << read_only.errors;
  EXPECT_THAT(read_only.output, AllOf(HasSubstr(mount + " is mounted read-only"),
                                      HasSubstr("cannot tell: file, port"),
                                      HasSubstr("mount -o remount,rw " + mount)));
  const Finished full = ask("mount -t tmpfs -o size=8k none " + mount +
                            " && ! head -c 100000 /dev/zero > " + mount + "/x 2>/dev/null");
  EXPECT_EQ(full.code, 69) << full.errors;
  EXPECT_THAT(full.output, HasSubstr(mount + " is full"));
}

TEST_F(DoctorTest, H19_AFilesystemThatAProgramServesIsARisk) {
  const ServedFilesystem served;
  if (!served.unusable().empty()) GTEST_SKIP() << served.unusable();
  const auto ask = [](const std::string& scope, const std::string& policy) {
    const Finished said = RunProgram({.argv = {Beside("guardcheck"), "doctor", "x", "--json",
                                               "--scope", scope, "--policy", policy}});
    EXPECT_EQ(said.errors, "");
    return Said{.code = said.code, .json = ParseObject(said.output)};
  };
  const std::string risk = absl::StrCat("mounted at ", served.mount_point(), "), which a program");
  const auto is_named =
      StartsWith("warning: whether its locks exclude, and whether a lock call ends");
  EXPECT_THAT(ask(served.mount_point() + "/scope", "file").Of("scope", risk), is_named);
  EXPECT_TRUE(std::filesystem::is_empty(served.mount_point())) << "it only looks";
  // The same of one file there, while the scope is a local directory.
  const std::string file = absl::StrCat("file(path=", served.mount_point(), "/x.lock)");
  const Said said = ask(served.directory() / "scope", file);
  EXPECT_THAT(said.Of(file, risk), is_named);
  EXPECT_THAT(said.Of("scope", "which a program"), StartsWith("not said"));
}

TEST_F(DoctorTest, APrivateTmpIsAnotherDirectory) {
  SKIP_WITHOUT_NAMESPACES();
  const std::string own = guardcheck_.directory() / "systemd-private-0-bot.service/tmp";
  std::filesystem::create_directories(own);
  // The checkout may lie in the /tmp that is hidden.
  std::filesystem::copy_file(Beside("guardcheck"), own + "/guardcheck");
  const auto ask = [&](const std::string& policy) {
    return RunProgram(
        {.argv = {"unshare", "--mount", "sh", "-c",
                  "mount --bind " + Quoted(own) + " /tmp && exec \"$@\"", "sh", "/tmp/guardcheck",
                  "doctor", "x", "--scope", "/tmp/s", "--policy", policy}});
  };
  const Finished file = ask("file");
  EXPECT_EQ(file.code, 69) << file.errors;
  EXPECT_THAT(file.output, AllOf(HasSubstr("a /tmp of its own (PrivateTmp=)"),
                                 HasSubstr("a second instance can run beside a holder")));
  EXPECT_EQ(ask("default").code, 0) << "the other layers exclude";
}

TEST_F(DoctorTest, LoWithoutItsAddressesAndSemaphoresThatAreUsedUpAreNamed) {
  SKIP_WITHOUT_NAMESPACES();
  const std::string script =
      "ip link set lo up; ip address flush dev lo; echo 32000 1024000000 500 0 > "
      "/proc/sys/kernel/sem";
  const Words unshare = {"--net", "--ipc"};
  const Said all = AskAfter(script, unshare, {});
  EXPECT_EQ(all.code, 69);
  EXPECT_THAT(all.Of("port", "lo has no"), StartsWith("problem: cannot tell: port; starts are"));
  EXPECT_THAT(all.Of("mutex", "all 0 semaphore sets"), StartsWith("problem: cannot tell: mutex"));
  // Under a policy that can do without one of them, but not without both.
  const Said most = AskAfter(script, unshare, {"--policy", "at_least(2, file, mutex, port)"});
  EXPECT_EQ(most.code, 69);
  EXPECT_THAT(most.Of("port", "lo has no"), StartsWith("warning"));
  EXPECT_THAT(most.Of("mutex", "all 0 semaphore sets"), StartsWith("warning"));
  EXPECT_THAT(most.Of("policy", "together"), AllOf(StartsWith("problem"), HasSubstr("refused")));
}

TEST_F(DoctorTest, H18_HidepidBlindsTheScan) {
  if (RunProgram({.argv = {"unshare", "--pid", "--fork", "--mount-proc", "true"}}).code != 0) {
    GTEST_SKIP() << "namespaces cannot be made here";
  }
  const auto ask = [](const std::string& policy) {
    return RunProgram(
        {.argv = {"unshare", "--pid", "--fork", "--mount-proc", "sh", "-c",
                  "mount -o remount,hidepid=2 /proc && setpriv --reuid=65534 --regid=65534 "
                  "--clear-groups \"$@\"; exit $?",
                  "sh", Beside("guardcheck"), "doctor", "--scope", "/nonexistent/s", "--policy",
                  policy}});
  };
  const Finished scan = ask("all(file, scan)");
  if (absl::StrContains(scan.errors, "Permission denied")) GTEST_SKIP() << scan.errors;
  EXPECT_EQ(scan.code, 69) << scan.errors;
  EXPECT_THAT(scan.output, AllOf(HasSubstr("/proc does not show the processes of other users"),
                                 HasSubstr("cannot tell: scan; starts are refused")));
  EXPECT_THAT(ask("file").output, Not(HasSubstr("hidepid")));
}

// A TCP socket of this very process.
class Listener {
 public:
  Listener() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* general = reinterpret_cast<sockaddr*>(&address);
    if (bind(fd_.get(), general, size) != 0 || listen(fd_.get(), 1) != 0 ||
        getsockname(fd_.get(), general, &size) != 0) {
      throw std::runtime_error("cannot listen");
    }
    port_ = ntohs(address.sin_port);
  }
  int port() const { return port_; }

 private:
  UniqueFd fd_;
  int port_ = 0;
};

TEST_F(DoctorTest, H17_AForeignListenerIsNamedWithProgramAndPid) {
  const Listener listener;
  const std::string layer = absl::StrCat("port(", listener.port(), ")");
  const Said said = Ask({"--policy", layer});
  EXPECT_EQ(said.code, 69);
  EXPECT_THAT(said.Of(layer, absl::StrCat("tools_test (pid ", getpid(), ")")),
              StartsWith("problem: cannot tell: " + layer + "; starts are refused"));
  // The port that bind(2) chose is one of those that any connection may get.
  EXPECT_THAT(said.Of(layer, "in the ephemeral range"), StartsWith("warning"));
}

// H29: what is locked by others, and by which family of locks.
class Locker {
 public:
  Locker(const std::string& path, const std::string& call)
      : program_({.argv = {"python3", "-c",
                           "import fcntl, sys\nf = open(sys.argv[1], 'r+')\n" + call +
                               "\nprint('locked', flush=True)\nsys.stdin.read()",
                           path}}) {
    if (program_.ReadLine() != "locked") throw std::runtime_error(program_.Errors());
  }
  static constexpr char kFlock[] = "fcntl.flock(f, fcntl.LOCK_EX)";
  static constexpr char kFcntl[] = "fcntl.lockf(f, fcntl.LOCK_EX)";
  pid_t pid() const { return program_.pid(); }

 private:
  Program program_;
};

TEST_F(DoctorTest, H29_AForeignLockOfEitherFamilyIsNamed) {
  EXPECT_EQ(guardcheck_.CallRun({"true"}).code, 0);
  const std::string lock = guardcheck_.Object("x", "lock");
  for (const auto& [call, family] :
       {std::pair(Locker::kFlock, "flock"), std::pair(Locker::kFcntl, "fcntl")}) {
    const Locker locker(lock, call);
    const Said said = Ask({});
    EXPECT_EQ(said.code, 69) << family;
    EXPECT_THAT(
        said.Of("file", absl::StrCat(lock, " is locked without soleguard: ", family, " by")),
        StartsWith("problem: a start is refused"));
    EXPECT_THAT(said.Of("file", absl::StrCat("(pid ", locker.pid(), ")")), StartsWith("problem"));
  }
  EXPECT_EQ(Ask({}).code, 0);
}

TEST_F(DoctorTest, H04_WhatADeadHolderLeftIsHarmless) {
  Guarded run = guardcheck_.Start();
  run.Settle();
  const pid_t command = run.command();
  const ProcessIdentity guardian = *IdentityOf(run.guardian());
  run.program().Signal(SIGKILL);
  EXPECT_EQ(run.program().Wait(), 128 + SIGKILL);
  WaitUntilGone(guardian);
  const Said said = Ask({});
  EXPECT_EQ(said.code, 0);
  EXPECT_THAT(said.Of("file", "ended without releasing"), StartsWith("note: nothing"));
  EXPECT_THAT(said.Of("mutex", "is left of an earlier holder"), StartsWith("note: nothing"));
  (void)command;
}

TEST_F(DoctorTest, D5_ADirectoryThatTheCallerMayNotWriteIsExplained) {
  if (getuid() != 0) GTEST_SKIP() << "needs root, to be another user";
  std::filesystem::create_directory(guardcheck_.scope());
  std::filesystem::permissions(guardcheck_.directory().path(), std::filesystem::perms(0755));
  std::filesystem::permissions(guardcheck_.scope(), std::filesystem::perms(0755));
  const Said said = Ask({}, {"setpriv", "--reuid=65534", "--clear-groups"});
  EXPECT_EQ(said.code, 69);
  EXPECT_THAT(said.Of("scope", "cannot be written by nobody (it belongs to root)"),
              StartsWith("problem: cannot tell: file, port"));
  // A directory in which anybody may replace anything.
  std::filesystem::permissions(guardcheck_.scope(), std::filesystem::perms(0777));
  EXPECT_THAT(Ask({}).Of("scope", "lets other users move"), StartsWith("problem"));
}

TEST_F(DoctorTest, H20_ASquattedDirectoryNamesWhoMadeIt) {
  if (getuid() != 0) GTEST_SKIP() << "needs root, to be another user";
  SKIP_WITHOUT_NAMESPACES();
  const Finished finished = RunProgram(
      {.argv = {"unshare", "--mount", "--pid", "--ipc", "--fork", "--mount-proc", "sh", "-c",
                "mount -t tmpfs -o mode=1777 none /run/lock && mkdir /run/lock/soleguard-0 && "
                "chown 65534 /run/lock/soleguard-0 && exec \"$@\"",
                "sh", Beside("guardcheck"), "doctor", "x", "--scope", "user"}});
  EXPECT_EQ(finished.code, 69) << finished.errors;
  EXPECT_THAT(
      finished.output,
      HasSubstr("/run/lock/soleguard-0 was not made by root (uid 0); it belongs to nobody"));
}

TEST_F(DoctorTest, H32_UnderSudoTheSameNameOfTheCallersUserIsFound) {
  if (getuid() != 0) GTEST_SKIP() << "needs root, to be another user";
  SKIP_WITHOUT_NAMESPACES();
  const std::string out = guardcheck_.directory() / "out";
  std::ofstream(out + ".sh")
      << "set -e\n"
         "mount -t tmpfs -o mode=1777 none /run/lock\n"
         "mkfifo " +
             out + " && exec 3<>" + out +
             "\n"
             "setpriv --reuid=65534 --clear-groups \"$1\" run x --policy file --exec -- "
             "sh -c 'echo ready >&3; exec sleep 120' &\n"
             "read -r ready <&3\n"
             "code=0; SUDO_UID=65534 \"$1\" doctor x --scope user || code=$?\n"
             "kill %1 || kill $!; wait || true; exit $code\n";
  const Finished finished =
      RunProgram({.argv = {"unshare", "--mount", "--pid", "--ipc", "--fork", "--mount-proc", "sh",
                           out + ".sh", Beside("guardcheck")}});
  EXPECT_EQ(finished.code, 69) << finished.errors;
  EXPECT_THAT(finished.output,
              AllOf(HasSubstr("sudo: nobody has x running as pid "),
                    HasSubstr("a start as root is in another scope"), HasSubstr("sudo -u nobody")));
}

TEST_F(DoctorTest, FewDescriptorsAreToldBeforeTheyAreMissed) {
  const Said said = Ask({}, {"sh", "-c", "ulimit -n 20; exec \"$@\"", "sh"});
  EXPECT_EQ(said.code, 69);
  EXPECT_THAT(said.Of("machine", "only 20 descriptors may be open"),
              StartsWith("problem: cannot tell: file, mutex, port"));
}

TEST_F(DoctorTest, APolicyThatIsNotSafeIsNeverHealthy) {
  const Said said = Ask({"--policy", "any(file, port)"});
  EXPECT_EQ(said.code, 69);
  EXPECT_THAT(said.Of("policy", "is not safe"), StartsWith("problem"));
}

TEST_F(DoctorTest, AStateDirectoryThatARebootEmptiesIsAWarning) {
  SKIP_WITHOUT_NAMESPACES();
  std::filesystem::create_directory(guardcheck_.state());
  const Said said = AskAfter("mount -t tmpfs none " + guardcheck_.state(), {"--mount"}, {});
  EXPECT_EQ(said.code, 0);
  EXPECT_THAT(said.Of("scope", "is on tmpfs, which a reboot empties"),
              AllOf(StartsWith("warning"), HasSubstr("fencing token may repeat")));
}

// The usual home of a service's user: /nonexistent.
TEST_F(DoctorTest, AStateDirectoryThatTheCallerCannotMakeIsAWarning) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to act as another user";
  const Words as_nobody = {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"};
  const Finished asked =
      RunProgram({.argv = as_nobody + Words{Beside("guardcheck"), "doctor", "x", "--json",
                                            "--state-dir", "/nonexistent/.local/state"}});
  const Said said{.code = asked.code, .json = ParseObject(asked.output)};
  EXPECT_THAT(said.Of("scope", "may not write to the state directory /nonexistent/.local/state"),
              AllOf(StartsWith("warning"), HasSubstr("fencing token may repeat")));
}

}  // namespace
}  // namespace soleguard::testing
