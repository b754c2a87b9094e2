// What stands in the way of a start is said by the start: whose it is, its mode, who asks, and what
// to do. Each case is made for real, in a mount namespace of its own.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/users.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

namespace fs = std::filesystem;

// Who starts, by a number without an entry in the password database.
const User kStarter{"starter", 4010, 4010};

class Denied : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "only root can be several users";
    if (RunProgram({.argv = {"unshare", "--mount", "true"}}).code != 0) {
      GTEST_SKIP() << "namespaces cannot be made here";
    }
    for (const std::string& path : {top(), scope(), state()}) {
      fs::create_directories(path);
      (void)chmod(path.c_str(), 0755);
    }
    for (const std::string& path : {scope(), state()}) {
      (void)chown(path.c_str(), kStarter.uid, kStarter.gid);
    }
  }

  std::string top() const { return guardcheck_.directory().path(); }
  std::string scope() const { return guardcheck_.scope(); }
  std::string state() const { return guardcheck_.state(); }

  // A start by the user after root has run `script` in mounts of its own.
  Finished Start(const std::string& policy, const std::string& script = "true",
                 const Words& options = {}) const {
    return RunProgram(
        {.argv = Words{"unshare", "--mount", "sh", "-c", script + " && exec \"$@\"", "sh"} +
                 LauncherOf(kStarter) + Words{"env", "HOME=/"} +
                 guardcheck_.Run({"true"}, Words{"--policy", policy} + options)});
  }

  const Guardcheck guardcheck_{};
};

TEST_F(Denied, NothingIsInTheWay) {
  const Finished start = Start("default");
  EXPECT_EQ(start.code, 0) << start.errors;
  EXPECT_EQ(start.errors, "");
}

TEST_F(Denied, H14_ADirectoryOnTheWayThatMayNotBeEntered) {
  const std::string closed = top() + "/closed";
  fs::create_directories(closed + "/scope");
  (void)chmod(closed.c_str(), 0700);
  const Finished refused =
      RunProgram({.argv = LauncherOf(kStarter) + Words{"env", "HOME=/", Beside("guardcheck"), "run",
                                                       "x", "--policy", "file", "--scope",
                                                       closed + "/scope", "--", "true"}});
  EXPECT_EQ(refused.code, 69);
  EXPECT_THAT(refused.errors,
              HasSubstr(absl::StrCat("cannot open ", closed, "/scope: Permission denied (", closed,
                                     " belongs to root (uid 0) and has mode 0700, which keeps out "
                                     "4010 (uid 4010): start as a user who may use it")));
}

TEST_F(Denied, H14_AScopeThatThisUserMayNotWrite) {
  (void)chown(scope().c_str(), 0, 0);
  const Finished start = Start("file");
  EXPECT_EQ(start.code, 69);
  EXPECT_THAT(start.errors,
              AllOf(HasSubstr(scope() + " has mode 0755 and cannot be written by 4010 (uid 4010)"),
                    HasSubstr("it belongs to root (uid 0)"), HasSubstr("start as its owner")));
}

TEST_F(Denied, H14_OnesOwnFileThatMayNotBeWritten) {
  ASSERT_EQ(Start("file").code, 0);
  const std::string lock = guardcheck_.Object("x", "lock");
  (void)chmod(lock.c_str(), 0400);
  const Finished start = Start("file");
  EXPECT_EQ(start.code, 69);
  EXPECT_THAT(start.errors,
              HasSubstr(absl::StrCat("cannot open ", lock, ": Permission denied (", lock,
                                     " belongs to 4010 (uid 4010) and has mode 0400, which keeps "
                                     "out its owner too: chmod u+rwX ",
                                     lock, " mends that)")));
}

TEST_F(Denied, H14_SharedMemoryThatIsReadOnly) {
  const Finished start = Start("mutex", "mount -t tmpfs -o ro,mode=1777 none /dev/shm");
  EXPECT_EQ(start.code, 69);
  EXPECT_THAT(start.errors,
              AllOf(HasSubstr("Read-only file system (the tmpfs that is mounted at /dev/shm is "
                              "read-only: mount -o remount,rw /dev/shm as root)"),
                    Not(HasSubstr("choose another place"))));
}

TEST_F(Denied, H14_SharedMemoryThatIsFull) {
  const Finished start = Start(
      "mutex",
      "mount -t tmpfs -o size=16k,mode=1777 none /dev/shm && ! head -c 1M /dev/zero > /dev/shm/a");
  EXPECT_EQ(start.code, 69);
  EXPECT_THAT(start.errors,
              HasSubstr("No space left on device (the tmpfs that is mounted at /dev/shm is full: "
                        "make room (df -h /dev/shm; df -i /dev/shm))"));
}

TEST_F(Denied, H14_SharedMemoryThatThisUserMayNotWrite) {
  const Finished start = Start("mutex", "mount -t tmpfs -o mode=755 none /dev/shm");
  EXPECT_EQ(start.code, 69);
  EXPECT_THAT(start.errors, HasSubstr("Permission denied (/dev/shm belongs to root (uid 0) and has "
                                      "mode 0755, which keeps out 4010 (uid 4010): start as"));
}

TEST_F(Denied, H14_AScopeOnAFilesystemThatIsReadOnlyOrFull) {
  const std::string mounted =
      absl::StrCat("mount -t tmpfs -o size=16k,uid=4010,mode=700 none ", scope(), " && ");
  const Finished read_only = Start("file", mounted + "mount -o remount,ro " + scope());
  EXPECT_EQ(read_only.code, 69);
  EXPECT_THAT(read_only.errors, HasSubstr(absl::StrCat("the tmpfs that is mounted at ", scope(),
                                                       " is read-only: mount -o remount,rw ")));
  const Finished full =
      Start("file", mounted + "! head -c 1M /dev/zero > " + scope() + "/a 2>/dev/null");
  EXPECT_EQ(full.code, 69);
  EXPECT_THAT(full.errors,
              HasSubstr(absl::StrCat("the tmpfs that is mounted at ", scope(), " is full: make")));
}

// The start works, and its token is not what was asked for.
TEST_F(Denied, H14_AStateDirectoryThatThisUserMayNotWrite) {
  (void)chown(state().c_str(), 0, 0);
  const Finished start = Start("file");
  EXPECT_EQ(start.code, 0);
  EXPECT_THAT(
      start.errors,
      AllOf(HasSubstr("x: its fencing token is not durable"),
            HasSubstr(absl::StrCat("cannot write to ", state(), ": Permission denied (", state(),
                                   " belongs to root (uid 0) and has mode 0755, "
                                   "which keeps out 4010 (uid 4010)"))));
}

// There all whom the namespace does not map have one number, and it is nobody's.
TEST_F(Denied, H47_AUserNamespaceInWhichOwnersAreHidden) {
  if (RunProgram({.argv = {"unshare", "--user", "true"}}).code != 0) {
    GTEST_SKIP() << "user namespaces cannot be made here";
  }
  const Words unmapped = LauncherOf(kStarter) + Words{"unshare", "--user"};
  const Finished start = RunProgram({.argv = unmapped + guardcheck_.Run({"true"})});
  EXPECT_EQ(start.code, 69);
  EXPECT_THAT(start.errors, HasSubstr("this process runs in a user namespace that does not map its "
                                      "user"));

  (void)chown(scope().c_str(), kOwner.uid, kOwner.gid);
  const Words mapped = LauncherOf(kStarter) + Words{"unshare", "--user", "--map-current-user"};
  const Finished hidden = RunProgram({.argv = mapped + guardcheck_.Run({"true"})});
  EXPECT_EQ(hidden.code, 69);
  EXPECT_THAT(hidden.errors,
              HasSubstr("a user whom this user namespace does not map (shown as uid 65534)"));
  EXPECT_THAT(hidden.errors, Not(HasSubstr("nobody")));
}

}  // namespace
}  // namespace soleguard::testing
