// Driving a start by the clock. Private to policy/.
#pragma once

#include <chrono>
#include <functional>
#include <stop_token>
#include <vector>

#include <absl/time/time.h>

#include "soleguard/holder.h"
#include "soleguard/start.h"

namespace soleguard {

using Clock = std::chrono::steady_clock;

// A duration that may be infinite, on a clock that is not.
Clock::time_point Deadline(Clock::time_point begin, absl::Duration duration);

// Takes the start's steps, which began at `begin`, and waits for what it says, until it has decided
// or `stop` is requested. `waiting`, if there is one, is called as Options::waiting.
void Drive(Start& start, Clock::time_point begin, const std::stop_token& stop,
           const std::function<void()>& waiting);

// The holders of the other slots, of all that a start has found.
std::vector<Holder> BehindTheFirst(std::vector<Holder> holders);

}  // namespace soleguard
