// Looking for another instance of a program when somebody says that there is one.
#pragma once

#include <string>
#include <vector>

#include <absl/status/statusor.h>

#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/process_identity.h"
#include "soleguard/scope.h"
#include "soleguard/subject.h"

namespace soleguard {

// A process that may be another instance. Texts are escaped and on one line.
struct Suspect {
  ProcessIdentity process;
  // It runs the same with the same arguments, or has a layer of the name. Otherwise only the
  // program is the same.
  bool is_likely = false;
  std::vector<std::string> why;     // what makes it suspect
  std::vector<std::string> unseen;  // why no layer has seen it
};

struct SuspectSearch {
  std::vector<Suspect> found;  // the likely ones first
  // What could not be seen from here.
  std::vector<std::string> hidden;
  // Another instance of this host may be among what is hidden.
  bool is_blind = false;
};

// What the instance runs: what a process of it runs, or else what the command would.
struct Pattern {
  std::vector<ProcessIdentity> instance;  // with their descendants they are no suspects
  Subject subject;                        // unknown: only the processes tell
};

// Searches the process table of the caller's pid namespace, whichever users and namespaces the
// processes are of, for those that run the same executable or script, or have the same command
// line. Not among them: the instance, the caller and its ancestors. One pass; takes no lock and
// signals nobody. FailedPrecondition: nothing tells what the instance runs. Thread-safe.
absl::StatusOr<SuspectSearch> FindSuspects(const Scope& scope, const InstanceName& name,
                                           const Pattern& pattern);

}  // namespace soleguard
