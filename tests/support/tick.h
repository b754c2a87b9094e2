// The clock that the kernel notes starts of processes by.
#pragma once

#include <time.h>

#include <cerrno>

namespace soleguard::testing {

// Two processes of one number that started within one tick of that clock are not told apart. Blocks
// until the next tick, 10 ms at most: what starts then has another start time than whatever started
// before the call.
inline void AwaitNextTick() {
  constexpr long kTick = 10'000'000;  // USER_HZ is 100 everywhere
  timespec next = {};
  (void)clock_gettime(CLOCK_BOOTTIME, &next);
  next.tv_nsec += kTick - next.tv_nsec % kTick;
  if (next.tv_nsec == 1'000'000'000) next = {.tv_sec = next.tv_sec + 1, .tv_nsec = 0};
  while (clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &next, nullptr) == EINTR) {
  }
}

}  // namespace soleguard::testing
