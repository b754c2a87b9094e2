// Who may share the objects of a scope, for layers that live outside of its directory. Private to
// layers/.
#pragma once

#include <absl/status/statusor.h>

#include "os/os.h"
#include "soleguard/scope.h"

namespace soleguard {

// In user scope no file system is asked: one that fails must not take other layers with it.
// Otherwise the scope's directory tells, which is created if its rule allows that.
inline absl::StatusOr<os::Ownership> OwnershipOf(const Scope& scope) {
  if (scope.kind() == Scope::Kind::kUser) {
    return os::Ownership{.rule = os::Ownership::Rule::kOwner, .uid = os::OwnUid()};
  }
  os::KeptFd directory;
  return os::KeepScopeDirectory(scope, os::Create::kYes, directory);
}

// Whether a process of user `uid` may hold what belongs to the scope.
inline bool MayHold(std::uint32_t uid, const os::Ownership& ownership) {
  switch (ownership.rule) {
    case os::Ownership::Rule::kOwner:
    case os::Ownership::Rule::kOwnerOrRoot:
      return uid == ownership.uid;
    case os::Ownership::Rule::kGroup:
      return uid == 0 || os::IsMember(uid, ownership.gid);
    case os::Ownership::Rule::kAnyone:
      return true;
  }
  return false;
}

}  // namespace soleguard
