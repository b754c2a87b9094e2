// From where a process sees the objects that its claims consist of.
#pragma once

#include <cstdint>

#include <absl/status/status.h>

namespace soleguard {

// What decides where a path, a semaphore's key and a port lead, and to whom a created object
// belongs, as it was when it was noted. A process may leave all of it behind (chroot(2),
// unshare(2), setns(2), setuid(2)), and then sees other objects, or none, where others still see
// its own. All of this is the calling thread's: each thread has its own namespaces, root directory
// and, by system call, user. Thread-safe.
class Vantage {
 public:
  enum Part : unsigned {
    kFiles = 1,    // the root directory and its mount; each mount namespace has its own
    kIpc = 2,      // the ipc namespace
    kNetwork = 4,  // the network namespace
    kUser = 8,     // the effective user
  };
  static constexpr unsigned kAll = kFiles | kIpc | kNetwork | kUser;

  // Notes these parts now, by a system call for each.
  explicit Vantage(unsigned parts);

  // OK: those of `parts` that were noted are what they were. Unavailable names what has changed, or
  // can no longer be seen (a namespace, without /proc). Does not block.
  absl::Status Check(unsigned parts = kAll) const;

  // Whether the calling process is the one that noted it, and not a child of that.
  bool IsOfCaller() const;

 private:
  // The identity of a file; zeros: it could not be seen.
  struct Object {
    std::uint64_t mount = 0;
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    friend bool operator==(const Object&, const Object&) = default;
  };
  struct Noted {
    Object root;
    Object ipc;
    Object network;
    std::uint32_t user = 0;
  };
  static Noted Note(unsigned parts);

  unsigned parts_;
  Noted noted_;
  std::uint64_t generation_;
  std::int64_t pid_;
};

}  // namespace soleguard
