// What became of a claim while it was held.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <absl/status/status.h>

#include "soleguard/layer.h"

namespace soleguard {

// Something of a Guard was lost or damaged. A plain value.
struct Incident {
  enum class Outcome {
    // Nothing is missing any more: what was damaged was restored, and what was lost was claimed
    // again.
    kRepaired,
    // Something is missing (`left` says why), but claims that stand keep others out. It is tried
    // again.
    kDegraded,
    // Another instance has the layer (`holder`), or nothing that stands keeps others out. If that
    // changes, another incident says so; what happened meanwhile stays.
    kCompromised,
  };

  std::string layer;  // canonical text
  absl::Status lost;  // what was found missing; repeated when an old loss has another outcome
  Outcome outcome = Outcome::kRepaired;
  // Whether claims that stood kept every other start under this policy out all that time. If not,
  // the name was open for at least a moment, and another instance may have run, or runs. A process
  // with another policy may run in any case: it is met when the layer is claimed again.
  bool exclusion_stood = true;
  absl::Status left;             // why it is not repaired
  std::optional<Holder> holder;  // of another instance, which has the layer now
};
std::string_view ToString(Incident::Outcome outcome);  // "repaired", "degraded", "compromised"

}  // namespace soleguard
