// Looks at a name, and says what a start would get, without taking anything.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "soleguard/arbiter.h"
#include "soleguard/holder.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/options.h"
#include "soleguard/policy.h"

namespace soleguard {

// What each layer of a policy shows now, in canonical order. With options.hand_on the lock on the
// name's directory is among them, whatever the policy.
struct Inspection {
  struct LayerSighting {
    std::string layer;
    Sighting sighting;
  };
  std::vector<LayerSighting> layers;

  // The holder: the first sighting of an established one, else of any.
  const Holder* holder() const;
  // Whether some layer was unable to say.
  bool blind() const;
};
// Only looks, and disturbs nobody: it takes no lock, not even for a moment, and creates nothing. It
// waits for no holder, so that one may be just deciding or dying; for a server that a layer has to
// ask it waits at most options.deadline, and two seconds. InvalidArgument for an invalid name.
// Thread-safe.
absl::StatusOr<Inspection> Inspect(std::string_view name, const Policy& policy,
                                   const Options& options = {});
// The same for one slot of a name; KnownSlots says which there are.
Inspection Inspect(const InstanceName& slot, const Policy& policy, const Options& options = {});

// Whether that many instances of a name can run under the policy. InvalidArgument: `slot_count`
// is out of range, or a layer's parameters name one object, such as port(47777), which cannot exist
// once for each slot.
absl::Status CheckSlots(const Policy& policy, std::uint32_t slot_count);

// What Acquire would find.
struct Forecast {
  Arbiter::Decision decision = Arbiter::Decision::kUndetermined;
  std::optional<Holder> holder = {};  // kDuplicate: of the name
  absl::Status status = {};           // kUndetermined: why
  Inspection inspection = {};         // every layer, even those that Acquire would not have asked
  std::uint32_t slot = 0;             // kUnique: which it would get; `inspection` is of it
  std::vector<Holder> others = {};    // kDuplicate: of the other slots
};
// Whether Acquire would make the subject (options.subject) the only instance now. Like Inspect, it
// disturbs nobody and takes nothing, so another start may come first. It waits, as Acquire does,
// for a holder that is dying, deciding or releasing, or that cannot be identified, so that its
// answer is that of a start. Thread-safe.
absl::StatusOr<Forecast> Check(std::string_view name, const Policy& policy,
                               const Options& options = {});

}  // namespace soleguard
