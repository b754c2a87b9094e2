#include <algorithm>
#include <cerrno>
#include <utility>

#include <absl/status/statusor.h>

#include "guardian/heartbeat.h"
#include "guardian/limits.h"
#include <soleguard/beat.h>
#include <soleguard/patience.h>
#include <soleguard/queue.h>

namespace guardcheck {
namespace {

using soleguard::Beat;

// How long a filesystem's server may take, while signals wait to be passed on.
constexpr absl::Duration kPatience = absl::Milliseconds(200);

}  // namespace

absl::Duration Heartbeat::due() const { return Beat::kOverdueFactor * setup_.every; }

absl::Status Heartbeat::Begin() {
  if (!end_.fd()) return absl::ErrnoToStatus(errno, "eventfd");
  absl::StatusOr<soleguard::UniqueFd> timer = OpenTimer(due());
  if (!timer.ok()) return timer.status();
  timer_ = *std::move(timer);
  looked_ = Clock::now();
  Hear();
  Look();
  return absl::OkStatus();
}

void Heartbeat::Hear() {
  const soleguard::Patience patience(kPatience);
  last_ = Clock::now();
  heard_ = true;
  // If that fails others are not told. (That the scope is gone is said by the watch.)
  (void)guard_.Beat(setup_.every);
}

bool Heartbeat::TakeBeat(Clock::time_point now) {
  const soleguard::Patience patience(kPatience);
  const absl::StatusOr<Beat> beat = LastBeat(guard_.scope(), slot_, guard_.record());
  bool is_new = std::exchange(heard_, false);
  if (beat.ok() && beat->count != count_) {
    is_new = true;
    count_ = beat->count;
    last_ = std::max(last_, now - absl::ToChronoNanoseconds(beat->age));
  }
  // The time in which this process did not run is not the command's either: both were stopped (^Z,
  // a paused container), or the machine is overloaded. So is one in which no beat can be seen.
  const bool is_blind = !beat.ok() && !absl::IsNotFound(beat.status());
  last_ = std::min(now, last_ + std::max(now - (is_blind ? looked_ : next_), Clock::duration()));
  looked_ = now;
  return is_new;
}

void Heartbeat::Look() {
  const Clock::time_point now = Clock::now();
  const bool is_new = TakeBeat(now);
  const absl::Duration none_for = absl::FromChrono(now - last_);
  const bool is_overdue = none_for >= due();
  if (is_overdue && MustEnd()) end_.Set();
  if (is_overdue && !std::exchange(is_missed_, true)) setup_.missed(none_for, count_ > 1);
  if (!is_overdue && is_new && std::exchange(is_missed_, false)) setup_.resumed(none_for);
  const bool feeds = !is_missed_ && setup_.feed_every > absl::ZeroDuration();
  if (feeds) setup_.feed();
  absl::Duration next = setup_.every / 2;
  if (is_missed_) next = std::min(next, absl::Seconds(1));
  if (!is_overdue) next = std::min(next, due() - none_for);
  LookFor(feeds ? std::min(next, setup_.feed_every) : next);
}

bool Heartbeat::MustEnd() const {
  if (setup_.then != Then::kEndForOther) return setup_.then == Then::kEnd;
  const auto waiters = WaitersOf(guard_.scope(), slot_);
  return waiters.ok() && !waiters->empty();
}

void Heartbeat::LookFor(absl::Duration time) {
  next_ = Clock::now() + absl::ToChronoNanoseconds(time);
  SetTimer(timer_, time);
}

}  // namespace guardcheck
