#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "soleguard/fd.h"

namespace soleguard {

// No call opens a descriptor at a number above another one; only a duplicate can ask for that.
//
// The race: for the time of two system calls the descriptor is at a number that the program takes
// for its standard output, say, and another thread of it writes there, or puts a file of its own
// there, which is closed here. Left open: a program that closed its standard descriptors and uses
// them all the same in another thread at that moment. Nothing of a claim has been written or locked
// by then.
int AboveStandard(int fd) {
  if (fd < 0 || fd > STDERR_FILENO) return fd;
  const int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  const int saved = errno;
  (void)close(fd);  // the duplicate keeps it open
  errno = saved;
  return moved;
}

void UniqueFd::reset(int fd) {
  if (fd_ >= 0) {
    const int saved = errno;
    // Nothing useful can be done about a failing close: the descriptor is gone in any case.
    (void)close(fd_);
    errno = saved;
  }
  fd_ = AboveStandard(fd);
}

}  // namespace soleguard
