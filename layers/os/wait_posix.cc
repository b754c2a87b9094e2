#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include <absl/container/inlined_vector.h>

#include "os/poll.h"
#include "soleguard/fd.h"

namespace soleguard {

int os::PollOrPause(pollfd* polled, std::size_t count, absl::Duration timeout) {
  const timespec limit =
      absl::ToTimespec(std::clamp(timeout, absl::ZeroDuration(), absl::Hours(1)));
  const int ready = ppoll(polled, count, &limit, nullptr);
  if (ready >= 0 || errno == EINTR) return std::max(ready, 0);
  const timespec pause =
      absl::ToTimespec(std::clamp(timeout, absl::ZeroDuration(), absl::Milliseconds(100)));
  (void)ppoll(nullptr, 0, &pause, nullptr);
  return 0;
}

WaitFlag::WaitFlag() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void WaitFlag::Set() const { (void)eventfd_write(fd_.get(), 1); }

bool WaitFlag::IsSet() const {
  pollfd polled{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  return poll(&polled, 1, 0) > 0;
}

bool WaitForAny(std::span<const UniqueFd> fds, absl::Duration timeout, const WaitFlag* also) {
  absl::InlinedVector<pollfd, 8> polled;  // few need no memory
  for (const UniqueFd& fd : fds) polled.push_back({.fd = fd.get(), .events = POLLIN, .revents = 0});
  if (also != nullptr) {
    polled.push_back({.fd = also->fd().get(), .events = POLLIN, .revents = 0});
  }

  const auto begin = std::chrono::steady_clock::now();
  absl::Duration left = timeout;
  while (true) {  // once whatever the timeout
    if (os::PollOrPause(polled.data(), polled.size(), left) > 0) return true;
    left = timeout - absl::FromChrono(std::chrono::steady_clock::now() - begin);
    if (left <= absl::ZeroDuration()) return false;
  }
}

}  // namespace soleguard
