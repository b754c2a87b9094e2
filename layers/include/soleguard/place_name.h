// A name for what shall run once in each place: one instance for a project's directory.
#pragma once

#include <string>

#include <absl/status/statusor.h>

#include "soleguard/name.h"

namespace soleguard {

// The name of a directory: its last component and a hash of its canonical path, such as
// "shop-3f0e5a7c9d1b2468". Every way to write the path gives the same name: relative, with links,
// with "..". So does each start after it was removed and made again; one that was moved has another
// name, and so has a second place where it is mounted. InvalidArgument: it is no directory, or not
// there. DeadlineExceeded: its server does not answer in the time of Patience, for which alone it
// waits. Thread-safe.
absl::StatusOr<InstanceName> NameOfPlace(const std::string& directory);

}  // namespace soleguard
