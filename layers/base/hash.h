// One hash for checksums and for mechanisms whose names are shorter than ours. Private to layers/.
#pragma once

#include <cstdint>
#include <string_view>

namespace soleguard {

// XXH64 with seed 0: the same in every process, build and version, which is part of the protocol.
// For accidents, not against an attacker: who can write the bytes can write the hash.
std::uint64_t HashOf(std::string_view bytes);

}  // namespace soleguard
