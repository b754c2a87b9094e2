// How soon to look again where the system has no event. Private to policy/.
#pragma once

#include <algorithm>

#include <absl/time/time.h>

namespace soleguard {

// A foreign locker, a record that is about to be written, somebody who joins a line. The waits in
// which that is done are bounded.
inline absl::Duration RetryAfter(int round) {
  return std::min(absl::Milliseconds(1) * (1 << std::min(round, 5)), absl::Milliseconds(25));
}

// What has no event at all: a layer that works again, a foreign locker for a waiter without an end.
inline constexpr absl::Duration kLookForEvents = absl::Seconds(1);
// An event may be missed: a child that a raw clone(2) made can keep the FIFO of one that has left.
inline constexpr absl::Duration kLookAgain = absl::Seconds(30);

}  // namespace soleguard
