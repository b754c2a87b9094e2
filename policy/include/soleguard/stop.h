// Who has a name now, and ending it.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "soleguard/guard.h"
#include "soleguard/layer.h"
#include "soleguard/options.h"
#include "soleguard/policy.h"
#include "soleguard/process.h"

namespace soleguard {

// The holder of `name`; nullopt: nobody has it. As Inspect: it takes nothing, disturbs nobody and
// does not wait, so the holder may just be deciding or ending. Unavailable: no layer shows a
// holder, and one could not tell. InvalidArgument for an invalid name. Thread-safe.
absl::StatusOr<std::optional<Holder>> CheckRunning(std::string_view name, const Policy& policy,
                                                   const Options& options = {});

struct StopOptions {
  // How long the instance may take to end after it was asked.
  absl::Duration timeout = absl::Seconds(30);
  // Which slot's instance; those of others are left alone.
  std::uint32_t slot = 0;
  // Kills what has not ended by then (SIGKILL). Never without being asked.
  bool force = false;
  // Whom to kill: the instance, that is the holder and its descendants, or only the holder.
  enum class What { kInstance, kHolder };
  What what = What::kInstance;
  // Also those who run without a guard and look like the instance to an observer of the policy
  // (scan); their descendants are left alone.
  bool duplicates = false;
  // Ends the wait; what was signalled stays so. The report's status is Cancelled.
  std::stop_token stop = {};
};

// What was done about one process.
struct StoppedProcess {
  enum class Reason {
    kHolder,      // the owner of the claim, or the command that outlived it
    kCommand,     // the claim was handed on to it: its holder tells it
    kDescendant,  // of the holder
    kGuardian,    // would have ended the command, and could not
    kUnguarded,   // runs without a guard
  };
  ProcessIdentity identity;
  Reason reason = Reason::kHolder;
  std::vector<Signal> signals = {};         // that it was sent, in order
  absl::Status refused = absl::OkStatus();  // why it was not, or not any more
  Liveness liveness = Liveness::kAlive;     // at the end
  Freeze freeze = Freeze::kNone;            // at the end
  // NewerSoleguard, if the record that named it is of one.
  std::string guarded_by = {};

  bool is_frozen() const { return freeze != Freeze::kNone; }
};
std::string_view ToString(StoppedProcess::Reason reason);

struct StopReport {
  enum class Outcome {
    kNotRunning,    // nobody had the name
    kStopped,       // it is free now
    kRuns,          // it is not
    kUndetermined,  // a layer cannot tell, or nobody may be signalled
  };
  Outcome outcome = Outcome::kUndetermined;
  std::vector<StoppedProcess> processes;
  // kRuns, kUndetermined: why, and what can be done.
  absl::Status status;
  // Who has the name at the end.
  std::optional<Holder> holder;

  bool is_free() const { return outcome == Outcome::kNotRunning || outcome == Outcome::kStopped; }
};
std::string_view ToString(StopReport::Outcome outcome);

// Ends the instance that has `name`, and waits until the name is free: asks it (SIGTERM), and kills
// it after the timeout if `force` says so. Then it waits options.deadline for its end. It stops
// whom it sees when it begins, and not who takes the name afterwards. A holder that is deciding or
// cannot be told is waited for as a start does, and one that ends by itself is not signalled.
//
// A signal goes to that very process, never to a later owner of its pid, and never to a process in
// a pid namespace that is not seen from here (one below is), to one that another claim of the scope
// covers (coverage.h), to the caller or an ancestor of it, or to one that no record names. What it
// was told is the record's word: in a scope that others may write, they can name any process there.
//
// A frozen holder (SIGSTOP, a paused container) is not continued: who stopped it may want it so,
// and what it would do next is not known. It gets the signal when it is continued; `force` kills it
// all the same. A guarded command is ended by its guardian, or, where that is frozen or does not
// get on, by `force` together with it: nobody is left who keeps the name.
//
// Waits for events and costs no CPU time meanwhile. InvalidArgument for an invalid name, and for
// `duplicates` under a policy without an observer. Thread-safe.
absl::StatusOr<StopReport> StopRunning(std::string_view name, const Policy& policy,
                                       const Options& options = {},
                                       const StopOptions& stop_options = {});

}  // namespace soleguard
