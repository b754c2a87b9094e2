// Removes what names that nobody holds have left in the system.
#pragma once

#include <absl/status/status.h>

#include "soleguard/name.h"
#include "soleguard/scope.h"

namespace soleguard {

// Removes the objects of one name, or of one of its slots: its directory, semaphore and segment.
// This is never necessary, as a leftover never refuses a start. It is for names that will not be
// used again.
//
// Asks every exclusive layer, and those that the records in the directory name, because the holder
// may have had another form of one (port(47777), file(path=…)). Holds them meanwhile, like a
// candidate that then gives up, so that a start at this moment waits some milliseconds and is not
// refused. It does not wait itself. FailedPrecondition: somebody holds the name, decides about it
// or stands in line for it, a slot of it has objects, or something there cannot be judged: a file
// that is not soleguard's or belongs to a layer that no record names, a record of a newer
// soleguard, or one with a policy that is not known here. Then nothing was removed. Another error:
// a layer cannot tell, or something could not be removed; then some objects may be gone, which is
// no harm.
//
// What file(path=…) has beside its path stays. So does the ceiling of fencing tokens, so that the
// next holders' tokens are as durable as they would be otherwise. Thread-safe.
absl::Status Collect(const InstanceName& name, const Scope& scope);

}  // namespace soleguard
