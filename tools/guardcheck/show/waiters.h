// Who waits for a name.
#pragma once

#include <vector>

#include <absl/status/statusor.h>

#include "show/json.h"
#include "shown.h"
#include <soleguard/queue.h>

namespace guardcheck {

using Waiters = absl::StatusOr<std::vector<soleguard::Waiter>>;

// A line for each place, the next one first; empty when nobody waits.
Shown WaitersText(const Waiters& waiters);
// An array; null when it cannot be seen.
Json WaitersJson(const Waiters& waiters);

}  // namespace guardcheck
