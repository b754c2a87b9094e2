// A conflict report, with or without a claim of the caller's own. Private to policy/.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include <absl/status/status.h>

#include "soleguard/conflict.h"
#include "soleguard/guard.h"
#include "soleguard/name.h"
#include "soleguard/options.h"
#include "soleguard/policy.h"
#include "soleguard/record.h"

namespace soleguard {

struct OwnClaim {
  HolderRecord record;
  std::map<std::string, absl::Status> layers;  // what Verify says of each
};

// `name`: the slot. `own`: nullptr, or the claim of the calling process.
ConflictReport ConflictOf(const InstanceName& name, std::string_view complaint,
                          const Policy& policy, const Options& options, const OwnClaim* own);

}  // namespace soleguard
