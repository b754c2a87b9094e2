// A child that was killed and is not gone yet, for as long as a test wants.
#pragma once

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <string>

namespace soleguard::testing {

// By ptrace(2), which stops it on its way out, with all that it has open. The thread that made it
// lets it go on, at the latest by its destructor.
class Dying {
 public:
  // Kills the child `pid` of this process.
  explicit Dying(pid_t pid) : pid_(pid) {
    int status = 0;
    if (ptrace(PTRACE_SEIZE, pid, nullptr, PTRACE_O_TRACEEXIT) != 0) {
      unusable_ = "ptrace is not permitted";
      return;
    }
    traced_ = kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid;
    if (!traced_ || status >> 8 != (SIGTRAP | (PTRACE_EVENT_EXIT << 8))) {
      unusable_ = "it does not stop on its way out";
    }
  }
  Dying(const Dying&) = delete;
  Dying& operator=(const Dying&) = delete;
  ~Dying() { GoOn(); }

  // Empty, or why no child can be kept so here.
  const std::string& unusable() const { return unusable_; }

  void GoOn() {
    if (traced_) (void)ptrace(PTRACE_DETACH, pid_, nullptr, nullptr);
    traced_ = false;
  }

 private:
  const pid_t pid_;
  bool traced_ = false;
  std::string unusable_;
};

}  // namespace soleguard::testing
