// Events of files and directories (inotify(7)). A user has 128 instances by default.
#pragma once

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "os/kept_fd.h"
#include "os/path.h"
#include "soleguard/fd.h"

namespace soleguard::os {

// Keeps what becomes readable when the file at the path of `entry` is deleted, moved or changed
// (inotify(7)).
absl::Status KeepWatchOf(const Entry& entry, KeptFd& kept);

// Becomes readable when something is made, renamed or removed in an open directory. Invalid where
// the system gives none.
UniqueFd WatchNamesIn(int directory);

// Becomes readable when somebody writes to the file that `fd` has open.
absl::StatusOr<UniqueFd> WatchWrites(int fd);

}  // namespace soleguard::os
