#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/unix_diag.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string_view>

#include "os/companion.h"
#include "os/error.h"
#include "os/kept_fd.h"
#include "os/socket_linux.h"

namespace soleguard::os {
namespace {

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

struct Found {
  std::uint32_t uid = 0;
  std::uint32_t inode = 0;
};

// The listening socket `name`, if sock_diag's answer is of that one.
std::optional<Found> FoundIn(std::string_view answer, std::string_view name) {
  const auto message = ValueAt<unix_diag_msg>(answer, 0);
  if (!message.has_value()) return std::nullopt;
  answer.remove_prefix(sizeof *message);
  bool is_it = false;
  std::optional<std::uint32_t> uid;
  while (const auto attribute = ValueAt<rtattr>(answer, 0)) {
    if (attribute->rta_len < sizeof *attribute) break;
    const std::string_view value = answer.substr(0, attribute->rta_len).substr(sizeof *attribute);
    if (attribute->rta_type == UNIX_DIAG_NAME) {
      is_it = value.size() == name.size() + 1 && value.front() == '\0' && value.substr(1) == name;
    }
    if (attribute->rta_type == UNIX_DIAG_UID) uid = ValueAt<std::uint32_t>(value, 0);
    answer.remove_prefix(std::min(Aligned(attribute->rta_len), answer.size()));
  }
  if (!is_it || !uid.has_value()) return std::nullopt;
  return Found{.uid = *uid, .inode = message->udiag_ino};
}

struct Owned {
  std::uint32_t uid = 0;
  FileIdentity socket;
};

absl::StatusOr<Owned> Find(const std::string& name) {
  const UniqueFd netlink(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!netlink) return ErrnoStatus(errno, "open a sock_diag socket");
  unix_diag_req request = {};
  request.sdiag_family = AF_UNIX;
  request.udiag_states = kListening;
  request.udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_UID;
  std::optional<Found> found;
  const absl::Status listed =
      ListSockets(netlink.get(), BytesOf(request), [&](std::string_view answer) {
        if (const std::optional<Found> socket = FoundIn(answer, name)) found = socket;
      });
  if (!listed.ok()) return listed;
  if (!found.has_value()) {
    return absl::NotFoundError("nobody listens there, or the kernel does not say who");
  }
  const absl::StatusOr<FileIdentity> file = SocketFile(netlink.get(), found->inode);
  if (!file.ok()) return file.status();
  return Owned{.uid = found->uid, .socket = *file};
}

}  // namespace

absl::StatusOr<std::uint32_t> CompanionOwner(const std::string& name) {
  const absl::StatusOr<Owned> found = Find(name);
  if (!found.ok()) return found.status();
  return found->uid;
}

absl::StatusOr<FileIdentity> CompanionSocket(const std::string& name) {
  const absl::StatusOr<Owned> found = Find(name);
  if (!found.ok()) return found.status();
  return found->socket;
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

}  // namespace soleguard::os
