// What stands for a name where no name has room. Private to layers/.
#pragma once

#include <cstdint>

#include "soleguard/name.h"
#include "soleguard/scope.h"

namespace soleguard {

// The key of a name in layers without a directory, in one place for all: of the scope's identity,
// never of what this process sees, and the whole name, slot included. Two names may have one hash:
// who shares an object by it tells them apart by the record. Not to be used where
// CheckIdentified fails.
std::uint64_t KeyOf(const Scope& scope, const InstanceName& name);

}  // namespace soleguard
