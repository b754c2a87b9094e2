#include "drive.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "soleguard/fd.h"

namespace soleguard {

Clock::time_point Deadline(Clock::time_point begin, absl::Duration duration) {
  return begin + absl::ToChronoNanoseconds(std::min(duration, absl::Hours(100 * 365 * 24)));
}

void Drive(Start& start, Clock::time_point begin, const std::stop_token& stop,
           const std::function<void()>& waiting) {
  std::optional<WaitFlag> stopped;
  if (stop.stop_possible()) stopped.emplace();
  const std::stop_callback wake_up(stop, [&stopped] { stopped->Set(); });
  bool told = !waiting;
  while (!stop.stop_requested()) {
    const Arbiter::Next next = start.Step(absl::FromChrono(Clock::now() - begin));
    if (next.action == Arbiter::Next::Action::kDecided) return;
    if (next.action != Arbiter::Next::Action::kWait) continue;
    if (start.is_waiting() && !std::exchange(told, true)) waiting();
    (void)WaitForAny(next.wake, next.at_most, stopped.has_value() ? &*stopped : nullptr);
  }
  start.Cancel();
}

std::vector<Holder> BehindTheFirst(std::vector<Holder> holders) {
  holders.erase(holders.begin());
  return holders;
}

}  // namespace soleguard
