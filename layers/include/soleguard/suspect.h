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
  // It runs the same program with the same arguments, or has a layer of the name. Otherwise only
  // the program is the same.
  bool is_likely = false;
  std::vector<std::string> why;     // what makes it suspect
  std::vector<std::string> unseen;  // why no layer has seen it
};

struct SuspectSearch {
  std::vector<Suspect> found;  // the likely ones first
  // What could not be seen from here.
  std::vector<std::string> hidden;
  // Another instance on this host may be among what is hidden.
  bool is_blind = false;
};

// What the instance runs: what one of its processes runs, or else what the command would run.
struct Pattern {
  std::vector<ProcessIdentity> instance;  // they and their descendants are no suspects
  Subject subject;                        // unknown: only the processes say it
};

// Searches the process table of the caller's pid namespace, whatever their users and namespaces,
// for processes that run the same executable or script, or have the same command line. Not among
// them: the instance, the caller and its ancestors. One pass; takes no lock and signals nobody.
// FailedPrecondition: nothing says what the instance runs. Thread-safe.
absl::StatusOr<SuspectSearch> FindSuspects(const Scope& scope, const InstanceName& name,
                                           const Pattern& pattern);

}  // namespace soleguard
