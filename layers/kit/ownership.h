// Who may share the objects of a scope, for layers that live outside of its directory. One rule for
// those who try and those who look. Private to layers/.
#pragma once

#include <absl/status/statusor.h>

#include "os/kept_fd.h"
#include "os/ownership.h"
#include "os/path.h"
#include "soleguard/scope.h"
#include "soleguard/scope_view.h"

namespace soleguard {

// In user scope no file system is asked: one that fails must not take other layers with it.
// Otherwise the scope's directory tells, which kYes creates if its rule allows that. A look, which
// creates nothing, is told what that start would be where there is no directory: its objects may
// have been deleted under a holder.
inline absl::StatusOr<os::Ownership> OwnershipOf(const Scope& scope, os::Create create) {
  if (scope.kind() == Scope::Kind::kUser) {
    absl::Status identified = CheckIdentified(scope);
    if (!identified.ok()) return identified;
    return os::OwnershipOfCaller();
  }
  os::KeptFd directory;
  absl::StatusOr<os::Ownership> ownership = os::KeepScopeDirectory(scope, create, directory);
  const bool would_be_made = scope.kind() == Scope::Kind::kDirectory && create != os::Create::kYes;
  if (absl::IsNotFound(ownership.status()) && would_be_made) return os::OwnershipOfCaller();
  return ownership;
}

}  // namespace soleguard
