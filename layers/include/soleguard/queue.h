// The waiting line of one name, first come, first served.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "soleguard/fd.h"
#include "soleguard/name.h"
#include "soleguard/process_identity.h"
#include "soleguard/scope.h"

namespace soleguard {

// It gives order, never exclusion: the process at its head still has to get the layers. Its order
// reaches as far as the name's directory does, so it is that of one machine; between machines a
// remote layer has the order of its server. A place ends with its process. Nothing here blocks. Not
// thread-safe.
class Queue {
 public:
  virtual ~Queue() = default;

  // Replacers stand before all standbys, even those that came earlier.
  enum class Line { kReplacers, kStandbys };
  // Takes the last place of that line. A second call does nothing.
  virtual absl::Status Join(Line line) = 0;

  // Gives the place up and wakes the process that stands behind. Without a place, and in a forked
  // child of its owner, it does nothing.
  virtual void Leave() = 0;

  // What this process has to wait for: with a place, the next process ahead; without one, the head
  // of the line. A replacer may come ahead of a standby at any time.
  struct Ahead {
    // Each becomes readable or hangs up when it is worth asking again. Empty when the system has no
    // event for it, as at the moment when another process joins.
    std::vector<UniqueFd> wake;
  };
  // nullopt: nobody is ahead. Creates nothing.
  virtual absl::StatusOr<std::optional<Ahead>> WhoIsAhead() = 0;

  // The processes that the kernel shows at that place, for use in a message. May walk the process
  // table, and sees only what the caller may see.
  virtual std::vector<ProcessIdentity> Suspects() const = 0;
};

// The queue of `name` in `scope`, in the name's directory.
std::unique_ptr<Queue> MakeQueue(const Scope& scope, const InstanceName& name);

// A place in it that is taken.
struct Waiter {
  Queue::Line line = Queue::Line::kStandbys;
  std::vector<ProcessIdentity> processes;  // several: a fork shares the place; none: not visible
};
// All of them, the head of the line first, whatever the name's slot. Creates nothing, and does not
// block. Walks the process table once when there are any. Thread-safe.
absl::StatusOr<std::vector<Waiter>> WaitersOf(const Scope& scope, const InstanceName& name);

}  // namespace soleguard
