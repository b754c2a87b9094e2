// Where what must outlive a reboot is kept of a scope and its names: the ceilings of fencing
// tokens, and histories. Private to layers/.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "os/ownership.h"
#include "soleguard/scope.h"

namespace soleguard {

// The state directory that everybody who may have a name of the scope shares. FailedPrecondition:
// there is none. DeadlineExceeded: it or the scope's directory is on a filesystem whose server does
// not answer in the time of Patience.
absl::StatusOr<std::string> SharedStateDirectory(const Scope& scope);

// The scope as what is in a state directory calls it. A user's own may be named as a directory too.
std::string StateNameOf(const Scope& scope);
// The same as a file name of bounded length, without a ".". Two scope directories may have one: a
// file that must not be another scope's says whose it is.
std::string StateKeyOf(const std::string& state_name);

// What is made in a state directory is as open to its group as that is.
os::Ownership OwnershipIn(const std::string& state);

}  // namespace soleguard
