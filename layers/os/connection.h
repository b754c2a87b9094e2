// Connections between the processes of one host, through a socket in a directory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "os/kept_fd.h"
#include "os/ownership.h"
#include "os/path.h"
#include "soleguard/fd.h"
#include "soleguard/process_identity.h"

namespace soleguard::os {

// A Unix stream socket that listens at the path of `entry`, in place of whatever stands there: one
// that a dead process left. The address is taken below the open parent, so that the length of the
// path does not matter (sun_path has 108 bytes). Gives the file's identity.
absl::StatusOr<FileIdentity> KeepInbox(const Entry& entry, const Ownership& ownership,
                                       KeptFd& kept);
// Keeps the next connection, which does not block. NotFound: nobody has connected.
absl::Status KeepConnection(const KeptFd& listener, KeptFd& kept);
// Connects; what it returns does not block. NotFound: nobody listens there. DeadlineExceeded: so
// many wait already that there was no place.
absl::StatusOr<UniqueFd> ConnectTo(const Entry& entry, absl::Duration timeout);
// The process behind the other end: who has connected, or, for who has connected, who listens.
struct PeerProcess {
  ProcessIdentity identity;
  std::uint32_t uid = 0;
  std::vector<std::uint32_t> groups;
};
// NotFound: it is gone, or is in another pid namespace.
absl::StatusOr<PeerProcess> PeerOf(int socket);
// How many bytes went out; 0: none for now. Aborted: the other end is closed.
absl::StatusOr<std::size_t> SendSome(int socket, std::string_view bytes);
// What has come in, at most `limit`; empty: nothing yet. Aborted: the other end is closed.
absl::StatusOr<std::string> ReceiveSome(int socket, std::size_t limit);
// Whether the other end is still open.
bool IsConnected(int socket);

}  // namespace soleguard::os
