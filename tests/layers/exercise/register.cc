// Registers the layer of socket.cc, as a program that brings one of its own does.
#include <cstdlib>

#include "soleguard/registry.h"

namespace soleguard {

LayerKind SocketLayer();

namespace {

[[maybe_unused]] const bool registered = [] {
  if (!RegisterLayerKind(SocketLayer()).ok()) std::abort();
  return true;
}();

}  // namespace
}  // namespace soleguard
