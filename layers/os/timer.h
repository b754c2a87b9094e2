// Descriptors that become readable by time.
#pragma once

#include <absl/status/statusor.h>

#include "soleguard/boot_time.h"
#include "soleguard/fd.h"

namespace soleguard::os {

// A descriptor that is readable from `at` on, also if the machine is suspended meanwhile.
// ResourceExhausted without a free descriptor.
absl::StatusOr<UniqueFd> OpenTimer(BootTime at);

// A descriptor for SetTimer: -1 with errno.
int MakeTimer();
// From now on `timer`, which MakeTimer made, is readable from `at` on and not before.
void SetTimer(int timer, BootTime at);

}  // namespace soleguard::os
