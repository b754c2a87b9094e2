// Locks on files: taken without waiting, and looked at without taking one.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <absl/status/statusor.h>

#include "soleguard/fd.h"
#include "soleguard/process_identity.h"

namespace soleguard::os {

// flock(2) and OFD locks without waiting: true when locked, false when another has it.
absl::StatusOr<bool> TryFlock(int fd, bool exclusive);
// A write lock on the whole file, owned by the open file description like flock's. fcntl(2),
// Linux 3.15.
absl::StatusOr<bool> TryOfdLock(int fd);
// Whether a write lock of the fcntl family stands on the file. Takes no lock; a read-only
// descriptor will do. Sees no flock(2) lock.
absl::StatusOr<bool> SeesOfdLock(int fd);
void UnlockFlock(int fd);
void UnlockOfd(int fd);

// The process with a POSIX lock on the file, the caller included, in the caller's pid namespace;
// nullopt: nobody has a lock of the fcntl family. 0: an OFD lock, or a process that cannot be seen
// from here. Takes no lock; a read-only descriptor will do.
absl::StatusOr<std::optional<std::int64_t>> PosixLockOwner(int fd);

// The same for some bytes of a file, whether it is that long or not. Two locks of one open file
// description never conflict.
struct Range {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};
absl::StatusOr<bool> TryOfdLock(int fd, Range range);
absl::StatusOr<bool> SeesOfdLock(int fd, Range range);
// One of the locks there, whichever; its size is 0 when it has no end.
absl::StatusOr<std::optional<Range>> FindOfdLock(int fd, Range range);

// The OFD locks on `file` and who has them, among the processes whose descriptors the caller may
// see: a process for each share of a lock. One pass over the process table and its descriptors
// (/proc/PID/fdinfo, Linux 4.1), for people and not for a hot path. Takes no lock.
struct OfdLockOwner {
  ProcessIdentity process;
  std::uint64_t offset = 0;  // where the lock begins
};
std::vector<OfdLockOwner> OfdLockOwners(const FileIdentity& file);

// Whether flock and fcntl locks on one description are independent, as on local filesystems. On NFS
// and SMB they are emulated by each other and would conflict.
absl::StatusOr<bool> LockFamiliesAreIndependent(int fd);

}  // namespace soleguard::os
