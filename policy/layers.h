// The layers of a policy for one name, and what they are told. Private to policy/.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "soleguard/guard.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/policy.h"
#include "soleguard/process.h"
#include "soleguard/record.h"
#include "soleguard/scope.h"

namespace soleguard {

// Those of policy.layers(), in that order.
std::vector<std::unique_ptr<Layer>> MakeLayers(const Policy& policy, const Options& options,
                                               const InstanceName& name);

// A foreign locker (flock(1)) shows to nobody who takes no lock, but for what it has open: who that
// is in a layer that a look says is free. May walk the process table.
std::optional<Holder> ForeignLocker(const Layer& layer);

// What a process that is about to ask for the name says of itself to each layer.
HolderRecord Candidate(const InstanceName& name, const Policy& policy, const Scope& scope,
                       const ProcessDescription& own);

}  // namespace soleguard
