#include "soleguard/collect.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>

#include "layers.h"
#include "soleguard/layer.h"
#include "soleguard/policy.h"
#include "soleguard/process.h"
#include "soleguard/queue.h"

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

}  // namespace

absl::Status Collect(const InstanceName& name, const Scope& scope) {
  const absl::StatusOr<ProcessDescription> own = DescribeSelf();
  if (!own.ok()) return own.status();
  HolderRecord candidate = Candidate(name, Policy::Default(), scope, *own);
  candidate.slot = name.slot();
  const std::unique_ptr<Queue> queue = MakeQueue(scope, name.Slot(0));
  Claims claims;
  for (const LayerKind& kind : LayerKinds()) {
    if (kind.observer) continue;
    const std::unique_ptr<Layer> layer = kind.make({.scope = scope, .name = name});
    // A look first: nothing is taken from somebody who is just being let in.
    const Sighting sighting = layer->Look();
    if (const auto* taken = std::get_if<Taken>(&sighting)) return InUse(WhoHas(taken->holder));
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
  // The directory, by which a name is found, goes last: what could not be removed (another user
  // made the semaphore) is found the next time. The race: a start under the mutex alone gets the
  // name after its semaphore was removed, and loses the directory; its objects are not found before
  // the next start that makes one.
  for (auto claim = claims.held.rbegin(); claim != claims.held.rend(); ++claim) {
    absl::Status removed = (*claim)->RemoveObjects();
    if (!removed.ok()) return removed;
  }
  return absl::OkStatus();
}

}  // namespace soleguard
