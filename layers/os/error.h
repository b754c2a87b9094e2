// Errors of system calls, and those that a signal interrupts.
#pragma once

#include <string>
#include <string_view>

#include <absl/status/status.h>

#include "soleguard/retry_on_eintr.h"

namespace soleguard::os {

using soleguard::RetryOnEintr;

// "cannot lock /x: Permission denied", with the code that fits `error`.
absl::Status ErrnoStatus(int error, std::string_view what);

// Where the file of `fd` is, as /proc shows it, escaped; "descriptor 7" where it does not.
std::string PathOf(int fd);

// "cannot write /run/lock/…: No space left on device".
absl::Status FileError(int error, std::string_view what, int fd);

}  // namespace soleguard::os
