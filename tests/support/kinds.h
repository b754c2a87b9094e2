// The kinds of layers that there are, and policies of them, for what is asked of all alike.
#pragma once

#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include "soleguard/layer.h"
#include "soleguard/registry.h"

namespace soleguard::testing {

// As of the first call, which suites with parameters make before the first test: one test registers
// kinds of its own.
inline const std::vector<LayerKind>& Kinds() {
  static const std::vector<LayerKind> kinds(LayerKinds().begin(), LayerKinds().end());
  return kinds;
}

inline std::vector<std::string> EveryKind() {
  std::vector<std::string> names;
  for (const LayerKind& kind : Kinds()) names.emplace_back(kind.name);
  return names;
}

// Those of which a claim keeps others out. Each is a policy too.
inline std::vector<std::string> ExclusiveKinds() {
  std::vector<std::string> names;
  for (const LayerKind& kind : Kinds()) {
    if (!kind.observer) names.emplace_back(kind.name);
  }
  return names;
}

// The policy that needs them all, the one that needs any, and the one that can do without all but
// two.
inline std::string AllExclusive() {
  return absl::StrCat("all(", absl::StrJoin(ExclusiveKinds(), ", "), ")");
}
inline std::string AnyExclusive() {
  return absl::StrCat("any(", absl::StrJoin(ExclusiveKinds(), ", "), ")");
}
inline std::string TwoExclusive() {
  return absl::StrCat("at_least(2, ", absl::StrJoin(ExclusiveKinds(), ", "), ")");
}

// Each exclusive kind alone, and these policies.
inline std::vector<std::string> EachAnd(const std::vector<std::string>& policies) {
  std::vector<std::string> all = ExclusiveKinds();
  all.insert(all.end(), policies.begin(), policies.end());
  return all;
}

}  // namespace soleguard::testing
