// fork(2) for the programs of tests, without a race on what the child does first.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>

namespace soleguard::testing {

enum class Until { kForkReturned, kExecuted };

// As fork(2), but in the parent it returns only once fork has returned in the child, too, after its
// atfork handlers, or once the child has executed another program (or ended).
inline pid_t ForkAndWait(Until until) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return -1;
  const pid_t child = fork();
  if (child == 0) {
    if (until == Until::kForkReturned) {
      (void)close(ends[0]);
      (void)close(ends[1]);
    }
    return 0;
  }
  (void)close(ends[1]);
  char byte = 0;
  (void)!read(ends[0], &byte, 1);  // its end is the answer
  (void)close(ends[0]);
  return child;
}

}  // namespace soleguard::testing
