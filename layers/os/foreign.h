// What other users have in a directory that everybody may write. It is looked at with rights that
// they lack (root's), so nothing of theirs is followed or waited for. Private to layers/.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/status.h>

#include "os/kept_fd.h"

namespace soleguard::os {

// Ends a look that somebody draws out, by making very many entries.
struct Bound {
  std::size_t entries = 0;  // of one directory
  std::chrono::steady_clock::time_point end;

  bool is_over() const { return std::chrono::steady_clock::now() >= end; }
};

// The users that have a directory `prefix`UID in `parent`, but for those to whom it does not
// belong. In no order.
std::vector<std::uint32_t> UsersWithDirectory(const std::string& parent, const std::string& prefix,
                                              const Bound& bound);

// The regular file, with one name and of that user, at `path` below `parent`, opened for reading
// without following a link or entering another mount: a filesystem of the user's own (FUSE) could
// keep whoever asks it. Unimplemented on a kernel without openat2(2) (before Linux 5.6).
absl::Status KeepForeignFile(const std::string& parent, const std::string& path, std::uint32_t user,
                             KeptFd& kept);
// The names in the user's directory at `path`, found in the same way.
std::vector<std::string> ForeignNames(const std::string& parent, const std::string& path,
                                      std::uint32_t user, const Bound& bound);

}  // namespace soleguard::os
