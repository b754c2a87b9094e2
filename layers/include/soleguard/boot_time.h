// Moments of leases.
#pragma once

#include <compare>
#include <cstdint>

#include <absl/time/time.h>

namespace soleguard {

// A moment on this machine's clock since its boot (CLOCK_BOOTTIME, clock_getres(2)): the clock goes
// on while the machine is suspended, and nobody can set it. So a lease that ran out meanwhile is
// known to have, which neither the wall clock nor CLOCK_MONOTONIC would say. It means nothing on
// another machine, or after a reboot. A plain value; thread-safe.
class BootTime {
 public:
  constexpr BootTime() = default;  // the boot: over
  constexpr explicit BootTime(absl::Duration since_boot) : since_boot_(since_boot) {}
  // Does not block, and cannot fail (Linux 2.6.39).
  static BootTime Now();

  constexpr absl::Duration since_boot() const { return since_boot_; }
  // How long from now; never below zero.
  absl::Duration Left() const;
  // The same in whole seconds, rounded up, for a person who waits.
  std::int64_t SecondsLeft() const;

  friend BootTime operator+(BootTime time, absl::Duration by) {
    return BootTime(time.since_boot_ + by);
  }
  friend absl::Duration operator-(BootTime a, BootTime b) { return a.since_boot_ - b.since_boot_; }
  friend bool operator==(BootTime a, BootTime b) { return a.since_boot_ == b.since_boot_; }
  friend std::strong_ordering operator<=>(BootTime a, BootTime b) {
    if (a.since_boot_ < b.since_boot_) return std::strong_ordering::less;
    return a.since_boot_ == b.since_boot_ ? std::strong_ordering::equal
                                          : std::strong_ordering::greater;
  }

 private:
  absl::Duration since_boot_;
};

}  // namespace soleguard
