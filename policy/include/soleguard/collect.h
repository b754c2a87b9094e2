// Removing what names that nobody holds have left in the system.
#pragma once

#include <absl/status/status.h>

#include "soleguard/name.h"
#include "soleguard/scope.h"

namespace soleguard {

// Removes the objects of one name, or of one of its slots: its directory, semaphore and segment.
// Nothing needs that: a leftover never refuses a start. It is for names that will not come again.
//
// Holds every exclusive layer meanwhile, as a candidate that then gives up, so that a start at this
// moment waits some milliseconds and is not refused. Does not wait itself. FailedPrecondition:
// somebody holds the name, decides about it or stands in line for it, a slot of it has objects, or
// something in its directory is not soleguard's; then nothing was removed. Another error: a layer
// cannot tell, or something could not be removed; then some objects may be gone, which is no harm.
//
// Objects of layers with parameters (file(path=…)) stay. The next holder's token is still larger if
// the scope's state directory is there (Guard::token_is_durable), and else unless the clock is set
// back. Thread-safe.
absl::Status Collect(const InstanceName& name, const Scope& scope);

}  // namespace soleguard
