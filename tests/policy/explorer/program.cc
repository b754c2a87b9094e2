#include "policy/explorer/program.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include <absl/strings/str_cat.h>

#include "soleguard/event.h"
#include "soleguard/layer.h"

namespace soleguard::explorer {
namespace {

constexpr absl::Duration kDeadline = absl::Hours(1);
constexpr absl::Duration kSettle = absl::Seconds(1);

[[noreturn]] void Fail(const char* what) {
  (void)std::fprintf(stderr, "explorer: %s\n", what);
  std::abort();
}

// What all layers and claims of one program share with it.
struct Ear {
  const Answer* told = nullptr;  // of the step that is going on
  int asked = 0;                 // which layer it is about
  bool finally = false;          // its final word is asked
  std::vector<Effect> effects;   // of that step
};

class ToldClaim final : public Claim {
 public:
  ToldClaim(Ear& ear, int layer) : ear_(ear), layer_(layer) {}
  ToldClaim(const ToldClaim&) = delete;
  ToldClaim& operator=(const ToldClaim&) = delete;
  ~ToldClaim() override { ToldClaim::Release(); }

  absl::Status Publish(const HolderRecord& record) override {
    ear_.effects.push_back({Effect::Kind::kPublish, layer_, record.state});
    return absl::OkStatus();
  }
  absl::Status Verify() const override { return absl::OkStatus(); }
  void Release() override {
    if (std::exchange(released_, true)) return;
    ear_.effects.push_back({Effect::Kind::kFree, layer_});
  }
  absl::Status KeepOverExec() override { return absl::OkStatus(); }

 private:
  Ear& ear_;
  const int layer_;
  bool released_ = false;
};

// Answers as the program was told.
class ToldLayer final : public Layer {
 public:
  ToldLayer(Ear& ear, int index)
      : ear_(ear), index_(index), text_(1, static_cast<char>('a' + index)) {}

  std::string_view text() const override { return text_; }
  Attempt TryFinally(const HolderRecord& candidate) override {
    if (!ear_.finally) Fail("a layer's final word was asked too early");
    ear_.finally = false;
    return Try(candidate);
  }
  Attempt Try(const HolderRecord& candidate) override {
    if (ear_.finally) Fail("a layer's final word was not asked");
    if (ear_.told == nullptr || ear_.asked != index_) Fail("a layer was tried out of turn");
    const Answer& told = *std::exchange(ear_.told, nullptr);
    switch (told.kind) {
      case Answer::Kind::kGoOn:
        Fail("a layer was tried when there was nothing to try");
      case Answer::Kind::kHeld: {
        auto claim = std::make_unique<ToldClaim>(ear_, index_);
        (void)claim->Publish(candidate);
        return Held{std::move(claim)};
      }
      case Answer::Kind::kUnavailable:
        return Unavailable{absl::UnavailableError("broken")};
      case Answer::Kind::kUnsettled:
      case Answer::Kind::kSettled:
        return Contested{.holder = {}, .wake = {}, .unsettled = true};
      case Answer::Kind::kPending:
      case Answer::Kind::kNoAnswer:
        return Pending{};
      case Answer::Kind::kContested:
      case Answer::Kind::kExpired:
        break;
      default:
        Fail("a layer was tried and another answer given");
    }
    Contested contested;
    contested.holder.standing = told.standing;
    if (told.process != Answer::kNobody) {
      contested.holder.record.emplace();
      contested.holder.record->identity.pid = told.process;
    }
    return contested;
  }
  void Cancel() override { ear_.effects.push_back({Effect::Kind::kCancel, index_}); }
  Sighting Look() const override { return Free{}; }
  std::vector<ProcessIdentity> Suspects() const override { return {}; }

 private:
  Ear& ear_;
  const int index_;
  const std::string text_;
};

class Start final : public Program {
 public:
  Start(const Policy& policy, std::shared_ptr<const std::vector<int>> order)
      : order_(std::move(order)),
        arbiter_(policy, Members(policy), HolderRecord{},
                 {.deadline = kDeadline, .settle = kSettle}) {
    question_ = {.kind = Question::Kind::kTry, .layer = order_->front()};
  }

  Question question() const override { return question_; }
  Set held() const override { return held_; }

  std::vector<Effect> Tell(const Answer& answer) override {
    ear_.effects.clear();
    switch (question_.kind) {
      case Question::Kind::kTry:
      case Question::Kind::kDecide:
        Step(answer);
        break;
      case Question::Kind::kHold:
        Release();
        break;
      default:
        Fail("a program that has ended was told something");
    }
    return std::move(ear_.effects);
  }

  // The arbiter's members, seen from outside: next_ and held_ are what was reported unavailable and
  // held; wait_ is the last report if that is contested (its beginning is always 0 here, and its
  // rounds only shorten polls); record_ follows from held_ and decision_. policy_, members_ and
  // times_ never change.
  std::string State() const override {
    std::string state;
    for (const LayerReport& report : arbiter_.reports()) {
      absl::StrAppend(&state, report.layer, static_cast<int>(report.outcome));
      if (!report.holder.has_value()) continue;
      absl::StrAppend(&state, ".", static_cast<int>(report.holder->standing), ".",
                      report.holder->record.has_value() ? report.holder->record->identity.pid
                                                        : Answer::kNobody);
    }
    if (question_.finally) absl::StrAppend(&state, "f");
    if (question_.waits.has_value() && question_.waits->kind == Answer::Kind::kUnsettled) {
      absl::StrAppend(&state, "u");
    }
    if (question_.waits.has_value() && question_.waits->kind == Answer::Kind::kPending) {
      absl::StrAppend(&state, "p");
    }
    absl::StrAppend(&state, "/", static_cast<int>(question_.kind),
                    question_.decision.has_value() ? static_cast<int>(*question_.decision) : -1);
    return state;
  }

 private:
  std::vector<Arbiter::Member> Members(const Policy& policy) {
    std::vector<Arbiter::Member> members;
    if (order_->size() != policy.layers().size()) Fail("an order of other layers");
    for (const int index : *order_) {
      layers_.push_back(std::make_unique<ToldLayer>(ear_, index));
      members.push_back({.layer = layers_.back().get(), .index = static_cast<std::size_t>(index)});
    }
    return members;
  }

  void Step(const Answer& answer) {
    const bool trying = question_.kind == Question::Kind::kTry;
    ear_.told = trying ? &answer : nullptr;
    ear_.asked = question_.layer;
    ear_.finally = question_.finally;
    // All waits begin at 0, so that at the deadline each of them is over.
    const bool expired = answer.kind == Answer::Kind::kExpired;
    const bool settled = answer.kind == Answer::Kind::kSettled;
    const bool unanswered = answer.kind == Answer::Kind::kNoAnswer;
    const Arbiter::Next next = arbiter_.Step(expired      ? kDeadline
                                             : settled    ? kSettle
                                             : unanswered ? ArbiterTimes{}.answer
                                                          : absl::ZeroDuration());
    if (ear_.told != nullptr) Fail("the layer in turn was not tried");
    switch (next.action) {
      case Arbiter::Next::Action::kStep:
        if (settled) {
          question_ = {.layer = question_.layer, .finally = true};
          return;
        }
        if (answer.kind == Answer::Kind::kHeld) held_ |= Bit(question_.layer);
        ++next_;
        question_ = next_ == order_->size() ? Question{.kind = Question::Kind::kDecide}
                                            : Question{.layer = (*order_)[next_]};
        return;
      case Arbiter::Next::Action::kWait:
        question_.waits = answer;
        return;
      case Arbiter::Next::Action::kDecided:
        break;
    }
    const Arbiter::Decision decision = arbiter_.decision();
    if (decision == Arbiter::Decision::kUnique) {
      claims_ = arbiter_.TakeClaims();
      question_ = {.kind = Question::Kind::kHold, .decision = decision};
    } else {
      held_ = 0;
      question_ = {.kind = Question::Kind::kEnd, .decision = decision};
    }
  }

  // As Guard::Release.
  void Release() {
    HolderRecord record = arbiter_.record();
    record.state = RecordState::kReleasing;
    for (Arbiter::HeldLayer& claim : claims_) (void)claim.claim->Publish(record);
    while (!claims_.empty()) {
      claims_.back().claim->Release();
      claims_.pop_back();
    }
    held_ = 0;
    question_.kind = Question::Kind::kEnd;
  }

  const std::shared_ptr<const std::vector<int>> order_;
  Ear ear_;
  std::vector<std::unique_ptr<ToldLayer>> layers_;
  Arbiter arbiter_;
  std::vector<Arbiter::HeldLayer> claims_;
  std::size_t next_ = 0;
  Set held_ = 0;
  Question question_;
};

}  // namespace

std::string ToString(const Answer& answer) {
  switch (answer.kind) {
    case Answer::Kind::kGoOn:
      return "goes on";
    case Answer::Kind::kHeld:
      return "held";
    case Answer::Kind::kUnavailable:
      return "unavailable";
    case Answer::Kind::kAhead:
      return "somebody goes first";
    case Answer::Kind::kNobodyAhead:
      return "nobody goes first";
    case Answer::Kind::kCancelled:
      return "cancelled";
    case Answer::Kind::kUnsettled:
      return "a stranger, perhaps";
    case Answer::Kind::kSettled:
      return "a stranger still";
    case Answer::Kind::kPending:
      return "the server was asked";
    case Answer::Kind::kNoAnswer:
      return "the server has not answered in time";
    case Answer::Kind::kContested:
    case Answer::Kind::kExpired:
      break;
  }
  return absl::StrCat(
      answer.kind == Answer::Kind::kExpired ? "expired wait for " : "contested by ",
      answer.process == Answer::kNobody ? "nobody known" : absl::StrCat("P", answer.process), ", ",
      std::string(ToString(answer.standing)));
}

MakeProgram ArbiterProgram(const Policy& policy, std::vector<int> order) {
  return [policy, order = std::make_shared<const std::vector<int>>(std::move(order))] {
    return std::make_unique<Start>(policy, order);
  };
}

}  // namespace soleguard::explorer
