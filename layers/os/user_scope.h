// Where the user scopes are, each of which belongs to one user. Private to layers/.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <absl/status/status.h>

namespace soleguard::os {

// "/run/lock/soleguard-" where /run/lock is for everybody, else "/tmp/soleguard-": the number of a
// user follows.
std::string PlaceOfUserScopes();

// Whose user scope the directory is by its path, whether it exists or not; nullopt: nobody's.
std::optional<std::uint32_t> UserOfScopeAt(const std::string& path);

// OK where the directory belongs to the user, or does not exist. FailedPrecondition names who else
// has made it, or says that it is no directory.
absl::Status CheckOwner(const std::string& path, std::uint32_t uid);

}  // namespace soleguard::os
