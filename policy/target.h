// Whom a holder's end is asked of. Private to policy/.
#pragma once

#include <functional>

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

// OK: a start may wait for the end of `holder`, who has `name` in `scope`. FailedPrecondition: the
// name cannot become free while it waits. So it is below a guardian, which ends all that descends
// from its command before it gives the name back, and for a process that has inherited the claim
// itself. Another ancestor may release at any time, or end. A process that cannot be seen from here
// is no ancestor.
absl::Status CheckMayBeAwaited(const Holder& holder, const Scope& scope, const InstanceName& name);

// Ends what is left once the owner of `record`'s claim was killed, and its guardian does not get
// on. Calls `kill` for all that descends from the guardian, as far as the claim covers it, until
// nothing new does: what is forked meanwhile, and whoever has lost its parent, comes to it. Then
// for the guardian, which keeps the name. For nobody without a guardian that lives and is the
// scope's.
void EndCrew(const HolderRecord& record, const Coverage& coverage,
             const std::function<void(const ProcessIdentity&)>& kill);

// Sends it to that very process. Its errors say what can be done.
absl::Status Signalled(const ProcessIdentity& process, Signal signal);

}  // namespace soleguard
