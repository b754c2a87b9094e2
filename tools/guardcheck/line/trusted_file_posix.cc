#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include <absl/strings/str_cat.h>

#include "line/trusted_file.h"
#include "shown.h"
#include "system.h"
#include <soleguard/fd.h>
#include <soleguard/patience.h>

namespace guardcheck {

namespace {

// Of an absolute path.
std::string DirectoryOf(const std::string& path) {
  return path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
}

// Where that link leads; empty: it is none.
std::string TargetOf(const std::string& path) {
  std::array<char, PATH_MAX> target;
  const ssize_t size = readlink(path.c_str(), target.data(), target.size());
  return size <= 0 ? "" : std::string(target.data(), static_cast<std::size_t>(size));
}

// A server that is away, of a home or of what a link in it leads to, would hang this process for
// ever. Each directory is asked before anything in it is.
absl::Status AwaitServers(const std::string& path) {
  std::string next = path;
  if (!next.starts_with('/')) {
    std::error_code error;
    next = absl::StrCat(std::filesystem::current_path(error).string(), "/", path);
  }
  constexpr int kMostLinks = 40;  // as the kernel (path_resolution(7))
  for (int links = 0; links <= kMostLinks; ++links) {
    absl::Status answered = soleguard::AwaitFilesystem(DirectoryOf(next));
    if (!answered.ok()) return answered;
    const std::string target = TargetOf(next);
    if (target.empty()) break;
    next = target.starts_with('/') ? target : absl::StrCat(DirectoryOf(next), "/", target);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ReadTrustedFile(const std::string& path) {
  constexpr std::size_t kMost = std::size_t{1024} * 1024;
  const std::string shown = Escape(path).text();
  const absl::Status answered = AwaitServers(path);
  if (!answered.ok()) return absl::UnavailableError(answered.message());
  // Without waiting for a writer, were it a FIFO.
  const soleguard::UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file) {
    // A part of the path that is no directory: there is no such file either.
    const int error = errno == ENOTDIR ? ENOENT : errno;
    const std::string what = absl::StrCat("cannot open ", shown);
    struct stat there = {};
    if (error == ENOENT || lstat(path.c_str(), &there) == 0) {
      return absl::ErrnoToStatus(error, what);
    }
    return absl::UnavailableError(absl::ErrnoToStatus(error, what).message());
  }
  struct stat status = {};
  if (fstat(file.get(), &status) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot look at ", shown));
  }
  const bool is_null = S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3);
  if (is_null) return std::string();  // how a person says: none
  if (!S_ISREG(status.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(shown, " is not a regular file"));
  }
  if (status.st_uid != 0 && status.st_uid != geteuid()) {
    return absl::PermissionDeniedError(
        absl::StrCat(shown, " belongs to uid ", status.st_uid,
                     "; it can name commands and must be root's or your own: chown it"));
  }
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat(shown, " can be written by others; it can name commands: chmod go-w ", shown));
  }
  std::string text;
  while (text.size() <= kMost) {
    const ssize_t size = ReadSome(file.get(), text);
    if (size < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", shown));
    if (size == 0) return text;
  }
  return absl::InvalidArgumentError(absl::StrCat(shown, " has more than 1 MiB"));
}

}  // namespace guardcheck
