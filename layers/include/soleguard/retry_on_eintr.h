// System calls that a signal interrupts.
#pragma once

#include <cerrno>

namespace soleguard {

// Repeats a system call that a signal interrupted: `call` returns -1 with errno EINTR then. Blocks
// as the call does, and as often as that is interrupted. Never used around close(2).
template <typename Call>
auto RetryOnEintr(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result == -1 && errno == EINTR);
  return result;
}

}  // namespace soleguard
