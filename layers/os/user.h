// Users and groups.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace soleguard::os {

// The effective user of the calling process.
std::uint32_t OwnUid();

std::uint32_t OwnRealUid();

struct User {
  std::string name;
  std::uint32_t gid = 0;  // of the primary group
  std::string home;
};
// The entry of `uid` in the password database: /etc/passwd first, then what nsswitch.conf(5) names.
// nullopt: it has none, or it could not be asked.
std::optional<User> FindUser(std::uint32_t uid);
// The uid of the user `name`, or the number that `name` is. nullopt: no user is called so, or the
// password database could not be asked.
std::optional<std::uint32_t> FindUid(std::string_view name);

// Whether a user belongs to a group, by the password database and /etc/group. Groups that only a
// name service knows are not seen: a program that is linked statically cannot load it.
bool IsMember(std::uint32_t uid, std::uint32_t gid);

}  // namespace soleguard::os
