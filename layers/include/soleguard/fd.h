// An owned file descriptor, and waiting for several.
#pragma once

#include <span>
#include <utility>

#include <absl/time/time.h>

namespace soleguard {

// `fd`, or a duplicate of it above the standard descriptors 0, 1 and 2, close-on-exec, in place of
// one of them. A program that was started without one of these gets its next descriptor there: the
// program's log would be written into it, and the usual first steps of a daemon would close it. -1
// with errno where no other number is free; `fd` is closed then. Does not block.
int AboveStandard(int fd);

// Owns one descriptor and closes it. Never has 0, 1 or 2: see AboveStandard. Move-only. Not
// thread-safe.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(AboveStandard(fd)) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

  // Gives the descriptor up without closing it.
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }

  // Closes what is owned and owns `fd` instead. Keeps errno. A close that EINTR interrupts is not
  // repeated: on Linux the descriptor is gone by then (close(2)).
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

// Becomes readable once and stays so.
class WaitFlag {
 public:
  WaitFlag();  // invalid where the system gives no descriptor (eventfd(2))
  // Thread-safe. Does not block.
  void Set() const;
  bool IsSet() const;
  const UniqueFd& fd() const { return fd_; }

 private:
  UniqueFd fd_;
};

// Blocks until one of `fds`, or `also`, is readable or hung up, or `timeout` has passed; with a
// timeout of zero it looks once. True when one is. A signal handler that runs meanwhile does not
// end the wait.
bool WaitForAny(std::span<const UniqueFd> fds, absl::Duration timeout,
                const WaitFlag* also = nullptr);

}  // namespace soleguard
