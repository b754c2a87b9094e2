// Whom a holder's end is asked of. Private to policy/.
#pragma once

#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "soleguard/coverage.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/process.h"
#include "soleguard/record.h"

namespace soleguard {

// The process whose end frees the name that `holder` has: the owner of its claim or, if that is
// gone, the command that the claim was handed on to, or else the guardian. NotFound: all are gone.
// FailedPrecondition: nobody may be signalled, and why, and what can be done.
absl::StatusOr<ProcessIdentity> TargetOf(const Holder& holder, const InstanceName& name,
                                         const Coverage& coverage);

// What is left to be killed once the owner of `record`'s claim was: all that descends from the
// guardian, as far as the claim covers it, and then the guardian, which keeps the name. (While it
// runs it does that better: it sees who comes meanwhile.) Empty without a guardian that lives.
std::vector<ProcessIdentity> CrewOf(const HolderRecord& record, const Coverage& coverage);

// Whether the guardian cannot end the command by itself.
bool HasFrozenGuardian(const HolderRecord& record);

// Sends it to that very process. Its errors say what can be done.
absl::Status Signalled(const ProcessIdentity& process, Signal signal);

}  // namespace soleguard
