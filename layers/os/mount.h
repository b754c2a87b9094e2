// The mounts of the calling process's mount namespace.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

namespace soleguard::os {

// The filesystem that a path is on.
struct Filesystem {
  std::string type;         // as in /proc/PID/mountinfo: ext4, tmpfs, nfs4, fuse.sshfs
  std::string mount_point;  // where it is mounted
  std::string root;         // which directory of the filesystem is mounted there
  std::string source;
  bool read_only = false;
  bool full = false;  // no block or no inode is left for this user
};
// Of `path` or, where that does not exist, of the nearest directory above it.
absl::StatusOr<Filesystem> FilesystemAt(const std::string& path);
// The first mount on the way to `path`, the links on it followed, whose type `is_wanted`; nullopt
// without one. Nothing behind that mount is asked, so that it does not hang where such a filesystem
// does. `read_only` and `full` are not told.
absl::StatusOr<std::optional<Filesystem>> MountOnTheWay(const std::string& path,
                                                        bool (*is_wanted)(const std::string& type));

// A mount of the caller's mount namespace.
struct Mount {
  std::string id;
  std::string device;  // MAJOR:MINOR
  Filesystem filesystem;
};
// All, a later one above an earlier one (proc(5), /proc/PID/mountinfo), hidden ones included.
// `read_only` and `full` are not told.
absl::StatusOr<std::vector<Mount>> Mounts();
// Other paths, as text, by which this mount namespace shows the directory `path` too (bind mounts),
// without links. Asks no filesystem that another machine or a program serves.
std::vector<std::string> OtherPathsTo(const std::string& path);

}  // namespace soleguard::os
