// Noticing that the objects of a claim were touched: files removed, replaced, truncated or moved,
// sockets shut down, semaphores removed.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/time/time.h>

#include "soleguard/fd.h"

namespace soleguard {

// Where it shows that a claim may be lost. It says no more than that it is worth a look.
struct Alarm {
  // Absolute paths of files: it shows when one is removed, replaced, moved, written or truncated,
  // or when a directory on the way to it is removed or moved.
  std::vector<std::string> files;
  // The same for directories, but for what is in them.
  std::vector<std::string> directories;
  // The number of the watch's slow descriptor, -1: none. Those that carry the claim move above it:
  // they are released before it when the process is killed, and a successor need not wait for it.
  int slow = -1;
  // Descriptors that hang up or fail when the object behind them is lost. They stay the claim's:
  // whoever waits for one that is closed meanwhile may just be woken too often.
  std::vector<int> hang_ups;
};

// Waits for alarms. A program that closes its descriptors is noticed, and costs nothing of it: they
// are opened anew. In a forked child it watches nothing.
//
// Costs a user one of 128 inotify instances (fs.inotify.max_user_instances).
class ObjectWatch {
 public:
  ObjectWatch();
  ~ObjectWatch();
  ObjectWatch(const ObjectWatch&) = delete;
  ObjectWatch& operator=(const ObjectWatch&) = delete;

  // What a claim is told as Alarm::slow. Opens what is not open.
  int slow();

  // From here on whatever touches what `alarm` names ends a Wait, the next one if none is going on;
  // what was touched before is forgotten. So arm first, then look, then wait: nothing falls between
  // them. An error says what gives no event (ResourceExhausted: the user's inotify instances are
  // used up); everything else is watched all the same. A file that does not exist is no error. For
  // one thread, which is the one that waits.
  absl::Status Arm(const Alarm& alarm);

  // Blocks until something was touched (true), `at_most` has passed, or Interrupt.
  bool Wait(absl::Duration at_most);
  // Blocks until one of `wake` is readable or hangs up, `at_most` has passed, or Interrupt.
  void WaitFor(std::span<const UniqueFd> wake, absl::Duration at_most);

  // Ends a wait, the next one if none is going on. Does not block; thread-safe.
  void Interrupt();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// Runs `body` in a thread of its own, which nobody has to join. All signals are blocked in it: the
// program's own threads get them as before. ResourceExhausted when there can be no more threads.
absl::Status RunInThread(std::function<void()> body);

}  // namespace soleguard
