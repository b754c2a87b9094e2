// Waiting for descriptors, and a pipe to end a wait by.
#pragma once

#include <poll.h>

#include <cstddef>
#include <vector>

#include <absl/status/status.h>
#include <absl/time/time.h>

#include "os/kept_fd.h"

namespace soleguard::os {

// How many are ready; 0 after `timeout`, which is at most an hour, after a signal, and where it
// fails: with more descriptors than RLIMIT_NOFILE allows by now. Then it takes a tenth of a second,
// so that a loop does not use up a processor.
int PollOrPause(pollfd* polled, std::size_t count, absl::Duration timeout);

// Blocks until one of them is ready, or `timeout` has passed.
struct Waited {
  int fd = -1;
  bool to_write = false;
  bool ready = false;
};
void WaitForReady(std::vector<Waited>& all, absl::Duration timeout);

// A pipe of this process. Neither end ever blocks.
absl::Status KeepPipe(KeptFd& read_end, KeptFd& write_end);
// Makes the other end readable; nothing when the program has closed this one.
void Wake(const KeptFd& write_end);

}  // namespace soleguard::os
