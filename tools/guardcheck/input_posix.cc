#include <unistd.h>

#include <cerrno>
#include <chrono>

#include <absl/strings/str_cat.h>

#include "input.h"
#include "system.h"

namespace guardcheck {

absl::StatusOr<std::string> ReadInput(std::size_t at_most, absl::Duration timeout) {
  const auto begin = std::chrono::steady_clock::now();
  std::string input;
  while (input.size() < at_most) {
    const absl::Duration left =
        timeout - absl::FromChrono(std::chrono::steady_clock::now() - begin);
    if (left <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError(absl::StrCat(
          "standard input did not end within ", absl::string_view(absl::FormatDuration(timeout))));
    }
    if (!AwaitOne(STDIN_FILENO, POLLIN, left)) continue;
    const ssize_t got = ReadSome(STDIN_FILENO, input, at_most - input.size());
    if (got == 0) break;
    if (got < 0 && errno != EAGAIN) return absl::ErrnoToStatus(errno, "read standard input");
  }
  return input;
}

}  // namespace guardcheck
