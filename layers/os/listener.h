// A TCP port of this host as a thing that one process can have.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "os/kept_fd.h"
#include "soleguard/process.h"

namespace soleguard::os {

// An IPv4 address and port of this network namespace.
struct Endpoint {
  std::uint32_t address = 0;  // host byte order
  std::uint16_t port = 0;

  std::string ToString() const;
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

// A TCP socket with SO_REUSEADDR, so that connections of an earlier holder that still time out
// don't refuse this one. Never SO_REUSEPORT, which would let two listen.
absl::Status KeepTcpSocket(KeptFd& kept);
// Binds and listens. False when another socket is in the way: listen decides, as two binds with
// SO_REUSEADDR coexist until one of them listens (tcp(7)).
absl::StatusOr<bool> TryListen(const KeptFd& socket, const Endpoint& endpoint);
// Whether TryListen could bind there. Its socket is bound for a moment, and does not listen: it is
// in the way of nobody who sets SO_REUSEADDR, as all soleguard's sockets do. NotFound: another
// socket is in the way.
absl::Status CheckMayBind(const Endpoint& endpoint);
// Ends the listening, duplicates of the descriptor included. A Unix socket keeps its name, but
// refuses connections.
void StopListening(const KeptFd& socket);
// Whether it listens at `endpoint`.
bool ListensAt(const KeptFd& socket, const Endpoint& endpoint);

// A listening socket that is in the way of `endpoint`: at it, or at the wildcard address of IPv4 or
// IPv6.
struct Listener {
  bool exact = false;  // at the endpoint itself
  std::uint32_t uid = 0;
  FileIdentity socket;  // as its owner's descriptors show it
};
// Asks the kernel (sock_diag(7)); connects to nobody. Ports only show within the network namespace.
absl::StatusOr<std::vector<Listener>> ListenersInTheWay(const Endpoint& endpoint);

}  // namespace soleguard::os
