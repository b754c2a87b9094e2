// The layers of a policy for one name. Private to policy/.
#pragma once

#include <memory>
#include <vector>

#include "soleguard/guard.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/policy.h"

namespace soleguard {

// Those of policy.layers(), in that order.
std::vector<std::unique_ptr<Layer>> MakeLayers(const Policy& policy, const Options& options,
                                               const InstanceName& name);

}  // namespace soleguard
