// Noticing that the objects of a claim were touched: files removed, replaced, truncated or moved,
// sockets shut down, semaphores removed.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/time/time.h>

#include "soleguard/boot_time.h"
#include "soleguard/fd.h"

namespace soleguard {

// Where a possible loss of a claim shows. An alarm says only that the claim is worth a look.
struct Alarm {
  // Absolute paths of files. Something shows when one is removed, replaced, moved, written or
  // truncated, or when a directory on the way to it is removed or moved.
  std::vector<std::string> files;
  // The same for directories, except for what is in them.
  std::vector<std::string> directories;
  // The number of the watch's slow descriptor; -1: none. The descriptors that carry the claim move
  // above it: when the process is killed they are released first, and a successor need not wait for
  // the slow one.
  int slow = -1;
  // Descriptors that hang up or fail when the object behind them is lost. They still belong to the
  // claim: a wait for one that is closed meanwhile may be woken too often, and that is all.
  std::vector<int> hang_ups;
  // When the first of the leases runs out, as it stands. Something shows then; a lease that was
  // renewed meanwhile is armed again with its new end.
  std::optional<BootTime> lapse = std::nullopt;

  void AddLapse(BootTime at) {
    if (!lapse.has_value() || at < *lapse) lapse = at;
  }
};

// Waits for alarms. When a program closes all descriptors, those of the watch included, this is
// noticed and they are opened again. In a forked child it watches nothing.
//
// It costs the user one of 128 inotify instances (fs.inotify.max_user_instances).
class ObjectWatch {
 public:
  ObjectWatch();
  ~ObjectWatch();
  ObjectWatch(const ObjectWatch&) = delete;
  ObjectWatch& operator=(const ObjectWatch&) = delete;

  // The value of Alarm::slow for a claim. Opens what is not open.
  int slow();

  // From here on anything that touches what `alarm` names ends a Wait, or the next one if none is
  // going on; what was touched before is forgotten. So arm first, then look, then wait: nothing is
  // missed in between. An error says what gives no event (ResourceExhausted: the user's inotify
  // instances are used up); everything else is watched all the same. A file that does not exist is
  // no error. Only for the one thread that waits.
  absl::Status Arm(const Alarm& alarm);

  // Blocks until something was touched (true), `at_most` has passed, or Interrupt.
  bool Wait(absl::Duration at_most);
  // Blocks until one of `wake` is readable or hangs up, `at_most` has passed, or Interrupt.
  void WaitFor(std::span<const UniqueFd> wake, absl::Duration at_most);

  // Ends a wait, or the next one if none is going on. Does not block; thread-safe. Where no
  // descriptor was left for it, it does nothing, and each wait takes 100 ms at most.
  void Interrupt();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// Runs `body` in a thread of its own, which nobody has to join. All signals are blocked in it, so
// that the program's own threads get them as before. ResourceExhausted when there can be no more
// threads.
absl::Status RunInThread(std::function<void()> body);

}  // namespace soleguard
