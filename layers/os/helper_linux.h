// Helper processes: what may hang in the kernel, or changes the process that does it, is done in a
// child that the program does not notice.
#pragma once

#include "soleguard/fd.h"

namespace soleguard::os {

// Runs in the helper, a child of a raw clone(2) of a process that may have threads: system calls
// only, and none of the C library's wrappers.
struct HelperBody {
  void (*run)(const void* argument) = nullptr;
  const void* argument = nullptr;
  int descriptor = -1;  // the only one that the helper keeps
};

// Gives a pidfd; invalid with errno. The program's own waits, its SIGCHLD handler and its handlers
// of other signals do not meet the helper, which ends with `body` and with this thread. Whoever
// waits for it says __WALL (waitid(2)).
UniqueFd StartHelper(const HelperBody& body);

// Whether it has ended; then it is waited for.
bool HasEnded(const UniqueFd& helper);

}  // namespace soleguard::os
