// Which processes run as NAME: the holder, and those that look like it and never asked.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "soleguard/guard.h"
#include "soleguard/layer.h"
#include "soleguard/options.h"
#include "soleguard/policy.h"
#include "soleguard/process_identity.h"
#include "soleguard/subject.h"

namespace soleguard {

// An instance that never asked for the name, with the processes that it forked.
struct Copy {
  ProcessIdentity process;               // the first of them
  std::vector<ProcessIdentity> workers;  // its descendants that look like an instance too
  std::string evidence;                  // one line for a person: in which way it looks like one
};

struct Census {
  // The established holders, each once. If a slot has more than one, layers were lost, or the
  // policy has `veto=off`.
  std::vector<HolderRecord> holders;
  // Processes that have the name without an established record: a foreign locker, a candidate.
  std::vector<Holder> unknown;
  // Older than options.settle, and covered by no claim and no registration; the one that started
  // first comes first.
  std::vector<Copy> copies;
  // Processes younger than options.settle that look like an instance too, and may be about to ask.
  std::vector<ProcessIdentity> young;
  // What runs as the instance; options.subject, or what the holder's process shows.
  Subject subject;
  // OK: every layer, and the process table, could be looked at.
  absl::Status blind;

  // How many processes run that should not: all but one, or all but one for each slot.
  std::size_t duplicates() const;
};

// Looks at every layer of `policy` and at the process table, whether the policy has an observer or
// not. What an instance looks like is said by the policy's observer, else by options.subject, else
// (subject.unknown) by the holder's process; without any of these, copies cannot be recognised, and
// `blind` says so. Processes that are registered, that a claim of another name of the scope covers,
// the caller and its ancestors and descendants are never among the copies. Like Inspect, it
// disturbs nobody and waits for nobody. One pass over the process table (docs/benchmarks.md).
// InvalidArgument for an invalid name. Thread-safe.
absl::StatusOr<Census> TakeCensus(std::string_view name, const Policy& policy,
                                  const Options& options = {});

}  // namespace soleguard
