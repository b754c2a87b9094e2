// A socket that nobody accepts on: it shows whose it is to those who connect.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "os/kept_fd.h"
#include "soleguard/process_identity.h"

namespace soleguard::os {

// A Unix socket of the abstract name space that nobody accepts on: whoever connects learns from the
// kernel (SO_PEERCRED) who listens, even when that process is stopped. False when the name is
// taken.
absl::StatusOr<bool> KeepCompanion(const std::string& name, KeptFd& kept);
struct Peer {
  std::int64_t pid = 0;  // in the caller's pid namespace; 0: of another one
  std::uint32_t uid = 0;
  std::vector<std::uint32_t> groups;
};
// NotFound: nobody listens. ResourceExhausted: its backlog is full, so that this does not tell who
// it is: those who have asked take its places for as long as it lives.
absl::StatusOr<Peer> CompanionPeer(const std::string& name);
// The user whose process listens there, by sock_diag(7), which connects to nobody (Linux 5.3).
// NotFound: nobody, or the kernel does not say.
absl::StatusOr<std::uint32_t> CompanionOwner(const std::string& name);

// That socket, as the descriptors of those who have it show it. NotFound as above.
absl::StatusOr<FileIdentity> CompanionSocket(const std::string& name);

}  // namespace soleguard::os
