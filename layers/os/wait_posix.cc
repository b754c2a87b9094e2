#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <vector>

#include <absl/container/inlined_vector.h>

#include "os/kept_fd.h"
#include "os/wait.h"
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

namespace soleguard::os {

void WaitForReady(std::vector<Waited>& all, absl::Duration timeout) {
  std::vector<pollfd> polled;
  for (const Waited& one : all) {
    polled.push_back({.fd = one.fd,
                      .events = static_cast<short>(one.to_write ? POLLOUT : POLLIN),
                      .revents = 0});
  }
  if (PollOrPause(polled.data(), polled.size(), timeout) == 0) return;
  for (std::size_t i = 0; i < all.size(); ++i) all[i].ready = polled[i].revents != 0;
}

absl::Status KeepPipe(KeptFd& read_end, KeptFd& write_end) {
  UniqueFd read;
  // The write end first: a fork between the two leaves the child a read end, which keeps no one
  // from seeing the hang-up.
  absl::Status made = write_end.Keep("make a pipe", [&read] {
    std::array<int, 2> ends = {-1, -1};
    if (pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return -1;
    read = UniqueFd(ends[0]);
    return ends[1];
  });
  if (!made.ok()) return made;
  return read_end.Keep("make a pipe", [&read] { return read.release(); });
}

void Wake(const KeptFd& write_end) {
  constexpr char kByte = 0;
  // Checked, so that no file of the program gets the byte; a full pipe wakes as well.
  if (write_end.StillOurs()) (void)!write(write_end.get(), &kByte, sizeof kByte);
}

}  // namespace soleguard::os
