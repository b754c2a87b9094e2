// What the state of this machine means for a policy.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "soleguard/diagnosis.h"
#include "soleguard/finding.h"
#include "soleguard/guard.h"
#include "soleguard/options.h"
#include "soleguard/policy.h"

namespace soleguard {

struct Diagnosis {
  // In the order machine, scope, layers of the policy, holder, policy. Where an event was found,
  // severity and consequence say what it means under the policy.
  std::vector<Finding> findings;

  // Whether no finding is a problem: a start can meet the policy here, and the policy is safe.
  bool healthy() const;
};

struct Patient {
  // An instance name. If it is empty, what depends on a name is looked at for one that nobody uses.
  std::string_view name = {};
  // The user who called sudo(8), if that is known.
  std::optional<std::uint32_t> invoking_user = std::nullopt;
};

// Only looks, and disturbs nobody: it takes no lock, creates nothing and signals nobody. It uses
// options.scope and options.hand_on. May walk the process table more than once. InvalidArgument for
// an invalid name. Thread-safe.
absl::StatusOr<Diagnosis> Diagnose(const Patient& patient, const Policy& policy,
                                   const Options& options = {});

}  // namespace soleguard
