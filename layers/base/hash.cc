#include "base/hash.h"

#define XXH_INLINE_ALL  // needs no library to link
#include <xxhash.h>

namespace soleguard {

std::uint64_t HashOf(std::string_view bytes) { return XXH64(bytes.data(), bytes.size(), 0); }

}  // namespace soleguard
