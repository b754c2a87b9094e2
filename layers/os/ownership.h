// Who may own the objects of a scope.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/statusor.h>

namespace soleguard::os {

// Who may have made the objects of a scope, for a start and for a look alike: nothing of another
// user's object is believed, counted or acted upon. What he planted, or what a mistake left that
// would let others in, is refused and its owner named; it is never mended.
struct Ownership {
  enum class Rule {
    kOwner,        // `uid` only: directories 0700, files 0600
    kGroup,        // any member of `gid`, and root: directories 2770, files 0660
    kOwnerOrRoot,  // `uid` or root, whatever the mode: files that other programs made
  };
  Rule rule = Rule::kOwner;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::string directory = {};  // of a scope that a group shares: where its members show themselves
};

// Whether a user may own what belongs to the scope. In a group's scope that is a member (a process
// that may write the scope's directory), or root. A start leaves the empty file `member.UID` in
// the directory, which only a member can have made: neither the password database nor the groups
// of a process that may have ended show what setpriv(1) or a service's SupplementaryGroups= gave.
bool MayOwn(std::uint32_t uid, const Ownership& ownership);
// The same of a process at the other end of a socket, with all its groups (socket(7)).
bool MayOwn(std::uint32_t uid, const std::vector<std::uint32_t>& groups,
            const Ownership& ownership);
// The rule of the calling user's own scope. FailedPrecondition in a user namespace that does not
// map him: all whom it does not map look alike there.
absl::StatusOr<Ownership> OwnershipOfCaller();

// "trader (uid 1000)"; says where a user namespace hides who it is (user_namespaces(7)).
std::string Who(std::uint32_t uid);

// Whether the number stands for all whom the caller's user namespace does not map (65534), and so
// tells nothing.
bool IsHiddenUser(std::uint32_t uid);
bool IsHiddenGroup(std::uint32_t gid);

}  // namespace soleguard::os
