// A newcomer in other surroundings than its holder, in a small system of their own: process 1,
// /run, /tmp, semaphores, ports.
#include <unistd.h>

#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>

#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include "support/claimant.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

// --- a system ---

constexpr char kBin[] = "/mnt";    // where the programs are in it: hidden by nobody
constexpr char kState[] = "/srv";  // of the users in it
constexpr char kUid[] = "60123";

enum class Lock {
  kIsThere,  // as Debian has it: /run and in it /run/lock are tmpfs
  kMissing,  // the user scope is below /tmp
};

class System {
 public:
  explicit System(Lock lock)
      : process1_({.argv = {"unshare", "--mount", "--pid", "--ipc", "--net", "--fork",
                            "--kill-child", "--mount-proc", "sh", "-c", Script(lock), "sh",
                            Beside("guardcheck").substr(0, Beside("guardcheck").rfind('/'))}}) {
    const std::optional<std::string> up = process1_.ReadLine();
    if (up != "up") throw std::runtime_error("no system: " + process1_.Errors());
    std::ifstream children(
        absl::StrCat("/proc/", process1_.pid(), "/task/", process1_.pid(), "/children"));
    children >> pid_;
  }

  // Words before a program that runs in it.
  Words In() const {
    return {"nsenter", absl::StrCat("--target=", pid_), "--mount", "--pid", "--ipc", "--net", "--"};
  }

  static bool MayBe() {
    return geteuid() == 0 && RunProgram({.argv = {"unshare", "--mount", "--pid", "--ipc", "--net",
                                                  "--fork", "--mount-proc", "true"}})
                                     .code == 0;
  }

 private:
  static std::string Script(Lock lock) {
    return absl::StrCat(
        // What the machine itself has mounted there would look like something that is hidden.
        "set -e; mount --bind \"$1\" ", kBin,
        "; for place in /run /tmp; do umount --recursive --lazy $place 2>/dev/null || true; done",
        "; mount -t tmpfs -o mode=1777 none ", kState,
        "; mount -t tmpfs -o mode=1777 none /tmp; mount -t tmpfs -o mode=1777 none /dev/shm; "
        "mount -t tmpfs -o mode=755 none /run; ",
        lock == Lock::kIsThere ? "mkdir /run/lock; mount -t tmpfs -o mode=1777 none /run/lock; "
                               : "",
        "mkdir -m 1777 /run/shared; ln -s shared /run/link; ip link set lo up; echo up; read end");
  }

  Program process1_;
  int pid_ = 0;
};

std::string Tmpfs(const std::string& where) {
  return absl::StrCat("mount -t tmpfs -o mode=1777 none ", where);
}

Words Shell(const std::string& script) { return {"sh", "-c", script + " && exec \"$@\"", "sh"}; }

// As its users met it.
TEST(HiddenPlaceTest, R1_HiddenPlace) {
  if (!System::MayBe()) GTEST_SKIP() << "needs root and namespaces";
  const System system(Lock::kIsThere);
  const Words as_user = {"setpriv", absl::StrCat("--reuid=", kUid), absl::StrCat("--regid=", kUid),
                         "--clear-groups"};
  const auto run = [](const std::string& command) {
    return Words{absl::StrCat(kBin, "/guardcheck"), "run", "x", "--", "sh", "-c", command};
  };
  const auto second = [&](const Words& launcher) {
    return RunProgram({.argv = system.In() + launcher + run("echo SECOND")});
  };
  const Words in_user_namespace =
      as_user + Words{"unshare", "--user", absl::StrCat("--map-user=", kUid)};
  {
    Program root({.argv = system.In() + run("echo ready; read end")});
    ASSERT_EQ(root.ReadLine(), "ready") << root.Errors();
    const Finished hidden = second(Words{"unshare", "--mount"} + Shell(Tmpfs("/run")));
    EXPECT_EQ(hidden.code, 75) << hidden.errors;
    EXPECT_EQ(hidden.output, "");
  }
  {
    Program user({.argv = system.In() + as_user + run("echo ready; read end")});
    ASSERT_EQ(user.ReadLine(), "ready") << user.Errors();
    const Finished sandbox =
        second(as_user + Words{"bwrap", "--dev-bind", "/", "/", "--tmpfs", "/tmp"});
    EXPECT_EQ(sandbox.code, 75) << sandbox.errors;
    const Finished mapped = second(in_user_namespace);
    EXPECT_EQ(mapped.code, 75) << mapped.errors;
    EXPECT_EQ(sandbox.output + mapped.output, "");
  }
  EXPECT_EQ(second(in_user_namespace).output, "SECOND\n") << "alone";
}

TEST(TwoSpellingsTest, W2_TwoSpellings) {
  const TempDir directory;
  ASSERT_EQ(symlink(".", (directory / "link").c_str()), 0);
  for (const char* const policy : {"mutex", "port", "all(mutex, port)", "default"}) {
    SCOPED_TRACE(policy);
    Claimant one({.scope = directory / "scope", .policy = policy});
    ASSERT_TRUE(one.unique()) << one.verdict();
    Claimant other({.scope = directory / "link/scope", .policy = policy});
    EXPECT_TRUE(other.duplicate()) << other.verdict();
    EXPECT_EQ(one.Ask("verify"), "ok");
  }
}

}  // namespace
}  // namespace soleguard::testing
