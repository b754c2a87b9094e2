#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include <absl/container/inlined_vector.h>

#include "soleguard/fd.h"

namespace soleguard {

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
    const timespec limit = absl::ToTimespec(std::clamp(left, absl::ZeroDuration(), absl::Hours(1)));
    const int ready = ppoll(polled.data(), polled.size(), &limit, nullptr);
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
    left = timeout - absl::FromChrono(std::chrono::steady_clock::now() - begin);
    if (left <= absl::ZeroDuration()) return false;
  }
}

}  // namespace soleguard
