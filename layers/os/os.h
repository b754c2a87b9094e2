// The seam to the operating system for the layers: errors, locks, kept descriptors, fork. Private
// to layers/; what the world above needs of the process table is in soleguard/process.h.
#pragma once

#include <cerrno>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "soleguard/fd.h"
#include "soleguard/process.h"
#include "soleguard/scope.h"

namespace soleguard::os {

// Repeats a system call that a signal interrupted. Never used around close(2).
template <typename Call>
auto RetryOnEintr(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result == -1 && errno == EINTR);
  return result;
}

// "cannot lock /x: Permission denied", with the code that fits `error`.
absl::Status ErrnoStatus(int error, std::string_view what);

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

// Whether flock and fcntl locks on one description are independent, as on local filesystems. On NFS
// and SMB they are emulated by each other and would conflict.
absl::StatusOr<bool> LockFamiliesAreIndependent(int fd);

absl::StatusOr<FileIdentity> IdentityOfFile(int fd);

// The effective user of the calling process.
std::uint32_t OwnUid();

// Tells the process that made it from all its forked and cloned children, pid namespaces included.
class ProcessMark {
 public:
  ProcessMark();  // of the calling process
  bool IsCurrent() const;

 private:
  std::uint64_t generation_;
  std::int64_t pid_;
};

// A descriptor that carries a claim.
//  - A forked child closes its copy at once (pthread_atfork), so that the claim ends with its
//    owner. A raw clone(2) skips that.
//  - It remembers what it refers to: a program that closed all descriptors and reused the number
//    must not have its own file written or closed.
// Neither movable nor copyable. Thread-safe against fork only.
class KeptFd {
 public:
  KeptFd() = default;
  KeptFd(const KeptFd&) = delete;
  KeptFd& operator=(const KeptFd&) = delete;
  ~KeptFd() { Close(); }

  // Calls `open`, which returns a new descriptor or -1 with errno, and keeps the result. No fork of
  // this process can fall between the two: a child would share the open file description, and with
  // it every lock that is taken on it later.
  absl::Status Keep(std::string_view what, const std::function<int()>& open);

  int get() const { return fd_; }
  const FileIdentity& file() const { return file_; }
  explicit operator bool() const { return fd_ >= 0; }

  // Whether the descriptor still refers to what was kept.
  bool StillOurs() const noexcept;
  // The same with a reason: DataLoss when the program closed it. `path` is for the message.
  absl::Status CheckStillOurs(std::string_view path) const;

  // A duplicate, close-on-exec, that forked children do keep.
  absl::StatusOr<UniqueFd> Duplicate() const;

  // Lets the descriptor survive execve(2).
  absl::Status KeepOverExec() const;

  // Closes it, unless the number refers to something else by now. Keeps errno.
  void Close() noexcept;

  // pthread_atfork handlers; here because they work on the list of all kept descriptors.
  static void BeforeFork();
  static void AfterForkInParent();
  static void AfterForkInChild();

 private:
  void CloseDescriptor() noexcept;

  int fd_ = -1;
  FileIdentity file_;
  KeptFd* previous_ = nullptr;
  KeptFd* next_ = nullptr;
};

// Who may have made the objects of a scope. Everything else at their paths was planted, or left by
// a mistake that would let others in: it is refused, not mended.
struct Ownership {
  enum class Rule {
    kOwner,        // `uid` only: directories 0700, files 0600
    kGroup,        // any member of `gid`: directories 2770, files 0660
    kOwnerOrRoot,  // `uid` or root, whatever the mode: files that other programs made
    kAnyone,       // for lookers, who only read
  };
  Rule rule = Rule::kOwner;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};

enum class Create { kNo, kYes };

// The scope's directory, opened and checked, created if that is asked for and the scope's rule
// allows it. Says who may own what is inside. NotFound when it does not exist.
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
// Open for reading and writing, so that the opener counts as a writer.
absl::Status KeepFifo(const Entry& entry, const Ownership& ownership, KeptFd& kept);
// Open for reading: hangs up when the last writer is gone. Nothing when there is no writer.
UniqueFd WatchFifo(const Entry& entry, const Ownership& ownership);

// Whether `path` itself, not what a link points to, is `file` now.
absl::StatusOr<bool> PathIs(const std::string& path, const FileIdentity& file);

// At most `limit` bytes from the file's begin.
absl::StatusOr<std::string> ReadAt(int fd, std::size_t limit);
// All of `bytes` at the file's begin, in one system call.
absl::Status WriteAt(int fd, std::string_view bytes);

// The names in a directory, but for "." and "..", unsorted.
absl::StatusOr<std::vector<std::string>> NamesIn(int directory);

struct User {
  std::string name;
  std::string home;
};
// The entry of `uid` in the password database: /etc/passwd first, then what nsswitch.conf(5) names.
// nullopt: it has none, or it could not be asked.
std::optional<User> FindUser(std::uint32_t uid);

// Where state that outlives a reboot is kept, by rule: /var/lib/soleguard for root, else
// .local/state/soleguard in the home of the password database. $HOME is not asked: it differs under
// sudo and in services. NotFound when the database names no home.
absl::StatusOr<std::string> StateDirectory();

// Creates `directory` with missing parents, mode 0700, but not a missing home or root directory.
absl::Status MakeDirectories(const std::string& directory);

// Replaces `directory`/`name` with `bytes` so that after a power loss either the old or the new
// content is there, and the new one once this has returned.
absl::Status WriteDurably(const std::string& directory, const std::string& name,
                          std::string_view bytes);

}  // namespace soleguard::os
