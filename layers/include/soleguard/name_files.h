// What a name has in its directory.
#pragma once

#include <string>
#include <vector>

#include <absl/status/status.h>

#include "soleguard/name.h"
#include "soleguard/scope.h"

namespace soleguard {

// Whether the directory of `name` could go with `files`, which its layers may have in it, and with
// what its queue and its inbox leave. OK also where there is none. FailedPrecondition names the
// first entry that is in the way, and why. Looks, and takes no lock; a holder's inbox is connected
// to. Thread-safe.
absl::Status CheckRemovable(const Scope& scope, const InstanceName& name,
                            const std::vector<std::string>& files);

}  // namespace soleguard
