// The names of a scope, and what they have left there.
#pragma once

#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "soleguard/name.h"
#include "soleguard/record.h"
#include "soleguard/scope.h"

namespace soleguard {

// The names that have objects in `scope`, running or not, sorted, each followed by its other slots.
// Takes no lock. NotFound when the scope has no directory yet.
absl::StatusOr<std::vector<InstanceName>> KnownNames(const Scope& scope);
// The names of which a layer has objects outside the scope's directory, where KnownNames may not
// find them.
std::vector<InstanceName> NamesOutside(const Scope& scope);
// A file in a name's directory that is called as a record is, and what it says. The status is that
// of DecodeRecord, or says why the file cannot be read.
struct RecordFile {
  std::string file;
  absl::StatusOr<HolderRecord> record;
};
// NotFound when the name has no directory. Takes no lock.
absl::StatusOr<std::vector<RecordFile>> RecordFiles(const Scope& scope, const InstanceName& name);
// Slot 0 of one name, whether it has objects or not, and those of its other slots that have some.
// Takes no lock.
absl::StatusOr<std::vector<InstanceName>> KnownSlots(const Scope& scope, const InstanceName& name);

// Whether the directory of `name` could be removed, if it has nothing in it but `files`, which its
// layers may have there, and what its queue and its inbox leave. OK also where there is no
// directory. FailedPrecondition names the first entry that is in the way, and why. Only looks, and
// takes no lock, but connects to a holder's inbox. Thread-safe.
absl::Status CheckRemovable(const Scope& scope, const InstanceName& name,
                            const std::vector<std::string>& files);

}  // namespace soleguard
