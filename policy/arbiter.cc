// The arbiter's steps, as a map:
//
//   Step             asks the next layer. Held and Unavailable are noted, and the next one is asked
//     AwaitAnswer    Pending: a server was asked, which may take its time
//     Settle         Contested: an established holder decides, every other one is waited for
//       AwaitUnsettled     what the layer itself cannot tell yet, by the clock
//       OnAnotherInstance  it is another instance's: refused, or outvoted under veto=off
//   Decide           all have answered: publishes, and decides by what is held then
//   Refuse           gives everything back, newest first, and says why
#include "soleguard/arbiter.h"

#include <algorithm>
#include <new>
#include <utility>

#include <absl/strings/str_cat.h>

#include "retry.h"
#include "soleguard/patience.h"
#include "soleguard/process.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

std::string Describe(const Holder& holder) {
  std::string who = "a process that no record names";
  if (holder.record.has_value()) who = absl::StrCat("pid ", holder.record->identity.pid);
  return absl::StrCat(who, " (", std::string(ToString(holder.standing)), "; ", holder.evidence,
                      FreeAtTheLatest(holder), ")");
}

// Whether the command of a holder that is being ended lives on: its guardian may not end it.
bool HasALiveInstance(const Holder& holder) {
  return holder.record.has_value() && holder.record->instance.has_value() &&
         LivenessOf(*holder.record->instance) == Liveness::kAlive;
}

// Whether it gets on as soon as it gets a processor or its disk. One that was stopped, or that
// waits for something itself, does not.
bool IsOnlySlow(const ProcessIdentity& process) {
  const absl::StatusOr<ProcessDescription> description = Describe(process);
  return description.ok() && (description->state == 'R' || description->state == 'D');
}

}  // namespace

std::string_view ToString(LayerReport::Outcome outcome) {
  switch (outcome) {
    case LayerReport::Outcome::kHeld:
      return "held";
    case LayerReport::Outcome::kContested:
      return "contested";
    case LayerReport::Outcome::kUnavailable:
      return "unavailable";
  }
  return "unavailable";
}

absl::Duration TimeToDecide(const Policy& policy, const ArbiterTimes& times) {
  absl::Duration time = 2 * times.settle;
  for (const LayerSpec& spec : policy.layers()) {
    if (spec.kind->remote) time += times.answer;
  }
  return time;
}

Arbiter::Arbiter(const Policy& policy, std::vector<Member> members, HolderRecord candidate,
                 ArbiterTimes times, TokenIssuer issue)
    : policy_(policy),
      members_(std::move(members)),
      times_(times),
      issue_(std::move(issue)),
      record_(std::move(candidate)) {}

Arbiter::~Arbiter() { GiveBack(); }

Arbiter::Next Arbiter::Step(absl::Duration elapsed) {
  if (next_ == members_.size()) return Decide();
  wake_.clear();
  Layer& layer = *members_[next_].layer;
  const bool finally = wait_.has_value() && wait_->over;
  Attempt attempt = finally ? layer.TryFinally(record_) : layer.Try(record_);

  if (auto* pending = std::get_if<Pending>(&attempt)) {
    return AwaitAnswer(std::move(*pending), elapsed);
  }
  asked_at_.reset();
  if (auto* contested = std::get_if<Contested>(&attempt)) {
    if (finally) contested->unsettled = false;
    return Settle(std::move(*contested), elapsed);
  }
  wait_.reset();
  LayerReport report{.layer = std::string(layer.text())};
  if (auto* held = std::get_if<Held>(&attempt)) {
    report.outcome = LayerReport::Outcome::kHeld;
    Remember(held->claim->Predecessor());
    held_.push_back({.member = members_[next_], .claim = std::move(held->claim)});
    record_.layers.push_back(report.layer);
  } else {
    report.status = std::get<Unavailable>(attempt).status;
  }
  Report(std::move(report));
  ++next_;
  return {.action = Next::Action::kStep};
}

// What it holds so far it keeps meanwhile, so that others see a candidate and wait for it. A server
// that does not answer in time is one that cannot be reached: the layer does not confirm.
Arbiter::Next Arbiter::AwaitAnswer(Pending pending, absl::Duration elapsed) {
  if (!asked_at_.has_value()) asked_at_ = elapsed;
  const absl::Duration limit = std::min(times_.deadline, *asked_at_ + times_.answer);
  if (elapsed < limit) {
    wake_ = std::move(pending.wake);
    return {.action = Next::Action::kWait, .wake = wake_, .at_most = limit - elapsed};
  }
  Layer& layer = *members_[next_].layer;
  layer.Cancel();
  Report({.layer = std::string(layer.text()),
          .status = absl::DeadlineExceededError(
              absl::StrCat("no answer for ", absl::FormatDuration(elapsed - *asked_at_),
                           "; is its server reachable from here? (guardcheck doctor)"))});
  asked_at_.reset();
  wait_.reset();
  ++next_;
  return {.action = Next::Action::kStep};
}

// Somebody has the layer. An established holder decides at once. Everybody else is about to change
// and is waited for, with what is held so far: a start that is refused by a candidate, which is
// then refused itself, or by a process that is already dead, is a start lost.
Arbiter::Next Arbiter::Settle(Contested contested, absl::Duration elapsed) {
  Holder& holder = contested.holder;
  const Standing standing = holder.standing;
  std::optional<ProcessIdentity> process;
  if (!holder.processes.empty()) process = holder.processes.front();
  if (holder.record.has_value()) process = holder.record->identity;
  Report({.layer = std::string(members_[next_].layer->text()),
          .outcome = LayerReport::Outcome::kContested,
          .holder = std::move(holder)});
  wake_ = std::move(contested.wake);
  if (contested.unsettled) return AwaitUnsettled(elapsed);
  if (standing == Standing::kEstablished || standing == Standing::kUnguarded) {
    return OnAnotherInstance();
  }

  // From anew when another process is cited, or the same one got further.
  if (!wait_.has_value() || wait_->unsettled || wait_->standing != standing ||
      wait_->process != process) {
    wait_ = Wait{.standing = standing, .process = process, .since = elapsed};
  }
  absl::Duration limit = times_.deadline;
  if (standing == Standing::kUnknown) limit = std::min(limit, wait_->since + times_.settle);
  if (standing == Standing::kCandidate || standing == Standing::kReleasing) {
    // Of 500 starts on two processors, the one that is about to have the name shares them with the
    // 499 others: 13 ms of work took it 2.3 s (bench/launch_storm). It will decide.
    const absl::Duration enough = TimeToDecide(policy_, times_);
    if (elapsed >= wait_->since + enough && process.has_value() && IsOnlySlow(*process)) {
      wait_->since = elapsed;
    }
    limit = std::min(limit, wait_->since + enough);
  }
  if (elapsed < limit) {
    const absl::Duration left = limit - elapsed;
    return {.action = Next::Action::kWait,
            .wake = wake_,
            .at_most = wake_.empty() ? std::min(left, RetryAfter(wait_->rounds++)) : left};
  }
  // An expired wait is never skipped over: with what it waited for still undecided, the layers
  // behind it prove nothing.
  Holder& unsettled = *reports_.back().holder;
  if (standing == Standing::kUnknown && elapsed - wait_->since >= times_.settle) {
    unsettled.processes = members_[next_].layer->Suspects();
    const bool may_get_on = unsettled.may_be_candidate && elapsed < times_.deadline;
    if (!may_get_on || !GetsOn(unsettled.processes)) return OnAnotherInstance();
    wait_->since = elapsed;
    return {.action = Next::Action::kWait, .wake = wake_, .at_most = RetryAfter(0)};
  }
  if (standing == Standing::kDying && HasALiveInstance(unsettled)) return OnAnotherInstance();
  return Refuse(Decision::kUndetermined,
                absl::DeadlineExceededError(
                    absl::StrCat("layer ", EscapeBytes(reports_.back().layer), " is taken by ",
                                 Describe(unsettled), ", which did not settle in time")));
}

// It is waited for by the clock, not by a number of tries: beside load a try takes as long as ten.
// Whoever is seen there meanwhile, it is one wait: a stranger's workers come and go.
Arbiter::Next Arbiter::AwaitUnsettled(absl::Duration elapsed) {
  if (!wait_.has_value() || !wait_->unsettled) {
    wait_ =
        Wait{.standing = Standing::kUnknown, .process = {}, .since = elapsed, .unsettled = true};
  }
  const bool shows = !reports_.back().holder->processes.empty();
  const absl::Duration limit =
      std::min(times_.deadline, wait_->since + (shows ? times_.settle / 4 : times_.settle));
  wait_->over = elapsed >= limit;
  if (wait_->over) return {.action = Next::Action::kStep};
  return {.action = Next::Action::kWait,
          .wake = wake_,
          .at_most = std::min(limit - elapsed, RetryAfter(wait_->rounds++))};
}

// Whether those who have the layer that is waited for, and say nothing, are others than a settle
// time ago, or the same that only needs a processor or its disk: candidates, one after another or a
// slow one, whose records were deleted.
bool Arbiter::GetsOn(const std::vector<ProcessIdentity>& suspects) {
  if (wait_->suspects == suspects) {
    return !suspects.empty() && IsOnlySlow(suspects.front());
  }
  wait_->suspects = suspects;
  return true;
}

// The layer is another instance's, and that was reported. It refuses this start, but under
// veto=off it is only noted: the others may outvote it. A carrier is never outvoted: the claim
// could not be handed on.
Arbiter::Next Arbiter::OnAnotherInstance() {
  if (policy_.veto() || !members_[next_].index.has_value()) return Refuse(Decision::kDuplicate);
  wait_.reset();
  ++next_;
  return {.action = Next::Action::kStep};
}

const LayerReport* Arbiter::FirstContested() const {
  const auto found = std::find_if(reports_.begin(), reports_.end(), [](const LayerReport& report) {
    return report.outcome == LayerReport::Outcome::kContested;
  });
  return found == reports_.end() ? nullptr : &*found;
}

bool Arbiter::Met() const {
  std::vector<bool> confirmed(policy_.layers().size(), false);
  auto carriers = std::count_if(members_.begin(), members_.end(),
                                [](const Member& member) { return !member.index.has_value(); });
  for (const HeldLayer& held : held_) {
    if (held.member.index.has_value()) {
      confirmed[*held.member.index] = true;
    } else {
      --carriers;
    }
  }
  return carriers == 0 && policy_.MetBy(confirmed);
}

Arbiter::Next Arbiter::Decide() {
  if (Met()) PublishEstablished();
  if (!Met() && FirstContested() != nullptr) return Refuse(Decision::kDuplicate);
  if (!Met()) {
    std::string why =
        absl::StrCat("too few layers can tell for policy ", EscapeBytes(policy_.ToString()));
    for (const LayerReport& report : reports_) {
      if (report.outcome != LayerReport::Outcome::kUnavailable) continue;
      absl::StrAppend(&why, "; ", EscapeBytes(report.layer), ": ",
                      absl::string_view(report.status.message()));
    }
    return Refuse(Decision::kUndetermined, absl::UnavailableError(why));
  }
  decision_ = Decision::kUnique;
  return {.action = Next::Action::kDecided};
}

// Of two numbers the one that more processes compare by: a server's counts on all machines, and
// those of this machine only order its own starts.
void Arbiter::IssueToken() {
  if (!issue_) return;
  for (const HeldLayer& held : held_) {
    const std::optional<std::uint64_t> given = held.claim->token();
    if (!given.has_value()) continue;
    token_ = Token{.value = *given, .durable = true};
    break;
  }
  if (!token_.has_value()) token_ = issue_(record_);
  record_.token = token_->value;
}

// A layer that cannot say that it is established would keep others waiting: it does not confirm.
void Arbiter::PublishEstablished() {
  IssueToken();
  record_.state = RecordState::kEstablished;
  for (auto held = held_.begin(); held != held_.end();) {
    const absl::Status published = held->claim->Publish(record_);
    if (published.ok()) {
      ++held;
      continue;
    }
    const std::string text(held->member.layer->text());
    for (LayerReport& report : reports_) {
      if (report.layer == text) report = {.layer = text, .status = published};
    }
    held->claim->Release();
    held = held_.erase(held);
  }
}

Arbiter::Next Arbiter::Refuse(Decision decision, absl::Status status) {
  GiveBack();
  decision_ = decision;
  status_ = std::move(status);
  return {.action = Next::Action::kDecided};
}

// The largest token that a layer knows of is told to the layers behind it, and stays in the records
// if this start is refused. What a layer remembers of another name (one object may have several)
// does not count.
void Arbiter::Remember(const std::optional<HolderRecord>& last) {
  if (!last.has_value() || last->name != record_.name || last->slot != record_.slot ||
      last->scope != record_.scope) {
    return;
  }
  record_.token = std::max(record_.token, last->token);
}

// A layer that is asked again reports anew.
void Arbiter::Report(LayerReport report) {
  if (!reports_.empty() && reports_.back().layer == report.layer) reports_.pop_back();
  reports_.push_back(std::move(report));
}

void Arbiter::GiveBack() {
  if (std::exchange(asked_at_, std::nullopt).has_value()) members_[next_].layer->Cancel();
  if (held_.empty()) return;
  record_.state = RecordState::kReleasing;
  for (HeldLayer& held : held_) {  // what the records say refuses others too
    try {
      if (!held.claim->Publish(record_).ok()) held.member.layer->Disown(record_);
    } catch (const std::bad_alloc&) {  // the destructor's, too
    }
  }
  for (auto held = held_.rbegin(); held != held_.rend(); ++held) held->claim->Release();
  // After all are told: one server's silence keeps none of the others waiting, and all together
  // wait no longer than for one.
  const Patience patience(Patience::kMost);
  for (const HeldLayer& held : held_) {
    try {
      (void)held.claim->Finish();
    } catch (const std::bad_alloc&) {
    }
  }
  while (!held_.empty()) held_.pop_back();
}

}  // namespace soleguard
