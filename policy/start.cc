#include "soleguard/start.h"

#include <algorithm>
#include <utility>
#include <variant>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

namespace soleguard {
namespace {

using Next = Arbiter::Next;
using Decision = Arbiter::Decision;

// An event may be missed: a child that a raw clone(2) made can keep the FIFO of one that has left.
constexpr absl::Duration kLookAgain = absl::Seconds(30);
// The system has no event: a foreign locker, a layer that works again.
constexpr absl::Duration kLookForEvents = absl::Seconds(1);

}  // namespace

Start::Start(Setup setup) : setup_(std::move(setup)) {
  // A newcomer asks for its turn only once it could take the name: most are refused before.
  phase_ = is_standby() ? Phase::kTurn : Phase::kArbitration;
}

Next Start::Step(absl::Duration elapsed) {
  switch (phase_) {
    case Phase::kTurn:
      return AwaitTurn(elapsed);
    case Phase::kArbitration:
      return Arbitrate(elapsed);
    case Phase::kHoldersEnd:
      return AwaitHoldersEnd();
  }
  return {};
}

Next Start::AwaitTurn(absl::Duration elapsed) {
  if (!turn_began_.has_value()) turn_began_ = elapsed;
  std::optional<Queue::Ahead> ahead = WhoGoesFirst();
  if (!ahead.has_value()) {
    phase_ = Phase::kArbitration;
    return {.action = Next::Action::kStep};
  }
  // Whoever is ahead of a newcomer is about to take the name, as a candidate is.
  const absl::Duration limit = is_standby() ? setup_.wait : *turn_began_ + 2 * setup_.times.settle;
  if (elapsed >= limit) return TurnNeverCame();
  const absl::Duration soon =
      std::min(absl::Milliseconds(1) * (1 << std::min(rounds_++, 5)), absl::Milliseconds(25));
  return Wait(std::move(ahead->wake), limit - elapsed, soon);
}

// The queue gives order and no more: where it cannot be used, the layers decide all the same.
std::optional<Queue::Ahead> Start::WhoGoesFirst() {
  if (is_standby() && !setup_.queue->Join().ok()) return std::nullopt;
  absl::StatusOr<std::optional<Queue::Ahead>> ahead = setup_.queue->WhoIsAhead();
  if (!ahead.ok() || !ahead->has_value()) return std::nullopt;
  // A newcomer is refused by a holder at once, however many stand in line.
  if (!is_standby() && SeenHolder().has_value()) return std::nullopt;
  return *std::move(ahead);
}

Next Start::TurnNeverCame() {
  if (is_standby()) holder_ = SeenHolder();
  if (holder_.has_value()) return Decide(Decision::kDuplicate);
  std::vector<std::string> pids;
  for (const ProcessIdentity& process : setup_.queue->Suspects()) {
    pids.push_back(absl::StrCat(process.pid));
  }
  return Decide(Decision::kUndetermined,
                absl::DeadlineExceededError(absl::StrCat(
                    "another process is first in line for the name",
                    pids.empty() ? "" : absl::StrCat(", pid ", absl::StrJoin(pids, ", ")),
                    ", and did not take it in time; if it is stopped, continue or end it")));
}

Next Start::Arbitrate(absl::Duration elapsed) {
  if (arbiter_ == nullptr || !arbitration_began_.has_value()) {
    arbitration_began_ = elapsed;
    ArbiterTimes times = setup_.times;
    times.deadline = std::max(times.deadline, setup_.wait - elapsed);
    arbiter_ = std::make_unique<Arbiter>(setup_.policy, setup_.members, setup_.candidate(), times);
  }
  // The race: a standby waits for the end of the same holder as this newcomer, or is awake already.
  // Closed by asking who goes first when the layers are taken, before it is decided.
  if (!is_standby() && arbiter_->is_about_to_decide() && WhoGoesFirst().has_value()) {
    return GiveWay();
  }
  Next next = arbiter_->Step(elapsed - *arbitration_began_);
  if (!is_standby() && next.action == Next::Action::kWait && WhoGoesFirst().has_value()) {
    return GiveWay();
  }
  if (next.action != Next::Action::kDecided) return next;
  arbitration_began_.reset();

  const bool may_change =
      arbiter_->decision() == Decision::kDuplicate || absl::IsDeadlineExceeded(arbiter_->status());
  if (arbiter_->decision() != Decision::kUnique && may_change && elapsed < setup_.wait) {
    phase_ = Phase::kHoldersEnd;
    return Wait(arbiter_->TakeWake(), setup_.wait - elapsed, kLookForEvents);
  }
  if (arbiter_->decision() == Decision::kDuplicate) holder_ = arbiter_->holder();
  return Decide(arbiter_->decision(), arbiter_->status());
}

Next Start::GiveWay() {
  arbiter_.reset();
  arbitration_began_.reset();
  turn_began_.reset();
  phase_ = Phase::kTurn;
  return {.action = Next::Action::kStep};
}

// The race: the holder ends at the deadline, and the clock is read first. So it is asked again
// whatever time it is, and the answer is of now: after the deadline, the last one.
Next Start::AwaitHoldersEnd() {
  phase_ = Phase::kArbitration;
  return {.action = Next::Action::kStep};
}

Next Start::Wait(std::vector<UniqueFd> wake, absl::Duration left, absl::Duration look_again) {
  wake_ = std::move(wake);
  return {.action = Next::Action::kWait,
          .wake = wake_,
          .at_most = std::min(left, wake_.empty() ? look_again : kLookAgain)};
}

// The place in line is given up only now: until then newcomers let this process go first.
Next Start::Decide(Decision decision, absl::Status status) {
  setup_.queue->Leave();
  decision_ = decision;
  status_ = std::move(status);
  return {.action = Next::Action::kDecided};
}

void Start::Cancel() {
  arbiter_.reset();  // gives back what it holds
  (void)Decide(Decision::kUndetermined, absl::CancelledError("the start was cancelled"));
}

std::optional<Holder> Start::SeenHolder() const {
  for (const Arbiter::Member& member : setup_.members) {
    const Sighting sighting = member.layer->Look();
    const auto* taken = std::get_if<Taken>(&sighting);
    if (taken == nullptr) continue;
    const Standing standing = taken->holder.standing;
    if (standing == Standing::kEstablished || standing == Standing::kUnguarded) {
      return taken->holder;
    }
  }
  return std::nullopt;
}

std::vector<LayerReport> Start::reports() const {
  return arbiter_ != nullptr ? arbiter_->reports() : std::vector<LayerReport>();
}

}  // namespace soleguard
