// The listening sockets of another process, for tests that take them away.
#pragma once

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include <absl/strings/str_cat.h>

#include "soleguard/fd.h"
#include "soleguard/process.h"

namespace soleguard::testing {

// Makes the sockets that `process` listens with stop listening, as an administrator can by ss -K.
// Returns how many there were; -1 where another process's descriptors cannot be had.
inline int StopListening(pid_t process) {
  const absl::StatusOr<UniqueFd> pidfd = OpenPidfd(*IdentityOf(process));
  if (!pidfd.ok()) return -1;
  int stopped = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(absl::StrCat("/proc/", process, "/fd"))) {
    const int theirs = std::stoi(entry.path().filename());
    const UniqueFd copy(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd->get(), theirs, 0)));
    if (!copy) return -1;
    int listens = 0;
    socklen_t size = sizeof(listens);
    if (getsockopt(copy.get(), SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0) continue;
    if (listens != 0 && shutdown(copy.get(), SHUT_RDWR) == 0) ++stopped;
  }
  return stopped;
}

}  // namespace soleguard::testing
