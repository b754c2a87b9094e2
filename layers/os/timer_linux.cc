#include <sys/timerfd.h>
#include <time.h>

#include <algorithm>
#include <cerrno>

#include "os/error.h"
#include "os/timer.h"

namespace soleguard {

BootTime BootTime::Now() {
  timespec now = {};
  (void)clock_gettime(CLOCK_BOOTTIME, &now);
  return BootTime(absl::DurationFromTimespec(now));
}

absl::Duration BootTime::Left() const { return std::max(*this - Now(), absl::ZeroDuration()); }

std::int64_t BootTime::SecondsLeft() const {
  return absl::ToInt64Seconds(absl::Ceil(Left(), absl::Seconds(1)));
}

int os::MakeTimer() { return timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK); }

void os::SetTimer(int timer, BootTime at) {
  // Zero would disarm it (timerfd_settime(2)); what is past fires at once.
  const absl::Duration since_boot = std::max(at.since_boot(), absl::Nanoseconds(1));
  const itimerspec when = {.it_interval = {}, .it_value = absl::ToTimespec(since_boot)};
  (void)timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, nullptr);
}

absl::StatusOr<UniqueFd> os::OpenTimer(BootTime at) {
  UniqueFd timer(MakeTimer());
  if (!timer) return ErrnoStatus(errno, "make a timer");
  SetTimer(timer.get(), at);
  return timer;
}

}  // namespace soleguard
