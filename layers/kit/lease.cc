#include "kit/lease.h"

#include <algorithm>
#include <string>

#include <absl/strings/str_cat.h>

#include "soleguard/process.h"

namespace soleguard {

void Lease::Renew(BootTime sent, absl::Duration time) {
  const std::lock_guard lock(mutex_);
  const bool was_valid = valid_until_ != BootTime();
  if (was_valid && valid_until_ <= BootTime::Now()) return;
  valid_until_ = std::max(valid_until_, sent + (time - time / kMargin));
}

void Lease::Lose(absl::Status why) {
  const std::lock_guard lock(mutex_);
  lost_ = absl::DataLossError(why.message());
  valid_until_ = BootTime();
}

BootTime Lease::valid_until() const {
  const std::lock_guard lock(mutex_);
  return valid_until_;
}

absl::Status Lease::Check() const {
  const std::lock_guard lock(mutex_);
  if (!lost_.ok()) return lost_;
  const absl::Duration over = BootTime::Now() - valid_until_;
  if (over < absl::ZeroDuration()) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("its lease ran out ", absl::FormatDuration(absl::Trunc(over, absl::Seconds(1))),
                   " ago: the server could not be told in time that it is still needed"));
}

HolderRecord ForOtherMachines(HolderRecord record) {
  const std::string machine = MachineId();
  record.identity.machine = machine;
  for (auto* process : {&record.instance, &record.guardian}) {
    if (process->has_value()) (*process)->machine = machine;
  }
  return record;
}

}  // namespace soleguard
