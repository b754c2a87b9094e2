// What can be seen of a machine, a scope and its layers before anything goes wrong: for a person
// who asks why a start is refused, or whether the next one can be relied on.
#pragma once

#include <cstdint>
#include <vector>

#include <absl/status/status.h>

#include "soleguard/finding.h"
#include "soleguard/name.h"
#include "soleguard/process_identity.h"
#include "soleguard/scope.h"

namespace soleguard {

// What a scope's directory, its filesystem, the machine and the calling process show, whatever the
// layers show. Takes no lock, creates nothing and writes nothing. May read a few hundred small
// files. Thread-safe.
std::vector<Finding> DiagnoseScope(const Scope& scope);

// Whether the ceilings of fencing tokens can be written where the scope has them; if not, an error
// says why, and what to do. Writes nothing. Waits only for a filesystem's server, in the time of
// Patience. Thread-safe.
absl::Status CheckStateDirectory(const Scope& scope);

// Whether the caller and `holder`, another process that has the name, live in the same namespaces;
// if not, one may not see what the other has. `holder` may be of another pid namespace.
std::vector<Finding> DiagnoseHolder(const ProcessIdentity& holder);

// Whether `name` runs in the user scope of `user` too, which is another scope than the caller's.
// For a caller under sudo(8): the same program, started without it, is not excluded.
std::vector<Finding> DiagnoseInvokingUser(std::uint32_t user, const InstanceName& name);

}  // namespace soleguard
