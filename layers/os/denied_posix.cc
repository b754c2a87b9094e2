#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include <absl/status/statusor.h>
#include <absl/strings/str_cat.h>

#include "os/denied.h"
#include "os/error.h"
#include "os/mount.h"
#include "os/ownership.h"
#include "soleguard/process.h"
#include "soleguard/text.h"

namespace soleguard::os {
namespace {

// Where shared memory is, by the C library's rule: nobody can choose another place.
constexpr std::string_view kSharedMemory = "/dev/shm";

// What was tried at a path.
enum class Tried { kUse, kMakeIn };

// What keeps the caller out of a path, and what he would need there.
struct Obstacle {
  std::string path;
  int needed = 0;  // as for access(2)
  struct stat status = {};
};

bool MayAccess(const std::string& path, int needed) {
  return faccessat(AT_FDCWD, path.c_str(), needed, AT_EACCESS) == 0;
}

// The first directory on the way that may not be entered, else what is at the path, or, where
// nothing is, the directory in which it would be made.
Obstacle ObstacleOn(const std::string& path, Tried tried) {
  Obstacle obstacle{.path = "/", .needed = X_OK};
  std::size_t slash = 0;
  while (stat(obstacle.path.c_str(), &obstacle.status) == 0 && MayAccess(obstacle.path, X_OK)) {
    slash = path.find('/', slash + 1);
    if (slash == std::string::npos) break;
    obstacle.path = path.substr(0, slash);
  }
  if (slash != std::string::npos) return obstacle;
  struct stat status = {};
  if (lstat(path.c_str(), &status) == 0) {
    obstacle = {.path = path, .needed = R_OK | W_OK, .status = status};
    if (S_ISDIR(status.st_mode)) obstacle.needed = R_OK | X_OK;
    if (tried == Tried::kMakeIn) obstacle.needed = W_OK | X_OK;
    return obstacle;
  }
  obstacle.needed = W_OK | X_OK;
  return obstacle;
}

std::string WhoKeepsOut(const std::string& path, Tried tried) {
  const Obstacle obstacle = ObstacleOn(path, tried);
  const std::string shown = EscapeBytes(obstacle.path);
  const std::uint32_t owner = obstacle.status.st_uid;
  const std::string whose = absl::StrCat(shown, " belongs to ", Who(owner), " and has mode ",
                                         Octal(obstacle.status.st_mode));
  const std::string caller = Who(geteuid());
  if (MayAccess(obstacle.path, obstacle.needed)) {
    return absl::StrCat(whose, ", which lets ", caller,
                        " in: an attribute (lsattr), a security module or a rule of the directory "
                        "keeps it out");
  }
  if (owner == geteuid() && !IsHiddenUser(owner)) {
    return absl::StrCat(whose, ", which keeps out its owner too: chmod u+rwX ", shown,
                        " mends that");
  }
  return absl::StrCat(whose, ", which keeps out ", caller,
                      ": start as a user who may use it, or let its owner open it to this one",
                      obstacle.path.starts_with(kSharedMemory) ? "" : ", or choose another place");
}

std::string WhatIsMounted(int error, const std::string& path) {
  const absl::StatusOr<Filesystem> filesystem = FilesystemAt(path);
  if (!filesystem.ok()) return "";
  const std::string place = EscapeBytes(filesystem->mount_point);
  const std::string what =
      absl::StrCat("the ", EscapeBytes(filesystem->type), " that is mounted at ", place);
  if (error == EROFS) {
    return absl::StrCat(what, " is read-only: mount -o remount,rw ", place, " as root",
                        path.starts_with(kSharedMemory) ? "" : ", or choose another place");
  }
  if (error == EDQUOT) {
    return absl::StrCat("the quota of ", Who(geteuid()), " is used up on ", what);
  }
  return absl::StrCat(what, " is full: make room (df -h ", place, "; df -i ", place, ")");
}

// With brackets; empty where `error` says it all.
std::string WhyDenied(int error, const std::string& path, Tried tried) {
  if (!path.starts_with('/')) return "";
  std::string why;
  if (error == EACCES || error == EPERM) why = WhoKeepsOut(path, tried);
  if (error == EROFS || error == ENOSPC || error == EDQUOT) why = WhatIsMounted(error, path);
  return why.empty() ? "" : absl::StrCat(" (", why, ")");
}

absl::Status ErrorAt(int error, std::string_view what, const std::string& path, Tried tried) {
  const absl::Status status =
      ErrnoStatus(error, absl::StrCat(std::string(what), " ", EscapeBytes(path)));
  return absl::Status(status.code(), absl::StrCat(status.message(), WhyDenied(error, path, tried)));
}

}  // namespace

std::string Octal(mode_t mode) {
  std::string digits;
  for (int shift = 9; shift >= 0; shift -= 3) {
    digits += static_cast<char>('0' + (mode >> static_cast<unsigned>(shift) & 7U));
  }
  return digits;
}

absl::Status PathError(int error, std::string_view what, const std::string& path) {
  return ErrorAt(error, what, path, Tried::kUse);
}

absl::Status CheckMayMakeBelow(const std::string& directory) {
  std::string nearest = directory;
  struct stat status = {};
  while (nearest.size() > 1 && lstat(nearest.c_str(), &status) != 0 && errno == ENOENT) {
    nearest.resize(std::max<std::size_t>(nearest.rfind('/'), 1));
  }
  if (!MayAccess(nearest, W_OK | X_OK)) {
    return ErrorAt(errno, "write to", directory, Tried::kMakeIn);
  }
  const absl::StatusOr<Filesystem> filesystem = FilesystemAt(nearest);
  if (!filesystem.ok() || !filesystem->full) return absl::OkStatus();
  return ErrorAt(ENOSPC, "write to", directory, Tried::kMakeIn);
}

std::string SudoAs(std::uint32_t uid) {
  const std::string name = UserName(uid);
  if (name == absl::StrCat(uid)) return absl::StrCat("sudo -u '#", uid, "'");
  return absl::StrCat("sudo -u ", EscapeBytes(name));
}

std::string StartAs(std::uint32_t uid) {
  return absl::StrCat("start it as that user (", SudoAs(uid), " guardcheck run ...)");
}

}  // namespace soleguard::os
