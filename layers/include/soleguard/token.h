// Fencing tokens: numbers that distinguish a later instance of a name from an earlier one.
#pragma once

#include <cstdint>

#include "soleguard/name.h"
#include "soleguard/scope.h"

namespace soleguard {

struct Token {
  std::uint64_t value = 0;
  // Whether it is larger than every token that was given out before for this name and slot in this
  // scope, durable or not. If not, it may repeat one, and nothing claims an order.
  bool durable = false;
};

// The next token of `name`; each slot has its own sequence. A durable one is proved by a ceiling in
// the scope's state directory, which lies beyond every durable token and is raised, with a flush to
// the disk, before a token beyond it is given out. What the layers remember does not count for
// that, because any of them may have been missing the last time. So it is larger over any history
// of starts, policies, missing layers, gc, deletions, clock steps, SIGKILL, reboots and power
// losses, as long as the state directory keeps what was written to it and all processes that share
// the name use the same one.
//
// A token is not durable where the ceiling can be neither read nor raised; if it is the first one
// after a ceiling that was lost or damaged, as far as `last` or the damage shows that; and where
// users other than this one may have the name and the scope names no state directory
// (Scope::WithStateDirectory), because each user then has a directory of its own. Such a token is
// last + 1, so that it grows as long as records are left, or else the clock in milliseconds, which
// is less than any durable one.
//
// `last` is the largest token in the records of the layers that are held; 0: none. Call this while
// holding the name. Does not wait for others. Blocks for a flush about once an hour for each name,
// and after a reboot. Thread-safe.
Token NextToken(const Scope& scope, const InstanceName& name, std::uint64_t last);

}  // namespace soleguard
