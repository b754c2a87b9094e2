#include <limits.h>
#include <unistd.h>

#include <array>

#include <absl/strings/str_cat.h>

#include "os/error.h"
#include "soleguard/text.h"

namespace soleguard::os {

absl::Status ErrnoStatus(int error, std::string_view what) {
  return absl::ErrnoToStatus(error,
                             absl::StrCat("cannot ", absl::string_view(what.data(), what.size())));
}

std::string PathOf(int fd) {
  std::array<char, PATH_MAX> path{};
  const ssize_t size =
      readlink(absl::StrCat("/proc/self/fd/", fd).c_str(), path.data(), path.size());
  if (size <= 0) return absl::StrCat("descriptor ", fd);
  return EscapeBytes({path.data(), static_cast<std::size_t>(size)});
}

absl::Status FileError(int error, std::string_view what, int fd) {
  return ErrnoStatus(error,
                     absl::StrCat(absl::string_view(what.data(), what.size()), " ", PathOf(fd)));
}

}  // namespace soleguard::os
