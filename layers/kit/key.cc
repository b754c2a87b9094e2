#include "kit/key.h"

#include <absl/strings/str_cat.h>

#include "base/hash.h"
#include "soleguard/process.h"
#include "soleguard/scope_view.h"

namespace soleguard {

std::uint64_t KeyOf(const Scope& scope, const InstanceName& name) {
  // Neither part can contain a newline, so no two pairs give the same text.
  return HashOf(absl::StrCat(IdentityOf(scope), "\n", name.key()));
}

}  // namespace soleguard
