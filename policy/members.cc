#include "members.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>

#include "soleguard/process.h"
#include "soleguard/registry.h"
#include "soleguard/version.h"

namespace soleguard {

HolderRecord Candidate(const InstanceName& name, const Policy& policy, const Scope& scope,
                       const ProcessDescription& own) {
  HolderRecord record;
  record.state = RecordState::kCandidate;
  record.name = name.text();
  record.scope = scope.ToString();
  record.identity = own.identity;
  record.hostname = HostName();
  record.user = own.user;
  record.executable = own.executable;
  record.working_directory = own.working_directory;
  record.started = absl::Now();
  record.policy = policy.ToString();
  record.version = Version();
  return record;
}

std::optional<Profile> ProfileOf(const LayerSpec& spec, const Profiles& profiles) {
  const auto name = spec.parameters.find("");
  if (!spec.kind->has_profile || name == spec.parameters.end()) return std::nullopt;
  const auto found = profiles.find(name->second);
  return found != profiles.end() ? std::optional(found->second) : std::nullopt;
}

std::vector<std::unique_ptr<Layer>> MakeLayers(const Policy& policy, const Options& options,
                                               const InstanceName& name) {
  std::vector<std::unique_ptr<Layer>> layers;
  for (const LayerSpec& spec : policy.layers()) {
    // Parse has refused unknown kinds and bad parameters.
    layers.push_back(spec.kind->make({.scope = options.scope,
                                      .name = name,
                                      .parameters = spec.parameters,
                                      .subject = options.subject,
                                      .settle = options.settle,
                                      .kinds = LayerKinds(),
                                      .profile = ProfileOf(spec, options.profiles)}));
  }
  return layers;
}

std::optional<Holder> ForeignLocker(const Layer& layer) {
  std::vector<ProcessIdentity> suspects = layer.Suspects();
  std::erase_if(suspects, [](const ProcessIdentity& process) {
    return LivenessOf(process) == Liveness::kGone;
  });
  if (suspects.empty()) return std::nullopt;
  std::string evidence =
      absl::StrCat("pid ", suspects.front().pid, " has it, and no record says so");
  return Holder{.standing = Standing::kUnknown,
                .record = std::nullopt,
                .processes = std::move(suspects),
                .evidence = std::move(evidence)};
}

void AddBeat(const Scope& scope, const InstanceName& name, Holder& holder) {
  if (holder.standing != Standing::kEstablished || !holder.record.has_value()) return;
  absl::StatusOr<Beat> beat = LastBeat(scope, name.Slot(holder.record->slot), *holder.record);
  if (beat.ok()) holder.beat = *std::move(beat);
}

std::unique_ptr<Layer> MakeCarrier(const Policy& policy, const Options& options,
                                   const InstanceName& name) {
  if (!options.hand_on) return nullptr;
  const LayerKind& kind = CarrierKind();
  const LayerSpec plain{.kind = &kind, .parameters = {}};
  for (const LayerSpec& spec : policy.layers()) {
    if (spec == plain) return nullptr;
  }
  return kind.make({.scope = options.scope, .name = name, .parameters = {}, .subject = {}});
}

std::vector<std::unique_ptr<Layers>> LayersOfSlots(const Policy& policy, const Options& options,
                                                   const InstanceName& name) {
  std::vector<std::unique_ptr<Layers>> slots;
  for (std::uint32_t slot = 0; slot < options.slot_count; ++slot) {
    slots.push_back(std::make_unique<Layers>(policy, options, name.Slot(slot)));
  }
  return slots;
}

}  // namespace soleguard
