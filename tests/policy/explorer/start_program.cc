// The real Start, one question at a time.
//
// One step of a Start asks several things: a layer is tried, the queue is asked, layers are looked
// at. Others act between them, so each is a question of its own. When one is asked whose answer is
// not known yet the step is abandoned by an exception; with the answer it is run anew from the
// beginning of the start, which does the same up to there.
#include <cstdio>
#include <cstdlib>
#include <utility>

#include <absl/strings/str_cat.h>

#include "policy/explorer/program.h"
#include "soleguard/event.h"
#include "soleguard/layer.h"
#include "soleguard/process.h"
#include "soleguard/queue.h"
#include "soleguard/start.h"

namespace soleguard::explorer {
namespace {

// What one expired wait takes: longer than any that the arbiter allows a newcomer, and the wait of
// a standby.
constexpr absl::Duration kOneWait = absl::Hours(1);
constexpr absl::Duration kStandbyWaits = absl::Hours(1000);

struct Unanswered {};

// What the layers and the queue of one run share with it.
struct Tape {
  const std::vector<Answer>* answers = nullptr;
  std::size_t next = 0;
  bool muted = false;            // the run is abandoned: what clean-up does is no effect
  Question question;             // that has no answer
  std::vector<Asked> this_step;  // of Start
  std::vector<Effect> effects;   // since the last answer
  bool placed = false;
  int signals = 0;
  bool in_turn = false;
  bool was_in_turn = false;
  Set held = 0;

  bool at_end() const { return next == answers->size(); }
  const Answer& Take() {
    effects.clear();
    return (*answers)[next++];
  }
  const Answer& Ask(Question::Kind kind, int layer) {
    if (at_end()) {
      question.kind = kind;
      question.layer = layer;
      question.boundary = this_step.empty();
      muted = true;
      throw Unanswered();
    }
    const Answer& answer = Take();
    this_step.push_back({kind, layer, answer});
    return answer;
  }
  void Do(Effect effect) {
    if (!muted) effects.push_back(effect);
  }
};

class TapeClaim final : public Claim {
 public:
  TapeClaim(Tape& tape, int layer) : tape_(tape), layer_(layer) {}
  TapeClaim(const TapeClaim&) = delete;
  TapeClaim& operator=(const TapeClaim&) = delete;
  ~TapeClaim() override { TapeClaim::Release(); }
  absl::Status Publish(const HolderRecord& record) override {
    tape_.Do({Effect::Kind::kPublish, layer_, record.state});
    return absl::OkStatus();
  }
  absl::Status Verify() const override { return absl::OkStatus(); }
  void Release() override {
    if (std::exchange(released_, true)) return;
    tape_.Do({Effect::Kind::kFree, layer_});
    if (!tape_.muted) tape_.held &= static_cast<Set>(~Bit(layer_));
  }
  absl::Status KeepOverExec() override { return absl::OkStatus(); }

 private:
  Tape& tape_;
  const int layer_;
  bool released_ = false;
};

Holder HolderOf(const Answer& answer) {
  Holder holder;
  holder.standing = answer.standing;
  if (answer.process != Answer::kNobody) {
    holder.record.emplace();
    holder.record->identity.pid = answer.process;
  }
  return holder;
}

class TapeLayer final : public Layer {
 public:
  TapeLayer(Tape& tape, int index)
      : tape_(tape), index_(index), text_(1, static_cast<char>('a' + index)) {}
  std::string_view text() const override { return text_; }
  Attempt Try(const HolderRecord& candidate) override {
    const Answer& told = tape_.Ask(Question::Kind::kTry, index_);
    if (told.kind == Answer::Kind::kUnavailable) return Unavailable{absl::UnavailableError("")};
    if (told.kind == Answer::Kind::kContested) return Contested{HolderOf(told), {}};
    tape_.held |= Bit(index_);
    auto claim = std::make_unique<TapeClaim>(tape_, index_);
    (void)claim->Publish(candidate);
    return Held{std::move(claim)};
  }
  Sighting Look() const override {
    const Answer& told = tape_.Ask(Question::Kind::kLook, index_);
    if (told.kind == Answer::Kind::kContested) return Taken{HolderOf(told)};
    return Free{};
  }
  std::vector<ProcessIdentity> Suspects() const override { return {}; }

 private:
  Tape& tape_;
  const int index_;
  const std::string text_;
};

class TapeQueue final : public Queue {
 public:
  explicit TapeQueue(Tape& tape) : tape_(tape) {}
  absl::Status Join(Line) override {
    (void)tape_.Ask(Question::Kind::kJoin, 0);
    tape_.placed = true;
    return absl::OkStatus();
  }
  void Leave() override {
    if (std::exchange(tape_.placed, false)) tape_.Do({Effect::Kind::kLeave});
  }
  absl::StatusOr<std::optional<Ahead>> WhoIsAhead() override {
    Gate gate = Gate::kTurn;
    if (!tape_.in_turn) {
      gate = tape_.this_step.empty() ? Gate::kBeforeDecision : Gate::kWhileWaiting;
    }
    const Answer& told = tape_.Ask(Question::Kind::kAhead, static_cast<int>(gate));
    if (told.kind == Answer::Kind::kAhead) return std::optional(Ahead{});
    return std::optional<Ahead>();
  }
  std::vector<ProcessIdentity> Suspects() const override { return {}; }

 private:
  Tape& tape_;
};

class StartOfProcess final : public Program {
 public:
  StartOfProcess(const Policy& policy, Role role) : policy_(policy), role_(role) { Run(); }

  Question question() const override { return tape_.question; }
  Set held() const override { return held_; }
  std::string State() const override { return state_; }
  std::vector<Effect> Tell(const Answer& answer) override { return TellAll({answer}); }
  std::vector<Effect> TellAll(const std::vector<Answer>& answers) override {
    answers_.insert(answers_.end(), answers.begin(), answers.end());
    Run();
    return tape_.effects;
  }

 private:
  void Run() {
    tape_ = {};
    tape_.answers = &answers_;
    std::vector<std::unique_ptr<TapeLayer>> layers;
    std::vector<Arbiter::Member> members;
    for (std::size_t i = 0; i < policy_.layers().size(); ++i) {
      layers.push_back(std::make_unique<TapeLayer>(tape_, static_cast<int>(i)));
      members.push_back({.layer = layers.back().get(), .index = i});
    }
    Start start({.policy = policy_,
                 .members = std::move(members),
                 .candidate = [] { return HolderRecord{}; },
                 .times = {.deadline = kOneWait, .settle = absl::Seconds(1)},
                 .wait = role_ == Role::kStandby ? kStandbyWaits : absl::ZeroDuration(),
                 .replace = ReplaceOfRole(),
                 .queue = std::make_unique<TapeQueue>(tape_)});
    std::string before;  // what the step began with
    try {
      Drive(start, before);
    } catch (const Unanswered&) {
      held_ = tape_.held;
    }
    tape_.muted = true;
    state_ = absl::StrCat(
        before, "/", static_cast<int>(tape_.question.kind), ".", tape_.question.layer, ".",
        tape_.question.decision.has_value() ? static_cast<int>(*tape_.question.decision) : -1, ".",
        tape_.question.cites);
    for (const Asked& asked : tape_.this_step) {
      absl::StrAppend(&state_, " ", static_cast<int>(asked.question), ".", asked.layer, "=",
                      asked.answer.code());
    }
  }

  std::optional<Start::Replace> ReplaceOfRole() {
    if (role_ != Role::kReplacer) return std::nullopt;
    return Start::Replace{.grace = kStandbyWaits, .signal = [this](const Holder& holder, Signal) {
                            const auto target = static_cast<int>(holder.record->identity.pid);
                            (void)tape_.Ask(Question::Kind::kSignal, target);
                            ++tape_.signals;
                            return absl::OkStatus();
                          }};
  }

  // As Drive of guard.cc, and the release of the Guard.
  void Drive(Start& start, std::string& before) {
    absl::Duration elapsed = absl::ZeroDuration();
    bool expired = false;  // the wait of a standby, or of a replacer since its last signal
    int signals = 0;
    Arbiter::Next next;
    for (bool first = true;; first = false) {
      const bool waits = next.action == Arbiter::Next::Action::kWait;
      const bool in_line = start.is_waiting();
      // A step that asked nothing passes on to the next what is waited for.
      if (first || !tape_.this_step.empty()) tape_.question = {};
      if (waits) tape_.question.waits_on = tape_.this_step;
      // A newcomer has no reports before its arbitration, and again when it gave way; in its turn
      // only a step that does not wait ends that.
      const bool in_turn =
          !has_place() && start.reports().empty() && !first && (waits || !tape_.was_in_turn);
      tape_.was_in_turn = in_turn;
      tape_.in_turn = has_place() || in_turn;
      tape_.question.in_turn = in_turn;
      if (std::exchange(signals, tape_.signals) != tape_.signals) expired = false;
      before = StateOf(start, next, expired);
      tape_.this_step.clear();
      // Between two steps time may pass and the start may be cancelled.
      while (!tape_.at_end()) {
        const Answer::Kind kind = answers_[tape_.next].kind;
        if (kind == Answer::Kind::kCancelled) {
          (void)tape_.Take();
          start.Cancel();
          return End(start);
        }
        if (kind != Answer::Kind::kExpired) break;
        (void)tape_.Take();
        const bool of_place = has_place() && in_line;
        elapsed += of_place ? 2 * kStandbyWaits : kOneWait;
        expired = expired || of_place;
        tape_.question.waits_on.clear();
        absl::StrAppend(&before, "+");
      }
      if (IsAboutToDecide(start, next)) (void)tape_.Ask(Question::Kind::kDecide, 0);
      tape_.this_step.clear();
      next = start.Step(elapsed);
      if (next.action == Arbiter::Next::Action::kDecided) return End(start);
    }
  }

  bool has_place() const { return role_ != Role::kNewcomer; }

  // A replacer decides without a question, and can be cancelled before.
  bool IsAboutToDecide(const Start& start, const Arbiter::Next& next) const {
    const std::vector<LayerReport> reports = start.reports();
    return role_ == Role::kReplacer && next.action == Arbiter::Next::Action::kStep &&
           !start.is_waiting() && reports.size() == policy_.layers().size() &&
           reports.back().outcome != LayerReport::Outcome::kContested;
  }

  void End(Start& start) {
    const Arbiter::Decision decision = start.decision();
    held_ = tape_.held;
    tape_.this_step.clear();
    tape_.question = {.kind = Question::Kind::kEnd, .decision = decision};
    if (decision == Arbiter::Decision::kDuplicate && start.holders().front().record.has_value()) {
      tape_.question.cites = static_cast<int>(start.holders().front().record->identity.pid);
    }
    if (decision != Arbiter::Decision::kUnique) return;
    tape_.question.kind = Question::Kind::kHold;
    if (tape_.at_end()) return;
    (void)tape_.Take();
    HolderRecord record = start.arbiter().record();
    record.state = RecordState::kReleasing;
    std::vector<Arbiter::HeldLayer> claims = start.arbiter().TakeClaims();
    for (Arbiter::HeldLayer& claim : claims) (void)claim.claim->Publish(record);
    while (!claims.empty()) claims.pop_back();
    held_ = 0;
    tape_.question.kind = Question::Kind::kEnd;
  }

  // Start's members, seen from outside, at the beginning of a step. The arbiter's are as in
  // program.cc. phase_ follows from is_waiting, from what the last step asked, and from reports and
  // action: an arbiter that goes on has no contested layer last unless it waits. Times: only
  // whether the standby's or replacer's own wait is over, as all others begin anew or are over when
  // time passes. Of a replacer: whom it named, and how often it has signalled.
  std::string StateOf(const Start& start, const Arbiter::Next& next, bool expired) const {
    std::string state =
        absl::StrCat(start.is_waiting() ? "w" : "", expired ? "x" : "", tape_.placed ? "p" : "",
                     tape_.in_turn ? "t" : "", tape_.signals, ".",
                     start.named().has_value() ? start.named()->pid : Answer::kNobody, ".",
                     static_cast<int>(next.action), ":");
    for (const LayerReport& report : start.reports()) {
      absl::StrAppend(&state, report.layer, static_cast<int>(report.outcome));
      if (!report.holder.has_value()) continue;
      absl::StrAppend(&state, ".", static_cast<int>(report.holder->standing), ".",
                      report.holder->record.has_value() ? report.holder->record->identity.pid
                                                        : Answer::kNobody);
    }
    for (const Asked& asked : tape_.question.waits_on) {
      absl::StrAppend(&state, " ", static_cast<int>(asked.question), ".", asked.layer, "=",
                      asked.answer.code());
    }
    return state;
  }

  const Policy policy_;
  const Role role_;
  std::vector<Answer> answers_;
  Tape tape_;
  Set held_ = 0;
  std::string state_;
};

}  // namespace

MakeProgram StartProgram(const Policy& policy, Role role) {
  return [policy, role] { return std::make_unique<StartOfProcess>(policy, role); };
}

}  // namespace soleguard::explorer
