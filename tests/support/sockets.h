// Sockets for tests: a port that is free, and the listening sockets of another process, which are
// taken away.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <system_error>

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

// A TCP port that nobody has on 127.0.0.1: bind(2) has just said so. Drawn below the range from
// which the kernel serves bind to 0 and connect, so that no other test gets it by chance before it
// is used.
inline std::uint16_t FreePort() {
  std::random_device random;
  std::uniform_int_distribution<std::uint16_t> ports(10'000, 32'767);
  while (true) {
    const UniqueFd probe(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in name = {};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const std::uint16_t port = ports(random);
    name.sin_port = htons(port);
    if (bind(probe.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0) return port;
    if (errno != EADDRINUSE) throw std::system_error(errno, std::system_category(), "bind");
  }
}

}  // namespace soleguard::testing
