// A record that says established refuses for as long as its process lives, whatever the kernel has
// freed; and never longer.
#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "soleguard/inspect.h"
#include "soleguard/layer.h"
#include "support/claimant.h"
#include "support/kinds.h"
#include "support/stranger.h"
#include "support/system_v.h"
#include "support/test_scope.h"

namespace soleguard {
namespace {

using testing::Claimant;
using testing::TestScope;

class H3_InstanceStillLives : public ::testing::TestWithParam<std::string> {
 protected:
  Claimant Start() const { return Claimant(scope_.Another(absl::Milliseconds(50))); }
  // What check says, in the words of a verdict.
  std::string Check() const {
    const auto forecast = soleguard::Check(
        TestScope::kName, *Policy::Parse(scope_.policy()),
        {.scope = scope_.scope(), .settle = absl::Milliseconds(50), .subject = {.unknown = true}});
    if (!forecast.ok()) return forecast.status().ToString();
    if (forecast->decision == Arbiter::Decision::kUnique) return "unique";
    if (forecast->decision == Arbiter::Decision::kUndetermined) return "undetermined";
    return absl::StrCat("duplicate ", forecast->holder->record->identity.pid, " ",
                        std::string(ToString(forecast->holder->standing)));
  }
  // All that the kernel has of the claim is free.
  void Free(Claimant& holder) const {
    ASSERT_EQ(holder.Ask("closefrom"), "closed");
    if (scope_.Asks("mutex")) {
      ASSERT_TRUE(testing::FreeSemaphore(scope_.path(), TestScope::kName));
    }
  }
  std::string Established(const Claimant& holder) const {
    return absl::StrCat("duplicate ", holder.pid(), " established");
  }

  const TestScope scope_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Policies, H3_InstanceStillLives,
                         ::testing::ValuesIn(testing::EachAnd({testing::AllExclusive(),
                                                               testing::AnyExclusive()})),
                         [](const auto& tested) { return testing::TestNameOf(tested.param); });

TEST_P(H3_InstanceStillLives, RunAndCheckAreRefusedUntilItEnds) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  Free(holder);
  EXPECT_EQ(Check(), Established(holder));
  EXPECT_EQ(Start().verdict(), Established(holder));
  holder.Ask("verify");  // it still answers: nobody has signalled it
  holder.program().Signal(SIGKILL);
  (void)holder.program().Wait();
  EXPECT_EQ(Check(), "unique");
  EXPECT_TRUE(Start().unique());
}

TEST_P(H3_InstanceStillLives, ReleasedIsFree) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  Free(holder);
  EXPECT_EQ(holder.Ask("release"), "released");
  EXPECT_EQ(Check(), "unique");
  EXPECT_TRUE(Start().unique());
}

// What was lost and could not be had again is not told by a claim any more.
TEST_P(H3_InstanceStillLives, ReleasedIsFreeAlsoAfterARepair) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  Free(holder);
  (void)holder.Ask("repair");
  EXPECT_EQ(Check(), Established(holder));
  EXPECT_EQ(holder.Ask("release"), "released");
  EXPECT_EQ(Check(), "unique");
  EXPECT_TRUE(Start().unique());
}

TEST_P(H3_InstanceStillLives, AStandbyStartsWhenItEnds) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  Free(holder);
  Claimant::Setup waiting = scope_.Another(absl::Milliseconds(50));
  waiting.wait = absl::Minutes(1);
  Claimant standby(waiting);
  standby.WaitUntilInLine();
  holder.program().Signal(SIGKILL);
  EXPECT_TRUE(standby.unique()) << standby.verdict();
}

// A record that names a live stranger is stale (H05): the pid is another process's by now.
TEST_P(H3_InstanceStillLives, H05_ARecycledPidRefusesNobody) {
  const std::string said = testing::InNewPidNamespace([this]() -> std::string {
    Claimant holder = Start();
    if (!holder.unique()) return holder.verdict();
    const pid_t first = holder.pid();
    holder.program().Signal(SIGKILL);
    (void)holder.program().Wait();
    testing::AwaitNextTick();
    std::ofstream last("/proc/sys/kernel/ns_last_pid");
    if (!(last << first - 1 << std::flush)) return "skip: needs the right to set ns_last_pid";
    const testing::Child stranger([] { return "runs"; });
    if (stranger.pid() != first) return absl::StrCat("skip: pid ", stranger.pid());
    return Check();
  });
  if (said.starts_with("skip:")) GTEST_SKIP() << said;
  EXPECT_EQ(said, "unique");
}

}  // namespace
}  // namespace soleguard
