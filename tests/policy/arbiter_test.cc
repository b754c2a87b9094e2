// The arbiter's steps, driven one at a time over layers that answer as they are told.
#include "soleguard/arbiter.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/event.h"
#include "soleguard/layer.h"
#include "soleguard/process.h"
#include "soleguard/registry.h"

namespace soleguard {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Action = Arbiter::Next::Action;
using Decision = Arbiter::Decision;

constexpr absl::Duration kSettle = absl::Seconds(1);
constexpr absl::Duration kDeadline = absl::Seconds(10);

// What happened to all layers, in order.
using Log = std::vector<std::string>;

class FakeClaim : public Claim {
 public:
  FakeClaim(std::string layer, Log& log) : layer_(std::move(layer)), log_(log) {}

  absl::Status Publish(const HolderRecord& record) override {
    log_.push_back(layer_ + " " + std::string(ToString(record.state)));
    published = record;
    return publish_status;
  }
  absl::Status Verify() const override { return absl::OkStatus(); }
  void Release() override { log_.push_back(layer_ + " freed"); }
  std::optional<HolderRecord> Predecessor() const override { return predecessor; }
  absl::Status KeepOverExec() override { return absl::OkStatus(); }
  std::optional<std::uint64_t> token() const override { return server_token; }
  absl::Status Finish() override {
    if (server_token.has_value()) log_.push_back(layer_ + " confirmed");
    return absl::OkStatus();
  }

  std::optional<std::uint64_t> server_token;
  absl::Status publish_status = absl::OkStatus();
  std::optional<HolderRecord> predecessor;
  HolderRecord published;

 private:
  const std::string layer_;
  Log& log_;
};

class FakeLayer : public Layer {
 public:
  FakeLayer(std::string text, Log& log) : text_(std::move(text)), log_(log) {}

  std::string_view text() const override { return text_; }
  Attempt Try(const HolderRecord&) override { return Next(" tried"); }
  Attempt TryFinally(const HolderRecord&) override { return Next(" tried for the last time"); }
  Attempt Next(const char* how) {
    log_.push_back(text_ + how);
    if (answers_.empty()) return Held{std::make_unique<FakeClaim>(text_, log_)};
    Attempt answer = std::move(answers_.front());
    answers_.pop_front();
    return answer;
  }
  void Cancel() override { log_.push_back(text_ + " cancelled"); }
  Sighting Look() const override { return Free{}; }
  std::vector<ProcessIdentity> Suspects() const override { return suspects; }

  // The next answer after those before it; when none is left, Held.
  void WillAnswer(Attempt attempt) { answers_.push_back(std::move(attempt)); }

  std::vector<ProcessIdentity> suspects;

 private:
  const std::string text_;
  Log& log_;
  std::deque<Attempt> answers_;
};

ProcessIdentity Process(std::int64_t pid) {
  return {.boot_id = "b", .pid_namespace = 1, .pid = pid, .start_ticks = 1};
}

Contested By(Standing standing, std::int64_t pid = 7) {
  Contested contested;
  contested.holder.standing = standing;
  if (standing != Standing::kUnknown) {
    contested.holder.record.emplace();
    contested.holder.record->identity = Process(pid);
  }
  contested.holder.evidence = "the test says so";
  return contested;
}

Contested PerhapsACandidate() {
  Contested contested = By(Standing::kUnknown);
  contested.holder.may_be_candidate = true;
  return contested;
}

// What may be a stranger's; `shown`: a process shows that has it.
Contested Unsettled(std::vector<ProcessIdentity> shown = {Process(9)}) {
  Contested contested = By(Standing::kUnknown);
  contested.holder.processes = std::move(shown);
  contested.unsettled = true;
  return contested;
}

UniqueFd Event() { return UniqueFd(eventfd(0, EFD_CLOEXEC)); }

class ArbiterTest : public ::testing::Test {
 protected:
  // Layers a, b, … are file(path=/a), file(path=/b), …
  Arbiter& Make(const std::string& policy_text, Layer* carrier = nullptr) {
    const auto policy = Policy::Parse(policy_text);
    EXPECT_TRUE(policy.ok()) << policy.status();
    std::vector<Arbiter::Member> asked;
    if (carrier != nullptr) asked.push_back({.layer = carrier, .index = std::nullopt});
    for (std::size_t i = 0; i < policy->layers().size(); ++i) {
      asked.push_back({.layer = &layer(policy->layers()[i].parameters.at("path")), .index = i});
    }
    arbiter_ = std::make_unique<Arbiter>(*policy, std::move(asked), HolderRecord{},
                                         ArbiterTimes{.deadline = kDeadline, .settle = kSettle},
                                         [](const HolderRecord& record) {
                                           return Token{.value = record.token + 1, .durable = true};
                                         });
    return *arbiter_;
  }

  FakeLayer& layer(const std::string& path) {
    std::unique_ptr<FakeLayer>& found = layers_[path];
    if (found == nullptr) found = std::make_unique<FakeLayer>(path, log_);
    return *found;
  }

  // Steps until it waits or has decided.
  Arbiter::Next Run(absl::Duration elapsed = absl::ZeroDuration()) {
    while (true) {
      const Arbiter::Next next = arbiter_->Step(elapsed);
      if (next.action != Action::kStep) return next;
    }
  }

  void ExpectDecision(Decision decision, absl::Duration elapsed = absl::ZeroDuration()) {
    ASSERT_EQ(Run(elapsed).action, Action::kDecided);
    EXPECT_EQ(arbiter_->decision(), decision) << arbiter_->status();
  }

  Log log_;
  std::map<std::string, std::unique_ptr<FakeLayer>> layers_;
  std::unique_ptr<Arbiter> arbiter_;
};

TEST_F(ArbiterTest, TriesTheLayersInCanonicalOrderWhateverThePolicySays) {
  Make("all(file(path=/b), file(path=/c), file(path=/a))");
  ExpectDecision(Decision::kUnique);
  EXPECT_THAT(log_, ElementsAre("/a tried", "/b tried", "/c tried", "/a established",
                                "/b established", "/c established"));
}

TEST_F(ArbiterTest, AnEstablishedHolderDecidesAtOnceAndEverythingIsGivenBackInReverse) {
  Make("all(file(path=/a), file(path=/b), file(path=/c), file(path=/d))");
  layer("/c").WillAnswer(By(Standing::kEstablished, 42));
  ExpectDecision(Decision::kDuplicate);
  EXPECT_EQ(arbiter_->holder().record->identity.pid, 42);
  EXPECT_THAT(log_, ElementsAre("/a tried", "/b tried", "/c tried", "/a releasing", "/b releasing",
                                "/b freed", "/a freed"));
}

TEST_F(ArbiterTest, EvidenceOfAnotherVetoesAPolicyThatIsMetWithoutThatLayer) {
  Make("any(file(path=/a), file(path=/b))");
  layer("/b").WillAnswer(By(Standing::kEstablished));
  ExpectDecision(Decision::kDuplicate);
}

TEST_F(ArbiterTest, AnUnavailableLayerIsNotedAndTheNextIsAsked) {
  Make("any(file(path=/a), file(path=/b))");
  layer("/a").WillAnswer(Unavailable{absl::PermissionDeniedError("no entry")});
  ExpectDecision(Decision::kUnique);
  ASSERT_EQ(arbiter_->reports().size(), 2U);
  EXPECT_EQ(arbiter_->reports()[0].outcome, LayerReport::Outcome::kUnavailable);
  EXPECT_EQ(arbiter_->reports()[1].outcome, LayerReport::Outcome::kHeld);
}

TEST_F(ArbiterTest, TooFewLayersAreUndeterminedWithEachReason) {
  Make("at_least(2, file(path=/a), file(path=/b), file(path=/c))");
  layer("/a").WillAnswer(Unavailable{absl::PermissionDeniedError("no entry")});
  layer("/c").WillAnswer(Unavailable{absl::ResourceExhaustedError("disk full")});
  ExpectDecision(Decision::kUndetermined);
  EXPECT_THAT(std::string(arbiter_->status().message()),
              AllOf(HasSubstr("/a: no entry"), HasSubstr("/c: disk full")));
  EXPECT_THAT(log_, ElementsAre("/a tried", "/b tried", "/c tried", "/b releasing", "/b freed"));
}

// A message is shown as it is.
TEST_F(ArbiterTest, H34_ForeignBytesOfThePolicyAreEscapedInReasons) {
  Make("all(file(path=/a\xff), file(path=/b))");
  layer("/a\xff").WillAnswer(Unavailable{absl::PermissionDeniedError("no entry")});
  ExpectDecision(Decision::kUndetermined);
  EXPECT_THAT(std::string(arbiter_->status().message()),
              AllOf(HasSubstr(R"(; /a\xff: no entry)"), Not(HasSubstr("\xff"))));
}

TEST_F(ArbiterTest, AHolderBehindAnUnavailableLayerIsStillADuplicate) {
  Make("all(file(path=/a), file(path=/b))");
  layer("/a").WillAnswer(Unavailable{absl::PermissionDeniedError("no entry")});
  layer("/b").WillAnswer(By(Standing::kEstablished));
  ExpectDecision(Decision::kDuplicate);
}

// Refused by a candidate that is refused itself, nobody would run.
TEST_F(ArbiterTest, H01_ACandidateIsWaitedForAndTheSameLayerTriedAgain) {
  Make("all(file(path=/a), file(path=/b))");
  Contested candidate = By(Standing::kCandidate);
  candidate.wake.push_back(Event());
  const int wake = candidate.wake.front().get();
  layer("/b").WillAnswer(std::move(candidate));

  const Arbiter::Next next = Run();
  ASSERT_EQ(next.action, Action::kWait);
  ASSERT_EQ(next.wake.size(), 1U);
  EXPECT_EQ(next.wake[0].get(), wake);
  EXPECT_EQ(next.at_most, 2 * kSettle);  // an event is there: no poll in between
  EXPECT_THAT(log_, ElementsAre("/a tried", "/b tried")) << "what is held so far is kept";

  ExpectDecision(Decision::kUnique, absl::Milliseconds(5));
  EXPECT_EQ(log_[2], "/b tried");
}

TEST_F(ArbiterTest, AWaitForACandidateThatExpiresIsUndeterminedAndNeverSkippedOver) {
  for (const Standing standing : {Standing::kCandidate, Standing::kReleasing}) {
    log_.clear();
    Make("any(file(path=/a), file(path=/b))");
    for (int i = 0; i < 2; ++i) layer("/a").WillAnswer(By(standing, 42));
    EXPECT_EQ(Run(absl::Milliseconds(100)).action, Action::kWait);
    ExpectDecision(Decision::kUndetermined, absl::Milliseconds(100) + 2 * kSettle);
    EXPECT_THAT(std::string(arbiter_->status().message()), HasSubstr("pid 42"));
    EXPECT_THAT(log_, ElementsAre("/a tried", "/a tried")) << "/b must not be asked";
  }
}

// A child that needs a processor all the time.
class Spinner {
 public:
  Spinner() : pid_(fork()) {
    if (pid_ != 0) return;
    volatile int turns = 0;
    while (true) turns = turns + 1;
  }
  Spinner(const Spinner&) = delete;
  Spinner& operator=(const Spinner&) = delete;
  ~Spinner() {
    (void)kill(pid_, SIGKILL);
    (void)waitpid(pid_, nullptr, 0);
  }
  ProcessIdentity identity() const { return *IdentityOf(pid_); }
  void Stop() const {
    (void)kill(pid_, SIGSTOP);
    (void)waitpid(pid_, nullptr, WUNTRACED);
  }

 private:
  const pid_t pid_;
};

// Many starts at once: the candidate shares the processors with all who wait for it.
TEST_F(ArbiterTest, ACandidateThatOnlyLacksAProcessorIsWaitedForUntilTheDeadline) {
  const Spinner candidate;
  Make("file(path=/a)");
  for (int i = 0; i < 3; ++i) {
    Contested contested = By(Standing::kCandidate);
    contested.holder.record->identity = candidate.identity();
    layer("/a").WillAnswer(std::move(contested));
  }
  EXPECT_EQ(Run().action, Action::kWait);
  EXPECT_EQ(Run(2 * kSettle).action, Action::kWait);
  ExpectDecision(Decision::kUndetermined, kDeadline);
}

TEST_F(ArbiterTest, ACandidateThatWasStoppedIsNotWaitedForUntilTheDeadline) {
  const Spinner candidate;
  candidate.Stop();
  Make("file(path=/a)");
  for (int i = 0; i < 2; ++i) {
    Contested contested = By(Standing::kCandidate);
    contested.holder.record->identity = candidate.identity();
    layer("/a").WillAnswer(std::move(contested));
  }
  EXPECT_EQ(Run().action, Action::kWait);
  ExpectDecision(Decision::kUndetermined, 2 * kSettle);
}

TEST_F(ArbiterTest, AWaitBeginsAnewWhenAnotherProcessIsCited) {
  Make("file(path=/a)");
  layer("/a").WillAnswer(By(Standing::kCandidate, 1));
  layer("/a").WillAnswer(By(Standing::kCandidate, 2));
  layer("/a").WillAnswer(By(Standing::kCandidate, 2));
  EXPECT_EQ(Run().action, Action::kWait);
  EXPECT_EQ(Run(absl::Milliseconds(1900)).action, Action::kWait);
  EXPECT_EQ(Run(absl::Milliseconds(3800)).action, Action::kWait);
  ExpectDecision(Decision::kUnique, absl::Milliseconds(3850));
}

TEST_F(ArbiterTest, ManyCandidatesInTurnAreWaitedForUntilTheDeadlineOnly) {
  Make("file(path=/a)");
  for (int i = 0; i < 11; ++i) layer("/a").WillAnswer(By(Standing::kCandidate, i));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Run(absl::Seconds(i)).action, Action::kWait);
  ExpectDecision(Decision::kUndetermined, kDeadline);
}

// A holder with gigabytes frees its files 100 to 200 ms after it was killed.
TEST_F(ArbiterTest, H27_ADyingHolderIsWaitedForUntilTheDeadline) {
  Make("file(path=/a)");
  for (int i = 0; i < 3; ++i) {
    Contested dying = By(Standing::kDying, 42);
    dying.wake.push_back(Event());
    layer("/a").WillAnswer(std::move(dying));
  }
  EXPECT_EQ(Run().at_most, kDeadline);
  EXPECT_EQ(Run(kDeadline - absl::Milliseconds(1)).at_most, absl::Milliseconds(1));
  ExpectDecision(Decision::kUndetermined, kDeadline);
  EXPECT_THAT(std::string(arbiter_->status().message()), HasSubstr("pid 42 (dying"));
}

TEST_F(ArbiterTest,
       H28_AHolderThatCannotBeToldIsADuplicateAfterTheSettleTimeWithWhatTheKernelKnows) {
  Make("file(path=/a)");
  layer("/a").suspects = {Process(42)};
  for (int i = 0; i < 3; ++i) layer("/a").WillAnswer(By(Standing::kUnknown));
  const Arbiter::Next next = Run();
  EXPECT_EQ(next.action, Action::kWait);
  EXPECT_LE(next.at_most, absl::Milliseconds(25)) << "no event announces a foreign locker's end";
  EXPECT_EQ(Run(kSettle - absl::Milliseconds(1)).action, Action::kWait);
  ExpectDecision(Decision::kDuplicate, kSettle);
  EXPECT_THAT(arbiter_->holder().processes, ElementsAre(Process(42)));
}

// Somebody deletes the records of candidates that have the layer one after another.
TEST_F(ArbiterTest, H04_CandidatesWithoutARecordInTurnAreWaitedFor) {
  Make("file(path=/a)");
  for (int i = 0; i < 3; ++i) layer("/a").WillAnswer(PerhapsACandidate());
  EXPECT_EQ(Run().action, Action::kWait);
  layer("/a").suspects = {Process(41)};
  EXPECT_EQ(Run(kSettle).action, Action::kWait);
  layer("/a").suspects = {Process(42)};
  EXPECT_EQ(Run(2 * kSettle).action, Action::kWait);
  ExpectDecision(Decision::kUnique, 2 * kSettle + absl::Milliseconds(1));
}

TEST_F(ArbiterTest, H04_ACandidateWithoutARecordThatOnlyLacksAProcessorIsWaitedFor) {
  const Spinner candidate;
  Make("file(path=/a)");
  layer("/a").suspects = {candidate.identity()};
  for (int i = 0; i < 4; ++i) layer("/a").WillAnswer(PerhapsACandidate());
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Run(i * kSettle).action, Action::kWait) << i;
  ExpectDecision(Decision::kUnique, 4 * kSettle);
}

TEST_F(ArbiterTest, H04_AHolderWithoutARecordThatStaysAndSleepsIsADuplicateAfterTwoLooksAtIt) {
  Make("file(path=/a)");
  layer("/a").suspects = {Process(42)};
  for (int i = 0; i < 3; ++i) layer("/a").WillAnswer(PerhapsACandidate());
  EXPECT_EQ(Run().action, Action::kWait);
  EXPECT_EQ(Run(kSettle).action, Action::kWait);
  ExpectDecision(Decision::kDuplicate, 2 * kSettle);
  EXPECT_THAT(arbiter_->holder().processes, ElementsAre(Process(42)));
}

TEST_F(ArbiterTest, AHolderThatCannotBeToldInTheTimeThatIsLeftIsUndetermined) {
  Make("file(path=/a)");
  for (int i = 0; i < 2; ++i) layer("/a").WillAnswer(By(Standing::kUnknown));
  EXPECT_EQ(Run(kDeadline - kSettle / 2).action, Action::kWait);
  ExpectDecision(Decision::kUndetermined, kDeadline);
}

// However often it was tried by then, once or a hundred times.
TEST_F(ArbiterTest, H17_WhatIsUnsettledIsWaitedForByTheClockAndThenCalledWhatItIs) {
  for (const bool shown : {true, false}) {
    for (const int tries : {2, 100}) {
      const absl::Duration limit = shown ? kSettle / 4 : kSettle;
      layers_.clear();
      for (int i = 0; i < tries; ++i) {
        layer("/a").WillAnswer(
            Unsettled(shown ? std::vector{Process(9)} : std::vector<ProcessIdentity>{}));
      }
      layer("/a").WillAnswer(Unavailable{absl::UnavailableError("a stranger")});
      Make("all(file(path=/a), file(path=/b))");
      for (int i = 0; i < tries - 1; ++i) {
        const Arbiter::Next next = Run(i * limit / tries);
        ASSERT_EQ(next.action, Action::kWait);
        EXPECT_LE(i * limit / tries + next.at_most, limit);
        EXPECT_EQ(arbiter_->reports().back().outcome, LayerReport::Outcome::kContested);
      }
      log_.clear();
      ExpectDecision(Decision::kUndetermined, limit);
      EXPECT_THAT(arbiter_->status().ToString(), HasSubstr("a stranger"));
      EXPECT_THAT(log_, ElementsAre("/a tried", "/a tried for the last time", "/b tried",
                                    "/b releasing", "/b freed"));
    }
  }
}

TEST_F(ArbiterTest, WhoeverIsSeenWhereItIsUnsettledTheWaitIsOne) {
  layer("/a").WillAnswer(Unsettled({Process(8)}));
  layer("/a").WillAnswer(Unsettled({}));
  layer("/a").WillAnswer(Unsettled({Process(9)}));
  layer("/a").WillAnswer(Unavailable{absl::UnavailableError("a stranger")});
  Make("file(path=/a)");
  EXPECT_EQ(Run().action, Action::kWait);
  EXPECT_EQ(Run(kSettle / 8).action, Action::kWait);
  ExpectDecision(Decision::kUndetermined, kSettle / 4);
}

TEST_F(ArbiterTest, WhatIsUnsettledIsCalledWhatItIsAtTheDeadline) {
  layer("/a").WillAnswer(Unsettled({}));
  layer("/a").WillAnswer(Unsettled({}));
  layer("/a").WillAnswer(Unavailable{absl::UnavailableError("a stranger")});
  const auto policy = Policy::Parse("file(path=/a)");
  const absl::Duration deadline = kSettle / 10;
  Make("file(path=/a)");
  arbiter_ = std::make_unique<Arbiter>(
      *policy, std::vector<Arbiter::Member>{{.layer = &layer("/a"), .index = 0}}, HolderRecord{},
      ArbiterTimes{.deadline = deadline, .settle = kSettle});
  EXPECT_EQ(Run().at_most, absl::Milliseconds(1));
  ExpectDecision(Decision::kUndetermined, deadline);
  EXPECT_THAT(arbiter_->status().ToString(), HasSubstr("a stranger"));
}

TEST_F(ArbiterTest, WhatSettlesIsJudgedByWhatItHasBecome) {
  layer("/a").WillAnswer(Unsettled());
  layer("/a").WillAnswer(By(Standing::kCandidate));
  layer("/a").WillAnswer(By(Standing::kCandidate));
  layer("/a").WillAnswer(Unsettled());
  layer("/a").WillAnswer(Unsettled());
  layer("/a").WillAnswer(By(Standing::kEstablished));
  Make("file(path=/a)");
  EXPECT_EQ(Run().action, Action::kWait);
  EXPECT_EQ(Run(kSettle / 5).action, Action::kWait);
  EXPECT_EQ(Run(2 * kSettle).action, Action::kWait) << "a wait of its own";
  EXPECT_EQ(Run(2 * kSettle + kSettle / 20).action, Action::kWait);
  ExpectDecision(Decision::kDuplicate, 3 * kSettle);
  EXPECT_THAT(log_, Contains("/a tried for the last time"));
}

// A layer that breaks its promise is not asked for ever.
TEST_F(ArbiterTest, AFinalWordThatIsNoneEndsAtTheDeadline) {
  for (int i = 0; i < 5; ++i) layer("/a").WillAnswer(Unsettled());
  Make("file(path=/a)");
  EXPECT_EQ(Run().action, Action::kWait);
  EXPECT_EQ(Run(kSettle / 4).action, Action::kWait);
  ExpectDecision(Decision::kUndetermined, kDeadline);
}

TEST_F(ArbiterTest, AnUnknownHolderThatShowsItselfIsJudgedAnew) {
  Make("file(path=/a)");
  layer("/a").WillAnswer(By(Standing::kUnknown));
  layer("/a").WillAnswer(By(Standing::kCandidate, 42));
  layer("/a").WillAnswer(By(Standing::kEstablished, 42));
  EXPECT_EQ(Run().action, Action::kWait);
  EXPECT_EQ(Run(absl::Milliseconds(1)).action, Action::kWait);
  ExpectDecision(Decision::kDuplicate, absl::Milliseconds(2));
}

// Others would wait for a candidate that is none.
TEST_F(ArbiterTest, H14_ALayerThatCannotBePublishedDoesNotConfirm) {
  for (const auto& [policy, decision] :
       {std::pair("any(file(path=/a), file(path=/b))", Decision::kUnique),
        std::pair("all(file(path=/a), file(path=/b))", Decision::kUndetermined)}) {
    log_.clear();
    Make(policy);
    auto mute = std::make_unique<FakeClaim>("/a", log_);
    mute->publish_status = absl::InternalError("input/output error");
    layer("/a").WillAnswer(Held{std::move(mute)});
    ExpectDecision(decision);
    EXPECT_THAT(log_, ::testing::Contains("/a freed"));
    EXPECT_EQ(arbiter_->reports()[0].outcome, LayerReport::Outcome::kUnavailable);
    if (decision == Decision::kUndetermined) {
      EXPECT_THAT(std::string(arbiter_->status().message()), HasSubstr("input/output error"));
      EXPECT_EQ(log_.back(), "/b freed");
    }
  }
}

TEST_F(ArbiterTest, H11_ACarrierVetoesAndMustBeHeldButDoesNotConfirm) {
  Make("any(file(path=/a))", &layer("/carrier"));
  ExpectDecision(Decision::kUnique);
  EXPECT_THAT(log_,
              ElementsAre("/carrier tried", "/a tried", "/carrier established", "/a established"));

  Make("any(file(path=/a))", &layer("/carrier"));
  layer("/carrier").WillAnswer(By(Standing::kEstablished));
  ExpectDecision(Decision::kDuplicate);

  Make("any(file(path=/a))", &layer("/carrier"));
  layer("/carrier").WillAnswer(Unavailable{absl::PermissionDeniedError("no entry")});
  ExpectDecision(Decision::kUndetermined);

  Make("any(file(path=/a))", &layer("/carrier"));
  layer("/a").WillAnswer(Unavailable{absl::PermissionDeniedError("no entry")});
  ExpectDecision(Decision::kUndetermined);
}

TEST_F(ArbiterTest, WithVetoOffAHolderIsNotedAndTheOthersMayOutvoteIt) {
  Make("any(file(path=/a), file(path=/b), veto=off)");
  layer("/a").WillAnswer(By(Standing::kEstablished, 42));
  ExpectDecision(Decision::kUnique);
  ASSERT_EQ(arbiter_->reports().size(), 2U);
  EXPECT_EQ(arbiter_->reports()[0].outcome, LayerReport::Outcome::kContested);
  EXPECT_EQ(arbiter_->reports()[0].holder->record->identity.pid, 42);
  EXPECT_THAT(arbiter_->record().layers, ElementsAre("/b"));
}

TEST_F(ArbiterTest, WithVetoOffAPolicyThatIsNotMetByTheOthersIsADuplicateAndNotUndetermined) {
  Make("at_least(2, file(path=/a), file(path=/b), file(path=/c), file(path=/d), veto=off)");
  layer("/a").WillAnswer(Unavailable{absl::PermissionDeniedError("no entry")});
  layer("/b").WillAnswer(By(Standing::kEstablished, 42));
  layer("/d").WillAnswer(By(Standing::kUnguarded, 43));
  ExpectDecision(Decision::kDuplicate);
  EXPECT_EQ(arbiter_->holder().record->identity.pid, 42) << "whoever was met first";
  EXPECT_THAT(log_, ElementsAre("/a tried", "/b tried", "/c tried", "/d tried", "/c releasing",
                                "/c freed"));

  Make("at_least(2, file(path=/a), file(path=/b), veto=off)");
  layer("/a").WillAnswer(Unavailable{absl::PermissionDeniedError("no entry")});
  ExpectDecision(Decision::kUndetermined);
}

// What is about to change is waited for, and counts only once it has settled.
TEST_F(ArbiterTest, WithVetoOffWaitsAreTheSame) {
  Make("any(file(path=/a), file(path=/b), veto=off)");
  for (int i = 0; i < 2; ++i) layer("/a").WillAnswer(By(Standing::kCandidate, 42));
  EXPECT_EQ(Run().action, Action::kWait);
  ExpectDecision(Decision::kUndetermined, 2 * kSettle);

  Make("any(file(path=/a), file(path=/b), veto=off)");
  layer("/a").suspects = {Process(42)};
  for (int i = 0; i < 2; ++i) layer("/a").WillAnswer(By(Standing::kUnknown));
  EXPECT_EQ(Run().action, Action::kWait);
  ExpectDecision(Decision::kUnique, kSettle);
  EXPECT_THAT(arbiter_->reports()[0].holder->processes, ElementsAre(Process(42)));
}

TEST_F(ArbiterTest, WithVetoOffACarrierVetoesAllTheSame) {
  Make("any(file(path=/a), veto=off)", &layer("/carrier"));
  layer("/carrier").WillAnswer(By(Standing::kEstablished));
  ExpectDecision(Decision::kDuplicate);
}

TEST_F(ArbiterTest, ABypasserIsADuplicateAtOnce) {
  Make("file(path=/a)");
  Contested bypasser = By(Standing::kUnguarded);
  bypasser.holder.processes = {Process(42)};
  layer("/a").WillAnswer(std::move(bypasser));
  ExpectDecision(Decision::kDuplicate);
  EXPECT_THAT(arbiter_->holder().processes, ElementsAre(Process(42)));
}

TEST_F(ArbiterTest, H41_TheTokenComesAfterTheLargestThatALayerRemembersAndIsInEveryRecord) {
  Make("all(file(path=/a), file(path=/b), file(path=/c), file(path=/d))");
  std::map<std::string, FakeClaim*> claims;
  for (const auto& [path, token] :
       std::map<std::string, std::uint64_t>{{"/a", 5}, {"/b", 76}, {"/c", 8}, {"/d", 1000}}) {
    auto claim = std::make_unique<FakeClaim>(path, log_);
    claim->predecessor = HolderRecord{.token = token};
    claims[path] = claim.get();
    layer(path).WillAnswer(Held{std::move(claim)});
  }
  claims["/d"]->predecessor->name = "another";  // has the object too
  ExpectDecision(Decision::kUnique);
  EXPECT_EQ(arbiter_->token()->value, 77U);
  EXPECT_TRUE(arbiter_->token()->durable);
  for (const auto& [path, claim] : claims) EXPECT_EQ(claim->published.token, 77U) << path;
  EXPECT_THAT(claims["/a"]->published.layers, ElementsAre("/a", "/b", "/c", "/d"));
}

TEST_F(ArbiterTest, H41_ARefusedStartLeavesTheLargestTokenInWhatItHeld) {
  Make("all(file(path=/a), file(path=/b), file(path=/c))");
  auto claim = std::make_unique<FakeClaim>("/b", log_);
  claim->predecessor = HolderRecord{.token = 76};
  layer("/b").WillAnswer(Held{std::move(claim)});
  layer("/c").WillAnswer(By(Standing::kEstablished));
  ExpectDecision(Decision::kDuplicate);
  EXPECT_EQ(arbiter_->record().token, 76U);
  EXPECT_FALSE(arbiter_->token().has_value());
}

// ---- layers that a server decides

TEST(TimeToDecideTest, IsLongerByTheTimeOfEachServer) {
  const LayerKind faraway = {
      .name = "faraway",
      .check = [](const LayerParameters&) { return absl::OkStatus(); },
      .make = [](const LayerContext&) { return std::unique_ptr<Layer>(); },
      .remote = true,
      .effect = [](enum Event, const LayerParameters&) { return Effect::kNone; }};
  ASSERT_TRUE(RegisterLayerKind(faraway).ok());
  const ArbiterTimes times{.settle = kSettle, .answer = absl::Seconds(3)};
  EXPECT_EQ(TimeToDecide(*Policy::Parse("all(file, mutex)"), times), absl::Seconds(2));
  EXPECT_EQ(TimeToDecide(*Policy::Parse("all(file, faraway)"), times), absl::Seconds(5));
  EXPECT_EQ(TimeToDecide(*Policy::Parse("all(file, faraway(a), faraway(b))"), times),
            absl::Seconds(8));
}

Pending Asked() {
  Pending pending;
  pending.wake.push_back(Event());
  return pending;
}

TEST_F(ArbiterTest, AServersAnswerIsWaitedForWithWhatIsHeld) {
  Make("all(file(path=/a), file(path=/b), file(path=/c))");
  Pending pending = Asked();
  const int wake = pending.wake.front().get();
  layer("/b").WillAnswer(std::move(pending));
  const Arbiter::Next next = Run();
  ASSERT_EQ(next.action, Action::kWait);
  ASSERT_EQ(next.wake.size(), 1U);
  EXPECT_EQ(next.wake[0].get(), wake);
  EXPECT_EQ(next.at_most, ArbiterTimes{}.answer);
  EXPECT_THAT(log_, ElementsAre("/a tried", "/b tried"));
  ExpectDecision(Decision::kUnique, absl::Milliseconds(40));
  EXPECT_THAT(log_, ElementsAre("/a tried", "/b tried", "/b tried", "/c tried", "/a established",
                                "/b established", "/c established"));
}

// It was not told in between: several wake-ups are one wait.
TEST_F(ArbiterTest, AServerThatDoesNotAnswerInTimeIsUnavailableAndTheTryIsCancelled) {
  Make("any(file(path=/a), file(path=/b))");
  for (int i = 0; i < 3; ++i) layer("/a").WillAnswer(Asked());
  EXPECT_EQ(Run().action, Action::kWait);
  const absl::Duration answer = ArbiterTimes{}.answer;
  EXPECT_EQ(Run(answer / 2).at_most, answer / 2);
  ExpectDecision(Decision::kUnique, answer);
  EXPECT_THAT(log_, ElementsAre("/a tried", "/a tried", "/a tried", "/a cancelled", "/b tried",
                                "/b established"));
  EXPECT_EQ(arbiter_->reports()[0].outcome, LayerReport::Outcome::kUnavailable);
  EXPECT_THAT(std::string(arbiter_->reports()[0].status.message()), HasSubstr("no answer for 5s"));
}

TEST_F(ArbiterTest, AServersAnswerIsNotWaitedForLongerThanTheCallerWaits) {
  Make("file(path=/a)");
  for (int i = 0; i < 2; ++i) layer("/a").WillAnswer(Asked());
  EXPECT_EQ(Run(kDeadline - absl::Seconds(1)).at_most, absl::Seconds(1));
  ExpectDecision(Decision::kUndetermined, kDeadline);
}

// It is asked again for each answer, and each has its own time.
TEST_F(ArbiterTest, AfterAnAnswerTheNextOneHasItsTimeAgain) {
  Make("file(path=/a)");
  layer("/a").WillAnswer(Asked());
  layer("/a").WillAnswer(By(Standing::kReleasing));
  layer("/a").WillAnswer(Asked());
  EXPECT_EQ(Run().action, Action::kWait);
  EXPECT_EQ(Run(absl::Seconds(4)).action, Action::kWait);
  EXPECT_EQ(Run(absl::Seconds(5)).at_most, ArbiterTimes{}.answer);
  ExpectDecision(Decision::kUnique, absl::Seconds(6));
}

TEST_F(ArbiterTest, AnAbandonedArbitrationCancelsWhatItHasAsked) {
  Make("all(file(path=/a), file(path=/b))");
  layer("/b").WillAnswer(Asked());
  EXPECT_EQ(Run().action, Action::kWait);
  arbiter_.reset();
  EXPECT_THAT(log_,
              ElementsAre("/a tried", "/b tried", "/b cancelled", "/a releasing", "/a freed"));
}

TEST_F(ArbiterTest, AHolderThatIsGoneIsWaitedForUntilItsLeaseEnds) {
  Make("file(path=/a)");
  Contested lapsing = By(Standing::kLapsing);
  lapsing.wake.push_back(Event());
  layer("/a").WillAnswer(std::move(lapsing));
  const Arbiter::Next next = Run();
  EXPECT_EQ(next.action, Action::kWait);
  EXPECT_EQ(next.at_most, kDeadline);
  ExpectDecision(Decision::kUnique, absl::Seconds(7));
}

TEST_F(ArbiterTest, H41_AServersTokenGoesBeforeOneOfThisMachine) {
  Make("all(file(path=/a), file(path=/b), file(path=/c))");
  std::map<std::string, FakeClaim*> claims;
  for (const std::string path : {"/a", "/b", "/c"}) {
    auto claim = std::make_unique<FakeClaim>(path, log_);
    claims[path] = claim.get();
    layer(path).WillAnswer(Held{std::move(claim)});
  }
  claims["/a"]->predecessor = HolderRecord{.token = 1'000'000};
  claims["/b"]->server_token = 17;
  claims["/c"]->server_token = 99;
  ExpectDecision(Decision::kUnique);
  EXPECT_EQ(arbiter_->token()->value, 17U) << "that of the first layer which has one";
  EXPECT_TRUE(arbiter_->token()->durable);
  for (const auto& [path, claim] : claims) EXPECT_EQ(claim->published.token, 17U) << path;
}

// All are told before the first is waited for.
TEST_F(ArbiterTest, WhatIsGivenBackToAServerIsConfirmed) {
  Make("all(file(path=/a), file(path=/b), file(path=/c))");
  for (const std::string path : {"/a", "/b"}) {
    auto claim = std::make_unique<FakeClaim>(path, log_);
    claim->server_token = 1;
    layer(path).WillAnswer(Held{std::move(claim)});
  }
  layer("/c").WillAnswer(By(Standing::kEstablished));
  ExpectDecision(Decision::kDuplicate);
  EXPECT_THAT(log_, ElementsAre("/a tried", "/b tried", "/c tried", "/a releasing", "/b releasing",
                                "/b freed", "/a freed", "/a confirmed", "/b confirmed"));
}

TEST_F(ArbiterTest, AnAbandonedArbitrationGivesEverythingBack) {
  Make("all(file(path=/a), file(path=/b))");
  layer("/b").WillAnswer(By(Standing::kCandidate));
  EXPECT_EQ(Run().action, Action::kWait);
  arbiter_.reset();
  EXPECT_THAT(log_, ElementsAre("/a tried", "/b tried", "/a releasing", "/a freed"));
}

TEST_F(ArbiterTest, TakenClaimsAreNotGivenBack) {
  Make("file(path=/a)");
  ExpectDecision(Decision::kUnique);
  const auto claims = arbiter_->TakeClaims();
  log_.clear();
  arbiter_.reset();
  EXPECT_THAT(log_, IsEmpty());
}

}  // namespace
}  // namespace soleguard
