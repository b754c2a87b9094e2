#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>

#include "system.h"

namespace guardcheck {

using soleguard::UniqueFd;

ssize_t ReadSome(int fd, std::string& text, std::size_t at_most) {
  std::array<char, 65536> bytes;
  const std::size_t wanted = std::min(bytes.size(), at_most);
  const ssize_t got = RetryOnEintr([&] { return read(fd, bytes.data(), wanted); });
  if (got > 0) text.append(bytes.data(), static_cast<std::size_t>(got));
  return got;
}

bool WriteSome(int fd, std::string_view& rest) {
  const ssize_t size = RetryOnEintr([&] { return write(fd, rest.data(), rest.size()); });
  if (size > 0) rest.remove_prefix(static_cast<std::size_t>(size));
  return size >= 0;
}

bool MakePipe(UniqueFd& read_end, UniqueFd& write_end) {
  std::array<int, 2> ends = {};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return false;
  read_end = UniqueFd(ends[0]);
  write_end = UniqueFd(ends[1]);
  return true;
}

bool MakeSocketPair(UniqueFd& one, UniqueFd& other) {
  std::array<int, 2> ends = {};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) return false;
  one = UniqueFd(ends[0]);
  other = UniqueFd(ends[1]);
  return true;
}

bool MakeNonBlocking(const UniqueFd& fd) {
  const int flags = fcntl(fd.get(), F_GETFL);
  return flags >= 0 && fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) == 0;
}

int Poll(std::span<pollfd> polled, absl::Duration at_most) {
  constexpr std::int64_t kLongest = std::numeric_limits<int>::max();
  const std::int64_t left = absl::ToInt64Milliseconds(
      absl::Ceil(std::max(at_most, absl::ZeroDuration()), absl::Milliseconds(1)));
  const int timeout =
      at_most == absl::InfiniteDuration() ? -1 : static_cast<int>(std::min(left, kLongest));
  const int ready = poll(polled.data(), polled.size(), timeout);
  return ready < 0 && errno == EINTR ? 0 : ready;
}

bool AwaitOne(int fd, std::int16_t events, absl::Duration at_most) {
  pollfd polled{.fd = fd, .events = events, .revents = 0};
  return Poll({&polled, 1}, at_most) > 0;
}

}  // namespace guardcheck
