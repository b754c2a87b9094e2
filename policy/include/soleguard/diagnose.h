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
  // severity and consequence are what it is worth under the policy.
  std::vector<Finding> findings;

  // No finding is a problem: a start can meet the policy here, and what it meets is safe.
  bool healthy() const;
};

struct Patient {
  // An instance name. Empty: none in particular; what depends on a name is looked at for one that
  // nobody uses.
  std::string_view name = {};
  // Who called sudo(8), if that is known.
  std::optional<std::uint32_t> invoking_user = std::nullopt;
};

// Looks, and disturbs nobody: takes no lock, creates nothing, signals nobody. Uses
// options.scope and options.hand_on. May walk the process table more than once. InvalidArgument for
// an invalid name. Thread-safe.
absl::StatusOr<Diagnosis> Diagnose(const Patient& patient, const Policy& policy,
                                   const Options& options = {});

}  // namespace soleguard
