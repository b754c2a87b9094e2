#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <absl/strings/str_cat.h>

#include "guardian/limits.h"
#include <soleguard/process.h>

namespace guardcheck {

using soleguard::UniqueFd;

absl::StatusOr<Parent> Parent::Find() {
  const pid_t pid = getppid();
  if (pid == 0) {
    return absl::FailedPreconditionError(
        "the process that started guardcheck is outside of its pid namespace, and cannot be seen");
  }
  const auto identity = soleguard::IdentityOf(pid);
  absl::StatusOr<UniqueFd> ended =
      identity.ok() ? soleguard::OpenPidfd(*identity) : identity.status();
  if (!ended.ok()) {
    return absl::FailedPreconditionError(absl::StrCat("the process that started guardcheck, pid ",
                                                      pid, ": ", ended.status().message()));
  }
  // The race: it has ended, and its number is another one's by now. Closed by asking again: this
  // process has got another parent then.
  if (getppid() != pid) {
    return absl::FailedPreconditionError(
        absl::StrCat("the process that started guardcheck, pid ", pid, ", has ended already"));
  }
  return Parent(pid, *std::move(ended));
}

bool Parent::HasEnded() const { return soleguard::WaitForAny({&ended_, 1}, absl::ZeroDuration()); }

StopWith::StopWith(const Parent& parent) {
  // Without it nothing but the parent's end would end the thread.
  if (!over_.fd()) throw std::system_error(errno, std::system_category(), "eventfd");
  thread_ = std::thread([this, &parent] {
    (void)soleguard::WaitForAny({&parent.ended(), 1}, absl::InfiniteDuration(), &over_);
    if (!over_.IsSet()) (void)stop_.request_stop();
  });
}

StopWith::~StopWith() {
  over_.Set();
  thread_.join();
}

void SetTimer(const UniqueFd& timer, absl::Duration time) {
  // Zero would disarm it.
  const itimerspec at = {.it_interval = {},
                         .it_value = absl::ToTimespec(std::max(time, absl::Nanoseconds(1)))};
  (void)timerfd_settime(timer.get(), 0, &at, nullptr);  // fails for no time that is one
}

absl::StatusOr<UniqueFd> OpenTimer(absl::Duration time) {
  UniqueFd timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer) return absl::ErrnoToStatus(errno, "timerfd_create");
  SetTimer(timer, time);
  return timer;
}

}  // namespace guardcheck
