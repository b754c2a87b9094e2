#include "os/socket_linux.h"

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

#include <absl/status/statusor.h>

#include "os/error.h"

namespace soleguard::os {

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

namespace {

// Visits what one datagram of the dump has. True at the end of the dump.
absl::StatusOr<bool> VisitAnswers(std::string_view datagram,
                                  const std::function<void(std::string_view answer)>& visit) {
  while (const auto header = ValueAt<nlmsghdr>(datagram, 0)) {
    if (header->nlmsg_type == NLMSG_DONE) return true;
    if (header->nlmsg_len < sizeof *header) break;
    const std::string_view message = datagram.substr(0, header->nlmsg_len);
    datagram.remove_prefix(std::min(Aligned(message.size()), datagram.size()));
    if (header->nlmsg_type == NLMSG_ERROR) {
      const auto error = ValueAt<nlmsgerr>(message, sizeof *header);
      return ErrnoStatus(error.has_value() ? -error->error : EPROTO, "list sockets by sock_diag");
    }
    visit(message.substr(std::min(sizeof *header, message.size())));
  }
  return false;
}

}  // namespace

absl::Status ListSockets(int netlink, std::string_view request,
                         const std::function<void(std::string_view answer)>& visit) {
  nlmsghdr header = {};
  header.nlmsg_len = static_cast<__u32>(sizeof header + request.size());
  header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  std::string message(BytesOf(header));
  message += request;
  if (RetryOnEintr([&] { return send(netlink, message.data(), message.size(), 0); }) < 0) {
    return ErrnoStatus(errno, "ask sock_diag for sockets");
  }
  std::array<char, 32768> buffer{};
  while (true) {
    const ssize_t got =
        RetryOnEintr([&] { return recv(netlink, buffer.data(), buffer.size(), 0); });
    if (got < 0) return ErrnoStatus(errno, "read from sock_diag");
    const absl::StatusOr<bool> ended =
        VisitAnswers({buffer.data(), static_cast<std::size_t>(got)}, visit);
    if (!ended.ok()) return ended.status();
    if (*ended) return absl::OkStatus();
  }
}

absl::StatusOr<FileIdentity> SocketFile(int any, std::uint64_t inode) {
  struct stat status = {};
  if (fstat(any, &status) != 0) return ErrnoStatus(errno, "fstat a socket");
  return FileIdentity{.device = status.st_dev, .inode = inode};
}

}  // namespace soleguard::os
