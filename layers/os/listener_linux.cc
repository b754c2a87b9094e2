#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <string_view>

#include <absl/strings/str_cat.h>

#include "os/error.h"
#include "os/kept_fd.h"
#include "os/listener.h"
#include "os/socket_linux.h"

namespace soleguard::os {
namespace {

sockaddr_in AddressOf(const Endpoint& endpoint) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(endpoint.address);
  address.sin_port = htons(endpoint.port);
  return address;
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

// What sock_diag says of one listener, if that is in the way of `endpoint`.
std::optional<Listener> InTheWay(std::string_view answer, const Endpoint& endpoint,
                                 std::uint64_t device) {
  const auto found = ValueAt<inet_diag_msg>(answer, 0);
  if (!found.has_value() || ntohs(found->id.idiag_sport) != endpoint.port) return std::nullopt;
  const bool exact = IsExact(found->id, found->idiag_family, endpoint);
  if (!exact && !IsWildcard(found->id, found->idiag_family)) return std::nullopt;
  return Listener{.exact = exact,
                  .uid = found->idiag_uid,
                  .socket = {.device = device, .inode = found->idiag_inode}};
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
  const absl::StatusOr<FileIdentity> any = SocketFile(netlink.get(), 0);
  if (!any.ok()) return any.status();

  std::vector<Listener> listeners;
  for (const int family : {AF_INET, AF_INET6}) {
    inet_diag_req_v2 request = {};
    request.sdiag_family = static_cast<__u8>(family);
    request.sdiag_protocol = IPPROTO_TCP;
    request.idiag_states = kListening;
    absl::Status listed =
        ListSockets(netlink.get(), BytesOf(request), [&](std::string_view answer) {
          if (std::optional<Listener> listener = InTheWay(answer, endpoint, any->device)) {
            listeners.push_back(*listener);
          }
        });
    // A kernel without IPv6 has no such sockets.
    if (!listed.ok() && !(family == AF_INET6 && absl::IsNotFound(listed))) return listed;
  }
  return listeners;
}

}  // namespace soleguard::os
