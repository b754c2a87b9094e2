// What the sockets of all kinds share on Linux.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "soleguard/process_identity.h"

namespace soleguard::os {

// The states that sock_diag(7) is asked for: listening.
inline constexpr std::uint32_t kListening = 1U << 10;  // TCP_LISTEN, of Unix sockets too

// bind(2) and connect(2) take every family's address by a pointer to the general one.
template <typename Address>
const sockaddr* General(const Address& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

// All groups of the process at the other end, as they were when it listened or connected
// (Linux 4.13); the effective one alone where the kernel does not say.
std::vector<std::uint32_t> GroupsOf(int socket, const ucred& credentials);

// The value that a message of the kernel has at `offset`; nothing where it is too short.
template <typename Value>
std::optional<Value> ValueAt(std::string_view bytes, std::size_t offset) {
  Value value;
  if (bytes.size() < offset + sizeof value) return std::nullopt;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

// Messages of netlink(7), and what is in them, begin at a multiple of four bytes.
constexpr std::size_t Aligned(std::size_t size) { return (size + 3) / 4 * 4; }

// Asks the kernel through `netlink`, a socket of NETLINK_SOCK_DIAG, for all sockets that fit
// `request`, an inet_diag_req_v2 or unix_diag_req, and visits what it says of each. Connects to
// none of them. NotFound: it knows no such family.
absl::Status ListSockets(int netlink, std::string_view request,
                         const std::function<void(std::string_view answer)>& visit);

// The socket with that inode, as the descriptors of those who have it show it. All sockets are
// files of one file system (sockfs); `any` is one of them.
absl::StatusOr<FileIdentity> SocketFile(int any, std::uint64_t inode);

template <typename Request>
std::string_view BytesOf(const Request& request) {
  return {reinterpret_cast<const char*>(&request), sizeof request};
}

}  // namespace soleguard::os
