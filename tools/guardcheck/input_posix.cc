#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>

#include <absl/strings/str_cat.h>

#include "input.h"

namespace guardcheck {

absl::StatusOr<std::string> ReadInput(std::size_t at_most, absl::Duration timeout) {
  const auto begin = std::chrono::steady_clock::now();
  std::string input;
  std::array<char, 65536> bytes{};
  while (input.size() < at_most) {
    const absl::Duration left =
        timeout - absl::FromChrono(std::chrono::steady_clock::now() - begin);
    if (left <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError(absl::StrCat(
          "standard input did not end within ", absl::string_view(absl::FormatDuration(timeout))));
    }
    constexpr std::int64_t kLongest = 3'600'000;
    const std::int64_t milliseconds =
        absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1)));
    pollfd readable{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    if (poll(&readable, 1, static_cast<int>(std::min(milliseconds, kLongest))) <= 0) continue;
    const std::size_t wanted = std::min(bytes.size(), at_most - input.size());
    const ssize_t got = read(STDIN_FILENO, bytes.data(), wanted);
    if (got == 0) break;
    if (got > 0) {
      input.append(bytes.data(), static_cast<std::size_t>(got));
    } else if (errno != EINTR && errno != EAGAIN) {
      return absl::ErrnoToStatus(errno, "read standard input");
    }
  }
  return input;
}

}  // namespace guardcheck
