#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

#include <system_error>
#include <thread>
#include <utility>

#include <absl/strings/str_cat.h>

#include "os/thread.h"
#include "soleguard/watch.h"

namespace soleguard {

namespace {

// Blocks all signals of the calling thread, also while an exception goes through.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &own_);  // fails for an unknown `how` only
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { (void)pthread_sigmask(SIG_SETMASK, &own_, nullptr); }

 private:
  sigset_t own_;
};

}  // namespace

absl::StatusOr<std::thread> os::StartThread(std::function<void()> body) {
  // Blocked before the thread is there, which inherits the mask: it has no moment in which a signal
  // of the program could end up in it.
  const SignalsBlocked blocked;
  try {
    return std::thread(std::move(body));
  } catch (const std::system_error& error) {
    // The C library asks for clone3(2), which an old profile of a container does not know, and does
    // without it where the answer is ENOSYS only (glibc 2.36).
    const bool is_forbidden = error.code() == std::errc::operation_not_permitted;
    return absl::ResourceExhaustedError(absl::StrCat(
        "no thread can be started: ", error.code().message(),
        is_forbidden ? "; a seccomp profile forbids clone3(2): update the container's runtime"
                     : "; raise the limit of processes (ulimit -u, pids.max of the cgroup)"));
  }
}

absl::Status RunInThread(std::function<void()> body) {
  absl::StatusOr<std::thread> thread = os::StartThread(std::move(body));
  if (thread.ok()) thread->detach();
  return thread.status();
}

}  // namespace soleguard

namespace soleguard::os {

bool IsOnlyThread() {
  // The directory has a link for each thread, besides its own two (proc_task_getattr, Linux 6.18).
  struct stat status = {};
  return stat("/proc/self/task", &status) == 0 && status.st_nlink == 3;
}

}  // namespace soleguard::os
