// What ends a wait of guardcheck watch: signals, descriptors, time.
#pragma once

#include <span>

#include <absl/time/time.h>

#include <soleguard/fd.h>

namespace guardcheck {

// From here on SIGINT and SIGTERM are read, not delivered, so that none is lost between two waits.
// SIGCHLD and SIGPIPE are blocked as well, and SIGCHLD is not ignored. For the process's only
// thread. Not thread-safe.
class Wakeups {
 public:
  Wakeups();

  // Whether the process was asked to end. Stays so.
  bool asked_to_end();
  // Readable then.
  const soleguard::UniqueFd& end() const { return end_; }

  // Blocks until one of `readable` is readable or hung up, `writable` (-1: none) is writable, a
  // child has ended, the process was asked to end, or `at_most` has passed. Invalid ones are passed
  // over.
  void Wait(std::span<const soleguard::UniqueFd* const> readable, int writable,
            absl::Duration at_most);

 private:
  soleguard::UniqueFd end_;
  soleguard::UniqueFd child_;
  bool asked_ = false;
};

}  // namespace guardcheck
