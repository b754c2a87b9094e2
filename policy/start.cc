// A start's phases, as a map. Newcomers begin at kArbitration, standbys at kTurn, replacers at
// kNaming:
//
//   kNaming       notes who has the name now: nobody else will be asked to end
//   kTurn         waits until nobody is ahead in the queue; a standby is refused there whose wait
//                 would be in vain
//   kArbitration  drives an Arbiter for one slot after the other; then Unique, or OnRefusal:
//                   a newcomer is refused; who has a place waits on, in kTurn or kHoldersEnd;
//                   a replacer asks the holder that it named to end, and kills it after the grace
//   kHoldersEnd   waits for the end of one of the holders that have refused, and arbitrates again
#include "soleguard/start.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <variant>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include "retry.h"

namespace soleguard {
namespace {

using Next = Arbiter::Next;
using Decision = Arbiter::Decision;

// A holder that only its end makes free.
std::optional<Holder> SeenIn(const std::vector<Arbiter::Member>& slot) {
  for (const Arbiter::Member& member : slot) {
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

}  // namespace

Start::Start(Setup setup) : setup_(std::move(setup)) {
  // A newcomer asks for its turn only once it could take the name: most are refused before.
  phase_ = is_replacer() ? Phase::kNaming : has_place() ? Phase::kTurn : Phase::kArbitration;
}

Next Start::Step(absl::Duration elapsed) {
  switch (phase_) {
    case Phase::kNaming:
      return NameTheHolder();
    case Phase::kTurn:
      return AwaitTurn(elapsed);
    case Phase::kArbitration:
      return Arbitrate(elapsed);
    case Phase::kHoldersEnd:
      return AwaitHoldersEnd();
  }
  return {};
}

// Before it stands in line: whoever has the name by its turn, and had it not now, was faster.
Next Start::NameTheHolder() {
  const std::optional<Holder> holder = SeenIn(setup_.members);
  if (holder.has_value() && holder->record.has_value()) named_ = holder->record->identity;
  phase_ = Phase::kTurn;
  return {.action = Next::Action::kStep};
}

Next Start::AwaitTurn(absl::Duration elapsed) {
  if (!turn_began_.has_value()) turn_began_ = elapsed;
  std::optional<Queue::Ahead> ahead = WhoGoesFirst();
  if (!ahead.has_value()) {
    phase_ = Phase::kArbitration;
    return {.action = Next::Action::kStep};
  }
  if (TurnWouldBeInVain()) return Decide(Decision::kDuplicate);
  // Whoever is ahead of a newcomer is about to take the name, as a candidate is.
  absl::Duration limit = setup_.wait;
  if (limit <= absl::ZeroDuration()) {
    limit = *turn_began_ + (is_replacer() ? setup_.replace->grace + setup_.times.deadline
                                          : std::min(TimeToDecide(setup_.policy, setup_.times),
                                                     setup_.times.deadline));
  }
  if (elapsed >= limit) return TurnNeverCame();
  return Wait(std::move(ahead->wake), limit - elapsed, RetryAfter(rounds_++));
}

// The queue gives order and no more: where it cannot be used, the layers decide all the same.
std::optional<Queue::Ahead> Start::WhoGoesFirst() {
  if (has_place()) {
    joined_ = setup_.queue->Join(is_replacer() ? Queue::Line::kReplacers : Queue::Line::kStandbys);
    if (!joined_.ok()) return std::nullopt;
  }
  absl::StatusOr<std::optional<Queue::Ahead>> ahead = setup_.queue->WhoIsAhead();
  if (!ahead.ok() || !ahead->has_value()) return std::nullopt;
  // A newcomer is refused by a holder at once, however many stand in line.
  if (!has_place() && !SeenHolders().empty()) return std::nullopt;
  return *std::move(ahead);
}

// Those ahead may wait for as long as the holder lives, and without them the refusal would come
// from the layers.
bool Start::TurnWouldBeInVain() {
  if (!has_place() || is_replacer()) return false;
  std::vector<Holder> seen = SeenHolders();
  not_awaited_ = MayAwait(seen);
  if (!not_awaited_.ok()) holders_ = std::move(seen);
  return !not_awaited_.ok();
}

absl::Status Start::MayAwait(const std::vector<Holder>& holders) const {
  absl::Status why_not;
  for (const Holder& holder : holders) {
    const absl::Status may = setup_.may_await ? setup_.may_await(holder) : absl::OkStatus();
    if (may.ok()) return may;
    why_not.Update(may);
  }
  return why_not;
}

Next Start::TurnNeverCame() {
  if (has_place()) holders_ = SeenHolders();
  if (!holders_.empty()) {
    if (is_replacer()) {
      not_replaced_ = absl::DeadlineExceededError("another start that replaces was first");
    }
    return Decide(Decision::kDuplicate);
  }
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
  if (!arbitration_began_.has_value()) {
    arbitration_began_ = elapsed;
    if (!round_began_.has_value()) round_began_ = elapsed;
    ArbiterTimes times = setup_.times;
    // One for all slots; the caller's, if there is one.
    times.deadline = setup_.wait > absl::ZeroDuration()
                         ? setup_.wait - elapsed
                         : times.deadline - (elapsed - *round_began_);
    HolderRecord candidate = setup_.candidate();
    candidate.slot = slot_;
    arbiter_ = std::make_unique<Arbiter>(setup_.policy, MembersOf(slot_), std::move(candidate),
                                         times, setup_.issue);
  }
  // The race: a standby waits for the end of the same holder as this newcomer, or is awake already;
  // or a replacer has come before this standby. Closed by asking who goes first when the layers are
  // taken, before it is decided. (Ahead of a replacer nobody comes.)
  if (!is_replacer() && arbiter_->is_about_to_decide() && WhoGoesFirst().has_value()) {
    return GiveWay();
  }
  Next next = arbiter_->Step(elapsed - *arbitration_began_);
  if (!is_replacer() && next.action == Next::Action::kWait && WhoGoesFirst().has_value()) {
    return GiveWay();
  }
  if (next.action == Next::Action::kWait && asked_at_.has_value()) {
    KillInTime(elapsed);  // it hangs while it releases
    const absl::Duration left = NextLimit() - elapsed;
    if (left > absl::ZeroDuration()) next.at_most = std::min(next.at_most, left);
  }
  if (next.action != Next::Action::kDecided) return next;
  arbitration_began_.reset();
  if (is_replacer() && arbiter_->decision() != Decision::kUnique) return ReplaceHolder(elapsed);
  return arbiter_->decision() == Decision::kUnique ? Decide(Decision::kUnique) : OnRefusal(elapsed);
}

bool Start::Refusal::MayChange() const {
  return decision == Decision::kDuplicate || absl::IsDeadlineExceeded(status);
}

bool Start::Refusal::IsBySame(const Refusal& later) const {
  if (decision != Decision::kDuplicate || !absl::IsDeadlineExceeded(later.status)) return false;
  const std::optional<Holder>& seen = later.reports.back().holder;
  return seen.has_value() && seen->standing == holder->standing &&
         seen->evidence == holder->evidence &&
         seen->record.has_value() == holder->record.has_value();
}

Next Start::OnRefusal(absl::Duration elapsed) {
  Refusal refusal{.decision = arbiter_->decision(),
                  .holder = {},
                  .status = arbiter_->status(),
                  .reports = arbiter_->reports(),
                  .wake = arbiter_->TakeWake()};
  if (refusal.decision == Decision::kDuplicate) refusal.holder = arbiter_->holder();
  if (slot_ < former_.size() && former_[slot_].IsBySame(refusal)) {
    refusal = std::move(former_[slot_]);
  }
  refusals_.push_back(std::move(refusal));
  if (refusals_.size() == slots()) return OnRefusals(elapsed);
  ++slot_;
  return {.action = Next::Action::kStep};
}

// Of a slot whose holder is not known nothing is said, and it may become free.
std::vector<Holder> Start::RefusingHolders() const {
  std::vector<Holder> holders;
  for (const Refusal& refusal : refusals_) {
    if (!refusal.holder.has_value()) return {};
    holders.push_back(*refusal.holder);
  }
  return holders;
}

// The race: an ancestor of this process takes the name while this start waits for another holder.
// Closed by asking at each refusal, since the end of that holder ends the wait.
Next Start::OnRefusals(absl::Duration elapsed) {
  not_awaited_ = has_place() ? MayAwait(RefusingHolders()) : absl::OkStatus();
  const auto stays = [](const Refusal& refusal) { return !refusal.MayChange(); };
  if (elapsed < setup_.wait && not_awaited_.ok() &&
      !std::all_of(refusals_.begin(), refusals_.end(), stays)) {
    phase_ = Phase::kHoldersEnd;
    std::vector<UniqueFd> wake;  // the end of any of them
    absl::Duration left = setup_.wait - elapsed;
    for (Refusal& refusal : refusals_) {
      if (refusal.MayChange() && refusal.wake.empty()) left = std::min(left, kLookForEvents);
      std::move(refusal.wake.begin(), refusal.wake.end(), std::back_inserter(wake));
    }
    return Wait(std::move(wake), left, kLookForEvents);
  }
  const auto undetermined = std::find_if(
      refusals_.begin(), refusals_.end(),
      [](const Refusal& refusal) { return refusal.decision == Decision::kUndetermined; });
  if (undetermined != refusals_.end()) {
    reports_ = undetermined->reports;
    return Decide(Decision::kUndetermined, undetermined->status);
  }
  // The race: a slot that was taken when it was asked is free by now, and another one that was free
  // then is taken: at each moment one was free. Closed by asking until the same holders have
  // refused twice: between the two times they had all slots at once.
  // After the caller's time they are asked once more, and not for as long as they change.
  const bool once = refused_by_.empty();
  const bool in_time =
      setup_.wait <= absl::ZeroDuration() && elapsed - *round_began_ < setup_.times.deadline;
  if (slots() > 1 && !RefusedByTheSame() && (once || in_time)) {
    AskAgain();
    return {.action = Next::Action::kStep};
  }
  reports_ = refusals_.front().reports;
  for (Refusal& refusal : refusals_) {
    // One that runs unguarded refuses every slot.
    const bool is_new = refusal.holder->record.has_value() || holders_.empty() ||
                        holders_.back().processes != refusal.holder->processes;
    if (is_new) holders_.push_back(*std::move(refusal.holder));
  }
  return Decide(Decision::kDuplicate);
}

bool Start::RefusedByTheSame() {
  std::vector<Tenancy> tenancies;
  for (const Refusal& refusal : refusals_) {
    // Waited for as long as could be: it would be waited for again, and only then be told.
    if (refusal.holder->standing != Standing::kEstablished) return true;
    const HolderRecord& record = *refusal.holder->record;
    tenancies.emplace_back(record.identity, record.started);
  }
  return std::exchange(refused_by_, tenancies) == tenancies;
}

void Start::AskAgain() {
  if (refusals_.size() == slots()) former_ = std::move(refusals_);
  refusals_.clear();
  slot_ = 0;
}

bool Start::IsNamed(const Holder& holder) const {
  if (!named_.has_value()) return false;
  // Of one that was asked the record may be lost before its claim is.
  if (!holder.record.has_value()) return asked_at_.has_value();
  return holder.record->identity == *named_;
}

absl::Duration Start::NextLimit() const {
  const absl::Duration limit = killed_at_.has_value() ? *killed_at_ + setup_.times.deadline
                                                      : *asked_at_ + setup_.replace->grace;
  return setup_.wait > absl::ZeroDuration() ? std::min(limit, setup_.wait) : limit;
}

void Start::KillInTime(absl::Duration elapsed) {
  if (!asked_at_.has_value() || killed_at_.has_value()) return;
  const bool in_time = setup_.wait <= absl::ZeroDuration() || elapsed < setup_.wait;
  if (elapsed < *asked_at_ + setup_.replace->grace || !in_time) return;
  // The one that was asked may have let go and live on; somebody else is waited for then.
  const std::optional<Holder>& in_the_way = arbiter_->reports().back().holder;
  if (!in_the_way.has_value() || !IsNamed(*in_the_way)) return;
  killed_at_ = elapsed;
  absl::Status killed = setup_.replace->signal(*asked_, Signal::kKill);
  if (!absl::IsNotFound(killed)) not_replaced_ = std::move(killed);  // it was asked, so it may end
}

Next Start::CannotReplace(absl::Status why) {
  not_replaced_ = std::move(why);
  holders_ = {arbiter_->holder()};
  return Decide(Decision::kDuplicate);
}

Next Start::ReplaceHolder(absl::Duration elapsed) {
  const bool duplicate = arbiter_->decision() == Decision::kDuplicate;
  if (!duplicate && !absl::IsDeadlineExceeded(arbiter_->status())) {
    return Decide(arbiter_->decision(), arbiter_->status());
  }
  if (duplicate && !IsNamed(arbiter_->holder())) {
    const Standing standing = arbiter_->holder().standing;
    return CannotReplace(absl::FailedPreconditionError(
        standing == Standing::kEstablished
            ? "another instance has taken the name since this start began, and only the one that "
              "had it then is replaced"
            : "no record says that it is the holder, so nobody was signalled"));
  }
  if (duplicate && !asked_at_.has_value()) {
    // Somebody else could take the name between the signal and this start.
    if (!joined_.ok()) {
      return CannotReplace(absl::Status(
          joined_.code(), absl::StrCat("the name cannot be reserved, so nobody was signalled: ",
                                       joined_.message())));
    }
    absl::Status asked = setup_.replace->signal(arbiter_->holder(), Signal::kTerminate);
    if (!asked.ok() && !absl::IsNotFound(asked)) return CannotReplace(std::move(asked));
    asked_ = arbiter_->holder();
    asked_at_ = elapsed;
  }
  KillInTime(elapsed);
  const bool over = asked_at_.has_value() ? elapsed >= NextLimit() : elapsed >= setup_.wait;
  if (over) {
    if (!duplicate) return Decide(arbiter_->decision(), arbiter_->status());
    if (!not_replaced_.ok()) return CannotReplace(not_replaced_);
    return CannotReplace(absl::DeadlineExceededError(absl::StrCat(
        "pid ", named_->pid, killed_at_.has_value() ? " was killed" : " was asked to end",
        " and has not ended in time")));
  }
  phase_ = Phase::kHoldersEnd;
  const absl::Duration limit = asked_at_.has_value() ? NextLimit() : setup_.wait;
  return Wait(arbiter_->TakeWake(), limit - elapsed, kLookForEvents);
}

Next Start::GiveWay() {
  AskAgain();
  arbiter_.reset();
  round_began_.reset();
  arbitration_began_.reset();
  turn_began_.reset();
  phase_ = Phase::kTurn;
  return {.action = Next::Action::kStep};
}

// The race: the holder ends at the deadline, and the clock is read first. So it is asked again
// whatever time it is, and the answer is of now: after the deadline, the last one.
Next Start::AwaitHoldersEnd() {
  AskAgain();
  round_began_.reset();
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

const std::vector<Arbiter::Member>& Start::MembersOf(std::size_t slot) const {
  return slot == 0 ? setup_.members : setup_.other_slots[slot - 1];
}

std::vector<Holder> Start::SeenHolders() const {
  std::vector<Holder> holders;
  for (std::size_t slot = 0; slot < slots(); ++slot) {
    std::optional<Holder> seen = SeenIn(MembersOf(slot));
    if (!seen.has_value()) return {};
    holders.push_back(*std::move(seen));
  }
  return holders;
}

std::vector<LayerReport> Start::reports() const {
  return arbiter_ == nullptr || !reports_.empty() ? reports_ : arbiter_->reports();
}

}  // namespace soleguard
