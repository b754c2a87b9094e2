// Who may own what belongs to a scope.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>

#include "os/file.h"
#include "os/ownership.h"
#include "os/user.h"
#include "soleguard/process.h"
#include "soleguard/text.h"

namespace soleguard::os {
namespace {

// What stands for all whom a user namespace does not map (overflowuid, user_namespaces(7)).
constexpr std::uint32_t kOverflow = 65534;

// Whether `id` is the overflow id, and no real one of this namespace.
bool IsHidden(std::uint32_t id, const char* map_file) {
  if (id != kOverflow) return false;
  const Stream map = OpenStream(map_file);
  if (map == nullptr) return errno != ENOENT;  // a kernel without user namespaces
  unsigned inside = 0;
  unsigned outside = 0;
  unsigned count = 0;
  // NOLINTNEXTLINE(cert-err34-c): lines of the kernel's
  while (std::fscanf(map.get(), "%u %u %u", &inside, &outside, &count) == 3) {
    if (id >= inside && id - inside < count) return false;
  }
  return true;
}

bool CallerIsIn(std::uint32_t gid) {
  if (getegid() == gid) return true;
  std::vector<gid_t> groups(static_cast<std::size_t>(std::max(getgroups(0, nullptr), 0)));
  const int count = getgroups(static_cast<int>(groups.size()), groups.data());
  groups.resize(static_cast<std::size_t>(std::max(count, 0)));
  return std::find(groups.begin(), groups.end(), gid) != groups.end();
}

// Only a process that may write the directory has made it, and nobody but root makes another
// user's file.
bool HasShownItself(std::uint32_t uid, const std::string& directory) {
  if (directory.empty()) return false;
  struct stat status = {};
  const std::string path = absl::StrCat(directory, "/member.", uid);
  return lstat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == uid &&
         status.st_nlink == 1;
}

}  // namespace

bool IsHiddenUser(std::uint32_t uid) { return IsHidden(uid, "/proc/self/uid_map"); }
bool IsHiddenGroup(std::uint32_t gid) { return IsHidden(gid, "/proc/self/gid_map"); }

std::string Who(std::uint32_t uid) {
  if (IsHiddenUser(uid)) {
    return absl::StrCat("a user whom this user namespace does not map (shown as uid ", uid, ")");
  }
  return absl::StrCat(EscapeBytes(UserName(uid)), " (uid ", uid, ")");
}

absl::StatusOr<Ownership> OwnershipOfCaller() {
  const std::uint32_t own = geteuid();
  if (!IsHiddenUser(own)) return Ownership{.rule = Ownership::Rule::kOwner, .uid = own};
  return absl::FailedPreconditionError(
      "this process runs in a user namespace that does not map its user: what belongs to it cannot "
      "be told from what belongs to others. Start it outside, or with a map "
      "(unshare --map-current-user)");
}

bool MayOwn(std::uint32_t uid, const Ownership& ownership) {
  if (IsHiddenUser(uid)) return false;
  switch (ownership.rule) {
    case Ownership::Rule::kOwner:
    case Ownership::Rule::kOwnerOrRoot:
      return uid == ownership.uid;
    case Ownership::Rule::kGroup:
      return uid == 0 || uid == ownership.uid || (uid == geteuid() && CallerIsIn(ownership.gid)) ||
             HasShownItself(uid, ownership.directory) || IsMember(uid, ownership.gid);
  }
  return false;
}

bool MayOwn(std::uint32_t uid, const std::vector<std::uint32_t>& groups,
            const Ownership& ownership) {
  if (ownership.rule == Ownership::Rule::kGroup && !IsHiddenUser(uid) &&
      !IsHiddenGroup(ownership.gid) &&
      std::find(groups.begin(), groups.end(), ownership.gid) != groups.end()) {
    return true;
  }
  return MayOwn(uid, ownership);
}

}  // namespace soleguard::os
