#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string_view>

#include <absl/strings/str_cat.h>

#include "os/os.h"
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
  return Peer{.pid = credentials.pid, .uid = credentials.uid};
}

}  // namespace soleguard::os
