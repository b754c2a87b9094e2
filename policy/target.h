// Whom a holder's end is asked of. Private to policy/.
#pragma once

#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "soleguard/coverage.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/process.h"

namespace soleguard {

// The process whose end frees the name that `holder` has: the owner of its claim or, if that is
// gone, the command that the claim was handed on to. NotFound: both are gone. FailedPrecondition:
// nobody may be signalled, and why, and what can be done.
absl::StatusOr<ProcessIdentity> TargetOf(const Holder& holder, const InstanceName& name,
                                         const Coverage& coverage);

// Sends it to that very process. Its errors say what can be done.
absl::Status Signalled(const ProcessIdentity& process, Signal signal);

}  // namespace soleguard
