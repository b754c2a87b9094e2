// Registration: a process says that it asks for names.
#pragma once

#include <absl/status/status.h>

#include "soleguard/scope.h"

namespace soleguard {

// Says that this process has asked for a name in `scope`, or is about to: the scan layer of other
// processes then does not take it for an instance that bypassed the guard. The registration lasts
// while the process lives, and ends with any exit, with SIGKILL and with exec. Forked children do
// not inherit it. A second call does nothing. Does not block; thread-safe. ResourceExhausted: too
// many candidates at once. Unavailable: the scope's directory is on a network filesystem.
absl::Status Register(const Scope& scope);

}  // namespace soleguard
