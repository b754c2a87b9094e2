#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include <absl/strings/str_cat.h>

#include "os/os.h"
#include "os/poll.h"
#include "soleguard/text.h"

namespace soleguard::os {
namespace {

constexpr std::uint32_t kListening = 1U << TCP_LISTEN;

sockaddr_in AddressOf(const Endpoint& endpoint) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(endpoint.address);
  address.sin_port = htons(endpoint.port);
  return address;
}

// bind(2) and connect(2) take every family's address by a pointer to the general one.
template <typename Address>
const sockaddr* General(const Address& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

struct Abstract {
  sockaddr_un address = {};
  socklen_t size = 0;
};
Abstract AbstractAddress(const std::string& name) {
  Abstract abstract;
  abstract.address.sun_family = AF_UNIX;
  // The first byte stays 0; the name has no other end than the size (unix(7)).
  const std::size_t size = std::min(name.size(), sizeof abstract.address.sun_path - 1);
  std::memcpy(abstract.address.sun_path + 1, name.data(), size);
  abstract.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + size);
  return abstract;
}

// All sockets are files of one file system (sockfs); its device is that of any of them.
absl::StatusOr<std::uint64_t> SocketDevice(int socket) {
  struct stat status = {};
  if (fstat(socket, &status) != 0) return ErrnoStatus(errno, "fstat a socket");
  return status.st_dev;
}

absl::Status AskForListeners(int netlink, int family) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } message = {};
  message.header.nlmsg_len = sizeof message;
  message.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  message.request.sdiag_family = static_cast<__u8>(family);
  message.request.sdiag_protocol = IPPROTO_TCP;
  message.request.idiag_states = kListening;
  if (RetryOnEintr([&] { return send(netlink, &message, sizeof message, 0); }) < 0) {
    return ErrnoStatus(errno, "ask sock_diag for listening sockets");
  }
  return absl::OkStatus();
}

// 0.0.0.0, [::], or the address itself, also as an IPv4 address in IPv6's clothes.
bool IsWildcard(const inet_diag_sockid& id, int family) {
  const std::size_t words = family == AF_INET ? 1 : 4;
  return std::all_of(id.idiag_src, id.idiag_src + words, [](auto word) { return word == 0; });
}
bool IsExact(const inet_diag_sockid& id, int family, const Endpoint& endpoint) {
  const __be32 wanted = htonl(endpoint.address);
  if (family == AF_INET) return id.idiag_src[0] == wanted;
  return id.idiag_src[0] == 0 && id.idiag_src[1] == 0 && id.idiag_src[2] == htonl(0xffff) &&
         id.idiag_src[3] == wanted;
}

// The value that a message of the kernel has at `offset`; nothing where it is too short.
template <typename Value>
std::optional<Value> ValueAt(std::string_view bytes, std::size_t offset) {
  Value value;
  if (bytes.size() < offset + sizeof value) return std::nullopt;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

// Adds what one datagram of the dump tells. True at the end of the dump.
absl::StatusOr<bool> ReadListeners(std::string_view datagram, const Endpoint& endpoint,
                                   std::uint64_t device, std::vector<Listener>& listeners) {
  constexpr std::size_t kAlignment = 4;  // netlink(7); headers have a multiple of it
  while (const auto header = ValueAt<nlmsghdr>(datagram, 0)) {
    if (header->nlmsg_type == NLMSG_DONE) return true;
    if (header->nlmsg_len < sizeof *header) break;
    const std::string_view message = datagram.substr(0, header->nlmsg_len);
    const std::size_t length = (message.size() + kAlignment - 1) / kAlignment * kAlignment;
    datagram.remove_prefix(std::min(length, datagram.size()));
    if (header->nlmsg_type == NLMSG_ERROR) {
      const auto error = ValueAt<nlmsgerr>(message, sizeof *header);
      return ErrnoStatus(error.has_value() ? -error->error : EPROTO,
                         "list listening sockets by sock_diag");
    }
    const auto found = ValueAt<inet_diag_msg>(message, sizeof *header);
    if (!found.has_value() || ntohs(found->id.idiag_sport) != endpoint.port) continue;
    const bool exact = IsExact(found->id, found->idiag_family, endpoint);
    if (!exact && !IsWildcard(found->id, found->idiag_family)) continue;
    listeners.push_back({.exact = exact,
                         .uid = found->idiag_uid,
                         .socket = {.device = device, .inode = found->idiag_inode}});
  }
  return false;
}

}  // namespace

std::string Endpoint::ToString() const {
  return absl::StrCat(address >> 24, ".", address >> 16 & 0xff, ".", address >> 8 & 0xff, ".",
                      address & 0xff, ":", port);
}

absl::Status KeepTcpSocket(KeptFd& kept) {
  absl::Status made = kept.Keep("make a TCP socket", [] {
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
  });
  if (!made.ok()) return made;
  const int on = 1;
  if (setsockopt(kept.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) {
    return ErrnoStatus(errno, "set SO_REUSEADDR");
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> TryListen(const KeptFd& socket, const Endpoint& endpoint) {
  const sockaddr_in address = AddressOf(endpoint);
  constexpr int kBacklog = 1;  // nobody is ever accepted
  if (bind(socket.get(), General(address), sizeof address) == 0 &&
      listen(socket.get(), kBacklog) == 0) {
    return true;
  }
  if (errno == EADDRINUSE) return false;
  return ErrnoStatus(errno, absl::StrCat("listen at ", endpoint.ToString()));
}

absl::Status CheckMayBind(const Endpoint& endpoint) {
  KeptFd socket;
  absl::Status made = KeepTcpSocket(socket);
  if (!made.ok()) return made;
  const sockaddr_in address = AddressOf(endpoint);
  if (bind(socket.get(), General(address), sizeof address) == 0) return absl::OkStatus();
  if (errno == EADDRINUSE) return absl::NotFoundError("another socket is in the way");
  return ErrnoStatus(errno, absl::StrCat("listen at ", endpoint.ToString()));
}

void StopListening(const KeptFd& socket) {
  (void)shutdown(socket.get(),
                 SHUT_RDWR);  // a listening socket becomes a closed one (tcp_disconnect)
}

bool ListensAt(const KeptFd& socket, const Endpoint& endpoint) {
  int listening = 0;
  socklen_t size = sizeof listening;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0) return false;
  sockaddr_in address = {};
  socklen_t address_size = sizeof address;
  if (getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &address_size) != 0) {
    return false;
  }
  return listening != 0 && address.sin_port == htons(endpoint.port) &&
         address.sin_addr.s_addr == htonl(endpoint.address);
}

absl::StatusOr<std::vector<Listener>> ListenersInTheWay(const Endpoint& endpoint) {
  const UniqueFd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!netlink) return ErrnoStatus(errno, "open a sock_diag socket");
  absl::StatusOr<std::uint64_t> device = SocketDevice(netlink.get());
  if (!device.ok()) return device.status();

  std::vector<Listener> listeners;
  std::array<char, 32768> buffer{};
  for (const int family : {AF_INET, AF_INET6}) {
    absl::Status asked = AskForListeners(netlink.get(), family);
    if (!asked.ok()) return asked;
    for (bool done = false; !done;) {
      const ssize_t got =
          RetryOnEintr([&] { return recv(netlink.get(), buffer.data(), buffer.size(), 0); });
      if (got < 0) return ErrnoStatus(errno, "read from sock_diag");
      absl::StatusOr<bool> ended = ReadListeners({buffer.data(), static_cast<std::size_t>(got)},
                                                 endpoint, *device, listeners);
      // A kernel without IPv6 has no such sockets.
      if (!ended.ok() && family == AF_INET6 && absl::IsNotFound(ended.status())) break;
      if (!ended.ok()) return ended.status();
      done = *ended;
    }
  }
  return listeners;
}

namespace {

// All groups of the process at the other end, as they were when it listened or connected
// (Linux 4.13); the effective one alone where the kernel does not say.
std::vector<std::uint32_t> GroupsOf(int socket, const ucred& credentials) {
#ifndef SO_PEERGROUPS
  constexpr int SO_PEERGROUPS = 59;
#endif
  std::vector<std::uint32_t> groups(64);
  for (int tries = 0; tries < 2; ++tries) {
    auto size = static_cast<socklen_t>(groups.size() * sizeof groups.front());
    if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) == 0) {
      groups.resize(size / sizeof groups.front());
      groups.push_back(credentials.gid);
      return groups;
    }
    if (errno != ERANGE) break;
    groups.resize(size / sizeof groups.front());
  }
  return {credentials.gid};
}

// The user of the listening socket `name` in one datagram of the dump, if it is there. True at the
// end of the dump.
absl::StatusOr<bool> ReadOwner(std::string_view datagram, std::string_view name,
                               std::optional<std::uint32_t>& owner) {
  constexpr std::size_t kAlignment = 4;
  const auto aligned = [](std::size_t size) {
    return (size + kAlignment - 1) / kAlignment * kAlignment;
  };
  while (const auto header = ValueAt<nlmsghdr>(datagram, 0)) {
    if (header->nlmsg_type == NLMSG_DONE) return true;
    if (header->nlmsg_len < sizeof *header) break;
    std::string_view message = datagram.substr(0, header->nlmsg_len);
    datagram.remove_prefix(std::min(aligned(message.size()), datagram.size()));
    if (header->nlmsg_type == NLMSG_ERROR) {
      return absl::UnavailableError("sock_diag lists no Unix sockets");
    }
    message.remove_prefix(std::min(sizeof *header + sizeof(unix_diag_msg), message.size()));
    bool is_it = false;
    std::optional<std::uint32_t> uid;
    while (const auto attribute = ValueAt<rtattr>(message, 0)) {
      if (attribute->rta_len < sizeof *attribute) break;
      const std::string_view value =
          message.substr(0, attribute->rta_len).substr(sizeof *attribute);
      if (attribute->rta_type == UNIX_DIAG_NAME) {
        is_it = value.size() == name.size() + 1 && value.front() == '\0' && value.substr(1) == name;
      }
      if (attribute->rta_type == UNIX_DIAG_UID) uid = ValueAt<std::uint32_t>(value, 0);
      message.remove_prefix(std::min(aligned(attribute->rta_len), message.size()));
    }
    if (is_it && uid.has_value()) owner = uid;
  }
  return false;
}

}  // namespace

absl::StatusOr<std::uint32_t> CompanionOwner(const std::string& name) {
  const UniqueFd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!netlink) return ErrnoStatus(errno, "open a sock_diag socket");
  struct {
    nlmsghdr header;
    unix_diag_req request;
  } message = {};
  message.header.nlmsg_len = sizeof message;
  message.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  message.request.sdiag_family = AF_UNIX;
  message.request.udiag_states = kListening;
  message.request.udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_UID;
  if (RetryOnEintr([&] { return send(netlink.get(), &message, sizeof message, 0); }) < 0) {
    return ErrnoStatus(errno, "ask sock_diag for Unix sockets");
  }
  std::optional<std::uint32_t> owner;
  std::array<char, 32768> buffer{};
  while (true) {
    const ssize_t got =
        RetryOnEintr([&] { return recv(netlink.get(), buffer.data(), buffer.size(), 0); });
    if (got < 0) return ErrnoStatus(errno, "read from sock_diag");
    const absl::StatusOr<bool> ended =
        ReadOwner({buffer.data(), static_cast<std::size_t>(got)}, name, owner);
    if (!ended.ok()) return ended.status();
    if (*ended) break;
  }
  if (owner.has_value()) return *owner;
  return absl::NotFoundError("nobody listens there, or the kernel does not say who");
}

absl::StatusOr<bool> KeepCompanion(const std::string& name, KeptFd& kept) {
  absl::Status made = kept.Keep("make a Unix socket", [] {
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  });
  if (!made.ok()) return made;
  const Abstract abstract = AbstractAddress(name);
  constexpr int kBacklog = 128;
  if (bind(kept.get(), General(abstract.address), abstract.size) == 0 &&
      listen(kept.get(), kBacklog) == 0) {
    return true;
  }
  const int error = errno;
  kept.Close();
  if (error == EADDRINUSE) return false;
  return ErrnoStatus(error, "listen on the companion socket");
}

absl::StatusOr<Peer> CompanionPeer(const std::string& name) {
  const UniqueFd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!client) return ErrnoStatus(errno, "make a Unix socket");
  const Abstract abstract = AbstractAddress(name);
  if (connect(client.get(), General(abstract.address), abstract.size) != 0) {
    if (errno == ECONNREFUSED) return absl::NotFoundError("nobody listens on the companion socket");
    if (errno == EAGAIN) return absl::ResourceExhaustedError("the companion's backlog is full");
    return ErrnoStatus(errno, "connect to the companion socket");
  }
  ucred credentials = {};
  socklen_t size = sizeof credentials;
  if (getsockopt(client.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return ErrnoStatus(errno, "ask for the companion's credentials");
  }
  return Peer{.pid = credentials.pid,
              .uid = credentials.uid,
              .groups = GroupsOf(client.get(), credentials)};
}

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

absl::Status KeepWatchOf(const Entry& entry, KeptFd& kept) {
  const UniqueFd file(RetryOnEintr(
      [&] { return openat(entry.parent, entry.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC); }));
  if (!file) return ErrnoStatus(errno, absl::StrCat("watch ", EscapeBytes(entry.path)));
  absl::Status made =
      kept.Keep("open an inotify instance", [] { return inotify_init1(IN_CLOEXEC | IN_NONBLOCK); });
  if (!made.ok()) return made;
  const std::string path = absl::StrCat("/proc/self/fd/", file.get());
  constexpr std::uint32_t kEnd = IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;
  if (inotify_add_watch(kept.get(), path.c_str(), kEnd) >= 0) return absl::OkStatus();
  const int error = errno;
  kept.Close();
  return ErrnoStatus(error, absl::StrCat("watch ", EscapeBytes(entry.path)));
}

UniqueFd WatchNamesIn(int directory) {
  UniqueFd watch(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!watch) return watch;
  const std::string path = absl::StrCat("/proc/self/fd/", directory);
  constexpr std::uint32_t kNames = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE;
  if (inotify_add_watch(watch.get(), path.c_str(), kNames) < 0) watch.reset();
  return watch;
}

void WaitForReady(std::vector<Waited>& all, absl::Duration timeout) {
  std::vector<pollfd> polled;
  for (const Waited& one : all) {
    polled.push_back({.fd = one.fd,
                      .events = static_cast<short>(one.to_write ? POLLOUT : POLLIN),
                      .revents = 0});
  }
  if (PollOrPause(polled.data(), polled.size(), timeout) == 0) return;
  for (std::size_t i = 0; i < all.size(); ++i) all[i].ready = polled[i].revents != 0;
}

}  // namespace soleguard::os
