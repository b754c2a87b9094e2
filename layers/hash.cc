#include "hash.h"

#include <absl/strings/str_cat.h>

#include "soleguard/scope_view.h"

#define XXH_INLINE_ALL  // needs no library to link
#include <xxhash.h>

namespace soleguard {

std::uint64_t HashOf(std::string_view bytes) { return XXH64(bytes.data(), bytes.size(), 0); }

std::uint64_t HashOf(const Scope& scope, const InstanceName& name) {
  // Neither part can contain a newline, so no two pairs give the same text.
  return HashOf(absl::StrCat(IdentityOf(scope), "\n", name.key()));
}

}  // namespace soleguard
