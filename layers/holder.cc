#include "holder.h"

#include <utility>

#include <absl/strings/str_cat.h>

#include "soleguard/text.h"

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

absl::Status Claim::Watch(Alarm& /*alarm*/) {
  return absl::UnimplementedError("the layer has no events that show a loss");
}

Claim::Mended Claim::Mend(const HolderRecord& /*record*/) {
  absl::Status status = Verify();
  const bool lost = absl::IsDataLoss(status) || absl::IsFailedPrecondition(status);
  return {.lost = status, .excludes = !lost, .left = status};
}

absl::Status CheckOwner(const os::ProcessMark& owner, bool released) {
  if (!owner.IsCurrent()) {
    return absl::FailedPreconditionError(
        "not the owner: the claim belongs to the process that this one was forked from");
  }
  if (released) return absl::FailedPreconditionError("the claim was released");
  return absl::OkStatus();
}

absl::Status CheckRecord(const os::KeptFd& record, const os::Entry& entry, const Vantage& vantage) {
  absl::Status placed = CheckPlace(record, entry, vantage);
  if (!placed.ok()) return placed;
  const absl::StatusOr<DecodedRecord> decoded =
      ReadRecord([&] { return os::ReadAt(record.get(), kRecordSize); });
  if (decoded.ok() || !(absl::IsNotFound(decoded.status()) || absl::IsDataLoss(decoded.status()))) {
    return decoded.status();
  }
  return absl::DataLossError(
      absl::StrCat(EscapeBytes(entry.path), " was truncated or overwritten"));
}

absl::Status WriteRecord(const os::KeptFd& area, const HolderRecord& record,
                         std::uint64_t sequence) {
  if (record.state == RecordState::kReleasing) {
    const absl::StatusOr<DecodedRecord> there =
        ReadRecord([&] { return os::ReadAt(area.get(), kRecordSize); });
    const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
    if (there.ok() && own.ok() && there->record.identity != *own) return absl::OkStatus();
  }
  return os::WriteAt(area.get(), EncodeRecord(record, sequence));
}

void Note(const absl::Status& lost, const absl::Status& left, Claim::Mended& mended) {
  const auto add = [](const absl::Status& more, absl::Status& status) {
    if (more.ok()) return;
    status = status.ok() ? more
                         : absl::Status(status.code(),
                                        absl::StrCat(status.message(), "; ", more.message()));
  };
  add(lost, mended.lost);
  add(left, mended.left);
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
