// One start's steps, driven one at a time over layers and a queue that answer as they are told.
#include "soleguard/start.h"

#include <sys/eventfd.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/event.h"
#include "soleguard/layer.h"
#include "soleguard/process.h"

namespace soleguard {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Action = Arbiter::Next::Action;
using Decision = Arbiter::Decision;

constexpr absl::Duration kSettle = absl::Seconds(1);
constexpr absl::Duration kWait = absl::Minutes(1);
constexpr absl::Duration kGrace = absl::Seconds(5);
constexpr absl::Duration kDeadline = absl::Seconds(10);

// What happened to the layers and the queue, in order.
using Log = std::vector<std::string>;

class FakeClaim final : public Claim {
 public:
  FakeClaim(std::string layer, Log& log) : layer_(std::move(layer)), log_(log) {}
  absl::Status Publish(const HolderRecord& record) override {
    log_.push_back(layer_ + " " + std::string(ToString(record.state)));
    return absl::OkStatus();
  }
  absl::Status Verify() const override { return absl::OkStatus(); }
  void Release() override { log_.push_back(layer_ + " freed"); }
  absl::Status KeepOverExec() override { return absl::OkStatus(); }

 private:
  const std::string layer_;
  Log& log_;
};

UniqueFd Event() { return UniqueFd(eventfd(0, EFD_CLOEXEC)); }

// Free until `has_it` says otherwise.
class FakeLayer final : public Layer {
 public:
  FakeLayer(std::string text, Log& log) : text_(std::move(text)), log_(log) {}
  std::string_view text() const override { return text_; }
  Attempt Try(const HolderRecord&) override {
    if (unavailable) return Unavailable{absl::UnavailableError("broken")};
    if (tried) tried();
    if (!has_it.has_value()) {
      log_.push_back(text_ + " held");
      return Held{std::make_unique<FakeClaim>(text_, log_)};
    }
    log_.push_back(text_ + " contested");
    Contested contested{.holder = Who(), .wake = {}};
    if (wakes) contested.wake.push_back(Event());
    return contested;
  }
  Sighting Look() const override {
    if (has_it.has_value()) return Taken{Who()};
    return Free{};
  }
  std::vector<ProcessIdentity> Suspects() const override { return {}; }

  std::optional<Standing> has_it;
  bool unavailable = false;
  bool wakes = true;
  std::int64_t pid = 7;         // of who has it
  std::function<void()> tried;  // before the answer

 private:
  Holder Who() const {
    Holder holder;
    holder.standing = *has_it;
    // Not of this boot: nobody asks the process table how it is.
    const ProcessIdentity who = {.boot_id = "b", .pid_namespace = 1, .pid = pid, .start_ticks = 1};
    if (holder.standing == Standing::kUnguarded) {
      holder.processes = {who};
    } else {
      holder.record.emplace().identity = who;
    }
    return holder;
  }
  const std::string text_;
  Log& log_;
};

struct InLine {
  bool somebody = false;  // ahead
  bool broken = false;
  bool wakes = true;
  bool placed = false;
};

class FakeQueue final : public Queue {
 public:
  FakeQueue(InLine& line, Log& log) : line_(line), log_(log) {}
  absl::Status Join(Line line) override {
    if (line_.broken) return absl::UnavailableError("broken");
    if (!std::exchange(line_.placed, true)) {
      log_.push_back(line == Line::kReplacers ? "joins before all" : "joins");
    }
    return absl::OkStatus();
  }
  void Leave() override {
    if (std::exchange(line_.placed, false)) log_.push_back("leaves");
  }
  absl::StatusOr<std::optional<Ahead>> WhoIsAhead() override {
    if (line_.broken) return absl::UnavailableError("broken");
    if (!line_.somebody) return std::optional<Ahead>();
    Ahead ahead;
    if (line_.wakes) ahead.wake.push_back(Event());
    return std::optional(std::move(ahead));
  }
  std::vector<ProcessIdentity> Suspects() const override {
    return {{.boot_id = "b", .pid_namespace = 1, .pid = 8, .start_ticks = 1}};
  }

 private:
  InLine& line_;
  Log& log_;
};

class StartTest : public ::testing::Test {
 protected:
  Start& Make(absl::Duration wait, std::optional<Start::Replace> replace = std::nullopt) {
    start_ = std::make_unique<Start>(
        Start::Setup{.policy = policy_,
                     .members = {{.layer = &a_, .index = 0}, {.layer = &b_, .index = 1}},
                     .candidate = [] { return HolderRecord{}; },
                     .times = {.deadline = kDeadline, .settle = kSettle},
                     .wait = wait,
                     .may_await = [this](const Holder& holder) { return MayAwait(holder); },
                     .replace = std::move(replace),
                     .queue = std::make_unique<FakeQueue>(line_, log_)});
    return *start_;
  }
  Start& Newcomer() { return Make(absl::ZeroDuration()); }
  Start& Standby() { return Make(kWait); }
  Start& Replacer(absl::Duration wait = absl::ZeroDuration()) {
    return Make(wait,
                Start::Replace{.grace = kGrace, .signal = [this](const Holder&, Signal signal) {
                                 log_.push_back(std::string(ToString(signal)));
                                 return may_signal_;
                               }});
  }

  absl::Status MayAwait(const Holder& holder) const {
    if (!ancestors_.contains(holder.record->identity.pid)) return absl::OkStatus();
    return absl::FailedPreconditionError("an ancestor");
  }

  // Steps until it waits or has decided.
  Arbiter::Next Run(absl::Duration elapsed = absl::ZeroDuration()) {
    while (true) {
      const Arbiter::Next next = start_->Step(elapsed);
      if (next.action != Action::kStep) return next;
    }
  }
  void ExpectWaits(absl::Duration elapsed = absl::ZeroDuration()) {
    EXPECT_EQ(Run(elapsed).action, Action::kWait);
  }
  void ExpectDecision(Decision decision, absl::Duration elapsed = absl::ZeroDuration()) {
    ASSERT_EQ(Run(elapsed).action, Action::kDecided);
    EXPECT_EQ(start_->decision(), decision) << start_->status();
  }
  Log TakeLog() { return std::exchange(log_, {}); }

  const Policy policy_ = *Policy::Parse("all(file(path=/a), file(path=/b))");
  Log log_;
  InLine line_;
  absl::Status may_signal_;
  std::set<std::int64_t> ancestors_;  // pids
  FakeLayer a_{"a", log_};
  FakeLayer b_{"b", log_};
  std::unique_ptr<Start> start_;
};

TEST_F(StartTest, ANewcomerTakesAFreeNameAndNoPlace) {
  Newcomer();
  ExpectDecision(Decision::kUnique);
  EXPECT_THAT(TakeLog(), ElementsAre("a held", "b held", "a established", "b established"));
}

TEST_F(StartTest, ANewcomerThatCouldDecideGivesWayAndHoldsNothingMeanwhile) {
  line_.somebody = true;
  EXPECT_FALSE(Newcomer().is_waiting());
  ExpectWaits();
  EXPECT_THAT(TakeLog(),
              ElementsAre("a held", "b held", "a releasing", "b releasing", "b freed", "a freed"));
  EXPECT_FALSE(start_->is_waiting()) << "a newcomer is no standby";
  line_.somebody = false;
  ExpectDecision(Decision::kUnique, kSettle);
}

TEST_F(StartTest, ANewcomerThatWaitsForACandidateGivesWay) {
  line_.somebody = true;
  b_.has_it = Standing::kCandidate;
  Newcomer();
  ExpectWaits();
  EXPECT_THAT(TakeLog(), ElementsAre("a held", "b contested", "a releasing", "a freed"));
}

TEST_F(StartTest, ANewcomerWaitsForACandidateWhenNobodyStandsInLine) {
  b_.has_it = Standing::kCandidate;
  Newcomer();
  ExpectWaits();
  EXPECT_THAT(TakeLog(), ElementsAre("a held", "b contested"));
}

TEST_F(StartTest, ANewcomerIsRefusedByAHolderHoweverManyStandInLine) {
  line_.somebody = true;
  a_.has_it = Standing::kEstablished;
  Newcomer();
  ExpectDecision(Decision::kDuplicate);
  EXPECT_EQ(start_->holders().front().record->identity.pid, 7);
}

// Whoever was ahead has taken the name, and left the line for others who wait for its end.
TEST_F(StartTest, ANewcomerThatGaveWayIsRefusedByTheNewHolder) {
  line_.somebody = true;
  Newcomer();
  ExpectWaits();
  a_.has_it = Standing::kEstablished;
  ExpectDecision(Decision::kDuplicate, kSettle);
}

TEST_F(StartTest, ANewcomersTurnIsWaitedForTwiceTheSettleTimeFromWhenItGaveWay) {
  b_.has_it = Standing::kCandidate;
  Newcomer();
  ExpectWaits();
  line_.somebody = true;
  EXPECT_EQ(Run(kSettle).at_most, 2 * kSettle);
  ExpectWaits(3 * kSettle - absl::Milliseconds(1));
  ExpectDecision(Decision::kUndetermined, 3 * kSettle);
  EXPECT_TRUE(absl::IsDeadlineExceeded(start_->status())) << start_->status();
  EXPECT_THAT(start_->status().ToString(), HasSubstr("pid 8"));
}

TEST_F(StartTest, AStandbyGivesUpItsPlaceOnlyWhenItIsEstablished) {
  Standby();
  ExpectDecision(Decision::kUnique);
  EXPECT_THAT(TakeLog(),
              ElementsAre("joins", "a held", "b held", "a established", "b established", "leaves"));
}

TEST_F(StartTest, AStandbyHoldsNothingInLine) {
  line_.somebody = true;
  Standby();
  ExpectWaits();
  EXPECT_TRUE(start_->is_waiting());
  EXPECT_THAT(TakeLog(), ElementsAre("joins"));
  line_.somebody = false;
  ExpectDecision(Decision::kUnique);
}

TEST_F(StartTest, AStandbyWaitsForTheHoldersEndAndKeepsItsPlaceButNoLayer) {
  b_.has_it = Standing::kEstablished;
  Standby();
  ExpectWaits();
  EXPECT_TRUE(start_->is_waiting());
  EXPECT_THAT(TakeLog(), ElementsAre("joins", "a held", "b contested", "a releasing", "a freed"));
  b_.has_it.reset();
  ExpectDecision(Decision::kUnique, absl::Seconds(30));
}

// A candidate that decides, or another start that gives back, is no holder: it is about to change.
TEST_F(StartTest, AStandbyThatArbitratesIsNotWaitingInLine) {
  b_.has_it = Standing::kCandidate;
  Standby();
  ExpectWaits();
  EXPECT_FALSE(start_->is_waiting());
}

TEST_F(StartTest, AStandbyOutlastsACandidateThatDoesNotDecide) {
  b_.has_it = Standing::kCandidate;
  Standby();
  ExpectWaits();
  ExpectWaits(2 * kSettle);
  EXPECT_TRUE(start_->is_waiting());
  EXPECT_THAT(TakeLog(), ElementsAre("joins", "a held", "b contested", "b contested", "a releasing",
                                     "a freed"));
}

TEST_F(StartTest, WhatNoWaitCanMendIsSaidAtOnce) {
  b_.unavailable = true;
  Standby();
  ExpectDecision(Decision::kUndetermined);
  EXPECT_THAT(TakeLog(), ElementsAre("joins", "a held", "a releasing", "a freed", "leaves"));
}

TEST_F(StartTest, AtItsDeadlineTheHeadIsRefusedByTheHolderThatRemains) {
  b_.has_it = Standing::kEstablished;
  Standby();
  ExpectWaits(kWait - absl::Milliseconds(1));
  ExpectDecision(Decision::kDuplicate, kWait);
  EXPECT_EQ(start_->holders().front().standing, Standing::kEstablished);
  EXPECT_FALSE(line_.placed);
}

// The race: the holder ends at the deadline, and the clock is read first.
TEST_F(StartTest, AtItsDeadlineTheHeadTakesANameThatHasJustBecomeFree) {
  b_.has_it = Standing::kEstablished;
  Standby();
  ExpectWaits();
  b_.has_it.reset();
  ExpectDecision(Decision::kUnique, kWait);
}

// One clock bounds one wait, whatever is in the way: the caller's.
TEST_F(StartTest, AWaitThatIsShorterThanTheDeadlineBoundsEverything) {
  for (const Standing standing : {Standing::kCandidate, Standing::kReleasing, Standing::kDying,
                                  Standing::kUnknown, Standing::kEstablished}) {
    for (const absl::Duration wait : {absl::Milliseconds(1), kSettle / 2, 3 * kSettle}) {
      a_.has_it = standing;
      Make(wait);
      absl::Duration elapsed;
      while (true) {
        const Arbiter::Next next = Run(elapsed);
        if (next.action == Action::kDecided) break;
        ASSERT_GT(next.at_most, absl::ZeroDuration());
        elapsed += next.at_most;
        ASSERT_LE(elapsed, wait) << ToString(standing);
      }
      EXPECT_NE(start_->decision(), Decision::kUnique);
    }
  }
}

TEST_F(StartTest, AtItsDeadlineInLineAStandbyCitesTheHolder) {
  line_.somebody = true;
  Standby();
  ExpectWaits();
  a_.has_it = Standing::kEstablished;
  ExpectDecision(Decision::kDuplicate, kWait);
  EXPECT_THAT(TakeLog(), ElementsAre("joins", "leaves"));
}

TEST_F(StartTest, AtItsDeadlineInLineWithoutAHolderItIsUndetermined) {
  line_.somebody = true;
  Standby();
  ExpectWaits();
  ExpectDecision(Decision::kUndetermined, kWait);
  EXPECT_TRUE(absl::IsDeadlineExceeded(start_->status())) << start_->status();
  EXPECT_THAT(TakeLog(), ElementsAre("joins", "leaves"));
}

TEST_F(StartTest, CancelledInLineItLeavesNothing) {
  line_.somebody = true;
  Standby();
  ExpectWaits();
  start_->Cancel();
  EXPECT_EQ(start_->decision(), Decision::kUndetermined);
  EXPECT_TRUE(absl::IsCancelled(start_->status()));
  EXPECT_THAT(TakeLog(), ElementsAre("joins", "leaves"));
}

TEST_F(StartTest, CancelledInItsArbitrationItLeavesNothing) {
  b_.has_it = Standing::kCandidate;
  Standby();
  ExpectWaits();
  start_->Cancel();
  EXPECT_THAT(TakeLog(),
              ElementsAre("joins", "a held", "b contested", "a releasing", "a freed", "leaves"));
}

TEST_F(StartTest, CancelledWhileItWaitsForTheHoldersEndItLeavesNothing) {
  a_.has_it = Standing::kEstablished;
  Standby();
  ExpectWaits();
  start_->Cancel();
  EXPECT_THAT(TakeLog(), ElementsAre("joins", "a contested", "leaves"));
}

TEST_F(StartTest, WithoutAQueueTheLayersDecide) {
  line_ = {.somebody = true, .broken = true};
  Standby();
  ExpectDecision(Decision::kUnique);
  Newcomer();
  ExpectDecision(Decision::kUnique);
}

TEST_F(StartTest, LooksAgainNowAndThenInCaseAnEventIsMissed) {
  line_.somebody = true;
  Standby();
  EXPECT_EQ(Run().at_most, absl::Seconds(30));
  EXPECT_EQ(Run(kWait - absl::Seconds(2)).at_most, absl::Seconds(2));
}

TEST_F(StartTest, LooksMoreOftenWhereTheSystemHasNoEvent) {
  line_ = {.somebody = true, .wakes = false};
  Standby();
  const Arbiter::Next in_line = Run();
  EXPECT_THAT(in_line.wake, IsEmpty());
  EXPECT_EQ(in_line.at_most, absl::Milliseconds(1));
  for (int i = 0; i < 10; ++i) ExpectWaits();
  EXPECT_EQ(Run().at_most, absl::Milliseconds(25));
  line_.somebody = false;
  a_.has_it = Standing::kEstablished;
  a_.wakes = false;
  EXPECT_EQ(Run().at_most, absl::Seconds(1));
}

// --- a standby below the holder ---

TEST_F(StartTest, ItsAncestorIsNotWaitedFor) {
  a_.has_it = Standing::kEstablished;
  ancestors_ = {a_.pid};
  Standby();
  ExpectDecision(Decision::kDuplicate);
  EXPECT_TRUE(absl::IsFailedPrecondition(start_->not_awaited()));
  ASSERT_EQ(start_->holders().size(), 1U);
  EXPECT_THAT(TakeLog(), ElementsAre("joins", "a contested", "leaves"));
}

TEST_F(StartTest, ItsAncestorIsNotWaitedForBehindOthersInLine) {
  a_.has_it = Standing::kEstablished;
  ancestors_ = {a_.pid};
  line_.somebody = true;
  Standby();
  ExpectDecision(Decision::kDuplicate);
  EXPECT_TRUE(absl::IsFailedPrecondition(start_->not_awaited()));
  ASSERT_EQ(start_->holders().size(), 1U);
  EXPECT_THAT(TakeLog(), ElementsAre("joins", "leaves"));
}

TEST_F(StartTest, AnAncestorThatTakesTheNameDuringTheWaitEndsIt) {
  a_.has_it = Standing::kEstablished;
  ancestors_ = {8};
  Standby();
  ExpectWaits();
  a_.pid = 8;
  ExpectDecision(Decision::kDuplicate, absl::Seconds(1));
  EXPECT_FALSE(start_->not_awaited().ok());
}

// It may be refused by another, or end, before it has the name.
TEST_F(StartTest, AnAncestorThatIsACandidateIsWaitedFor) {
  a_.has_it = Standing::kCandidate;
  ancestors_ = {a_.pid};
  Standby();
  ExpectWaits();
}

TEST_F(StartTest, WhoDoesNotWaitSaysNothingOfItsAncestors) {
  a_.has_it = Standing::kEstablished;
  ancestors_ = {a_.pid};
  Newcomer();
  ExpectDecision(Decision::kDuplicate);
  EXPECT_TRUE(start_->not_awaited().ok());
}

// --- slots: two layers are two slots of one policy ---

class SlotsStartTest : public StartTest {
 protected:
  Start& MakeWithSlots(absl::Duration wait) {
    start_ = std::make_unique<Start>(
        Start::Setup{.policy = one_layer_,
                     .members = {{.layer = &a_, .index = 0}},
                     .other_slots = {{{.layer = &b_, .index = 0}}},
                     .candidate = [] { return HolderRecord{}; },
                     .times = {.deadline = absl::Seconds(10), .settle = kSettle},
                     .wait = wait,
                     .may_await = [this](const Holder& holder) { return MayAwait(holder); },
                     .queue = std::make_unique<FakeQueue>(line_, log_)});
    return *start_;
  }
  std::vector<std::int64_t> Holders() const {
    std::vector<std::int64_t> pids;
    for (const Holder& holder : start_->holders()) pids.push_back(holder.record->identity.pid);
    return pids;
  }
  const Policy one_layer_ = *Policy::Parse("file");
};

TEST_F(SlotsStartTest, TheFirstFreeOneIsTakenAndTheOthersAreNotAsked) {
  MakeWithSlots(absl::ZeroDuration());
  ExpectDecision(Decision::kUnique);
  EXPECT_EQ(start_->slot(), 0U);
  EXPECT_THAT(TakeLog(), ElementsAre("a held", "a established"));
}

TEST_F(SlotsStartTest, AHolderOfTheFirstLeavesTheSecond) {
  a_.has_it = Standing::kEstablished;
  MakeWithSlots(absl::ZeroDuration());
  ExpectDecision(Decision::kUnique);
  EXPECT_EQ(start_->slot(), 1U);
  EXPECT_EQ(start_->arbiter().record().slot, 1U);
  EXPECT_EQ(start_->reports().front().layer, "b");
}

// A candidate may yet give the slot back: it is waited for, as without slots.
TEST_F(SlotsStartTest, ACandidateOfTheFirstIsWaitedForAndThenPassedOver) {
  a_.has_it = Standing::kCandidate;
  MakeWithSlots(absl::ZeroDuration());
  ExpectWaits();
  ExpectDecision(Decision::kUnique, 2 * kSettle);
  EXPECT_EQ(start_->slot(), 1U);
}

TEST_F(SlotsStartTest, TheDeadlineIsOneForAllSlots) {
  a_.has_it = Standing::kDying;
  b_.has_it = Standing::kDying;
  MakeWithSlots(absl::ZeroDuration());
  ExpectWaits();
  ExpectWaits(absl::Seconds(9));
  ExpectDecision(Decision::kUndetermined, absl::Seconds(10));
}

TEST_F(SlotsStartTest, OneThatRunsUnguardedRefusesEverySlotAndIsNamedOnce) {
  a_.has_it = Standing::kUnguarded;
  b_.has_it = Standing::kUnguarded;
  MakeWithSlots(absl::ZeroDuration());
  ExpectDecision(Decision::kDuplicate);
  EXPECT_EQ(start_->holders().size(), 1U);
  b_.pid = 8;
  MakeWithSlots(absl::ZeroDuration());
  ExpectDecision(Decision::kDuplicate);
  EXPECT_EQ(start_->holders().size(), 2U);
}

TEST_F(SlotsStartTest, ASlotOfAnotherThanItsAncestorsIsWaitedFor) {
  a_.has_it = Standing::kEstablished;
  b_.has_it = Standing::kEstablished;
  b_.pid = 8;
  for (const std::int64_t ancestor : {a_.pid, b_.pid}) {
    ancestors_ = {ancestor};
    for (const bool somebody : {false, true}) {
      line_.somebody = somebody;
      MakeWithSlots(kWait);
      ExpectWaits();
    }
  }
  ancestors_ = {a_.pid, b_.pid};
  for (const bool somebody : {false, true}) {
    line_.somebody = somebody;
    MakeWithSlots(kWait);
    ExpectDecision(Decision::kDuplicate);
    EXPECT_FALSE(start_->not_awaited().ok());
    EXPECT_THAT(Holders(), ElementsAre(7, 8));
  }
}

TEST_F(SlotsStartTest, ASlotThatCannotBeToldIsNoRefusal) {
  a_.unavailable = true;
  b_.has_it = Standing::kEstablished;
  MakeWithSlots(absl::ZeroDuration());
  ExpectDecision(Decision::kUndetermined);
  EXPECT_THAT(start_->status().ToString(), HasSubstr("broken"));
}

// The race: the first slot's holder ends once it was asked, and another process takes the second
// slot before that is asked. At each moment one of the two was free.
TEST_F(SlotsStartTest, ASlotThatBecameFreeMeanwhileIsNotLost) {
  a_.has_it = Standing::kEstablished;
  b_.pid = 8;
  b_.tried = [this] {
    a_.has_it.reset();
    b_.has_it = Standing::kEstablished;
  };
  MakeWithSlots(absl::ZeroDuration());
  ExpectDecision(Decision::kUnique);
  EXPECT_EQ(start_->slot(), 0U);
}

TEST_F(SlotsStartTest, IsRefusedByHoldersThatHadAllSlotsAtOnce) {
  a_.has_it = Standing::kEstablished;
  b_.has_it = Standing::kEstablished;
  b_.pid = 8;
  MakeWithSlots(absl::ZeroDuration());
  ExpectDecision(Decision::kDuplicate);
  EXPECT_THAT(Holders(), ElementsAre(7, 8));
  EXPECT_THAT(TakeLog(), ElementsAre("a contested", "b contested", "a contested", "b contested"));
}

TEST_F(SlotsStartTest, HoldersThatChangeAllTheTimeRefuseItAtTheDeadline) {
  a_.has_it = Standing::kEstablished;
  b_.has_it = Standing::kEstablished;
  a_.tried = [this] { ++a_.pid; };
  MakeWithSlots(absl::ZeroDuration());
  absl::Duration elapsed;
  while (start_->Step(elapsed).action != Action::kDecided) elapsed += absl::Milliseconds(1);
  EXPECT_EQ(start_->decision(), Decision::kDuplicate);
  EXPECT_GE(elapsed, absl::Seconds(10));
}

TEST_F(SlotsStartTest, AWaitBoundsSlotsWhoseHoldersChangeAllTheTime) {
  a_.has_it = Standing::kEstablished;
  b_.has_it = Standing::kEstablished;
  a_.tried = [this] { ++a_.pid; };
  MakeWithSlots(kSettle);
  ExpectWaits();
  ExpectDecision(Decision::kDuplicate, kSettle);
}

TEST_F(SlotsStartTest, AStandbyWaitsForTheEndOfAnyOfTheHolders) {
  a_.has_it = Standing::kEstablished;
  b_.has_it = Standing::kEstablished;
  MakeWithSlots(kWait);
  const Arbiter::Next next = Run();
  EXPECT_EQ(next.action, Action::kWait);
  EXPECT_EQ(next.wake.size(), 2U);
  b_.has_it.reset();
  ExpectDecision(Decision::kUnique);
  EXPECT_EQ(start_->slot(), 1U);
}

TEST_F(SlotsStartTest, AStandbyLooksAgainForAHolderWhoseEndHasNoEvent) {
  a_.has_it = Standing::kEstablished;
  b_.has_it = Standing::kEstablished;
  b_.wakes = false;
  MakeWithSlots(kWait);
  const Arbiter::Next next = Run();
  EXPECT_EQ(next.wake.size(), 1U);
  EXPECT_LE(next.at_most, absl::Seconds(1));
}

TEST_F(SlotsStartTest, ANewcomerGivesWayWhenOneSlotIsFreeAndSomebodyStandsInLine) {
  a_.has_it = Standing::kEstablished;
  line_.somebody = true;
  MakeWithSlots(absl::ZeroDuration());
  ExpectWaits();
  b_.has_it = Standing::kEstablished;  // the head's
  b_.pid = 8;
  ExpectDecision(Decision::kDuplicate);
  EXPECT_THAT(Holders(), ElementsAre(7, 8));
}

// --- replacing ---

// Who comes in between finds it ahead in line.
TEST_F(StartTest, AReplacerHasItsPlaceBeforeItSignals) {
  a_.has_it = Standing::kEstablished;
  Replacer();
  ExpectWaits();
  EXPECT_TRUE(start_->is_waiting());
  EXPECT_THAT(TakeLog(), ElementsAre("joins before all", "a contested", "SIGTERM"));
  a_.has_it.reset();
  ExpectDecision(Decision::kUnique, kGrace);
  EXPECT_THAT(TakeLog(),
              ElementsAre("a held", "b held", "a established", "b established", "leaves"));
}

TEST_F(StartTest, AReplacerKillsWhoHasNotEndedAfterTheGraceAndOnlyOnce) {
  a_.has_it = Standing::kEstablished;
  Replacer();
  ExpectWaits();
  EXPECT_EQ(Run(kGrace - absl::Seconds(1)).at_most, absl::Seconds(1));
  EXPECT_THAT(TakeLog(), ElementsAre("joins before all", "a contested", "SIGTERM", "a contested"));
  ExpectWaits(kGrace);
  ExpectWaits(kGrace + absl::Seconds(1));
  EXPECT_THAT(TakeLog(), ElementsAre("a contested", "SIGKILL", "a contested"));
  ExpectDecision(Decision::kDuplicate, kGrace + kDeadline);
  EXPECT_TRUE(absl::IsDeadlineExceeded(start_->not_replaced()));
}

// One that releases and hangs, or whose record is torn, has not ended either.
TEST_F(StartTest, AReplacerKillsWhoHangsWhileItReleases) {
  a_.has_it = Standing::kEstablished;
  Replacer();
  ExpectWaits();
  a_.has_it = Standing::kReleasing;
  EXPECT_EQ(Run(kGrace - absl::Milliseconds(1)).at_most, absl::Milliseconds(1));
  (void)TakeLog();
  ExpectWaits(kGrace);
  EXPECT_THAT(TakeLog(), ::testing::Contains("SIGKILL"));
}

// It let go in order and lives on; a candidate that came meanwhile was stopped.
TEST_F(StartTest, AReplacerDoesNotKillTheOneItAskedWhileAnotherIsInTheWay) {
  a_.has_it = Standing::kEstablished;
  Replacer();
  ExpectWaits();
  a_.has_it = Standing::kCandidate;
  a_.pid = 8;
  ExpectWaits(kGrace - absl::Milliseconds(1));
  ExpectWaits(kGrace);
  EXPECT_THAT(TakeLog(), ::testing::Not(::testing::Contains("SIGKILL")));
}

TEST_F(StartTest, AReplacerTakesAFreeName) {
  Replacer();
  ExpectDecision(Decision::kUnique);
  EXPECT_EQ(start_->named(), std::nullopt);
}

TEST_F(StartTest, AReplacerWaitsForOneThatIsAheadAndIsRefusedByIt) {
  line_.somebody = true;
  a_.has_it = Standing::kEstablished;
  Replacer();
  ExpectWaits();
  EXPECT_THAT(TakeLog(), ElementsAre("joins before all")) << "nobody is asked before its turn";
  line_.somebody = false;
  a_.pid = 8;  // the one ahead has replaced it
  ExpectDecision(Decision::kDuplicate, absl::Seconds(1));
  EXPECT_EQ(start_->holders().front().record->identity.pid, 8);
  EXPECT_TRUE(absl::IsFailedPrecondition(start_->not_replaced())) << start_->not_replaced();
  EXPECT_THAT(TakeLog(), ElementsAre("a contested", "leaves"));
}

TEST_F(StartTest, AReplacerIsRefusedByWhoeverTookTheNameAfterItBegan) {
  Replacer();
  EXPECT_EQ(start_->Step(absl::ZeroDuration()).action, Action::kStep);  // nobody has it
  a_.has_it = Standing::kEstablished;
  ExpectDecision(Decision::kDuplicate);
  EXPECT_THAT(TakeLog(), ElementsAre("joins before all", "a contested", "leaves"));
}

TEST_F(StartTest, AReplacerWhoseLineCannotBeUsedSignalsNobody) {
  line_.broken = true;
  a_.has_it = Standing::kEstablished;
  Replacer();
  ExpectDecision(Decision::kDuplicate);
  EXPECT_THAT(start_->not_replaced().ToString(), HasSubstr("cannot be reserved"));
  EXPECT_THAT(TakeLog(), ElementsAre("a contested"));
  a_.has_it.reset();
  Replacer();
  ExpectDecision(Decision::kUnique);
}

TEST_F(StartTest, AReplacerThatMayNotSignalIsRefusedAndSaysWhy) {
  may_signal_ = absl::PermissionDeniedError("another user's");
  a_.has_it = Standing::kEstablished;
  Replacer();
  ExpectDecision(Decision::kDuplicate);
  EXPECT_EQ(start_->not_replaced(), may_signal_);
}

TEST_F(StartTest, AReplacerWhoseHolderEndsByItselfGoesOn) {
  may_signal_ = absl::NotFoundError("gone");
  a_.has_it = Standing::kEstablished;
  Replacer();
  ExpectWaits();
  a_.has_it.reset();
  ExpectDecision(Decision::kUnique);
}

TEST_F(StartTest, AReplacersWaitBoundsAllOfIt) {
  a_.has_it = Standing::kEstablished;
  Replacer(absl::Seconds(2));
  EXPECT_EQ(Run().at_most, absl::Seconds(2));
  (void)TakeLog();
  ExpectDecision(Decision::kDuplicate, absl::Seconds(2));
  EXPECT_THAT(TakeLog(), ElementsAre("a contested", "leaves")) << "not killed before its grace";
}

TEST_F(StartTest, ACancelledReplacerLeavesTheHolderAsItIs) {
  a_.has_it = Standing::kEstablished;
  Replacer();
  ExpectWaits();
  start_->Cancel();
  EXPECT_THAT(TakeLog(), ElementsAre("joins before all", "a contested", "SIGTERM", "leaves"));
}

// The race: it arbitrates, and a replacer takes a place before it.
TEST_F(StartTest, AStandbyThatCouldDecideGivesWayToAReplacer) {
  b_.has_it = Standing::kCandidate;
  Standby();
  ExpectWaits();
  line_.somebody = true;
  b_.has_it.reset();
  ExpectWaits();
  EXPECT_TRUE(start_->is_waiting());
  EXPECT_THAT(TakeLog(), ElementsAre("joins", "a held", "b contested", "b held", "a releasing",
                                     "b releasing", "b freed", "a freed"));
  line_.somebody = false;
  ExpectDecision(Decision::kUnique);
}

}  // namespace
}  // namespace soleguard
