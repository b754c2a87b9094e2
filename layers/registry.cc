#include "soleguard/registry.h"

#include <algorithm>
#include <array>

#include "kinds.h"

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

const LayerKind& CarrierKind() {
  const std::span<const LayerKind> kinds = LayerKinds();
  return *std::find_if(kinds.begin(), kinds.end(),
                       [](const LayerKind& kind) { return kind.carries; });
}

}  // namespace soleguard
