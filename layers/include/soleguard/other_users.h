// Who else has a name: holders in the user scopes of other users, which the caller's scope does not
// exclude. Advice for a person; no verdict depends on it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "soleguard/name.h"
#include "soleguard/record.h"

namespace soleguard {

// A holder in the scope of another user.
struct OtherUsersHolder {
  std::uint32_t uid = 0;
  std::string user;     // its name in the password database, else the number
  HolderRecord record;  // of a process of that user which has not ended
};

// Those of `name`, or without one of all names, in slot 0 of each; sorted by user and name. Root
// alone may look into these scopes: others get none, and it costs them one system call. Reads
// records, takes no lock, and follows nothing that a user has put there. Takes at most 200 ms, and
// looks at no more than 1,000 scopes and 1,000 names in each: then there may be more. Thread-safe.
std::vector<OtherUsersHolder> HoldersOfOtherUsers(const std::optional<InstanceName>& name);

}  // namespace soleguard
