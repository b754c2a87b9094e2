#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include <absl/strings/str_cat.h>

#include "os/error.h"
#include "os/lock.h"
#include "soleguard/text.h"

namespace soleguard::os {
namespace {

// Not in linux/magic.h: fs/smb/client and fs/smb/server (Linux 6.x).
constexpr long kCifsMagic = 0xff534d42;
constexpr long kSmb2Magic = 0xfe534d42;

// A length of 0: to the end of the file, however far it grows.
constexpr Range kWholeFile = {.offset = 0, .size = 0};

struct flock LockOf(short type, Range range) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(range.offset);
  lock.l_len = static_cast<off_t>(range.size);
  return lock;
}

}  // namespace

absl::StatusOr<bool> TryFlock(int fd, bool exclusive) {
  const int operation = (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB;
  if (RetryOnEintr([&] { return flock(fd, operation); }) == 0) return true;
  if (errno == EWOULDBLOCK) return false;
  return FileError(errno, "flock", fd);
}

absl::StatusOr<bool> TryOfdLock(int fd) { return TryOfdLock(fd, kWholeFile); }

absl::StatusOr<bool> TryOfdLock(int fd, Range range) {
  struct flock lock = LockOf(F_WRLCK, range);
  if (RetryOnEintr([&] { return fcntl(fd, F_OFD_SETLK, &lock); }) == 0) return true;
  // POSIX allows either; Linux says EAGAIN. EACCES as a refusal by a security module does not occur
  // here: file_lock hooks are asked for flock too, and flock came first.
  if (errno == EAGAIN) return false;
  return FileError(errno, "take an OFD lock on", fd);
}

absl::StatusOr<bool> SeesOfdLock(int fd) { return SeesOfdLock(fd, kWholeFile); }

absl::StatusOr<bool> SeesOfdLock(int fd, Range range) {
  absl::StatusOr<std::optional<Range>> found = FindOfdLock(fd, range);
  if (!found.ok()) return found.status();
  return found->has_value();
}

absl::StatusOr<std::optional<Range>> FindOfdLock(int fd, Range range) {
  struct flock lock = LockOf(F_WRLCK, range);
  if (RetryOnEintr([&] { return fcntl(fd, F_OFD_GETLK, &lock); }) != 0) {
    return FileError(errno, "look for an OFD lock on", fd);
  }
  if (lock.l_type == F_UNLCK) return std::optional<Range>();
  return std::optional(Range{.offset = static_cast<std::uint64_t>(lock.l_start),
                             .size = static_cast<std::uint64_t>(lock.l_len)});
}

void UnlockFlock(int fd) { (void)flock(fd, LOCK_UN); }  // cannot fail on an open file (flock(2))

void UnlockOfd(int fd) {
  struct flock lock = LockOf(F_UNLCK, kWholeFile);
  (void)fcntl(fd, F_OFD_SETLK, &lock);  // splitting never happens: the lock spans the whole file
}

absl::StatusOr<std::optional<std::int64_t>> PosixLockOwner(int fd) {
  // F_OFD_GETLK and not F_GETLK, which leaves out the caller's own lock.
  struct flock lock = LockOf(F_WRLCK, kWholeFile);
  if (RetryOnEintr([&] { return fcntl(fd, F_OFD_GETLK, &lock); }) != 0) {
    return FileError(errno, "look for a POSIX lock on", fd);
  }
  if (lock.l_type == F_UNLCK) return std::optional<std::int64_t>();
  return std::optional<std::int64_t>(lock.l_pid > 0 ? lock.l_pid : 0);  // -1: an OFD lock
}

absl::StatusOr<bool> LockFamiliesAreIndependent(int fd) {
  struct statfs filesystem = {};
  if (RetryOnEintr([&] { return fstatfs(fd, &filesystem); }) != 0) {
    return FileError(errno, "find out the filesystem of", fd);
  }
  const auto type = static_cast<long>(filesystem.f_type);
  return type != NFS_SUPER_MAGIC && type != SMB_SUPER_MAGIC && type != kCifsMagic &&
         type != kSmb2Magic;
}

}  // namespace soleguard::os
