// The objects at paths: opened and checked, made, looked for and removed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "os/kept_fd.h"
#include "os/ownership.h"
#include "soleguard/fd.h"
#include "soleguard/process_identity.h"
#include "soleguard/scope.h"

namespace soleguard::os {

// kAsIf: as for kYes, and makes nothing; NotFound where something would be made.
enum class Create { kNo, kYes, kAsIf };

// The scope's directory, opened and checked, created if that is asked for and the scope's rule
// allows it. Says who may own what is inside, whoever asks: in a directory its owner, or the
// members of its group. NotFound when it does not exist. For a start (kYes, kAsIf) also an error
// where the caller may not write it, or where a user to whom it does not belong can move it away:
// two processes would then meet two directories at one path.
absl::StatusOr<Ownership> KeepScopeDirectory(const Scope& scope, Create create, KeptFd& kept);

// The directory, regular file or FIFO `name` inside `parent`, opened and checked against
// `ownership`; `path` is for messages. Never follows a link, never blocks, never changes what it
// refuses.
struct Entry {
  int parent = -1;
  std::string name;
  std::string path;
};
absl::Status KeepDirectory(const Entry& entry, const Ownership& ownership, Create create,
                           KeptFd& kept);
absl::Status KeepFile(const Entry& entry, const Ownership& ownership, Create create, KeptFd& kept);
// Whether KeepFile could open the file for writing, or make it, and the file could have `size`
// bytes then. Finds that out by a file without a name (O_TMPFILE), which nobody sees and the kernel
// drops; on a filesystem that has none by rights and free space.
absl::Status CheckFile(const Entry& entry, const Ownership& ownership, std::size_t size);

// A presence that others can wait for the end of, as long as any process keeps it: a FIFO, which
// hangs up for its readers when its last writer is gone. Open for reading and writing, so that the
// opener counts as a writer.
absl::Status KeepPresence(const Entry& entry, const Ownership& ownership, KeptFd& kept);
// What hangs up when nobody keeps it any more. Invalid when nobody does now.
UniqueFd WatchPresence(const Entry& entry, const Ownership& ownership);

// Keeps the directory `path` open to find entries below it, links in the path followed.
absl::Status KeepPlace(const std::string& path, KeptFd& kept);

// Renames a file, in place of what is at `to`, on the same filesystem.
absl::Status MoveEntry(const Entry& from, const Entry& to);
// Removes the file's name, if it has one. Whoever has it open keeps it.
void RemoveEntry(const Entry& entry);
// Removes the directory if it is empty.
absl::Status RemoveDirectory(const std::string& path);

// Whether `path` itself, not what a link points to, is `file` now.
absl::StatusOr<bool> PathIs(const std::string& path, const FileIdentity& file);

// The same of an entry: below its open parent, or without one at its path.
absl::StatusOr<bool> EntryIs(const Entry& entry, const FileIdentity& file);

// Whether nothing is at `path`. False also when it cannot be told: opening it tells why.
bool IsMissing(const std::string& path);

// Whether everybody may create a directory in `path`, and nobody but root can remove or rename
// somebody else's. Follows links: some systems have /run/lock as one, and /run is root's, so nobody
// else can have made it.
bool IsSharedByEverybody(const char* path);

// The names in a directory, but for "." and "..", unsorted.
absl::StatusOr<std::vector<std::string>> NamesIn(int directory);

// Where state that outlives a reboot is kept, by rule: /var/lib/soleguard for root, else
// .local/state/soleguard in the home of the password database. $HOME is not asked: it differs under
// sudo and in services. NotFound when the database names no home.
absl::StatusOr<std::string> StateDirectory();

// Creates `directory` with missing parents, mode 0700, but not a missing home or root directory.
absl::Status MakeDirectories(const std::string& directory);

// Whether nobody but this user and root may put anything into `directory`, or replace it. False
// also when it cannot be told.
bool IsOwnersAlone(const std::string& directory);
// The group that may write to `directory`, where others may not.
std::optional<std::uint32_t> GroupThatMayWrite(const std::string& directory);

// `path` without links; `path` itself where that cannot be told.
std::string WithoutLinks(const std::string& path);

}  // namespace soleguard::os
