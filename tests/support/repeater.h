// What a process does all the time while a test does something else.
#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>

#include "support/shared.h"

namespace soleguard::testing {

// A forked child that does one thing again and again, and counts. A test asks for a number of
// times, so that a child which died or never began is no success: `while (times() < 100 &&
// Lives())`.
class Repeater {
 public:
  template <typename Once>
  explicit Repeater(const Once& once) : pid_(fork()) {
    if (pid_ != 0) return;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (!*over_) {
      once();
      ++*times_;
    }
    _exit(0);
  }
  Repeater(const Repeater&) = delete;
  Repeater& operator=(const Repeater&) = delete;
  ~Repeater() {
    if (pid_ <= 0) return;
    (void)kill(pid_, SIGKILL);
    (void)waitpid(pid_, nullptr, 0);
  }

  pid_t pid() const { return pid_; }
  int times() const { return *times_; }
  bool Lives() const {
    siginfo_t ended = {};
    return waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           ended.si_pid == 0;
  }
  // Waits until it has ended, after the time that it is at. True when nothing else has ended it.
  bool End() {
    *over_ = true;
    int status = 0;
    const bool waited = waitpid(pid_, &status, 0) == pid_;
    pid_ = 0;
    return waited && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

 private:
  const Shared<std::atomic<int>> times_;
  const Shared<std::atomic<bool>> over_;
  pid_t pid_;
};

}  // namespace soleguard::testing
