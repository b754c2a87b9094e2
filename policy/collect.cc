#include "soleguard/collect.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>

#include "members.h"
#include "soleguard/layer.h"
#include "soleguard/names.h"
#include "soleguard/policy.h"
#include "soleguard/process.h"
#include "soleguard/queue.h"
#include "soleguard/registry.h"

namespace soleguard {
namespace {

absl::Status InUse(const std::string& why) { return absl::FailedPreconditionError(why); }

std::string WhoHas(const Holder& holder) {
  std::string who = "somebody";
  if (holder.record.has_value()) who = absl::StrCat("pid ", holder.record->identity.pid);
  return absl::StrCat("in use by ", who, " (", std::string(ToString(holder.standing)),
                      "): ", holder.evidence);
}

// In the order in which they were claimed, which is canonical. Freed in the other.
struct Claims {
  Claims() = default;
  Claims(const Claims&) = delete;
  Claims& operator=(const Claims&) = delete;
  ~Claims() {
    while (!held.empty()) held.pop_back();
  }
  std::vector<std::unique_ptr<Claim>> held;
};

bool Lives(const std::optional<ProcessIdentity>& process) {
  if (!process.has_value()) return false;
  const Liveness liveness = LivenessOf(*process);
  return liveness == Liveness::kAlive || liveness == Liveness::kDying;
}

// Adds the layers that a record names. An error: it cannot be told from the record whether its
// layers are in use.
absl::Status AddLayersOf(const RecordFile& file, std::vector<std::string>& layers) {
  if (absl::IsNotFound(file.record.status())) return absl::OkStatus();  // never written
  // Damaged, or not to be read. Whether its layer is in use is asked of the layer if it is one that
  // is tried anyway, and else its file is of a layer that no record names.
  if (!file.record.ok()) return absl::OkStatus();
  const HolderRecord& record = *file.record;
  const std::string who = absl::StrCat("pid ", record.identity.pid);
  if (record.state == RecordState::kEstablished &&
      (Lives(record.identity) || Lives(record.instance))) {
    return InUse(absl::StrCat("in use by ", who, " (established): ", file.file, " says so",
                              record.is_newer() ? ", of " + NewerSoleguard(record) : ""));
  }
  if (record.is_newer()) {
    return InUse(absl::StrCat("its last holder, ", who, ", was ", NewerSoleguard(record),
                              ", whose layers are not known here: use its gc"));
  }
  const absl::StatusOr<Policy> policy = Policy::Parse(record.policy);
  if (!policy.ok()) {
    return InUse(absl::StrCat(
        "the policy of its last holder, ", who,
        ", is not known here, so its layers cannot be asked: ", policy.status().message()));
  }
  for (const LayerSpec& spec : policy->layers()) {
    if (!spec.kind->observer) layers.push_back(spec.ToString());
  }
  return absl::OkStatus();
}

// The layers to ask: what every name may have, and what the name's records name.
absl::StatusOr<Policy> LayersToAsk(const InstanceName& name, const Scope& scope) {
  std::vector<std::string> layers;
  for (const LayerKind& kind : LayerKinds()) {
    // A server's objects are not here; a layer of one is only asked where a record names it.
    if (!kind.observer && !kind.remote) layers.emplace_back(kind.name);
  }
  const absl::StatusOr<std::vector<RecordFile>> files = RecordFiles(scope, name);
  if (!files.ok() && !absl::IsNotFound(files.status())) return files.status();
  for (const RecordFile& file : files.ok() ? *files : std::vector<RecordFile>()) {
    absl::Status added = AddLayersOf(file, layers);
    if (!added.ok()) return added;
  }
  // As a policy they come in canonical order, each once.
  const absl::StatusOr<Policy> all =
      Policy::Parse(absl::StrCat("any(", absl::StrJoin(layers, ", "), ")"));
  if (!all.ok()) {
    return InUse(absl::StrCat("its records name too many layers: ", all.status().message()));
  }
  return all;
}

}  // namespace

absl::Status Collect(const InstanceName& name, const Scope& scope) {
  const absl::StatusOr<ProcessDescription> own = DescribeSelf();
  if (!own.ok()) return own.status();
  const std::unique_ptr<Queue> queue = MakeQueue(scope, name.Slot(0));
  const absl::StatusOr<Policy> asked = LayersToAsk(name, scope);
  if (!asked.ok()) return asked.status();
  // By its policy the next gc knows the same layers, if this one cannot remove all.
  HolderRecord candidate = Candidate(name, *asked, scope, *own);
  candidate.slot = name.slot();
  Claims claims;
  std::vector<std::string> files;
  for (const LayerSpec& spec : asked->layers()) {
    const LayerKind& kind = *spec.kind;
    const std::unique_ptr<Layer> layer =
        kind.make({.scope = scope, .name = name, .parameters = spec.parameters});
    // A look first: nothing is taken from somebody who is just being let in.
    const Sighting sighting = layer->Look();
    if (const auto* taken = std::get_if<Taken>(&sighting)) return InUse(WhoHas(taken->holder));
    if (const auto* unavailable = std::get_if<Unavailable>(&sighting)) return unavailable->status;
    // One whose objects are elsewhere (file(path=…)) is only looked at: it would be made by a try.
    const std::vector<std::string> own_files =
        kind.files != nullptr ? kind.files(spec.parameters) : std::vector<std::string>();
    if (kind.remote || (own_files.empty() && !spec.parameters.empty())) continue;
    files.insert(files.end(), own_files.begin(), own_files.end());
    Attempt attempt = layer->Try(candidate);
    if (const auto* contested = std::get_if<Contested>(&attempt)) {
      return InUse(WhoHas(contested->holder));
    }
    if (const auto* unavailable = std::get_if<Unavailable>(&attempt)) return unavailable->status;
    claims.held.push_back(std::move(std::get<Held>(attempt).claim));
  }
  // Asked with the layers held: whoever comes now waits for them. The race: a standby joins after
  // this line, in a queue that is removed; it keeps its turn by waiting for the layers, but not
  // before another that joins the next queue. Order is lost then, never exclusion.
  const absl::StatusOr<std::optional<Queue::Ahead>> ahead = queue->WhoIsAhead();
  if (!ahead.ok()) return ahead.status();
  if (ahead->has_value()) return InUse("in use: somebody stands in line for it");
  // Before the first object goes: the records are what the next gc judges by.
  absl::Status removable = CheckRemovable(scope, name, files);
  if (!removable.ok()) return removable;
  // The directory, by which a name is found, goes last: what could not be removed (another user
  // made the semaphore) is found the next time. The race: a start under the mutex alone gets the
  // name after its semaphore was removed, and loses the directory; its objects are not found before
  // the next start that makes one.
  for (auto claim = claims.held.rbegin(); claim != claims.held.rend(); ++claim) {
    absl::Status removed = (*claim)->RemoveObjects(files);
    if (!removed.ok()) return removed;
  }
  return absl::OkStatus();
}

}  // namespace soleguard
