// OwnChildren and EndOwnDescendants: exactly what descends from a process, at once, in whichever
// pid namespace, and whichever one /proc shows.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/process.h"
#include "support/child.h"

namespace soleguard {
namespace {

using testing::InChild;

[[noreturn]] void Idle() {
  (void)alarm(120);  // does not outlive a test that failed for long
  while (true) (void)pause();
}

pid_t ForkIdle() {
  const pid_t child = fork();
  if (child == 0) Idle();
  return child;
}

// A pipe whose reader sees the end when every process that had the other end is gone.
class Census {
 public:
  Census() { (void)pipe2(ends_.data(), O_CLOEXEC); }
  // All that shall be there are: each writes one byte.
  void Enter() const { (void)!write(ends_[1], "x", 1); }
  bool HasEntered(int count) const {
    for (char byte = 0; count > 0; --count) {
      if (read(ends_[0], &byte, 1) != 1) return false;
    }
    return true;
  }
  // Blocks until nobody but the caller has it any more.
  bool IsEmpty() {
    (void)close(ends_[1]);
    char byte = 0;
    return read(ends_[0], &byte, 1) == 0;
  }

 private:
  std::array<int, 2> ends_ = {};
};

// Each is the parent of the next.
void ForkChain(int depth, const Census& census) {
  if (depth == 0 || fork() != 0) return;
  ForkChain(depth - 1, census);
  census.Enter();
  Idle();
}

std::string EndAndMeasure(Census& census) {
  const auto begin = std::chrono::steady_clock::now();
  EndOwnDescendants();
  const auto took = std::chrono::steady_clock::now() - begin;
  const bool none = waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD;
  if (!none || !census.IsEmpty()) return "somebody is left";
  return absl::StrCat(std::chrono::duration_cast<std::chrono::milliseconds>(took).count(), " ms");
}

TEST(EndOwnDescendants, H11_ADeepTreeEndsAtOnce) {
  constexpr int kDepth = 50;
  const std::string took = InChild([] {
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    Census census;
    ForkChain(kDepth, census);
    return census.HasEntered(kDepth) ? EndAndMeasure(census) : "not forked";
  });
  EXPECT_THAT(took, ::testing::EndsWith(" ms"));
  RecordProperty("took", took);
  std::cout << "a chain of " << kDepth << " processes: " << took << std::endl;
}

TEST(EndOwnDescendants, H11_ManyChildrenEndAtOnce) {
  constexpr int kCount = 500;
  const std::string took = InChild([] {
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    Census census;
    for (int i = 0; i < kCount; ++i) ForkChain(1, census);
    return census.HasEntered(kCount) ? EndAndMeasure(census) : "not forked";
  });
  EXPECT_THAT(took, ::testing::EndsWith(" ms"));
  std::cout << kCount << " children: " << took << std::endl;
}

// A process that goes on forking, each child of another parent.
TEST(EndOwnDescendants, H11_WhatForksMeanwhileEndsToo) {
  for (int i = 0; i < 20; ++i) {
    const std::string took = InChild([] {
      (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
      Census census;
      if (fork() == 0) {
        census.Enter();
        while (true) {
          if (fork() != 0) _exit(0);
        }
      }
      return census.HasEntered(1) ? EndAndMeasure(census) : "not forked";
    });
    ASSERT_THAT(took, ::testing::EndsWith(" ms"));
  }
}

// Each number is tried then, for each generation: seconds beside load.
TEST(EndOwnDescendants, WithoutADescriptorItEndsThemAllTheSame) {
  EXPECT_THAT(InChild([] {
                (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
                Census census;
                ForkChain(1, census);
                if (!census.HasEntered(1)) return std::string("not forked");
                const rlimit none = {.rlim_cur = 0, .rlim_max = 0};
                (void)setrlimit(RLIMIT_NOFILE, &none);
                return EndAndMeasure(census);
              }),
              ::testing::EndsWith(" ms"));
}

// In a new pid namespace, with the /proc of the one above.
std::string BelowAForeignProc(const std::function<std::string()>& body) {
  return InChild([&]() -> std::string {
    if (unshare(CLONE_NEWPID) != 0) return "skip: needs root to make a pid namespace";
    std::array<int, 2> ends = {};
    (void)pipe2(ends.data(), O_CLOEXEC);
    const pid_t init = fork();
    if (init == 0) {
      (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
      const std::string answer = body();
      (void)!write(ends[1], answer.data(), answer.size());
      _exit(0);
    }
    (void)close(ends[1]);
    std::string answer(1000, '\0');
    answer.resize(static_cast<std::size_t>(
        std::max<ssize_t>(read(ends[0], answer.data(), answer.size()), 0)));
    (void)waitpid(init, nullptr, 0);
    return answer;
  });
}

TEST(OwnChildren, P1_ForeignProc_ChildrenHaveTheNumbersThatCountHere) {
  const std::string said = BelowAForeignProc([]() -> std::string {
    const pid_t first = ForkIdle();
    const pid_t second = ForkIdle();
    const bool right = OwnChildren() == std::vector<std::int64_t>{first, second};
    const auto identity = IdentityOf(second);
    if (!right || !identity.ok() || identity->pid != second) return "wrong numbers";
    EndOwnDescendants();
    return OwnChildren().empty() ? "ended" : "left";
  });
  if (said.starts_with("skip:")) GTEST_SKIP() << said;
  EXPECT_EQ(said, "ended");
}

// A stranger of the inner namespace has the number that a descendant has in the /proc outside.
TEST(EndOwnDescendants, P1b_ForeignProcKillsNoStrangers) {
  const std::string said = BelowAForeignProc([]() -> std::string {
    std::array<int, 2> number = {};
    std::array<int, 2> go = {};
    std::array<int, 2> done = {};
    for (auto* ends : {&number, &go, &done}) (void)pipe2(ends->data(), O_CLOEXEC);
    const pid_t guardian = fork();
    if (guardian == 0) {
      (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
      (void)ForkIdle();
      std::ifstream children(absl::StrCat("/proc/self/task/") + [] {
        std::array<char, 64> link = {};
        const ssize_t size = readlink("/proc/self", link.data(), link.size());
        return std::string(link.data(), static_cast<std::size_t>(size));
      }() + "/children");
      pid_t outer = 0;
      children >> outer;
      (void)!write(number[1], &outer, sizeof outer);
      char byte = 0;
      (void)!read(go[0], &byte, 1);
      EndOwnDescendants();
      (void)!write(done[1], "x", 1);
      _exit(0);
    }
    pid_t outer = 0;
    (void)!read(number[0], &outer, sizeof outer);
    std::ofstream last("/proc/sys/kernel/ns_last_pid");
    if (outer == 0 || !(last << outer - 1 << std::flush)) {
      return "skip: needs the right to set ns_last_pid";
    }
    const pid_t stranger = ForkIdle();
    if (stranger != outer) return absl::StrCat("skip: ", stranger, " is not ", outer);
    (void)!write(go[1], "x", 1);
    char byte = 0;
    (void)!read(done[0], &byte, 1);
    const bool lives = waitpid(stranger, nullptr, WNOHANG) == 0;
    (void)kill(stranger, SIGKILL);
    return lives ? "lives" : "was killed";
  });
  if (said.starts_with("skip:")) GTEST_SKIP() << said;
  EXPECT_EQ(said, "lives");
}

TEST(IdentityHere, H06_AProcessInANamespaceBelowIsFound) {
  std::array<int, 2> ends = {};
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  if (geteuid() != 0) GTEST_SKIP() << "needs root to make a pid namespace";
  const testing::Child inside([&]() -> std::string {
    if (unshare(CLONE_NEWPID) != 0) return "skip";
    const pid_t init = fork();
    if (init != 0) return absl::StrCat(init);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);  // process 1 of a namespace does not end of an alarm
    const auto own = OwnIdentity();
    const std::uint64_t space = own.ok() ? own->pid_namespace : 0;
    (void)!write(ends[1], &space, sizeof space);
    closefrom(3);  // the answer of its parent has its end once this does not have the pipe any more
    Idle();
  });
  if (inside.answer() == "skip") GTEST_SKIP() << "a pid namespace cannot be made";
  std::uint64_t space = 0;
  ASSERT_EQ(read(ends[0], &space, sizeof space), static_cast<ssize_t>(sizeof space));
  const ProcessIdentity here = *IdentityOf(std::stoi(inside.answer()));
  ProcessIdentity there = here;  // as the process says it of itself
  there.pid_namespace = space;
  there.pid = 1;
  const auto found = IdentityHere(there);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(*found, here);
  EXPECT_EQ(LivenessOf(there), Liveness::kAlive);
  // A later owner of the number, and another namespace, are somebody else. That there is none can
  // be told from the initial namespace only, from where every process is seen.
  constexpr std::uint64_t kInitialPidNamespace = 4026531836;
  const bool sees_all = here.pid_namespace == kInitialPidNamespace;
  const auto none = sees_all ? absl::StatusCode::kNotFound : absl::StatusCode::kFailedPrecondition;
  const Liveness not_there = sees_all ? Liveness::kGone : Liveness::kUnknown;
  ProcessIdentity later = there;
  ++later.start_ticks;
  EXPECT_EQ(IdentityHere(later).status().code(), none);
  EXPECT_EQ(LivenessOf(later), not_there);
  ProcessIdentity elsewhere = there;
  ++elsewhere.pid_namespace;
  EXPECT_EQ(IdentityHere(elsewhere).status().code(), none);
  EXPECT_EQ(LivenessOf(elsewhere), not_there);
  // The initial namespace is above any other, and not seen from below.
  if (!sees_all) {
    elsewhere.pid_namespace = kInitialPidNamespace;
    EXPECT_TRUE(absl::IsFailedPrecondition(IdentityHere(elsewhere).status()));
  }
  ASSERT_TRUE(SendSignal(there, SIGKILL).ok());
  auto ended = OpenPidfd(here);
  if (ended.ok()) (void)WaitForAny({&*ended, 1}, absl::InfiniteDuration());
  EXPECT_NE(LivenessOf(there), Liveness::kAlive);
}

}  // namespace
}  // namespace soleguard
