// What a try of a layer comes to, for tests without an arbiter.
#pragma once

#include <variant>

#include <absl/time/time.h>

#include "soleguard/boot_time.h"
#include "soleguard/fd.h"
#include "soleguard/layer.h"
#include "soleguard/record.h"

namespace soleguard::testing {

// The outcome of a try, which a remote layer's server may take its time for.
inline Attempt OutcomeOf(Layer& layer, const HolderRecord& candidate) {
  while (true) {
    Attempt attempt = layer.Try(candidate);
    const auto* pending = std::get_if<Pending>(&attempt);
    if (pending == nullptr || !WaitForAny(pending->wake, absl::Seconds(30))) return attempt;
  }
}

// The same once the lease of a holder that is gone has run out, if it had one.
inline Attempt OutcomeAfterItsLease(Layer& layer, const HolderRecord& candidate) {
  const BootTime end = BootTime::Now() + absl::Seconds(30);
  while (true) {
    Attempt attempt = OutcomeOf(layer, candidate);
    const auto* contested = std::get_if<Contested>(&attempt);
    if (contested == nullptr || !contested->holder.free_at.has_value()) return attempt;
    if (!WaitForAny(contested->wake, end.Left())) return attempt;
  }
}

}  // namespace soleguard::testing
