#include <sched.h>
#include <sys/stat.h>

#include <cerrno>
#include <thread>

#include "os/thread.h"
#include "os/umask.h"

namespace soleguard::os {

int WithoutUmask(const std::function<int()>& make) {
  int result = -1;
  int error = 0;
  absl::StatusOr<std::thread> thread = StartThread([&] {
    // The race: without a umask of its own this thread would change that of all others, for a
    // moment in which they make files too.
    if (unshare(CLONE_FS) == 0) (void)umask(0);
    result = make();
    error = errno;
  });
  // There can be none: what is made may lack bits until its maker has seen that.
  if (!thread.ok()) return make();
  thread->join();
  errno = error;
  return result;
}

}  // namespace soleguard::os
