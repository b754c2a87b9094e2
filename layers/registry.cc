#include <array>

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

}  // namespace soleguard
