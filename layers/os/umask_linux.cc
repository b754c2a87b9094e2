#include <sched.h>
#include <signal.h>
#include <sys/stat.h>

#include <cerrno>
#include <system_error>
#include <thread>

#include "os/os.h"

namespace soleguard::os {

int WithoutUmask(const std::function<int()>& make) {
  int result = -1;
  int error = 0;
  const auto body = [&] {
    // The race: without a umask of its own this thread would change that of all others, for a
    // moment in which they make files too.
    if (unshare(CLONE_FS) == 0) (void)umask(0);
    result = make();
    error = errno;
  };
  // Blocked before the thread is there, which inherits the mask: no signal of the program ends up
  // in it.
  sigset_t all;
  sigset_t own;
  sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &own);  // fails for an unknown `how` only
  std::thread thread;
  try {
    thread = std::thread(body);
  } catch (const std::system_error&) {
    // There can be none: what is made may lack bits until its maker has seen that.
  }
  (void)pthread_sigmask(SIG_SETMASK, &own, nullptr);
  if (!thread.joinable()) return make();
  thread.join();
  errno = error;
  return result;
}

}  // namespace soleguard::os
