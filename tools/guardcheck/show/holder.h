// Who has a name, and what each layer says of it, as text for a person.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "command.h"
#include "shown.h"
#include <soleguard/guard.h>
#include <soleguard/inspect.h>
#include <soleguard/options.h>

namespace guardcheck {

// The process that runs as the instance; nullopt: nobody can name it.
std::optional<soleguard::ProcessIdentity> RunningProcessOf(const soleguard::Holder& holder);

// "no beat for 40s (expected every 10s)", or nothing.
Shown OverdueText(const soleguard::Holder& holder);
// Several lines: its process as it is now, or what its record says of it.
Shown HolderText(const soleguard::Holder& holder);
// Of all slots: `first`, and `others` where there are several.
Shown HoldersText(const soleguard::Holder& first, const std::vector<soleguard::Holder>& others);

// A line for each layer: what it said to a start, and what it shows to one that only looks. Layers
// that give one reason share a line.
Shown EvidenceText(const std::vector<soleguard::LayerReport>& layers);
Shown SightingsText(const soleguard::Inspection& inspection);

// " in all 3 slots", where there are several.
Shown InSlots(const std::vector<soleguard::Holder>& others);

// Two policies are two ways to be the only one: who passes one need not be seen by the other. Empty
// where the holder was started under this one.
Shown PolicyText(const Common& common, const soleguard::Holder& holder);
// Whether it was; nullopt: no record of the holder says so.
std::optional<bool> HasSamePolicy(const Common& common, const soleguard::Holder& holder);

// How many instances a call lets run, and how many it could.
struct SlotLimits {
  std::uint32_t slots = 1;
  std::uint32_t most = soleguard::kMaxSlots;
};

// Commands that a person can type who was refused by `holder`.
Shown NextSteps(const Call& call, const SlotLimits& limits, const soleguard::Holder& holder);

}  // namespace guardcheck
