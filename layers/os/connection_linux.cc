#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include <absl/strings/str_cat.h>

#include "os/connection.h"
#include "os/error.h"
#include "os/kept_fd.h"
#include "os/ownership.h"
#include "os/path.h"
#include "os/socket_linux.h"
#include "soleguard/process.h"
#include "soleguard/text.h"

namespace soleguard::os {
namespace {

// `entry` below its open parent.
sockaddr_un AddressBelow(const Entry& entry, const std::string& name) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  // At most 14 + 10 + 1 + the name, which is short.
  const std::string path = absl::StrCat("/proc/self/fd/", entry.parent, "/", name);
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof address.sun_path - 1));
  return address;
}

absl::Status IsAlive(int pidfd, std::int64_t pid) {
  pollfd polled = {.fd = pidfd, .events = POLLIN, .revents = 0};
  if (poll(&polled, 1, 0) == 0) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("process ", pid, " has ended"));
}

}  // namespace

absl::StatusOr<FileIdentity> KeepInbox(const Entry& entry, const Ownership& ownership,
                                       KeptFd& kept) {
  absl::Status made = kept.Keep("make a Unix socket", [] {
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  });
  if (!made.ok()) return made;
  // Listens before it has its name: whoever finds it is not refused. A half-made one that was left
  // by a dead process is in the way of nobody else: only the holder of the name comes here.
  const std::string fresh = entry.name + ".new";
  (void)unlinkat(entry.parent, fresh.c_str(), 0);
  const sockaddr_un address = AddressBelow(entry, fresh);
  const mode_t mode = ownership.rule == Ownership::Rule::kGroup ? 0660 : 0600;
  constexpr int kBacklog = 128;
  struct stat status = {};
  // bind(2) takes the mode from the socket, less the umask.
  const bool listens =
      fchmod(kept.get(), mode) == 0 && bind(kept.get(), General(address), sizeof address) == 0 &&
      fchmodat(entry.parent, fresh.c_str(), mode, 0) == 0 && listen(kept.get(), kBacklog) == 0 &&
      fstatat(entry.parent, fresh.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
      renameat(entry.parent, fresh.c_str(), entry.parent, entry.name.c_str()) == 0;
  if (listens) return FileIdentity{.device = status.st_dev, .inode = status.st_ino};
  const int error = errno;
  kept.Close();
  return ErrnoStatus(error, absl::StrCat("listen at ", EscapeBytes(entry.path)));
}

absl::Status KeepConnection(const KeptFd& listener, KeptFd& kept) {
  int error = 0;
  absl::Status accepted = kept.Keep("accept a connection", [&] {
    const int fd = accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    error = fd < 0 ? errno : 0;
    return fd;
  });
  if (error != EAGAIN && error != ECONNABORTED) return accepted;
  return absl::NotFoundError("nobody has connected");
}

absl::StatusOr<UniqueFd> ConnectTo(const Entry& entry, absl::Duration timeout) {
  UniqueFd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!client) return ErrnoStatus(errno, "make a Unix socket");
  // A full backlog has no event: connect(2) waits for a place in it as long as a send may take.
  const auto begin = std::chrono::steady_clock::now();
  int result = -1;
  do {
    const absl::Duration left =
        timeout - absl::FromChrono(std::chrono::steady_clock::now() - begin);
    if (left <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError(
          absl::StrCat("no time was left to connect to ", EscapeBytes(entry.path)));
    }
    const timeval limit = absl::ToTimeval(std::clamp(left, absl::Microseconds(1), absl::Hours(1)));
    (void)setsockopt(client.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    const sockaddr_un address = AddressBelow(entry, entry.name);
    result = connect(client.get(), General(address), sizeof address);
  } while (result != 0 && errno == EINTR);
  const int error = errno;
  if (result == 0) {
    const int flags = fcntl(client.get(), F_GETFL);
    if (fcntl(client.get(), F_SETFL, flags | O_NONBLOCK) == 0) return client;
    return ErrnoStatus(errno, "make a socket non-blocking");
  }
  const std::string path = EscapeBytes(entry.path);
  if (error == EAGAIN) {
    return absl::DeadlineExceededError(
        absl::StrCat("so many wait at ", path, " that there was no place"));
  }
  // ENOTSOCK, EPROTOTYPE: something else stands there.
  if (error == ENOENT || error == ECONNREFUSED || error == ENOTSOCK || error == EPROTOTYPE) {
    return absl::NotFoundError(absl::StrCat("nobody listens at ", path));
  }
  return ErrnoStatus(error, absl::StrCat("connect to ", path));
}

absl::StatusOr<PeerProcess> PeerOf(int socket) {
  ucred credentials = {};
  socklen_t size = sizeof credentials;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return ErrnoStatus(errno, "ask for the peer's credentials");
  }
  if (credentials.pid == 0) {
    return absl::NotFoundError("the other end is a process of another pid namespace");
  }
  // The race: the process has ended and its pid is another's. Closed by a descriptor of the very
  // process (Linux 6.5): as long as that one has not ended, the pid is its own. On an older kernel
  // it is left open; the uid above holds all the same.
#ifndef SO_PEERPIDFD
  constexpr int SO_PEERPIDFD = 77;
#endif
  int descriptor = -1;
  size = sizeof descriptor;
  const bool asked = getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &descriptor, &size) == 0;
  const UniqueFd pidfd(asked ? descriptor : -1);
  if (!asked && (errno == ESRCH || errno == EINVAL || errno == ENODATA)) {
    return absl::NotFoundError(absl::StrCat("process ", credentials.pid, " has ended"));
  }
  if (!asked && errno != ENOPROTOOPT) return ErrnoStatus(errno, "ask for the peer's pidfd");
  absl::StatusOr<ProcessIdentity> identity = IdentityOf(credentials.pid);
  if (!identity.ok()) return identity.status();
  if (asked) {
    const absl::Status alive = IsAlive(pidfd.get(), credentials.pid);
    if (!alive.ok()) return alive;
  }
  return PeerProcess{.identity = *std::move(identity),
                     .uid = credentials.uid,
                     .groups = GroupsOf(socket, credentials)};
}

absl::StatusOr<std::size_t> SendSome(int socket, std::string_view bytes) {
  const ssize_t sent =
      RetryOnEintr([&] { return send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL); });
  if (sent >= 0) return static_cast<std::size_t>(sent);
  if (errno == EAGAIN) return 0;
  return absl::AbortedError("the other end is closed");
}

absl::StatusOr<std::string> ReceiveSome(int socket, std::size_t limit) {
  std::string bytes(limit, '\0');
  const ssize_t got = RetryOnEintr([&] { return recv(socket, bytes.data(), bytes.size(), 0); });
  if (got < 0 && errno == EAGAIN) return std::string();
  if (got <= 0) return absl::AbortedError("the other end is closed");
  bytes.resize(static_cast<std::size_t>(got));
  return bytes;
}

bool IsConnected(int socket) {
  char byte = 0;
  const ssize_t got = RetryOnEintr([&] { return recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT); });
  return got > 0 || (got < 0 && errno == EAGAIN);
}

}  // namespace soleguard::os
