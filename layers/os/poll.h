// ppoll(2) for loops that end by what it says.
#pragma once

#include <poll.h>

#include <cstddef>

#include <absl/time/time.h>

namespace soleguard::os {

// How many are ready; 0 after `timeout`, which is at most an hour, after a signal, and where it
// fails: with more descriptors than RLIMIT_NOFILE allows by now. Then it takes a tenth of a second,
// so that a loop does not use up a processor.
int PollOrPause(pollfd* polled, std::size_t count, absl::Duration timeout);

}  // namespace soleguard::os
