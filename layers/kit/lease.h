// A lease, as its holder knows it without asking the server. Private to layers/.
#pragma once

#include <mutex>

#include <absl/status/status.h>
#include <absl/time/time.h>

#include "soleguard/boot_time.h"
#include "soleguard/record.h"

namespace soleguard {

// Thread-safe: one thread renews it, others ask. Nothing blocks.
//
// The race: the server counts a lease from when it grants it, by its own clock, and its holder
// learns of that later. Closed on the holder's side: it counts from when it sent the request, and
// gives up one part in kMargin of the time, which is a hundred times what two clocks may drift
// apart (500 ppm is the most that adjtimex(2) slews). So the holder knows that it has lost the
// layer before the server gives it to another. Open for a holder that is stopped between its look
// at this and what it then does: only the fencing token helps there.
class Lease {
 public:
  static constexpr int kMargin = 20;

  // The server has granted or renewed it for `time`, as answer to a request that was sent at
  // `sent`. An answer that comes late never makes it shorter. One that has run out stays so, even
  // if the server would let it go on: its holder may have been told that it is lost.
  void Renew(BootTime sent, absl::Duration time);
  // The server has said that it is over; `why` names the server.
  void Lose(absl::Status why);

  BootTime valid_until() const;
  // OK: it is valid. DataLoss: it has run out, or `why` of Lose.
  absl::Status Check() const;

 private:
  mutable std::mutex mutex_;
  BootTime valid_until_;
  absl::Status lost_;
};

// `record` for readers on other machines: its processes name this one.
HolderRecord ForOtherMachines(HolderRecord record);

}  // namespace soleguard
