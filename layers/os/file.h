// What is in files, and files that are replaced as a whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "os/kept_fd.h"
#include "os/lock.h"
#include "os/path.h"
#include "soleguard/fd.h"
#include "soleguard/process_identity.h"

namespace soleguard::os {

absl::StatusOr<FileIdentity> IdentityOfFile(int fd);

// A system file to be read line by line; nullptr with errno. fopen(3), but above the standard
// descriptors.
using Stream = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;
Stream OpenStream(const char* path);

// The file at `path` up to its end, at most `limit` bytes: files of /proc have no size.
absl::StatusOr<std::string> ReadAll(const std::string& path, std::size_t limit);

// At most `limit` bytes from the file's begin.
absl::StatusOr<std::string> ReadAt(int fd, std::size_t limit);
// All of `bytes` at the file's begin, in one system call.
absl::Status WriteAt(int fd, std::string_view bytes);

// The bytes of a range, as many as the file has.
absl::StatusOr<std::string> ReadRange(int fd, Range range);
// All of `bytes` at `offset`, in one system call. ResourceExhausted beyond RLIMIT_FSIZE, where the
// kernel would end the process (SIGXFSZ).
absl::Status WriteAt(int fd, std::string_view bytes, std::uint64_t offset);

// All of `bytes` behind the file's end, wherever that is by then, in one system call: what several
// processes append does not mix. ResourceExhausted as above.
absl::Status Append(int fd, std::string_view bytes);

absl::StatusOr<std::uint64_t> SizeOf(int fd);

// Never waits for a writer (a FIFO), and takes no terminal.
absl::StatusOr<UniqueFd> OpenForReading(const std::string& path);

// Replaces `directory`/`name` with `bytes` so that after a power loss either the old or the new
// content is there, and the new one once this has returned.
enum class Readers { kOwner, kGroup };
absl::Status WriteDurably(const std::string& directory, const std::string& name,
                          std::string_view bytes, Readers readers);

// Replaces a file by one with `bytes` that everybody may read, in one step: a reader finds the old
// file or the new one. Not durable. FailedPrecondition rather than overwrite what is no such file:
// not regular, or large. Gives the new file, open for reading and writing.
absl::StatusOr<UniqueFd> WriteForOthers(const Entry& entry, std::string_view bytes);
// Removes a file if it is `file`, which is open, and says `bytes` and nothing else. What somebody
// else has put there, or written into it, stays.
void RemoveIfSays(const Entry& entry, const KeptFd& file, std::string_view bytes);
// Whether something is at the entry that is not `file`, or says something else than `bytes`.
bool IsAnothers(const Entry& entry, const KeptFd& file, std::string_view bytes);

}  // namespace soleguard::os
