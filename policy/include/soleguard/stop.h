// Finds the process that has a name now, and ends it.
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

// The holder of `name`; nullopt: nobody has it. Like Inspect, it takes nothing, disturbs nobody and
// does not wait, so the holder may be just deciding or ending. Unavailable: no layer shows a
// holder, and one was unable to say. InvalidArgument for an invalid name. Thread-safe.
absl::StatusOr<std::optional<Holder>> CheckRunning(std::string_view name, const Policy& policy,
                                                   const Options& options = {});

struct StopOptions {
  // How long the instance may take to end after it was asked.
  absl::Duration timeout = absl::Seconds(30);
  // The slot whose instance is stopped; those of other slots are left alone.
  std::uint32_t slot = 0;
  // Kills what has not ended by then (SIGKILL). This is never done unasked.
  bool force = false;
  // What to kill: the instance, that is the holder and its descendants, or only the holder.
  enum class What { kInstance, kHolder };
  What what = What::kInstance;
  // Also stops processes that run without a guard and look like the instance to an observer of the
  // policy (scan); their descendants are left alone.
  bool duplicates = false;
  // Ends the wait; signals that were sent are not taken back. The report's status is Cancelled.
  std::stop_token stop = {};
};

// What was done about one process.
struct StoppedProcess {
  enum class Reason {
    kHolder,      // the owner of the claim, or the command that outlived it
    kCommand,     // the claim was handed on to it: its holder passes signals on
    kDescendant,  // of the holder
    kGuardian,    // would have ended the command, and could not
    kUnguarded,   // runs without a guard
  };
  ProcessIdentity identity;
  Reason reason = Reason::kHolder;
  std::vector<Signal> sent = {};            // the signals that it was sent, in order
  absl::Status refused = absl::OkStatus();  // why it was not signalled, or no longer
  Liveness liveness = Liveness::kAlive;     // at the end
  Freeze freeze = Freeze::kNone;            // at the end
  // NewerSoleguard, if the record that names the process is of a newer soleguard.
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
  // kRuns, kUndetermined: the reason, and what can be done.
  absl::Status status;
  // The holder at the end.
  std::optional<Holder> holder;

  bool is_free() const { return outcome == Outcome::kNotRunning || outcome == Outcome::kStopped; }
};
std::string_view ToString(StopReport::Outcome outcome);

// Ends the instance that has `name`, and waits until the name is free: asks it (SIGTERM), and kills
// it after the timeout if `force` says so. Then it waits options.deadline for its end. It stops the
// holder that it sees when it begins, and no process that takes the name afterwards. A holder that
// is deciding or cannot be identified is waited for as by a start, and one that ends by itself is
// not signalled.
//
// A signal goes to exactly that process, never to a later owner of its pid. It never goes to a
// process in a pid namespace that is not seen from here (one below is seen), to one that another
// claim of the scope covers (coverage.h), to the caller or one of its ancestors, or to one that no
// record names. Which process that is comes from the record: in a scope that other users may write,
// they can name any process there.
//
// A frozen holder (SIGSTOP, a paused container) is not continued: it may be stopped on purpose, and
// what it would do next is not known. It gets the signal when it is continued; `force` kills it all
// the same. A guarded command is ended by its guardian. Where the guardian is frozen or cannot run,
// `force` ends both, so that no process is left that keeps the name.
//
// Waits for events and costs no CPU time meanwhile. InvalidArgument for an invalid name, and for
// `duplicates` under a policy without an observer. Thread-safe.
absl::StatusOr<StopReport> StopRunning(std::string_view name, const Policy& policy,
                                       const Options& options = {},
                                       const StopOptions& stop_options = {});

}  // namespace soleguard
