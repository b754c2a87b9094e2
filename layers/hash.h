// One hash for checksums and for mechanisms whose names are shorter than ours. Private to layers/.
#pragma once

#include <cstdint>
#include <string_view>

#include "soleguard/name.h"
#include "soleguard/scope.h"

namespace soleguard {

// XXH64 with seed 0: the same in every process, build and version, which is part of the protocol.
// For accidents, not against an attacker: who can write the bytes can write the hash.
std::uint64_t HashOf(std::string_view bytes);

// The key of a name in layers without a directory, in one place for all: of the scope's identity,
// never of what this process sees, and the whole name, slot included. Two names may have one hash:
// who shares an object by it tells them apart by the record. Not to be used where
// CheckIdentified fails.
std::uint64_t HashOf(const Scope& scope, const InstanceName& name);

}  // namespace soleguard
