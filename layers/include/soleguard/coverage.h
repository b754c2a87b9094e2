// Whose a process is, for a caller that is about to signal it.
#pragma once

#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "soleguard/fd.h"
#include "soleguard/name.h"
#include "soleguard/process_identity.h"
#include "soleguard/record.h"
#include "soleguard/scope.h"

namespace soleguard {

// What the claims of a scope cover, seen from one of its names. A claim covers its holder, the
// command that it was handed on to, its guardian, and the descendants of all of these; where one
// claim is made below another, the nearer one counts. Another scope's claims are not known here. It
// only looks, and takes no lock; it may read every name of the scope. Not thread-safe.
class Coverage {
 public:
  Coverage(Scope scope, InstanceName name);

  // A record of the name that is kept outside of the scope, as file(path=…) does.
  void Add(HolderRecord record) { known_.push_back(std::move(record)); }

  enum class Whose {
    kOfTheName,  // the name's claim covers it
    kNobodys,    // no claim covers it, and neither it nor an ancestor has registered
  };
  // As of now. FailedPrecondition says which process it is: another name's claim covers it, it has
  // registered for a name of its own, or it is the calling process or one of its ancestors.
  // NotFound: it is gone. Other errors: whose it is cannot be determined.
  absl::StatusOr<Whose> Of(const ProcessIdentity& process) const;

 private:
  const Scope scope_;
  const InstanceName name_;
  std::vector<HolderRecord> known_;
};

// Whether the calling process descends from `process`. False of one that its pid namespace does not
// show. No process becomes an ancestor later: a child whose parent ends goes to one of its other
// ancestors (a subreaper) or to process 1. An error if /proc hides an ancestor (hidepid)
// and `process` is not among those that are seen. Does not block. Thread-safe.
absl::StatusOr<bool> IsOwnAncestor(const ProcessIdentity& process);

// Whether the calling process has the claim of a process above it, by descriptors that it was
// started with: the lock on the name's directory, which each claim has that is handed on. Does not
// block, takes no lock and creates nothing. Thread-safe.
bool HasInheritedClaim(const Scope& scope, const InstanceName& name);

// Descriptors for a wait for a candidate's decision, or for the end of a claim of `name`. Each
// hangs up when a layer that keeps its events in the name's directory is decided or freed. Empty
// when no holder has such an event. Takes no lock and creates nothing.
std::vector<UniqueFd> WatchEnd(const Scope& scope, const InstanceName& name);
// The same, and a descriptor that becomes readable when something is made or removed in that
// directory, such as the socket where messages are taken. Costs a user one of 128 inotify
// instances. The result is empty without a free instance, and where there is no such directory.
std::vector<UniqueFd> WatchChange(const Scope& scope, const InstanceName& name);

}  // namespace soleguard
