// What wakes a watch, and what does not.
#include "soleguard/watch.h"

#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/inspect.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/file_scope.h"
#include "support/kinds.h"
#include "support/temp_dir.h"

namespace soleguard {
namespace {

namespace fs = std::filesystem;

std::set<int> Descriptors() {
  std::set<int> descriptors;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    descriptors.insert(std::stoi(entry.path().filename()));
  }
  return descriptors;
}

class ObjectWatchTest : public ::testing::Test {
 protected:
  ObjectWatchTest() {
    fs::create_directories(directory_ / "a/b");
    std::ofstream(directory_ / "a/b/file") << "content";
    EXPECT_TRUE(watch_.Arm(alarm_).ok());
  }

  // Whether it has been touched since it was armed.
  bool Touched() { return watch_.Wait(absl::ZeroDuration()); }

  const testing::TempDir directory_;
  const Alarm alarm_{.files = {directory_ / "a/b/file"}, .directories = {}, .hang_ups = {}};
  ObjectWatch watch_;
};

// A release waits for the end of this wait. (Here for an hour.)
TEST(ObjectWatch, AWaitThatNothingCanInterruptEndsByItself) {
  ObjectWatch watch;
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{.rlim_cur = 3, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const absl::Status armed = watch.Arm({});
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_FALSE(armed.ok());
  watch.Interrupt();
  EXPECT_FALSE(watch.Wait(absl::Hours(1)));
  watch.WaitFor({}, absl::Hours(1));
}

// A lease runs out without anybody touching anything.
TEST_F(ObjectWatchTest, TheEndOfALeaseWakes) {
  Alarm alarm = alarm_;
  alarm.AddLapse(BootTime::Now() + absl::Hours(1));
  ASSERT_TRUE(watch_.Arm(alarm).ok());
  EXPECT_FALSE(Touched());
  alarm.AddLapse(BootTime::Now() + absl::Milliseconds(20));
  alarm.AddLapse(BootTime::Now() + absl::Hours(2));
  ASSERT_TRUE(watch_.Arm(alarm).ok());
  EXPECT_TRUE(watch_.Wait(absl::Seconds(30)));
  // It was renewed; then there is none any more.
  alarm.lapse = BootTime::Now() + absl::Hours(1);
  ASSERT_TRUE(watch_.Arm(alarm).ok());
  EXPECT_FALSE(Touched());
  ASSERT_TRUE(watch_.Arm(alarm_).ok());
  EXPECT_FALSE(Touched());
}

TEST_F(ObjectWatchTest, WhateverHappensToTheFileOrItsDirectoriesWakes) {
  const std::vector<std::function<void()>> blows = {
      [&] { std::ofstream(directory_ / "a/b/file") << "other"; },
      [&] { fs::resize_file(directory_ / "a/b/file", 1); },
      [&] { fs::permissions(directory_ / "a/b/file", fs::perms::owner_read); },
      [&] { fs::remove(directory_ / "a/b/file"); },
      [&] { std::ofstream(directory_ / "a/b/file") << "again"; },  // cannot be seen: see below
      [&] {
        std::ofstream(directory_ / "other") << "another file";
        fs::rename(directory_ / "other", directory_ / "a/b/file");
      },
      [&] { fs::rename(directory_ / "a/b/file", directory_ / "a/b/moved"); },
      [&] { fs::rename(directory_ / "a/b/moved", directory_ / "a/b/file"); },
      [&] { fs::rename(directory_ / "a/b", directory_ / "a/c"); },
      [&] { fs::rename(directory_ / "a/c", directory_ / "a/b"); },
      [&] { fs::rename(directory_ / "a", directory_ / "d"); },
  };
  for (std::size_t i = 0; i < blows.size(); ++i) {
    ASSERT_TRUE(watch_.Arm(alarm_).ok());
    ASSERT_FALSE(Touched()) << i;
    blows[i]();
    // What comes to a place where nothing was, or comes back to it, has nobody who watches it: one
    // who looks after it has armed knows that it was not there.
    const bool appears = i == 4 || i == 7 || i == 9;
    EXPECT_TRUE(appears || Touched()) << i;
  }
}

TEST_F(ObjectWatchTest, ArmingForgetsWhatWasBefore) {
  fs::remove(directory_ / "a/b/file");
  EXPECT_TRUE(Touched());
  EXPECT_TRUE(Touched());
  ASSERT_TRUE(watch_.Arm(alarm_).ok());
  EXPECT_FALSE(Touched());
}

TEST_F(ObjectWatchTest, AnInterruptionEndsTheWaitOrTheNextOne) {
  watch_.Interrupt();
  EXPECT_TRUE(watch_.Wait(absl::InfiniteDuration()));
  ASSERT_TRUE(watch_.Arm(alarm_).ok());
  std::thread other([this] { watch_.Interrupt(); });
  EXPECT_TRUE(watch_.Wait(absl::InfiniteDuration()));
  other.join();
  watch_.WaitFor({}, absl::InfiniteDuration());  // it is still there
}

TEST_F(ObjectWatchTest, AHangUpWakes) {
  std::array<int, 2> ends{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const UniqueFd mine(ends[0]);
  UniqueFd theirs(ends[1]);
  ASSERT_TRUE(watch_.Arm({.files = {}, .directories = {}, .hang_ups = {mine.get()}}).ok());
  ASSERT_EQ(write(theirs.get(), "x", 1), 1);
  EXPECT_FALSE(Touched()) << "that something can be read is no alarm";
  theirs.reset();
  EXPECT_TRUE(Touched());
}

TEST_F(ObjectWatchTest, AMountOverADirectoryOnTheWayWakes) {
  const std::string said = testing::InChild([this]() -> std::string {
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      return "skip: needs root and mount namespaces";
    }
    ObjectWatch watch;
    if (!watch.Arm(alarm_).ok()) return "not armed";
    if (watch.Wait(absl::ZeroDuration())) return "touched before";
    if (mount("none", (directory_ / "a").c_str(), "tmpfs", 0, nullptr) != 0) return "skip: mount";
    return watch.Wait(absl::ZeroDuration()) ? "touched" : "not touched";
  });
  if (said.starts_with("skip:")) GTEST_SKIP() << said;
  EXPECT_EQ(said, "touched");
}

TEST_F(ObjectWatchTest, OfAProgramThatClosedItsDescriptorsItOpensItsOwnAnew) {
  EXPECT_EQ(testing::InChild([this]() -> std::string {
              const std::set<int> before = Descriptors();
              ObjectWatch watch;
              if (!watch.Arm(alarm_).ok()) return "not armed";
              for (const int fd : Descriptors()) {
                if (!before.contains(fd)) (void)close(fd);
              }
              if (!watch.Arm(alarm_).ok()) return "not armed again";
              if (watch.Wait(absl::ZeroDuration())) return "touched before";
              fs::remove(directory_ / "a/b/file");
              return watch.Wait(absl::ZeroDuration()) ? "touched" : "not touched";
            }),
            "touched");
}

// What other processes do to a name that somebody holds is no alarm, or each of them would cost the
// holder a look: starts that are refused, standbys that come and go, lookers.
TEST(ObjectWatch, OtherProcessesAtTheNameWakeNobody) {
  const testing::TestScope scope("all(file, mutex, port, scan)");
  Verdict verdict = scope.Acquire();
  ASSERT_TRUE(testing::IsUnique(verdict)) << testing::Say(verdict);
  Alarm alarm;
  for (const std::string& kind : testing::ExclusiveKinds()) {
    // The objects of the one who holds, by the names that each layer's page has.
    alarm.files.push_back(scope.Object("end." + kind));
  }
  for (const char* file : {"lock", "record", "record.port"}) {
    alarm.files.push_back(scope.Object(file));
  }
  alarm.directories.push_back(scope.Object());
  ObjectWatch watch;
  ASSERT_TRUE(watch.Arm(alarm).ok());
  for (int i = 0; i < 5; ++i) {
    testing::Claimant refused(scope.Another(absl::Milliseconds(10)));
    EXPECT_TRUE(refused.duplicate()) << refused.verdict();
    testing::Claimant::Setup waiting = scope.Another();
    waiting.wait = absl::InfiniteDuration();
    testing::Claimant standby(waiting);
    standby.WaitUntilInLine();
    ASSERT_TRUE(
        Inspect(testing::TestScope::kName, *Policy::Parse(scope.policy()), {.scope = scope.scope()})
            .ok());
  }
  EXPECT_FALSE(watch.Wait(absl::ZeroDuration()));
}

}  // namespace
}  // namespace soleguard
