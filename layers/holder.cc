#include "holder.h"

#include <utility>

namespace soleguard {
namespace {

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
  // The owner is gone and the object is still taken: by a child that it was handed on to (which may
  // be dying with it), or by one that merely kept a descriptor.
  if (record.instance.has_value() && LivenessOf(*record.instance) == Liveness::kDying) {
    return Standing::kDying;
  }
  return Standing::kUnknown;
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
    case Standing::kUnknown:
      return "unknown";
    case Standing::kUnguarded:
      return "unguarded";
  }
  return "unknown";
}

absl::Status CheckOwner(const os::ProcessMark& owner, bool released) {
  if (!owner.IsCurrent()) {
    return absl::FailedPreconditionError(
        "not the owner: the claim belongs to the process that this one was forked from");
  }
  if (released) return absl::FailedPreconditionError("the claim was released");
  return absl::OkStatus();
}

Holder JudgeHolder(std::optional<HolderRecord> record, std::string evidence) {
  Holder holder;
  if (record.has_value()) holder.standing = StandingOf(*record);
  holder.record = std::move(record);
  holder.evidence = std::move(evidence);
  return holder;
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
    case Standing::kUnguarded:
      break;
  }
  const bool only_ends =
      holder.standing == Standing::kEstablished || holder.standing == Standing::kDying;
  if (!wake.empty() || !only_ends || !holder.record.has_value()) return wake;
  for (const auto* process :
       {&holder.record->identity,
        holder.record->instance.has_value() ? &*holder.record->instance : nullptr}) {
    if (process == nullptr) continue;
    if (holder.standing == Standing::kDying && LivenessOf(*process) != Liveness::kDying) continue;
    absl::StatusOr<UniqueFd> ended = OpenPidfd(*process);
    if (ended.ok()) wake.push_back(*std::move(ended));
  }
  return wake;
}

}  // namespace soleguard
