// Whose a process is: its ancestors, and the records of the names that they hold. Private to
// layers/.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "os/process_view.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/process_identity.h"
#include "soleguard/record.h"
#include "soleguard/scope.h"

namespace soleguard {

// Who descends from whom, as of one look.
class Family {
 public:
  // A process and its ancestors. One that ends meanwhile ends the line.
  absl::StatusOr<std::vector<ProcessIdentity>> LineOf(os::Kin kin);
  // Of a process that has one. NotFound: the parent has ended since `kin` was read.
  absl::StatusOr<os::Kin> ParentOf(const os::Kin& kin);

 private:
  const absl::StatusOr<os::Kin>& Find(std::int64_t pid);

  std::map<std::int64_t, absl::StatusOr<os::Kin>> known_;
};

bool Has(const std::vector<ProcessIdentity>& line, const ProcessIdentity& process);

// Whether the record's holder, the command it was handed on to, or the guardian is in the line.
bool Covers(const HolderRecord& record, const std::vector<ProcessIdentity>& line);

// What could be read, and why something could not, if it is there.
struct Records {
  std::vector<HolderRecord> found;
  absl::Status unread;

  void Miss(const absl::Status& status) {
    if (!status.ok() && !absl::IsNotFound(status) && !absl::IsDataLoss(status)) unread = status;
  }
};

// The records of a name: those in its directory, and those that the layers of `kinds` show. Valid
// only where the holder lives.
Records RecordsOf(std::span<const LayerKind> kinds, const Scope& scope, const InstanceName& name);

// The records of all other names of the scope.
Records RecordsOfOthers(std::span<const LayerKind> kinds, const Scope& scope,
                        const InstanceName& name);

// Whether a layer that could not tell may do so the next time. Where it never works (a foreign
// program has the port, the kernel has no semaphores) nobody holds it either, and who waits for it
// to tell would wait for ever.
bool IsTransient(const absl::Status& status);

}  // namespace soleguard
