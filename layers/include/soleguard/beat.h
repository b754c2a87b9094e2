// The heartbeat of an instance: when it last said that it gets on with its work.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "soleguard/name.h"
#include "soleguard/record.h"
#include "soleguard/scope.h"

namespace soleguard {

// The last beat of a holder. It is for people and for programs that tell them: no layer and no
// start decides anything by it, and nobody gets a name because a beat is old. A process that hangs,
// was stopped or is debugged has its name all the same. A plain value.
struct Beat {
  // Since it came. Time in which the machine was suspended does not count (CLOCK_MONOTONIC).
  absl::Duration age;
  absl::Duration every;     // how soon the next one was promised; zero: no promise was made
  std::uint64_t count = 0;  // of this holder. Two at the same moment may count as one.

  // Nothing came for so many times `every`: one may be lost, or late on a busy machine.
  static constexpr int kOverdueFactor = 2;
  bool is_overdue() const { return every > absl::ZeroDuration() && age >= kOverdueFactor * every; }

  friend bool operator==(const Beat&, const Beat&) = default;
};
// "3s ago (expected every 10s)", or, of one that is overdue, "no beat for 40s (expected every
// 10s)".
std::string BeatText(const Beat& beat);

// Notes a beat of `holder`, which has `slot` now: the caller has to know that. `every`: how soon
// the next one will come; nullopt: as the last one of this holder said. The file `beat` in the
// name's directory is made if there is none. One write(2), not durable: it tells of what lives.
// Blocks for nobody but a filesystem's server (Patience). Errors name the file and say why it could
// not be written. Thread-safe.
absl::Status WriteBeat(const Scope& scope, const InstanceName& slot, const HolderRecord& holder,
                       std::optional<absl::Duration> every = std::nullopt);

// The last beat of `holder`. NotFound: it has given none; that of an earlier holder is none of this
// one. Unavailable: it runs on another machine. Other errors say why the file cannot be read.
// Creates nothing, blocks as WriteBeat. Thread-safe.
absl::StatusOr<Beat> LastBeat(const Scope& scope, const InstanceName& slot,
                              const HolderRecord& holder);

}  // namespace soleguard
