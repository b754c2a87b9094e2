#include "os/helper_linux.h"

#include <linux/sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "os/error.h"

namespace soleguard::os {
namespace {

// It must not keep alive what its parent has open, a claim least of all.
void CloseAllBut(int descriptor) {
  const auto kept = static_cast<unsigned>(descriptor);
  const bool closed = descriptor < 0
                          ? syscall(SYS_close_range, 0U, ~0U, 0U) == 0
                          : (descriptor == 0 || syscall(SYS_close_range, 0U, kept - 1, 0U) == 0) &&
                                syscall(SYS_close_range, kept + 1, ~0U, 0U) == 0;
  if (closed) return;
  // Before Linux 5.9.
  rlimit limit = {};
  constexpr rlim_t kMost = 1 << 20;  // fs.nr_open, unless an administrator has raised it
  if (syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, nullptr, &limit) != 0) limit.rlim_max = kMost;
  for (rlim_t fd = 0; fd < std::min(limit.rlim_max, kMost); ++fd) {
    if (static_cast<int>(fd) != descriptor) (void)syscall(SYS_close, fd);
  }
}

[[noreturn]] void Run(const HelperBody& body) {
  CloseAllBut(body.descriptor);
  (void)syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  body.run(body.argument);
  syscall(SYS_exit_group, 0);
  __builtin_unreachable();
}

}  // namespace

UniqueFd StartHelper(const HelperBody& body) {
  int pidfd = -1;
  clone_args arguments = {};
  // A signal to the helper is not to run the program's handlers in it (Linux 5.5).
  arguments.flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
  arguments.pidfd = reinterpret_cast<std::uintptr_t>(&pidfd);
  long child = syscall(SYS_clone3, &arguments, sizeof arguments);
  if (child == 0) Run(body);
  if (child < 0 && (errno == ENOSYS || errno == EPERM || errno == EINVAL)) {
    // Older kernels, and sandboxes that cannot look into clone3's arguments, so that they know no
    // such call. All signals are blocked in the helper then.
    sigset_t all;
    sigset_t own;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &own);  // fails for an unknown `how` only
    child = syscall(SYS_clone, CLONE_PIDFD, nullptr, &pidfd, nullptr, nullptr);
    if (child == 0) Run(body);
    const int error = errno;
    (void)pthread_sigmask(SIG_SETMASK, &own, nullptr);
    errno = error;
  }
  return UniqueFd(child > 0 ? pidfd : -1);
}

bool HasEnded(const UniqueFd& helper) {
  siginfo_t info = {};
  return RetryOnEintr([&] {
           return waitid(P_PIDFD, static_cast<id_t>(helper.get()), &info,
                         WEXITED | WNOHANG | __WALL);
         }) == 0 &&
         info.si_pid != 0;
}

}  // namespace soleguard::os
