// The descriptors that carry claims, and the mark of the process that has them.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "soleguard/fd.h"
#include "soleguard/process_identity.h"

namespace soleguard::os {

// A duplicate above the standard descriptors, close-on-exec; -1 with errno.
int DuplicateDescriptor(int fd);

// Tells the process that made it from all its forked and cloned children, pid namespaces included.
class ProcessMark {
 public:
  ProcessMark();  // of the calling process
  // One that was noted before, by these two.
  ProcessMark(std::uint64_t generation, std::int64_t pid) : generation_(generation), pid_(pid) {}
  bool IsCurrent() const;

  std::uint64_t generation() const { return generation_; }
  std::int64_t pid() const { return pid_; }

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

  // Calls `open`, which returns a new descriptor or -1 with errno, and keeps the result instead of
  // what was kept, which stays if that fails. No fork of this process can fall between the two: a
  // child would share the open file description, and with it each lock that is taken on it later.
  absl::Status Keep(std::string_view what, const std::function<int()>& open);

  int get() const { return fd_; }
  const FileIdentity& file() const { return file_; }
  explicit operator bool() const { return fd_ >= 0; }

  // Whether the descriptor still refers to what was kept.
  bool StillOurs() const noexcept;
  // The same with a reason: DataLoss when the program closed it. `path` is for the message.
  absl::Status CheckStillOurs(std::string_view path) const;

  // Whether the file has no name left in any directory: nobody, wherever it looks from, can open it
  // again. False also when it is not ours any more, or does not say.
  bool IsDeleted() const noexcept;

  // A duplicate, close-on-exec, that forked children do keep.
  absl::StatusOr<UniqueFd> Duplicate() const;

  // Gives it a number above `number`. When a process ends the kernel releases its descriptors from
  // the highest number down (Linux 4.4): what others wait for shall not come after what is slow.
  absl::Status MoveAbove(int number);

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

}  // namespace soleguard::os
