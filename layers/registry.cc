#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "kinds.h"
#include "soleguard/layer.h"

namespace soleguard {

std::span<const LayerKind> LayerKinds() {
  static const std::array kinds = {
#define SOLEGUARD_LAYER(Kind) Kind##Layer(),
#include "layer_kinds.inc"
#undef SOLEGUARD_LAYER
  };
  return kinds;
}

const LayerKind* FindLayerKind(std::string_view name) {
  for (const LayerKind& kind : LayerKinds()) {
    if (kind.name == name) return &kind;
  }
  return nullptr;
}

std::vector<InstanceName> NamesOutside(const Scope& scope) {
  std::vector<InstanceName> all;
  for (const LayerKind& kind : LayerKinds()) {
    if (kind.names == nullptr) continue;
    for (InstanceName& name : kind.names(scope)) {
      if (std::find(all.begin(), all.end(), name) == all.end()) all.push_back(std::move(name));
    }
  }
  return all;
}

}  // namespace soleguard
