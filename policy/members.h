// The layers of a policy for one name, what they are told, and what an arbiter is given of them.
// Private to policy/.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "soleguard/arbiter.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/options.h"
#include "soleguard/policy.h"
#include "soleguard/process.h"
#include "soleguard/profile.h"
#include "soleguard/record.h"
#include "soleguard/scope.h"

namespace soleguard {

// What the layer's parameters name; nullopt: it needs none, or there is none of that name.
std::optional<Profile> ProfileOf(const LayerSpec& spec, const Profiles& profiles);

// Those of policy.layers(), in that order.
std::vector<std::unique_ptr<Layer>> MakeLayers(const Policy& policy, const Options& options,
                                               const InstanceName& name);

// The layer that lets a claim live on in a child, if the policy does not have it already; nullptr
// unless options.hand_on says that it will be handed on.
std::unique_ptr<Layer> MakeCarrier(const Policy& policy, const Options& options,
                                   const InstanceName& name);

// The layers to ask, in canonical order.
struct Layers {
  Layers(const Policy& policy, const Options& options, const InstanceName& name)
      : of_policy(MakeLayers(policy, options, name)), carrier(MakeCarrier(policy, options, name)) {}

  // `view`: what the arbiter is given of each.
  template <typename View>
  std::vector<Arbiter::Member> Members(View view) const {
    std::vector<Arbiter::Member> members;
    if (carrier != nullptr) members.push_back({.layer = view(*carrier), .index = std::nullopt});
    for (std::size_t i = 0; i < of_policy.size(); ++i) {
      members.push_back({.layer = view(*of_policy[i]), .index = i});
    }
    return members;
  }

  const std::vector<std::unique_ptr<Layer>> of_policy;
  const std::unique_ptr<Layer> carrier;  // or none
};

std::vector<std::unique_ptr<Layers>> LayersOfSlots(const Policy& policy, const Options& options,
                                                   const InstanceName& name);

// What a start is given of the slots behind the first.
template <typename View>
std::vector<std::vector<Arbiter::Member>> OtherMembers(
    const std::vector<std::unique_ptr<Layers>>& slots, View view) {
  std::vector<std::vector<Arbiter::Member>> others;
  for (const auto& layers : slots) {
    if (layers != slots.front()) others.push_back(layers->Members(view));
  }
  return others;
}

// A foreign locker (flock(1)) shows to nobody who takes no lock, but for what it has open: who that
// is in a layer that a look says is free. May walk the process table.
std::optional<Holder> ForeignLocker(const Layer& layer);

// Adds what is only told: the last beat of an established one.
void AddBeat(const Scope& scope, const InstanceName& name, Holder& holder);

// What a process that is about to ask for the name says of itself to each layer.
HolderRecord Candidate(const InstanceName& name, const Policy& policy, const Scope& scope,
                       const ProcessDescription& own);

}  // namespace soleguard
