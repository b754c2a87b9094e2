#include "soleguard/patience.h"

#include <algorithm>

namespace soleguard {
namespace {

using Clock = std::chrono::steady_clock;

thread_local std::optional<Clock::time_point> end_of_this_thread;

Clock::time_point EndOf(absl::Duration time) {
  return Clock::now() + absl::ToChronoNanoseconds(std::min(time, absl::Hours(24 * 365)));
}

}  // namespace

Patience::Patience(absl::Duration time) : outer_(end_of_this_thread) {
  const Clock::time_point end = EndOf(time);
  end_of_this_thread = outer_.has_value() ? std::min(*outer_, end) : end;
}

Patience::~Patience() { end_of_this_thread = outer_; }

absl::Duration Patience::Left() {
  if (!end_of_this_thread.has_value()) return kMost;
  return std::clamp(absl::FromChrono(*end_of_this_thread - Clock::now()), absl::ZeroDuration(),
                    kMost);
}

}  // namespace soleguard
