#include <time.h>

#include "os/clock.h"
#include "os/proc_process_linux.h"

namespace soleguard::os {

absl::StatusOr<std::uint64_t> MicrosSinceBoot() {
  const absl::StatusOr<const proc::Self*> self = proc::OwnSelf();
  if (!self.ok()) return self.status();
  timespec now = {};
  (void)clock_gettime(CLOCK_BOOTTIME, &now);  // cannot fail: Linux 2.6.39
  const std::uint64_t shown = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
                              static_cast<std::uint64_t>(now.tv_nsec);
  return (shown - (*self)->clock_offset_ns) / 1000;
}

}  // namespace soleguard::os
