// The hazards that a policy as a whole has to stand, under each kind of policy.
#include <signal.h>
#include <unistd.h>

#include <cctype>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/temp_dir.h"

namespace soleguard {
namespace {

using testing::Child;
using testing::Claimant;

class PoliciesTest : public ::testing::TestWithParam<std::string> {
 protected:
  Claimant::Setup Another() const { return {.scope = directory_.path(), .policy = GetParam()}; }
  std::string Acquire(absl::Duration settle = absl::Milliseconds(50)) const {
    static std::optional<Verdict> verdict;
    verdict.emplace(
        Guard::Acquire("x", *Policy::Parse(GetParam()),
                       {.scope = *Scope::Directory(directory_.path()), .settle = settle}));
    if (std::holds_alternative<Unique>(*verdict)) return "unique";
    return std::holds_alternative<Duplicate>(*verdict) ? "duplicate" : "undetermined";
  }

  const testing::TempDir directory_;
};

INSTANTIATE_TEST_SUITE_P(Policies, PoliciesTest,
                         ::testing::Values("default", "strict", "available",
                                           "any(file, mutex, port)",
                                           "any(all(file, mutex), all(mutex, port))"),
                         [](const auto& tested) {
                           std::string name;
                           for (const char c : tested.param) {
                             if (isalnum(c) != 0) name += c;
                           }
                           return name;
                         });

TEST_P(PoliciesTest, H01_OfManyAtOnceOneIsUniqueAndTheOthersLearnWho) {
  constexpr int kProcesses = 32;
  std::vector<Claimant> claimants;
  Claimant::Setup setup = Another();
  setup.at_barrier = true;
  for (int i = 0; i < kProcesses; ++i) claimants.emplace_back(setup);
  for (Claimant& claimant : claimants) claimant.Go();
  std::string holder;
  for (Claimant& claimant : claimants) {
    if (!claimant.unique()) continue;
    EXPECT_EQ(holder, "") << "a second one";
    holder = absl::StrCat(claimant.pid());
  }
  for (Claimant& claimant : claimants) {
    if (claimant.unique()) continue;
    EXPECT_EQ(claimant.verdict(), absl::StrCat("duplicate ", holder, " established"));
  }
}

TEST_P(PoliciesTest, H05_AStrangerWithTheHoldersPidIsNoHolder) {
  const std::string said = testing::InNewPidNamespace([this]() -> std::string {
    std::string first_said;
    pid_t first = -1;
    {
      const Child holder([this] { return Acquire(); });
      first = holder.pid();
      first_said = holder.answer();
    }
    std::ofstream last("/proc/sys/kernel/ns_last_pid");
    if (!(last << first - 1 << std::flush)) return "skip: needs the right to set ns_last_pid";
    const Child stranger([] { return "runs"; });
    if (stranger.pid() != first) return absl::StrCat("pid ", stranger.pid(), ", not ", first);
    return absl::StrCat(first_said, ", ", Acquire());
  });
  if (absl::StartsWith(said, "skip:")) GTEST_SKIP() << said;
  EXPECT_EQ(said, "unique, unique");
}

TEST_P(PoliciesTest, H06_TwoProcessOnesInTwoPidNamespacesExcludeEachOther) {
  Claimant::Setup setup = Another();
  setup.launcher = {"unshare", "--pid", "--fork", "--mount-proc", "--kill-child"};
  setup.settle = absl::Milliseconds(50);
  if (geteuid() != 0) GTEST_SKIP() << "needs root, for a pid namespace";
  Claimant first(setup);
  ASSERT_TRUE(first.unique()) << first.verdict();
  {
    Claimant second(setup);
    EXPECT_TRUE(second.duplicate()) << second.verdict();
  }
  EXPECT_EQ(Acquire(), "duplicate") << "and so does the host";
  first.program().Signal(SIGKILL);  // of unshare(1), which takes the claimant along
  (void)first.program().Wait();
  Claimant third(setup);
  EXPECT_TRUE(third.unique()) << third.verdict();
}

TEST_P(PoliciesTest, H15_AFrozenHolderIsNamed) {
  Claimant holder(Another());
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  holder.program().Signal(SIGSTOP);
  holder.program().WaitUntilStopped();
  Claimant second(Another());
  EXPECT_EQ(second.verdict(), absl::StrCat("duplicate ", holder.pid(), " established"));
}

TEST_P(PoliciesTest, H27_ARestartRightAfterTheKillOfABigHolderStarts) {
  Claimant holder(Another());
  ASSERT_TRUE(holder.unique());
  ASSERT_EQ(holder.Ask("allocate"), "touched");  // a gigabyte
  holder.program().Signal(SIGKILL);
  Claimant next(Another());
  EXPECT_TRUE(next.unique()) << next.verdict();
}

}  // namespace
}  // namespace soleguard
