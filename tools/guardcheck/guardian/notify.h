// What a guarded command says to its service manager (sd_notify(3)).
#pragma once

#include <functional>
#include <memory>

#include <absl/status/statusor.h>
#include <absl/time/time.h>

namespace guardcheck {

// The manager listens to the process that it started, which is guardcheck and not the command: what
// the command says is passed on in guardcheck's name. READY, STOPPING, RELOADING, STATUS, WATCHDOG
// and all else, with descriptors; but not MAINPID, which stays guardcheck: its end is the end of
// the service. Heard are the user of this process, root, and descendants of this process.
class NotifyRelay {
 public:
  // What else is told of what the command says; either may be empty.
  struct Listeners {
    std::function<void()> ready = {};     // for each READY=1
    std::function<void()> watchdog = {};  // for each WATCHDOG=1
    // What the command finds as WATCHDOG_USEC if the manager has set none.
    absl::Duration watchdog_every = absl::ZeroDuration();
  };
  // For the manager that listens (NOTIFY_SOCKET), if there is one. nullptr: there is neither that
  // nor a listener, or a manager whose address cannot be read, which is said; the environment stays
  // as it is then. Otherwise the environment for the command is set, NOTIFY_SOCKET and no
  // WATCHDOG_PID; call it while there is one thread.
  static absl::StatusOr<std::unique_ptr<NotifyRelay>> FromEnvironment(Listeners listeners);
  virtual ~NotifyRelay() = default;

  // Readable when there is something to pass on.
  virtual int fd() const = 0;
  // Passes on what has come. Does not block.
  virtual void Pass() = 0;

  // How long the manager waits for a WATCHDOG=1 before it ends the service; zero: it does not.
  virtual absl::Duration watchdog() const = 0;
  // Says WATCHDOG=1 to it. Does not block.
  virtual void FeedWatchdog() = 0;
};

}  // namespace guardcheck
