#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include <absl/strings/str_cat.h>

#include "os/denied.h"
#include "os/error.h"
#include "soleguard/text.h"

namespace soleguard::os {

absl::Status ErrnoStatus(int error, std::string_view what) {
  return absl::ErrnoToStatus(error,
                             absl::StrCat("cannot ", absl::string_view(what.data(), what.size())));
}

namespace {

// Not escaped; empty where /proc does not show it.
std::string RawPathOf(int fd) {
  std::array<char, PATH_MAX> path{};
  const ssize_t size =
      readlink(absl::StrCat("/proc/self/fd/", fd).c_str(), path.data(), path.size());
  return {path.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
}

}  // namespace

std::string PathOf(int fd) {
  const std::string path = RawPathOf(fd);
  return path.empty() ? absl::StrCat("descriptor ", fd) : EscapeBytes(path);
}

absl::Status FileError(int error, std::string_view what, int fd) {
  const std::string path = RawPathOf(fd);
  if (!path.empty()) return PathError(error, what, path);
  return ErrnoStatus(error, absl::StrCat(std::string(what), " ", PathOf(fd)));
}

}  // namespace soleguard::os
