#include "soleguard/other_users.h"

#include <algorithm>
#include <chrono>
#include <string_view>
#include <utility>

#include <absl/status/statusor.h>
#include <absl/strings/str_cat.h>

#include "kit/name_directory.h"
#include "kit/record_area.h"
#include "os/foreign.h"
#include "os/kept_fd.h"
#include "os/user.h"
#include "os/user_scope.h"
#include "soleguard/patience.h"
#include "soleguard/process.h"

namespace soleguard {
namespace {

constexpr std::chrono::milliseconds kMostTime{200};
constexpr std::size_t kMostScopes = 1000;
constexpr std::size_t kMostNames = 1000;
constexpr std::size_t kMostEntries = 100'000;  // of the directory in which all scopes are

// Whether a process that the record names lives, and belongs to that user: he may have written the
// number of any process.
bool IsRunBy(const HolderRecord& record, std::uint32_t user) {
  const auto is_his = [user](const ProcessIdentity& process) {
    if (LivenessOf(process) == Liveness::kGone) return false;
    const absl::StatusOr<ProcessDescription> description = Describe(process);
    return description.ok() && description->uid == user;
  };
  return is_his(record.identity) || is_his(record.running());
}

// Where the user scopes are: "/run/lock", and "soleguard-" before the number of each.
struct Place {
  std::string parent;
  std::string prefix;
};

Place PlaceOfUserScopes() {
  const std::string place = os::PlaceOfUserScopes();
  const std::size_t slash = place.rfind('/');
  return {.parent = place.substr(0, slash), .prefix = place.substr(slash + 1)};
}

std::optional<HolderRecord> RecordOf(const Place& place, std::uint32_t user,
                                     const std::string& name) {
  os::KeptFd file;
  const std::string path = absl::StrCat(place.prefix, user, "/", kNames, "/", name, "/record");
  if (!os::KeepForeignFile(place.parent, path, user, file).ok()) return std::nullopt;
  absl::StatusOr<DecodedRecord> decoded = ReadRecord(file);
  if (!decoded.ok() || decoded->record.state == RecordState::kReleasing ||
      decoded->record.name != name || !IsRunBy(decoded->record, user)) {
    return std::nullopt;
  }
  return std::move(decoded->record);
}

}  // namespace

std::vector<OtherUsersHolder> HoldersOfOtherUsers(const std::optional<InstanceName>& name) {
  std::vector<OtherUsersHolder> holders;
  if (os::OwnUid() != 0) return holders;
  const Patience for_name_services(absl::FromChrono(kMostTime));
  const Place place = PlaceOfUserScopes();
  os::Bound bound{.entries = kMostEntries, .end = std::chrono::steady_clock::now() + kMostTime};
  std::vector<std::uint32_t> users = os::UsersWithDirectory(place.parent, place.prefix, bound);
  std::sort(users.begin(), users.end());
  users.resize(std::min(users.size(), kMostScopes));
  bound.entries = kMostNames;
  for (const std::uint32_t user : users) {
    if (user == os::OwnUid()) continue;
    std::vector<std::string> names;
    if (name.has_value()) {
      names.push_back(name->text());
    } else {
      names = os::ForeignNames(place.parent, absl::StrCat(place.prefix, user, "/", kNames), user,
                               bound);
      std::sort(names.begin(), names.end());
    }
    for (const std::string& one : names) {
      if (bound.is_over()) return holders;
      std::optional<HolderRecord> record = RecordOf(place, user, one);
      if (!record.has_value()) continue;
      holders.push_back({.uid = user, .user = UserName(user), .record = *std::move(record)});
    }
  }
  return holders;
}

}  // namespace soleguard
