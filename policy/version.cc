#include "soleguard/version.h"

namespace soleguard {

std::string_view Version() { return SOLEGUARD_VERSION; }

}  // namespace soleguard
