// Options::replace: a start that takes the name from the holder that it saw.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <iostream>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "soleguard/options.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/kinds.h"
#include "support/program.h"
#include "support/referee.h"
#include "support/shared.h"
#include "support/stranger.h"
#include "support/test_scope.h"

namespace soleguard {
namespace {

using testing::Child;
using testing::Claimant;
using ::testing::HasSubstr;
using testing::Lives;
using testing::Program;
using testing::Shared;
using ::testing::StartsWith;
using testing::TestScope;

constexpr absl::Duration kPatient = absl::Minutes(1);

class ReplaceTest : public ::testing::Test {
 protected:
  explicit ReplaceTest(std::string policy = "all(file, mutex, port)") : scope_(std::move(policy)) {}

  Claimant Start(const std::vector<std::string>& launcher = {}) const {
    Claimant::Setup setup = scope_.Another();
    setup.launcher = launcher;
    return Claimant(setup);
  }
  Claimant Replacer(absl::Duration grace = kPatient) const {
    Claimant::Setup setup = scope_.Another();
    setup.deadline = kPatient;
    setup.replace = grace;
    return Claimant(setup);
  }
  Options options(absl::Duration grace = kPatient) const {
    return {.scope = scope_.scope(), .settle = absl::Milliseconds(50), .replace = grace};
  }
  // "VERDICT: why not"
  std::string Replace(absl::Duration grace = kPatient) const {
    const Verdict verdict =
        Guard::Acquire(TestScope::kName, *Policy::Parse(scope_.policy()), options(grace));
    const auto* duplicate = std::get_if<Duplicate>(&verdict);
    return absl::StrCat(testing::Say(verdict), ": ",
                        duplicate != nullptr ? absl::string_view(duplicate->not_replaced.message())
                                             : absl::string_view());
  }

  const TestScope scope_;
};

class ReplaceEachTest : public ReplaceTest, public ::testing::WithParamInterface<std::string> {
 protected:
  ReplaceEachTest() : ReplaceTest(GetParam()) {}
};

INSTANTIATE_TEST_SUITE_P(Policies, ReplaceEachTest,
                         ::testing::ValuesIn(testing::EachAnd({testing::AllExclusive(),
                                                               testing::AnyExclusive(),
                                                               "all(file, scan)"})),
                         [](const auto& tested) { return testing::TestNameOf(tested.param); });

TEST_P(ReplaceEachTest, TheHolderIsAskedAndTheNameTaken) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  Claimant replacer = Replacer();
  EXPECT_TRUE(replacer.unique()) << replacer.verdict();
  EXPECT_EQ(holder.program().Wait(), 128 + SIGTERM);
  EXPECT_EQ(replacer.Ask("verify"), "ok");
}

TEST_P(ReplaceEachTest, AFreeNameIsTaken) {
  Claimant replacer = Replacer();
  EXPECT_TRUE(replacer.unique()) << replacer.verdict();
}

TEST_P(ReplaceEachTest, H15_AFrozenHolderIsKilledAfterTheGrace) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique());
  holder.program().Signal(SIGSTOP);
  holder.program().WaitUntilStopped();
  Claimant replacer = Replacer(absl::Milliseconds(50));
  EXPECT_TRUE(replacer.unique()) << replacer.verdict();
  EXPECT_EQ(holder.program().Wait(), 128 + SIGKILL);
}

TEST_P(ReplaceEachTest, ItGoesBeforeStandbysThatWaitLonger) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique());
  Claimant::Setup setup = scope_.Another();
  setup.wait = absl::InfiniteDuration();
  Claimant standby(setup);
  standby.WaitUntilInLine();
  Claimant replacer = Replacer();
  ASSERT_TRUE(replacer.unique()) << replacer.verdict();
  replacer.program().Signal(SIGKILL);
  EXPECT_TRUE(standby.unique()) << standby.verdict();
}

TEST_F(ReplaceTest, C3_WhoIgnoresTheRequestIsKilledAfterTheGrace) {
  Claimant holder = Start({"env", "--ignore-signal=TERM"});
  ASSERT_TRUE(holder.unique());
  Claimant replacer = Replacer(absl::Milliseconds(50));
  EXPECT_TRUE(replacer.unique()) << replacer.verdict();
  EXPECT_EQ(holder.program().Wait(), 128 + SIGKILL);
}

// Both name the same holder; the second is refused by the first.
TEST_F(ReplaceTest, OfTwoThatReplaceAtOnceOneDoesAndTheOtherIsRefusedByIt) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique());
  // It gets the request when both stand in line.
  holder.program().Signal(SIGSTOP);
  holder.program().WaitUntilStopped();
  Claimant first = Replacer();
  first.WaitUntilInLine();
  Claimant second = Replacer();
  second.WaitUntilInLine();
  holder.program().Signal(SIGCONT);
  EXPECT_TRUE(first.unique()) << first.verdict();
  EXPECT_EQ(second.verdict(), absl::StrCat("duplicate ", first.pid(), " established"));
  EXPECT_EQ(first.Ask("verify"), "ok");
}

TEST_F(ReplaceTest, WhoHoldsItInThisVeryProcessIsNotReplaced) {
  const Verdict own = scope_.Acquire();
  ASSERT_TRUE(testing::IsUnique(own));
  EXPECT_EQ(Replace(), absl::StrCat("duplicate ", getpid(),
                                    " established: a process does not replace itself"));
}

TEST_F(ReplaceTest, AForeignLockersProcessIsNotSignalled) {
  (void)scope_.Acquire();  // makes the objects
  Program locker({.argv = {"flock", scope_.Object("lock"), "sh", "-c", "echo ready; exec cat"}});
  ASSERT_EQ(locker.ReadLine(), "ready");
  EXPECT_THAT(Replace(absl::ZeroDuration()), HasSubstr("so nobody was signalled"));
  EXPECT_TRUE(Lives(locker.pid()));
}

const std::vector<std::string> kInAContainer = {"unshare", "--pid", "--fork", "--mount-proc",
                                                "--kill-child"};

TEST_F(ReplaceTest, H06_AHolderInASiblingPidNamespaceIsNotSignalled) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to make a pid namespace";
  Claimant inside = Start(kInAContainer);
  ASSERT_TRUE(inside.unique()) << inside.verdict();
  const std::string said =
      testing::InNewPidNamespace([this] { return Replace(absl::ZeroDuration()); });
  if (said.starts_with("skip:")) GTEST_SKIP() << said;
  EXPECT_THAT(said, StartsWith("duplicate 1 established: "));
  EXPECT_THAT(said, HasSubstr("of another pid namespace"));
  EXPECT_EQ(inside.Ask("verify"), "ok");
}

// From the host every container is seen.
TEST_F(ReplaceTest, H06_TheHostReplacesAHolderInAContainer) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to make a pid namespace";
  Claimant inside = Start(kInAContainer);
  ASSERT_TRUE(inside.unique()) << inside.verdict();
  EXPECT_THAT(Replace(absl::ZeroDuration()), StartsWith("unique "));
  EXPECT_NE(inside.program().Wait(), 0) << "the launcher says that its child was killed";
}

TEST_F(ReplaceTest, WhoHoldsAnotherNameTooIsNotSignalled) {
  const Child holder([this] {
    static Verdict x = scope_.Acquire();
    static Verdict y = Guard::Acquire("y", *Policy::Parse("file"), {.scope = scope_.scope()});
    return testing::IsUnique(x) && testing::IsUnique(y) ? "both" : "refused";
  });
  ASSERT_EQ(holder.answer(), "both");
  EXPECT_THAT(Replace(absl::ZeroDuration()), HasSubstr("holds the name y"));
  EXPECT_TRUE(Lives(holder.pid()));
}

TEST_F(ReplaceTest, AnUnguardedProcessIsNotSignalled) {
  const std::string tag = scope_.path();
  Program unguarded({.argv = {"sh", "-c", "echo ready; exec sleep 60"},
                     .environment = {{"SOLEGUARD_TEST_TAG", tag}}});
  ASSERT_EQ(unguarded.ReadLine(), "ready");
  Claimant::Setup setup = scope_.Another(/*settle=*/absl::ZeroDuration());
  setup.policy = absl::StrCat("all(file, scan(env=\"SOLEGUARD_TEST_TAG=", tag, "\"))");
  setup.replace = absl::ZeroDuration();
  Claimant replacer(setup);
  EXPECT_EQ(replacer.verdict(), absl::StrCat("duplicate ", unguarded.pid(), " unguarded"));
  EXPECT_TRUE(Lives(unguarded.pid()));
}

// As in stop_test.cc: the holder is dead, a child that a raw clone(2) made keeps the claim, and a
// stranger has the pid that the record names.
TEST_F(ReplaceTest, H16_AStrangerWithTheHoldersPidLives) {
  const std::string said = testing::BesideAStranger([this] { return Start(); },
                                                    [this] {
                                                      const std::string replaced =
                                                          Replace(absl::ZeroDuration());
                                                      return replaced.substr(0, replaced.find(' '));
                                                    });
  if (absl::StartsWith(said, "skip:")) GTEST_SKIP() << said;
  EXPECT_EQ(said, "duplicate, the stranger lives, the keeper lives");
}

// ---- under fire

// With what became of the newcomers.
struct Referee : testing::Referee {
  std::atomic<int> refused = 0;
  std::atomic<int> overtook = 0;
  std::atomic<int> undetermined = 0;
};

// A process that tries to start again and again.
class TryingNewcomer {
 public:
  TryingNewcomer(const TestScope& scope, Referee& referee) : pid_(fork()) {
    if (pid_ != 0) return;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (true) {
      const Verdict verdict = scope.Acquire(/*settle=*/kPatient, /*deadline=*/kPatient);
      if (testing::IsUnique(verdict)) {
        ++referee.overtook;
        referee.Enter();
        _exit(0);
      }
      ++(testing::IsDuplicate(verdict) ? referee.refused : referee.undetermined);
    }
  }
  TryingNewcomer(const TryingNewcomer&) = delete;
  TryingNewcomer& operator=(const TryingNewcomer&) = delete;
  ~TryingNewcomer() {
    (void)kill(pid_, SIGKILL);
    (void)waitpid(pid_, nullptr, 0);
  }

 private:
  const pid_t pid_;
};

class ReplaceStorm : public ReplaceEachTest {};

INSTANTIATE_TEST_SUITE_P(Policies, ReplaceStorm,
                         ::testing::ValuesIn(testing::EachAnd({testing::AllExclusive(),
                                                               "all(file, scan)"})),
                         [](const auto& tested) { return testing::TestNameOf(tested.param); });

TEST_P(ReplaceStorm, TwentyInARowAreNeverOvertaken) {
  constexpr int kReplacements = 20;
  constexpr int kNewcomers = 4;
  const Shared<Referee> referee;
  const auto replace = [&] {
    return std::make_unique<Child>([&] {
      static std::optional<Verdict> verdict;
      Options patient = options();
      patient.settle = kPatient;
      patient.deadline = kPatient;
      verdict.emplace(Guard::Acquire(TestScope::kName, *Policy::Parse(scope_.policy()), patient));
      if (testing::IsUnique(*verdict)) referee->Enter();
      return testing::Say(*verdict);
    });
  };
  std::unique_ptr<Child> holder = replace();
  ASSERT_THAT(holder->answer(), StartsWith("unique"));
  std::list<Claimant> standbys;
  for (int i = 0; i < 2; ++i) {
    Claimant::Setup setup = scope_.Another(/*settle=*/kPatient);
    setup.deadline = kPatient;
    setup.wait = absl::InfiniteDuration();
    standbys.emplace_back(setup);
    standbys.back().WaitUntilInLine();
  }
  std::deque<TryingNewcomer> newcomers;
  for (int i = 0; i < kNewcomers; ++i) newcomers.emplace_back(scope_, *referee);

  for (int i = 0; i < kReplacements; ++i) {
    std::unique_ptr<Child> next = replace();
    ASSERT_THAT(next->answer(), StartsWith("unique")) << "replacement " << i;
    EXPECT_FALSE(Lives(holder->pid()));
    holder = std::move(next);
  }
  EXPECT_EQ(referee->entered, kReplacements + 1);
  EXPECT_EQ(referee->overlaps, 0);
  EXPECT_EQ(referee->overtook, 0);
  EXPECT_EQ(referee->undetermined, 0);
  std::cout << kReplacements << " replacements, " << referee->refused << " starts refused, "
            << referee->overtook << " overtook, " << referee->overlaps << " overlaps\n";
}

}  // namespace
}  // namespace soleguard
