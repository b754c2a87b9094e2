// What the machine is like, for diagnosis. Nothing is decided by it when a program starts. Private
// to layers/.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "soleguard/process_identity.h"

namespace soleguard::os {

// The inodes of a process's namespaces by the names in /proc/PID/ns: pid, net, ipc, mnt, user,
// time. 0 stands for the caller. Without those that cannot be read.
std::map<std::string, std::uint64_t> NamespacesOf(std::int64_t pid);
bool IsInitialPidNamespace(std::uint64_t inode);

// The process in the caller's pid namespace that is `identity` in a namespace below it. nullopt:
// there is none, or it is not to be seen from here.
std::optional<std::int64_t> PidFromHere(const ProcessIdentity& identity);

// The text of a small file, without blanks at its end.
absl::StatusOr<std::string> ReadSetting(const std::string& path);
bool Exists(const std::string& path);
// Whether the caller may make files in the directory `path` or, where that does not exist, make
// something in the nearest directory above it.
bool MayWriteBelow(std::string path);
// The names in the directory `path` that end in `suffix`, sorted. Empty when there is none.
std::vector<std::string> FilesIn(const std::string& path, std::string_view suffix);
// fnmatch(3) with FNM_PATHNAME.
bool MatchesGlob(const std::string& glob, const std::string& path);

// Semaphore sets of the ipc namespace.
struct SemaphoreSets {
  int used = 0;
  int limit = 0;
};
absl::StatusOr<SemaphoreSets> CountSemaphoreSets();

// Whether a socket may have this IPv4 address (host byte order) in the caller's network namespace.
// Takes a free port there for a moment, of the kernel's choice.
absl::StatusOr<bool> IsOwnAddress(std::uint32_t address);
// Whether the caller may listen on `port` as far as ip_unprivileged_port_start says.
bool MayBindPort(std::uint16_t port);

// Descriptors of the calling process.
struct DescriptorUse {
  std::uint64_t used = 0;
  std::uint64_t limit = 0;
};
absl::StatusOr<DescriptorUse> CountDescriptors();

// Whether the caller's user may have one more inotify instance.
bool MayWatchFiles();

// A lock that /proc/locks shows, in whatever mount namespace. It misses some: what it does not show
// may be there all the same.
struct ListedLock {
  std::string family;    // FLOCK, POSIX, OFDLCK
  std::int64_t pid = 0;  // in the caller's pid namespace; 0 or -1: none, or not to be seen
};
// Takes a lock of the kernel's that all lockers of the machine meet at: not for a hot path.
std::vector<ListedLock> LocksOn(const FileIdentity& file);

// What the caller may do with an open directory, links and access lists included.
struct FileAccess {
  std::uint32_t uid = 0;  // of its owner
  bool writable = false;
  bool open_to_all = false;  // any user may move and remove what is in it
};
absl::StatusOr<FileAccess> AccessTo(int directory);

}  // namespace soleguard::os
