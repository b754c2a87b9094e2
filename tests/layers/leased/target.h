// What a lease is asked of, and by which key: from a policy's text and a profile.
#pragma once

#include <string>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "layers/leased/exchange.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/scope.h"

namespace soleguard {

struct LeaseTarget {
  LeaseServer server;
  std::string key;
  absl::Duration time;  // for how long it is asked for
};

// `lease(NAME)`: the settings "server" (an address) and "time" (milliseconds, 10 s without it) of
// the profile NAME. `lease`: the same of the environment variables SOLEGUARD_LEASE_SERVER and
// SOLEGUARD_LEASE_TIME, for tests that know no kind by its name. An error says what is not set, and
// never what is.
absl::StatusOr<LeaseTarget> LeaseTargetOf(const LayerContext& context);

absl::Status CheckLeaseParameters(const LayerParameters& parameters);
std::string LeaseTextOf(const LayerParameters& parameters);

// The same on every machine, if it is the same scope there.
std::string LeaseKeyOf(const Scope& scope, const InstanceName& name);

}  // namespace soleguard
