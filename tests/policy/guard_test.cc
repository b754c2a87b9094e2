// The public call, with real processes on the real file layer.
#include "soleguard/guard.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/beat.h"
#include "soleguard/inspect.h"
#include "soleguard/layer.h"
#include "soleguard/options.h"
#include "soleguard/process.h"
#include "soleguard/verdict_text.h"
#include "support/claimant.h"
#include "support/program.h"
#include "support/temp_dir.h"

namespace soleguard {
namespace {

using testing::Claimant;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

class GuardTest : public ::testing::Test {
 protected:
  Options options() const {
    Options options;
    options.scope = *Scope::Directory(directory_.path());
    options.scope = *options.scope.WithStateDirectory(directory_ / "state");
    return options;
  }
  Verdict Acquire(const std::string& name = "x") { return Guard::Acquire(name, options()); }
  Guard AcquireUnique(const std::string& name = "x") {
    Verdict verdict = Acquire(name);
    if (auto* unique = std::get_if<Unique>(&verdict)) return std::move(unique->guard);
    throw std::runtime_error("not unique");
  }
  Claimant Start() { return Claimant({.scope = directory_.path()}); }
  bool Free() {
    Verdict verdict = Acquire();
    return std::holds_alternative<Unique>(verdict);
  }

  const testing::TempDir directory_;
};

TEST_F(GuardTest, TheFirstIsUniqueAndTheSecondLearnsWhoHasTheName) {
  Claimant first = Start();
  ASSERT_TRUE(first.unique()) << first.verdict();
  const Verdict verdict = Acquire();
  const auto* duplicate = std::get_if<Duplicate>(&verdict);
  ASSERT_NE(duplicate, nullptr);
  EXPECT_EQ(duplicate->holder.standing, Standing::kEstablished);
  ASSERT_TRUE(duplicate->holder.record.has_value());
  const HolderRecord& record = *duplicate->holder.record;
  EXPECT_EQ(record.identity, *IdentityOf(first.pid()));
  EXPECT_EQ(record.name, "x");
  EXPECT_EQ(record.token, first.token());
  EXPECT_THAT(record.executable, HasSubstr("claimant"));
  EXPECT_EQ(record.working_directory, "/");
  EXPECT_EQ(record.policy, Policy::Default().ToString());
  ASSERT_EQ(duplicate->layers.size(), 1U);
  EXPECT_EQ(duplicate->layers[0].outcome, LayerReport::Outcome::kContested);
}

TEST_F(GuardTest, AnInvalidNameIsUndeterminedAndTouchesNothing) {
  for (const std::string name : {"", ".", "..", "a/b", "a\nb"}) {
    const Verdict verdict = Guard::Acquire(name, options());
    const auto* undetermined = std::get_if<Undetermined>(&verdict);
    ASSERT_NE(undetermined, nullptr) << name;
    EXPECT_TRUE(absl::IsInvalidArgument(undetermined->status)) << undetermined->status;
  }
  EXPECT_FALSE(std::filesystem::exists(directory_ / "names"));
}

TEST_F(GuardTest, AScopeThatCannotBeUsedIsUndeterminedWithTheLayersReason) {
  Options elsewhere = options();
  elsewhere.scope = *Scope::Directory(directory_ / "no/such/directory");
  const Verdict verdict = Guard::Acquire("x", elsewhere);
  const auto* undetermined = std::get_if<Undetermined>(&verdict);
  ASSERT_NE(undetermined, nullptr);
  EXPECT_THAT(std::string(undetermined->status.message()), HasSubstr("no/such/directory"));
  ASSERT_EQ(undetermined->layers.size(), Policy::Default().layers().size());
  EXPECT_EQ(undetermined->layers[0].outcome, LayerReport::Outcome::kUnavailable);
}

TEST_F(GuardTest, NamesAndScopesAreIndependent) {
  const testing::TempDir other;
  const Guard a = AcquireUnique("a");
  const Guard b = AcquireUnique("b");
  Options there = options();
  there.scope = *Scope::Directory(other.path());
  Verdict verdict = Guard::Acquire("a", there);
  EXPECT_TRUE(std::holds_alternative<Unique>(verdict));
}

TEST_F(GuardTest, ASecondGuardInTheSameProcessIsADuplicate) {
  Guard guard = AcquireUnique();
  const Verdict verdict = Acquire();
  const auto* duplicate = std::get_if<Duplicate>(&verdict);
  ASSERT_NE(duplicate, nullptr);
  EXPECT_EQ(duplicate->holder.record->identity, *OwnIdentity());
  EXPECT_EQ(duplicate->holder.record->token, guard.token());
  EXPECT_TRUE(guard.Verify().ok()) << "the second one's end must not drop the first one's locks";
  guard.Release();
  EXPECT_TRUE(Free());
}

TEST_F(GuardTest, OfManyThreadsExactlyOneIsUniqueAndNoneIsUndetermined) {
  constexpr int kThreads = 16;
  std::atomic<int> unique = 0;
  std::atomic<int> duplicate = 0;
  std::atomic<bool> go = false;
  std::vector<Verdict> verdicts;
  for (int i = 0; i < kThreads; ++i) verdicts.emplace_back(Undetermined{});
  std::vector<std::thread> threads;
  for (Verdict& verdict : verdicts) {
    threads.emplace_back([&] {
      go.wait(false);
      verdict = Acquire();
      if (std::holds_alternative<Unique>(verdict)) ++unique;
      if (std::holds_alternative<Duplicate>(verdict)) ++duplicate;
    });
  }
  go = true;
  go.notify_all();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(unique, 1);
  EXPECT_EQ(duplicate, kThreads - 1);
}

TEST_F(GuardTest, ReleaseDestructionAndMoveEndTheClaimOnce) {
  {
    Guard guard = AcquireUnique();
    guard.Release();
    EXPECT_TRUE(absl::IsFailedPrecondition(guard.Verify()));
    EXPECT_TRUE(Free());
    guard.Release();
  }
  {
    const Guard guard = AcquireUnique();
    EXPECT_FALSE(Free());
  }
  EXPECT_TRUE(Free());

  Guard first = AcquireUnique();
  Guard second = std::move(first);
  EXPECT_TRUE(second.Verify().ok());
  EXPECT_FALSE(Free());
  second = AcquireUnique("y");  // what it had is released
  EXPECT_TRUE(Free());
}

TEST_F(GuardTest, AReleasedGuardDoesNothingAndSaysSo) {
  Guard guard = AcquireUnique();
  guard.Release();
  const std::string pid_file = directory_ / "pid";
  EXPECT_THAT(guard.Verify().ToString(), HasSubstr("was released"));
  EXPECT_THAT(guard.ShareWithChild().status().ToString(), HasSubstr("was released"));
  EXPECT_THAT(guard.Follow(*OwnIdentity()).ToString(), HasSubstr("was released"));
  EXPECT_THAT(guard.KeepOverExec().ToString(), HasSubstr("was released"));
  EXPECT_THAT(guard.WriteSideFiles({.pid_file = pid_file, .info_file = ""}).ToString(),
              HasSubstr("was released"));
  EXPECT_FALSE(std::filesystem::exists(pid_file));
  EXPECT_THAT(guard.Watch([](const Incident&) {}).ToString(), HasSubstr("was released"));
  EXPECT_THAT(guard.Receive([](const Sender&, const Message&) { return Answer{}; }).ToString(),
              HasSubstr("was released"));
  EXPECT_TRUE(guard.Repair().empty());
}

TEST_F(GuardTest, ReleasedByExitAndBySigkill) {
  Claimant first = Start();
  ASSERT_TRUE(first.unique());
  first.program().CloseInput();  // it returns from main with its Guard alive
  EXPECT_EQ(first.program().Wait(), 0);

  Claimant second = Start();
  ASSERT_TRUE(second.unique()) << second.verdict();
  second.program().Signal(SIGKILL);
  EXPECT_EQ(second.program().Wait(), 128 + SIGKILL);
  EXPECT_TRUE(Free());
}

TEST_F(GuardTest, APredecessorIsNamedAfterASigkillButNotAfterARelease) {
  Claimant killed = Start();
  ASSERT_TRUE(killed.unique());
  const ProcessIdentity identity = *IdentityOf(killed.pid());
  killed.program().Signal(SIGKILL);
  (void)killed.program().Wait();
  {
    const Guard guard = AcquireUnique();
    ASSERT_TRUE(guard.predecessor().has_value());
    EXPECT_EQ(guard.predecessor()->identity, identity);
    EXPECT_EQ(guard.predecessor()->token, killed.token());
    EXPECT_GT(*guard.token(), killed.token());
  }
  EXPECT_FALSE(AcquireUnique().predecessor().has_value());
}

TEST_F(GuardTest, OneThatEndedInOrderIsNoPredecessor) {
  Claimant released = Start();
  ASSERT_TRUE(released.unique());
  EXPECT_EQ(released.Ask("release"), "released");
  released.program().CloseInput();
  EXPECT_EQ(released.program().Wait(), 0);
  EXPECT_FALSE(AcquireUnique().predecessor().has_value());
  Claimant returned = Start();
  ASSERT_TRUE(returned.unique());
  returned.program().CloseInput();  // it returns from main with its Guard alive
  EXPECT_EQ(returned.program().Wait(), 0);
  EXPECT_FALSE(AcquireUnique().predecessor().has_value());
}

TEST_F(GuardTest, TokensGrowFromHolderToHolder) {
  std::uint64_t last = 0;
  for (int i = 0; i < 50; ++i) {
    const Guard guard = AcquireUnique();
    ASSERT_TRUE(guard.token().has_value());
    EXPECT_GT(*guard.token(), last);
    EXPECT_TRUE(guard.token_is_durable());
    last = *guard.token();
  }
}

TEST_F(GuardTest, D4_WhoIsRefusedIsToldOfTheLastBeat) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  EXPECT_EQ(std::get<Duplicate>(Acquire()).holder.beat, std::nullopt);
  ASSERT_EQ(holder.Ask("beat"), "beats");
  const Verdict verdict = Acquire();
  const std::optional<Beat>& beat = std::get<Duplicate>(verdict).holder.beat;
  ASSERT_TRUE(beat.has_value());
  EXPECT_EQ(beat->every, absl::Seconds(10));
  EXPECT_THAT(ToString(verdict), HasSubstr(" ago (expected every 10s)\n"));
  EXPECT_TRUE(Inspect("x", Policy::Default(), options())->holder()->beat.has_value());
  EXPECT_TRUE(Check("x", Policy::Default(), options())->holder->beat.has_value());
  // The next holder has given none.
  holder.program().Signal(SIGKILL);
  const Guard next = AcquireUnique();
  EXPECT_FALSE(Inspect("x", Policy::Default(), options())->holder()->beat.has_value());
}

// Runs `body` in a forked child, which ends without destructors; gives what it returned.
template <typename Body>
int InChild(Body body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(GuardTest, H10_AForkedChildsCopyHoldsNothingReleasesNothingAndIsRefused) {
  Guard guard = AcquireUnique();
  EXPECT_EQ(InChild([&] {
              if (!absl::IsFailedPrecondition(guard.Verify())) return 1;
              guard.Release();
              const Guard moved = std::move(guard);
              Verdict verdict = Acquire();
              return std::holds_alternative<Duplicate>(verdict) ? 0 : 2;
            }),
            0);
  EXPECT_TRUE(guard.Verify().ok()) << guard.Verify();
  EXPECT_FALSE(Free());
}

TEST_F(GuardTest, H10_AForkedChildMayAcquireOnceItsParentHasReleased) {
  Guard guard = AcquireUnique();
  std::array<int, 2> released{};
  ASSERT_EQ(pipe2(released.data(), O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(released[1]);
    char byte = 0;
    (void)!read(released[0], &byte, 1);  // ends when the parent closes its end
    _exit(Free() ? 0 : 1);
  }
  close(released[0]);
  guard.Release();
  close(released[1]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(GuardTest, H33_VerifyInADaemonisedChildSaysNotTheOwner) {
  Guard guard = AcquireUnique();
  std::array<int, 2> said{};
  ASSERT_EQ(pipe2(said.data(), O_CLOEXEC), 0);
  EXPECT_EQ(InChild([&] {
              if (daemon(1, 1) != 0) return 1;
              const std::string text = guard.Verify().ToString();
              (void)!write(said[1], text.data(), text.size());
              return 0;
            }),
            0);
  close(said[1]);
  std::array<char, 256> text{};
  ASSERT_GT(read(said[0], text.data(), text.size() - 1), 0);
  close(said[0]);
  EXPECT_THAT(text.data(), HasSubstr("not the owner"));
  EXPECT_TRUE(guard.Verify().ok());
}

// A process with the name that hands it on to a child and tells the child's pid.
class SharingHolder {
 public:
  explicit SharingHolder(const Options& options, bool release) {
    std::array<int, 2> pids{};
    if (pipe2(pids.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    holder_ = fork();
    if (holder_ == 0) Hold(options, release, pids[1]);
    close(pids[1]);
    if (read(pids[0], &child_, sizeof child_) != sizeof child_)
      throw std::runtime_error("no child");
    close(pids[0]);
  }
  SharingHolder(const SharingHolder&) = delete;
  SharingHolder& operator=(const SharingHolder&) = delete;
  ~SharingHolder() {
    Kill(holder_);
    // The child is not this process's to wait for: its end is seen on the name.
    if (child_ > 0) (void)kill(child_, SIGKILL);
  }
  void KillHolder() { Kill(std::exchange(holder_, -1)); }
  pid_t holder() const { return holder_; }
  pid_t child() const { return child_; }

 private:
  static void Kill(pid_t pid) {
    if (pid <= 0) return;
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, nullptr, 0);
  }

  [[noreturn]] static void Hold(const Options& options, bool release, int tell) {
    Verdict verdict = Guard::Acquire("x", options);
    Guard guard = std::move(std::get<Unique>(verdict).guard);
    auto claim = guard.ShareWithChild();
    if (!claim.ok()) _exit(2);
    const pid_t child = fork();
    if (child == 0) {
      for (const UniqueFd& fd : *claim) (void)fcntl(fd.get(), F_SETFD, 0);
      execlp("sleep", "sleep", "60", nullptr);
      _exit(127);
    }
    if (!guard.Follow(*IdentityOf(child)).ok()) _exit(3);
    claim->clear();
    if (release) guard.Release();
    (void)!write(tell, &child, sizeof child);
    while (true) pause();
  }

  pid_t holder_ = -1;
  pid_t child_ = -1;
};

TEST_F(GuardTest, H11_WhatNoLayerCanHandOnIsNotHandedOn) {
  Verdict verdict = Guard::Acquire("x", *Policy::Parse("mutex"), options());
  Guard& guard = std::get<Unique>(verdict).guard;
  const absl::Status shared = guard.ShareWithChild().status();
  EXPECT_TRUE(absl::IsFailedPrecondition(shared)) << shared;
  EXPECT_THAT(std::string(shared.message()), HasSubstr("set hand_on"));
}

TEST_F(GuardTest, H11_AClaimThatWasHandedOnLivesUntilTheChildEnds) {
  SharingHolder holder(options(), /*release=*/false);
  Options impatient = options();
  impatient.settle = absl::Milliseconds(20);
  {
    const Verdict verdict = Guard::Acquire("x", impatient);
    const auto* duplicate = std::get_if<Duplicate>(&verdict);
    ASSERT_NE(duplicate, nullptr);
    EXPECT_EQ(duplicate->holder.record->identity.pid, holder.holder());
    EXPECT_EQ(duplicate->holder.record->instance->pid, holder.child());
  }
  const ProcessIdentity child = *IdentityOf(holder.child());
  holder.KillHolder();
  {
    const Verdict verdict = Guard::Acquire("x", impatient);
    const auto* duplicate = std::get_if<Duplicate>(&verdict);
    ASSERT_NE(duplicate, nullptr) << "the child still runs";
    EXPECT_EQ(duplicate->holder.standing, Standing::kEstablished);
    EXPECT_EQ(duplicate->holder.record->instance, child);
  }
  absl::StatusOr<UniqueFd> ended = OpenPidfd(child);
  ASSERT_TRUE(ended.ok());
  ASSERT_EQ(kill(holder.child(), SIGKILL), 0);
  const std::vector<UniqueFd> wait = [&] {
    std::vector<UniqueFd> fds;
    fds.push_back(*std::move(ended));
    return fds;
  }();
  ASSERT_TRUE(WaitForAny(wait, absl::Seconds(30)));
  EXPECT_TRUE(Free());
}

TEST_F(GuardTest, ReleaseAfterFollowLeavesTheNameWithTheChild) {
  const SharingHolder holder(options(), /*release=*/true);
  const Verdict verdict = Acquire();
  const auto* duplicate = std::get_if<Duplicate>(&verdict);
  ASSERT_NE(duplicate, nullptr);
  EXPECT_EQ(duplicate->holder.standing, Standing::kEstablished);
  EXPECT_EQ(duplicate->holder.record->identity.pid, holder.child());
}

TEST_F(GuardTest, ReleaseAfterFollowLeavesThePidFileWithTheChild) {
  const testing::Program child({.argv = {"sleep", "60"}});
  const std::string pid_file = directory_ / "pid";
  const std::string info_file = directory_ / "info";
  {
    Guard guard = AcquireUnique();
    ASSERT_TRUE(guard.WriteSideFiles({.pid_file = pid_file, .info_file = info_file}).ok());
    ASSERT_TRUE(guard.Follow(*IdentityOf(child.pid())).ok());
  }
  pid_t said = 0;
  std::ifstream(pid_file) >> said;
  EXPECT_EQ(said, child.pid());
  EXPECT_TRUE(std::filesystem::exists(info_file));
}

TEST_F(GuardTest, ReleaseAfterTheChildsEndLeavesNothingOfIt) {
  const std::string pid_file = directory_ / "pid";
  {
    testing::Program child({.argv = {"cat"}});
    Guard guard = AcquireUnique();
    ASSERT_TRUE(guard.WriteSideFiles({.pid_file = pid_file, .info_file = ""}).ok());
    ASSERT_TRUE(guard.Follow(*IdentityOf(child.pid())).ok());
    child.CloseInput();
    EXPECT_EQ(child.Wait(), 0);
  }
  EXPECT_FALSE(std::filesystem::exists(pid_file)) << "its pid may be another's by now";
  EXPECT_FALSE(AcquireUnique().predecessor().has_value()) << "it was released";
}

TEST_F(GuardTest, KeepOverExecHoldsTheNameForTheNextProgram) {
  std::array<int, 2> input{};
  ASSERT_EQ(pipe2(input.data(), O_CLOEXEC), 0);
  const pid_t holder = fork();
  if (holder == 0) {
    Guard guard = AcquireUnique();
    if (!guard.KeepOverExec().ok()) _exit(1);
    (void)dup2(input[0], STDIN_FILENO);
    execlp("cat", "cat", nullptr);  // ends at the end of its input
    _exit(127);
  }
  close(input[0]);
  // Until the program has been replaced the pid's executable is this test.
  const ProcessIdentity identity = *IdentityOf(holder);
  while (Describe(identity)->executable == Describe(*OwnIdentity())->executable) {
  }
  const Verdict verdict = Acquire();
  const auto* duplicate = std::get_if<Duplicate>(&verdict);
  ASSERT_NE(duplicate, nullptr);
  EXPECT_EQ(duplicate->holder.standing, Standing::kEstablished);
  EXPECT_EQ(duplicate->holder.record->identity, identity);
  close(input[1]);
  int status = 0;
  ASSERT_EQ(waitpid(holder, &status, 0), holder);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(Free());
}

TEST_F(GuardTest, H31_AProgramThatClosedAllDescriptorsHasLostItsClaimAndIsToldSo) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique());
  EXPECT_EQ(holder.Ask("verify"), "ok");
  EXPECT_EQ(holder.Ask("closefrom"), "closed");
  EXPECT_THAT(holder.Ask("verify"), HasSubstr("closed the descriptor"));
  EXPECT_EQ(holder.Ask("release"), "released");
}

TEST_F(GuardTest, H01_OfManyProcessesFromABarrierExactlyOneIsUniqueInEachRound) {
  constexpr int kProcesses = 24;
  for (int round = 0; round < 4; ++round) {
    std::vector<Claimant> claimants;
    for (int i = 0; i < kProcesses; ++i) {
      claimants.emplace_back(Claimant::Setup{.scope = directory_.path(), .at_barrier = true});
    }
    for (Claimant& claimant : claimants) claimant.Go();
    int unique = 0;
    for (Claimant& claimant : claimants) {
      if (claimant.unique()) ++unique;
      EXPECT_TRUE(claimant.unique() || claimant.duplicate()) << claimant.verdict();
    }
    EXPECT_EQ(unique, 1) << "round " << round;
  }
}

TEST_F(GuardTest, InspectShowsTheHolderAndCreatesNothing) {
  const Policy policy = Policy::Default();
  {
    const auto inspection = Inspect("x", policy, options());
    ASSERT_TRUE(inspection.ok());
    EXPECT_EQ(inspection->holder(), nullptr);
    EXPECT_FALSE(inspection->blind());
    EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
  }
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique());
  const auto inspection = Inspect("x", policy, options());
  ASSERT_TRUE(inspection.ok());
  ASSERT_NE(inspection->holder(), nullptr);
  EXPECT_EQ(inspection->holder()->record->identity.pid, holder.pid());
  EXPECT_FALSE(Inspect("a/b", policy, options()).ok());
}

TEST_F(GuardTest, VerifyNamesWhatWasLost) {
  const Guard guard = AcquireUnique();
  EXPECT_TRUE(guard.Verify().ok());
  const std::string lock = directory_ / "names/x/lock";
  ASSERT_TRUE(std::filesystem::remove(lock));
  EXPECT_TRUE(absl::IsDataLoss(guard.Verify()));
  EXPECT_THAT(guard.Verify().ToString(), HasSubstr(lock));
}

}  // namespace
}  // namespace soleguard
