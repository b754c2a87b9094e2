// Five real users of a group's directory, by their numbers alone: neither they nor the group have
// entries in the password database.
#pragma once

#include <grp.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "support/child.h"

namespace soleguard::testing {

constexpr gid_t kSharedGroup = 4242;

struct User {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups = {};
};

inline const User kOwner{"owner", 4000, 4000, {kSharedGroup}};  // of the directory
inline const User kPrimary{"primary", 4001, kSharedGroup};
inline const User kSupplementary{"supplementary", 4002, 4002, {kSharedGroup}};
inline const User kRoot{"root", 0, 0};
inline const User kOutsider{"outsider", 65534, 65534};
inline const std::vector<User> kMembers = {kOwner, kPrimary, kSupplementary, kRoot};

// With the umask of a login shell. False where that is not allowed.
inline bool Become(const User& user) {
  (void)umask(0022);
  return setgroups(user.groups.size(), user.groups.data()) == 0 &&
         setresgid(user.gid, user.gid, user.gid) == 0 &&
         setresuid(user.uid, user.uid, user.uid) == 0;
}

// Makes a directory as docs/ says, for the group of the five.
inline bool MakeShared(const std::string& path) {
  return mkdir(path.c_str(), 0700) == 0 && chown(path.c_str(), kOwner.uid, kSharedGroup) == 0 &&
         chmod(path.c_str(), 02770) == 0;
}

// The words in front of a command that `user` runs.
inline std::vector<std::string> LauncherOf(const User& user) {
  std::vector<std::string> words = {"setpriv", "--reuid", std::to_string(user.uid), "--regid",
                                    std::to_string(user.gid)};
  if (user.groups.empty()) {
    words.emplace_back("--clear-groups");
  } else {
    words.emplace_back("--groups");
    words.push_back(std::to_string(user.groups.front()));
  }
  return words;
}

}  // namespace soleguard::testing
