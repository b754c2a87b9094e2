// Errors of system calls, and those that a signal interrupts.
#pragma once

#include <cerrno>
#include <string>
#include <string_view>

#include <absl/status/status.h>

namespace soleguard::os {

// Repeats a system call that a signal interrupted. Never used around close(2).
template <typename Call>
auto RetryOnEintr(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result == -1 && errno == EINTR);
  return result;
}

// "cannot lock /x: Permission denied", with the code that fits `error`.
absl::Status ErrnoStatus(int error, std::string_view what);

// Where the file of `fd` is, as /proc shows it, escaped; "descriptor 7" where it does not.
std::string PathOf(int fd);

// "cannot write /run/lock/…: No space left on device".
absl::Status FileError(int error, std::string_view what, int fd);

}  // namespace soleguard::os
