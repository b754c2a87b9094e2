// What a start and its Guard note in the history of the name; and that nothing depends on it.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/time/time.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "soleguard/history.h"
#include "soleguard/name.h"
#include "soleguard/options.h"
#include "soleguard/process.h"
#include "soleguard/stop.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/gate.h"
#include "support/shared.h"
#include "support/test_scope.h"

namespace soleguard {
namespace {

using Kind = HistoryEvent::Kind;
using testing::Claimant;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::IsDuplicate;
using testing::IsUnique;
using testing::Say;
using ::testing::SizeIs;
using testing::TestScope;

class HistorianTest : public ::testing::Test {
 protected:
  std::vector<HistoryEvent> Events() const {
    const absl::StatusOr<History> history = ReadHistory(scope_.scope(), name_);
    if (!history.ok()) return {};
    EXPECT_EQ(history->unreadable, 0U);
    return history->events;
  }
  std::vector<Kind> Kinds() const {
    std::vector<Kind> kinds;
    for (const HistoryEvent& event : Events()) kinds.push_back(event.kind);
    return kinds;
  }
  std::optional<HistoryEvent> Last(Kind kind) const {
    std::optional<HistoryEvent> last;
    for (const HistoryEvent& event : Events()) {
      if (event.kind == kind) last = event;
    }
    EXPECT_TRUE(last.has_value()) << ToString(kind);
    return last.value_or(HistoryEvent{});
  }

  const TestScope scope_{"file"};
  const InstanceName name_ = *InstanceName::Parse(TestScope::kName);
};

TEST_F(HistorianTest, AStartAndItsReleaseAreNoted) {
  std::uint64_t token = 0;
  {
    const Verdict verdict = scope_.Acquire();
    ASSERT_TRUE(IsUnique(verdict)) << Say(verdict);
    token = std::get<Unique>(verdict).guard.token().value_or(0);
    EXPECT_THAT(Kinds(), ElementsAre(Kind::kHeld)) << "before the verdict is told";
  }
  const std::vector<HistoryEvent> events = Events();
  ASSERT_THAT(Kinds(), ElementsAre(Kind::kHeld, Kind::kReleased));
  for (const HistoryEvent& event : events) {
    EXPECT_EQ(event.who.pid, getpid());
    EXPECT_EQ(event.who.token, token);
    EXPECT_EQ(event.who.user, UserName(geteuid()));
    EXPECT_THAT(event.who.command, HasSubstr("history_test"));
    EXPECT_FALSE(event.by.has_value() || event.waited.has_value() || event.exit_code.has_value());
  }
}

TEST_F(HistorianTest, ARefusedStartIsNotedWithWhoRefusedIt) {
  Claimant holder(scope_.Another());
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  ASSERT_TRUE(IsDuplicate(scope_.Acquire()));
  const HistoryEvent refused = *Last(Kind::kRefused);
  EXPECT_EQ(refused.who.pid, getpid());
  EXPECT_EQ(refused.who.token, 0U);
  ASSERT_TRUE(refused.by.has_value());
  EXPECT_EQ(refused.by->pid, holder.pid());
  EXPECT_EQ(refused.by->token, holder.token());
  EXPECT_THAT(refused.by->command, HasSubstr("claimant"));
}

// Within one process, too.
TEST_F(HistorianTest, ASecondGuardOfOneProcessIsARefusedStart) {
  const Verdict first = scope_.Acquire();
  ASSERT_TRUE(IsUnique(first));
  ASSERT_TRUE(IsDuplicate(scope_.Acquire()));
  EXPECT_EQ(Last(Kind::kRefused)->by->pid, getpid());
}

TEST_F(HistorianTest, AStartThatCannotTellIsNotedWithTheReason) {
  std::filesystem::create_directories(scope_.path());
  std::ofstream{scope_.path() + "/names"} << "in the way";
  ASSERT_THAT(Say(scope_.Acquire()), ::testing::StartsWith("undetermined"));
  EXPECT_THAT(Last(Kind::kUndetermined)->detail, HasSubstr("/names"));
}

TEST_F(HistorianTest, H08_AHolderThatDiedIsNotedByItsSuccessor) {
  Claimant killed(scope_.Another());
  ASSERT_TRUE(killed.unique()) << killed.verdict();
  killed.program().Signal(SIGKILL);
  (void)killed.program().Wait();
  const Verdict verdict = scope_.Acquire();
  ASSERT_TRUE(IsUnique(verdict)) << Say(verdict);
  ASSERT_THAT(Kinds(), ElementsAre(Kind::kHeld, Kind::kDied, Kind::kHeld));
  const HistoryEvent died = *Last(Kind::kDied);
  EXPECT_EQ(died.who.pid, killed.pid());
  EXPECT_EQ(died.who.token, killed.token());
  EXPECT_EQ(died.by->pid, getpid());
}

TEST_F(HistorianTest, AStandbyIsNotedWhenItWaitsAndWhenItTakesOver) {
  std::optional<Verdict> mine(scope_.Acquire());
  ASSERT_TRUE(IsUnique(*mine));
  Claimant::Setup setup = scope_.Another();
  setup.wait = absl::InfiniteDuration();
  Claimant standby(setup);
  standby.WaitUntilInLine();
  // Noted before the caller is told.
  EXPECT_EQ(Last(Kind::kWaiting)->who.pid, standby.pid());
  mine.reset();
  ASSERT_TRUE(standby.unique()) << standby.verdict();
  const HistoryEvent taken = *Last(Kind::kTakenOver);
  EXPECT_EQ(taken.who.pid, standby.pid());
  EXPECT_EQ(taken.who.token, standby.token());
  ASSERT_TRUE(taken.waited.has_value());
}

TEST_F(HistorianTest, AStandbyThatGivesUpIsNotedWithHowLongItWaited) {
  Claimant holder(scope_.Another());
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  const Verdict verdict = Guard::Acquire(TestScope::kName, *Policy::Parse("file"),
                                         {.scope = scope_.scope(), .wait = absl::Milliseconds(20)});
  ASSERT_TRUE(IsDuplicate(verdict));
  EXPECT_GE(Last(Kind::kRefused)->waited.value_or(absl::ZeroDuration()), absl::ZeroDuration());
  EXPECT_TRUE(Last(Kind::kRefused)->waited.has_value());
}

TEST_F(HistorianTest, AHolderThatIsReplacedIsNotedWithWhoReplacedIt) {
  Claimant holder(scope_.Another());
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  const Verdict verdict = Guard::Acquire(TestScope::kName, *Policy::Parse("file"),
                                         {.scope = scope_.scope(), .replace = absl::Seconds(60)});
  ASSERT_TRUE(IsUnique(verdict)) << Say(verdict);
  const HistoryEvent replaced = *Last(Kind::kReplaced);
  EXPECT_EQ(replaced.who.pid, holder.pid());
  EXPECT_EQ(replaced.who.token, holder.token());
  EXPECT_EQ(replaced.by->pid, getpid());
  const std::vector<Kind> kinds = Kinds();
  EXPECT_EQ(std::count(kinds.begin(), kinds.end(), Kind::kDied), 0) << "it was ended on purpose";
}

TEST_F(HistorianTest, AHolderThatIsAskedToEndIsNotedWithWhoAsked) {
  Claimant holder(scope_.Another());
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  const auto report =
      StopRunning(TestScope::kName, *Policy::Parse("file"), {.scope = scope_.scope()});
  ASSERT_TRUE(report.ok() && report->is_free());
  const HistoryEvent asked = *Last(Kind::kStopAsked);
  EXPECT_EQ(asked.who.pid, holder.pid());
  EXPECT_EQ(asked.by->pid, getpid());
}

TEST_F(HistorianTest, H04_ALossAndItsRepairAreNoted) {
  Verdict verdict = scope_.Acquire();
  ASSERT_TRUE(IsUnique(verdict));
  std::filesystem::remove(scope_.Object("lock"));
  ASSERT_THAT(std::get<Unique>(verdict).guard.Repair(), SizeIs(1));
  const HistoryEvent repaired = *Last(Kind::kRepaired);
  EXPECT_EQ(repaired.who.pid, getpid());
  EXPECT_THAT(repaired.detail, HasSubstr("lock"));
  EXPECT_TRUE(std::get<Unique>(verdict).guard.Repair().empty());
  EXPECT_THAT(Kinds(), ElementsAre(Kind::kHeld, Kind::kRepaired)) << "once";
}

// What a child has by then is not released.
TEST_F(HistorianTest, AClaimThatIsLeftToAChildIsNotReleased) {
  {
    Verdict verdict = scope_.Acquire();
    ASSERT_TRUE(IsUnique(verdict));
    Guard& guard = std::get<Unique>(verdict).guard;
    const auto shared = guard.ShareWithChild();
    ASSERT_TRUE(shared.ok());
    const testing::Child child([] { return std::string("ready"); });
    ASSERT_TRUE(guard.Follow(*IdentityOf(child.pid())).ok());
    guard.Release();
    EXPECT_THAT(Kinds(), ElementsAre(Kind::kHeld));
  }
}

// Its state directory is another one by then, or none.
TEST_F(HistorianTest, H39_AHolderThatHasLeftItsRootDirectoryNotesNothingElsewhere) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, for chroot(2)";
  const std::string jail = scope_.directory() / "jail";
  const std::string inside = jail + scope_.scope().state_directory();
  std::filesystem::create_directories(inside);
  Claimant holder(scope_.Another());
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  ASSERT_EQ(holder.Ask("become chroot " + jail), "became");
  EXPECT_EQ(holder.Ask("release"), "released");
  EXPECT_TRUE(std::filesystem::is_empty(inside));
  EXPECT_THAT(Kinds(), ElementsAre(Kind::kHeld));
}

TEST_F(HistorianTest, H09_AStormOfRefusedStartsIsCountedInFull) {
  const Verdict mine = scope_.Acquire();
  ASSERT_TRUE(IsUnique(mine));
  constexpr int kStarts = 200;
  testing::Gate gate;
  const testing::Shared<std::atomic<int>> refused;
  std::vector<pid_t> children;
  for (int start = 0; start < kStarts; ++start) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      gate.Wait();
      if (IsDuplicate(scope_.Acquire())) ++*refused;
      _exit(0);
    }
    children.push_back(child);
  }
  gate.Open();
  for (const pid_t child : children) ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_EQ(*refused, kStarts);
  std::vector<std::int64_t> pids;
  for (const HistoryEvent& event : Events()) {
    if (event.kind == Kind::kRefused) pids.push_back(event.who.pid);
  }
  std::sort(pids.begin(), pids.end());
  std::sort(children.begin(), children.end());
  EXPECT_TRUE(std::equal(pids.begin(), pids.end(), children.begin(), children.end()))
      << pids.size() << " of " << kStarts;
}

// Where it cannot be written a start is as good, and whoever wants to be told is told.
TEST_F(HistorianTest, H14_WithoutAHistoryAStartIsDecidedAllTheSameAndItsCallerIsTold) {
  const std::string state = scope_.scope().state_directory();
  std::filesystem::create_directories(scope_.path());
  std::filesystem::permissions(scope_.path(), std::filesystem::perms::owner_all);
  std::ofstream{state} << "no directory";
  std::vector<Kind> told;
  {
    const Options options{.scope = scope_.scope(), .on_event = [&told](const HistoryEvent& event) {
                            told.push_back(event.kind);
                          }};
    const Verdict verdict = Guard::Acquire(TestScope::kName, *Policy::Parse("file"), options);
    ASSERT_TRUE(IsUnique(verdict)) << Say(verdict);
    EXPECT_TRUE(IsDuplicate(Guard::Acquire(TestScope::kName, *Policy::Parse("file"), options)));
  }
  EXPECT_THAT(told, ElementsAre(Kind::kHeld, Kind::kRefused, Kind::kReleased));
}

TEST_F(HistorianTest, WhatACallerThrowsForWantOfMemoryChangesNoVerdict) {
  const Options options{.scope = scope_.scope(),
                        .on_event = [](const HistoryEvent&) { throw std::bad_alloc(); }};
  EXPECT_TRUE(IsUnique(Guard::Acquire(TestScope::kName, *Policy::Parse("file"), options)));
}

}  // namespace
}  // namespace soleguard
