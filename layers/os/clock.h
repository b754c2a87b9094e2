// The clock that goes by the kernel's own start.
#pragma once

#include <cstdint>

#include <absl/status/statusor.h>

namespace soleguard::os {

// Since the kernel's start, suspended time included, by a clock that nobody sets; the same in every
// time namespace.
absl::StatusOr<std::uint64_t> MicrosSinceBoot();

}  // namespace soleguard::os
