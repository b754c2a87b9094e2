// The makers of all layer kinds, one for each line of the list in CMakeLists.txt. Private to
// layers/.
#pragma once

#include "soleguard/layer.h"

namespace soleguard {

#define SOLEGUARD_LAYER(Kind) LayerKind Kind##Layer();
#include "layer_kinds.inc"
#undef SOLEGUARD_LAYER

}  // namespace soleguard
