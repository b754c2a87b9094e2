// The layers that there are.
#pragma once

#include <span>
#include <string_view>

#include "soleguard/layer.h"

namespace soleguard {

// All kinds, in the canonical order in which every process tries them: the order is part of the
// protocol between processes. They stay where they are, in one array.
std::span<const LayerKind> LayerKinds();

// The kind called `name`, or nullptr.
const LayerKind* FindLayerKind(std::string_view name);

// The kind that carries what `guardcheck run` holds: the first that can.
const LayerKind& CarrierKind();

}  // namespace soleguard
