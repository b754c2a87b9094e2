// What can be found out here when somebody else says that two instances run, such as a remote that
// refuses one of them ("Conflict: terminated by other getUpdates request").
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
#include "soleguard/suspect.h"

namespace soleguard {

struct ConflictReport {
  std::string complaint;  // as it was given: foreign bytes
  // Each layer as it is now.
  struct LayerState {
    std::string layer;
    Sighting sighting;
    // What Verify says of the caller's own claim; nullopt: the caller has no claim of this layer.
    std::optional<absl::Status> own;
  };
  std::vector<LayerState> layers;
  std::optional<Holder> holder;  // of the name; nullopt: nobody is seen
  SuspectSearch search;
  absl::Status searched;  // why nothing could be looked for, or not everything

  enum class Conclusion {
    kNoneHere,    // no other instance is seen on this host
    kFound,       // a likely one is seen, or another process has a claim of the caller
    kCannotTell,  // something that could not be seen may be one
  };
  Conclusion conclusion = Conclusion::kCannotTell;
  // What a person should do next, in this order, one line each.
  std::vector<std::string> next;
};
std::string_view ToString(ConflictReport::Conclusion conclusion);  // "none_here", "found",
                                                                   // "cannot_tell"

// Looks at every layer and through the process table for another instance of `name` than its
// holder. It is for a process that has no Guard of the name; one that has calls
// Guard::ReportConflict. options.subject: what runs as the instance, where no holder shows it. Like
// Inspect, it takes no lock, creates nothing, signals nobody and does not wait. InvalidArgument for
// an invalid name. Thread-safe.
absl::StatusOr<ConflictReport> ReportConflict(std::string_view name, std::string_view complaint,
                                              const Policy& policy, const Options& options = {});

}  // namespace soleguard
