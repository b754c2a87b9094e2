// Errors of calls on open files.
#pragma once

#include <string>
#include <string_view>

#include <absl/status/status.h>

namespace soleguard::os {

// Where the file of `fd` is, as /proc shows it, escaped; "descriptor 7" where it does not.
std::string PathOf(int fd);

// "cannot write /run/lock/…: No space left on device".
absl::Status FileError(int error, std::string_view what, int fd);

}  // namespace soleguard::os
