// Registers the layer of leased.cc, as a program that brings one of its own does.
#include <cstdlib>

#include "soleguard/registry.h"

namespace soleguard {

LayerKind LeaseLayer();

namespace {

[[maybe_unused]] const bool registered = [] {
  if (!RegisterLayerKind(LeaseLayer()).ok()) std::abort();
  return true;
}();

}  // namespace
}  // namespace soleguard
