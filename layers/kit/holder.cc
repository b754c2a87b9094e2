#include "kit/holder.h"

#include <algorithm>
#include <utility>

#include <absl/strings/str_cat.h>

#include "soleguard/holder.h"
#include "soleguard/process.h"
#include "soleguard/text.h"

namespace soleguard {

bool HasFrozenGuardian(const HolderRecord& record) {
  if (!record.guardian.has_value()) return false;
  if (FreezeOf(*record.guardian) != Freeze::kNone) return true;
  // One whose wrapper had children of its own stands between those and the guardian that it starts.
  const absl::StatusOr<ProcessDescription> guardian = Describe(*record.guardian);
  const absl::StatusOr<std::vector<ProcessIdentity>> descendants = DescendantsOf(*record.guardian);
  if (!guardian.ok() || !descendants.ok()) return false;
  return std::any_of(descendants->begin(), descendants->end(), [&](const ProcessIdentity& process) {
    if (process == record.instance) return false;
    const absl::StatusOr<ProcessDescription> described = Describe(process);
    return described.ok() && described->parent_pid == record.guardian->pid &&
           described->executable == guardian->executable && FreezeOf(process) != Freeze::kNone;
  });
}

namespace {

// One run of the kernel is on one machine, whatever the containers on it say that theirs is.
bool IsOfThisMachine(const ProcessIdentity& process) {
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  return (own.ok() && process.boot_id == own->boot_id) || process.machine == MachineId();
}

Standing StandingOf(RecordState state) {
  switch (state) {
    case RecordState::kCandidate:
      return Standing::kCandidate;
    case RecordState::kEstablished:
      return Standing::kEstablished;
    case RecordState::kReleasing:
      return Standing::kReleasing;
  }
  return Standing::kUnknown;
}

Standing StandingOf(const HolderRecord& record) {
  switch (LivenessOf(record.identity)) {
    case Liveness::kAlive:
      return StandingOf(record.state);
    case Liveness::kDying:
      return Standing::kDying;
    // Another pid namespace: the kernel's lock is held, and this is what its holder last said.
    case Liveness::kUnknown:
      return StandingOf(record.state);
    case Liveness::kGone:
      break;
  }
  // The owner is gone, and the object is still taken: by whom the claim was handed on to, or by one
  // that merely kept a descriptor. A guardian is ending the instance, unless it was frozen too.
  const auto lives = [](const std::optional<ProcessIdentity>& process) {
    return process.has_value() ? LivenessOf(*process) : Liveness::kGone;
  };
  const Liveness guardian = lives(record.guardian);
  if (guardian == Liveness::kDying ||
      (guardian == Liveness::kAlive && !HasFrozenGuardian(record))) {
    return Standing::kDying;
  }
  const Liveness instance = lives(record.instance);
  if (instance == Liveness::kDying) return Standing::kDying;
  return instance == Liveness::kAlive ? StandingOf(record.state) : Standing::kUnknown;
}

}  // namespace

std::string_view ToString(Standing standing) {
  switch (standing) {
    case Standing::kEstablished:
      return "established";
    case Standing::kCandidate:
      return "candidate";
    case Standing::kReleasing:
      return "releasing";
    case Standing::kDying:
      return "dying";
    case Standing::kLapsing:
      return "lapsing";
    case Standing::kUnknown:
      return "unknown";
    case Standing::kUnguarded:
      return "unguarded";
  }
  return "unknown";
}

HolderRecord SeenFromHere(HolderRecord record) {
  const auto see = [](ProcessIdentity& process) {
    if (!process.machine.empty() && IsOfThisMachine(process)) process.machine.clear();
    const absl::StatusOr<ProcessIdentity> here = IdentityHere(process);
    if (here.ok()) process = *here;
  };
  see(record.identity);
  if (record.instance.has_value()) see(*record.instance);
  if (record.guardian.has_value()) see(*record.guardian);
  return record;
}

Holder JudgeHolder(std::optional<HolderRecord> record, std::string evidence) {
  Holder holder;
  if (record.has_value()) {
    holder.record = SeenFromHere(*std::move(record));
    holder.standing = StandingOf(*holder.record);
    if (holder.record->is_newer()) {
      absl::StrAppend(&evidence, ", and the record is of ", NewerSoleguard(*holder.record));
    }
  }
  holder.evidence = std::move(evidence);
  return holder;
}

Holder JudgeLeaseholder(std::optional<HolderRecord> record, BootTime free_at,
                        std::string evidence) {
  Holder holder = JudgeHolder(std::move(record), std::move(evidence));
  holder.free_at = free_at;
  // A server keeps the layer for a process that is gone, where a kernel would keep it for one that
  // has a descriptor.
  if (holder.record.has_value() && holder.standing == Standing::kUnknown) {
    holder.standing = Standing::kLapsing;
  }
  return holder;
}

std::string FreeAtTheLatest(const Holder& holder) {
  if (!holder.free_at.has_value()) return "";
  return absl::StrCat("; free in ", holder.free_at->SecondsLeft(), " s at the latest");
}

std::optional<Contested> Survivor(const std::optional<HolderRecord>& last, std::string_view where) {
  if (!last.has_value() || last->state != RecordState::kEstablished) return std::nullopt;
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  if (!own.ok()) return std::nullopt;
  // Of another pid namespace, which is not seen from here, it cannot be told: the kernel's word is
  // taken, that it is gone.
  if (LivenessOf(last->identity) == Liveness::kUnknown) return std::nullopt;
  Holder holder = JudgeHolder(last, "");
  const HolderRecord& record = *holder.record;
  // What this process was before an exec(3), or has lost and takes again.
  if (record.identity == *own || record.instance == *own) return std::nullopt;
  if (holder.standing != Standing::kEstablished && holder.standing != Standing::kDying) {
    return std::nullopt;
  }
  const bool owner_lives = LivenessOf(record.identity) != Liveness::kGone;
  const ProcessIdentity& living = owner_lives ? record.identity : record.running();
  holder.evidence =
      absl::StrCat(absl::string_view(where.data(), where.size()), " says that pid ", living.pid,
                   " holds the name, and it lives, though the system has freed what it held");
  std::vector<UniqueFd> wake = WakeUps(holder, {});
  return Contested{.holder = std::move(holder), .wake = std::move(wake)};
}

std::vector<UniqueFd> WakeUps(const Holder& holder, Watch watch) {
  std::vector<UniqueFd> wake;
  const auto add = [&wake](UniqueFd& event) {
    if (event) wake.push_back(std::move(event));
  };
  switch (holder.standing) {
    case Standing::kCandidate:
      add(watch.decision);
      break;
    case Standing::kEstablished:
    case Standing::kReleasing:
      add(watch.end);
      break;
    case Standing::kUnknown:
      add(watch.decision ? watch.decision : watch.end);
      break;
    case Standing::kDying:
    case Standing::kLapsing:
    case Standing::kUnguarded:
      break;
  }
  const bool only_ends =
      holder.standing == Standing::kEstablished || holder.standing == Standing::kDying;
  if (!wake.empty() || !only_ends || !holder.record.has_value()) return wake;
  const auto await_end = [&](const std::optional<ProcessIdentity>& process) {
    absl::StatusOr<UniqueFd> ended =
        process.has_value() ? OpenPidfd(*process) : absl::NotFoundError("");
    if (ended.ok()) wake.push_back(*std::move(ended));
  };
  // A dying one is killed already, or its guardian lives and ends after it.
  if (LivenessOf(holder.record->identity) != Liveness::kGone) {
    await_end(holder.record->identity);
  } else {
    await_end(holder.record->guardian);
  }
  if (holder.standing == Standing::kEstablished || wake.empty()) await_end(holder.record->instance);
  return wake;
}

}  // namespace soleguard
