#include "kit/claim.h"

#include <utility>

#include <absl/strings/str_cat.h>

namespace soleguard {

absl::Status Claim::Watch(Alarm& /*alarm*/) {
  return absl::UnimplementedError("the layer has no events that show a loss");
}

Claim::Mended Claim::Mend(const HolderRecord& /*record*/) {
  absl::Status status = Verify();
  const bool lost = absl::IsDataLoss(status) || absl::IsFailedPrecondition(status);
  return {.lost = status, .excludes = !lost, .left = status};
}

void MendOne(const absl::Status& lost, const std::function<absl::Status()>& renew,
             Claim::Mended& mended) {
  if (lost.ok()) return;
  const auto add = [](const absl::Status& more, absl::Status& status) {
    if (more.ok()) return;
    status = status.ok() ? more
                         : absl::Status(status.code(),
                                        absl::StrCat(status.message(), "; ", more.message()));
  };
  Claim::Mended noted = mended;
  add(lost, noted.lost);
  const absl::Status left = absl::IsDataLoss(lost) ? renew() : lost;
  mended = std::move(noted);
  add(left, mended.left);
}

absl::Status OwnedClaim::CheckOwner() const {
  if (!owner_.IsCurrent()) {
    return absl::FailedPreconditionError(
        "not the owner: the claim belongs to the process that this one was forked from");
  }
  if (!taken_) return absl::FailedPreconditionError("the claim was released");
  return absl::OkStatus();
}

Claim::Mended OwnedClaim::NotStanding(const absl::Status& standing) {
  const bool gone = absl::IsDataLoss(standing) || absl::IsFailedPrecondition(standing);
  return {.lost = standing, .excludes = !gone, .left = standing};
}

absl::StatusOr<std::vector<UniqueFd>> CarriedClaim::Share() {
  absl::Status owner = CheckOwner();
  if (!owner.ok()) return owner;
  std::vector<UniqueFd> copies;
  for (const os::KeptFd* kept : Carriers()) {
    if (!*kept) continue;
    absl::StatusOr<UniqueFd> copy = kept->Duplicate();
    if (!copy.ok()) return copy.status();
    copies.push_back(*std::move(copy));
  }
  shared_ = true;
  return copies;
}

absl::Status CarriedClaim::KeepOverExec() {
  absl::Status owner = CheckOwner();
  if (!owner.ok()) return owner;
  for (const os::KeptFd* kept : Carriers()) {
    if (!*kept) continue;
    absl::Status over = kept->KeepOverExec();
    if (!over.ok()) return over;
  }
  return absl::OkStatus();
}

}  // namespace soleguard
