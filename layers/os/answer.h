// Filesystems that another machine or a program serves, and whether they answer.
#pragma once

#include <string>

#include <absl/status/status.h>

#include "os/path.h"

namespace soleguard::os {

// Whether files of such a filesystem are on another machine, where a lock call may block and lie.
bool IsNetworkFilesystem(const std::string& type);
// DeadlineExceeded: `directory` is on a filesystem that another machine or a program serves, and an
// open and a lock in it do not come back in the time of Patience, two seconds at most. A helper
// process tries them, because a thread that hangs in them could keep this process from exiting; its
// lock is given back when it ends, however late. With kYes it makes the directory and a file in it.
// OK at once on other filesystems. The race: the server goes away after it has answered; then the
// caller's own call hangs.
absl::Status AwaitAnswer(const std::string& directory, Create create);

// Where the filesystem is mounted that `path` is on by its text, if another machine or a program
// serves it; else empty. Asks no filesystem.
std::string ServedMountAbove(const std::string& path);

}  // namespace soleguard::os
