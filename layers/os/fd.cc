#include "soleguard/fd.h"

#include <unistd.h>

#include <cerrno>

namespace soleguard {

void UniqueFd::reset(int fd) {
  if (fd_ >= 0) {
    const int saved = errno;
    // Nothing useful can be done about a failing close: the descriptor is gone in any case.
    (void)close(fd_);
    errno = saved;
  }
  fd_ = fd;
}

}  // namespace soleguard
