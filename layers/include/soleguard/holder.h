// Who has a layer.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "soleguard/beat.h"
#include "soleguard/boot_time.h"
#include "soleguard/process_identity.h"
#include "soleguard/record.h"

namespace soleguard {

// How far the process that has a layer is.
enum class Standing {
  kEstablished,  // declared the only instance, and alive
  kCandidate,    // alive and still arbitrating
  kReleasing,    // alive and giving its claims back
  kDying,        // killed, not gone yet
  kLapsing,      // gone, and its lease has not run out yet
  // No record that matches a live process: not written yet, an orphaned child, a foreign locker.
  kUnknown,
  // Runs, and never asked: started without soleguard, or before the name was guarded.
  kUnguarded,
};
std::string_view ToString(Standing standing);

// Who has a layer, as far as is known.
struct Holder {
  Standing standing = Standing::kUnknown;
  std::optional<HolderRecord> record;      // the last valid one, whoever wrote it
  std::vector<ProcessIdentity> processes;  // whom the kernel shows, when no record says
  std::string evidence;                    // one line for a person: what was seen, and where
  // Its standing is unknown, and it has something that only instances take: perhaps it is a
  // candidate whose record is not written yet, or was deleted.
  bool may_be_candidate = false;
  // When its lease runs out, unless it is renewed: then the layer is free at the latest. nullopt:
  // nothing frees it by time.
  std::optional<BootTime> free_at = std::nullopt;
  // The last beat that its instance has given, if any; only in what Acquire, Check and Inspect
  // give.
  std::optional<Beat> beat = std::nullopt;
};

// "; free in 7 s at the latest", or nothing: for a person, behind what is said of the holder.
std::string FreeAtTheLatest(const Holder& holder);

// `record` with its processes as the caller's pid namespace numbers them, as far as they are seen
// from here (IdentityHere).
HolderRecord SeenFromHere(HolderRecord record);

// Whether the guardian that `record` names, or one that it started in its place, cannot run: it was
// stopped, or is in a frozen cgroup.
bool HasFrozenGuardian(const HolderRecord& record);

}  // namespace soleguard
