// Who in a scope has asked for a name, whichever, or is about to: the candidates, whom the scan
// layer does not take for instances that bypassed the guard. Private to layers/; Register is in
// soleguard/layer.h.
//
// SCOPE/candidates has a fixed number of slots. A candidate holds an OFD write lock on the bytes of
// one (fcntl(2), Linux 3.15) for as long as it lives and has written there who it is. The kernel
// drops the lock when the process ends, SIGKILL included, and the slot is then another's to take.
// Only the scope's users can open the file, so nobody else can fake one. A forked child closes its
// copy of the descriptor: it is not its parent's registration.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "os/kept_fd.h"
#include "soleguard/fd.h"
#include "soleguard/process_identity.h"
#include "soleguard/scope.h"

namespace soleguard {

// A reader of the registrations of a scope. Takes no lock, not for a moment, and creates nothing.
class Registrations {
 public:
  // OK also when nobody has registered there yet.
  absl::Status Open(const Scope& scope);

  // Whether that process is registered. Reads the few slots that it can be in.
  absl::StatusOr<bool> Has(const ProcessIdentity& process) const;

  // Everybody, in no order.
  absl::StatusOr<std::vector<ProcessIdentity>> All() const;

  // Becomes readable at the next registration. An error where the system has no event to give.
  absl::StatusOr<UniqueFd> Watch() const;

 private:
  os::KeptFd file_;
};

// Whether Register would work here, as far as that can be known without it. Makes nothing.
absl::Status CheckMayRegister(const Scope& scope);

// Lets the registration survive execve(2) of this process. It must have registered.
absl::Status KeepRegistrationOverExec(const Scope& scope);

}  // namespace soleguard
