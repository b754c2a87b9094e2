#include <sys/stat.h>

#include <array>
#include <string_view>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>

#include "os/ownership.h"
#include "os/path.h"
#include "os/user_scope.h"
#include "soleguard/text.h"

namespace soleguard::os {
namespace {

constexpr char kInRun[] = "/run/lock";
constexpr char kInTmp[] = "/tmp";
constexpr char kPrefix[] = "/soleguard-";

}  // namespace

std::string PlaceOfUserScopes() {
  return absl::StrCat(IsSharedByEverybody(kInRun) ? kInRun : kInTmp, kPrefix);
}

std::optional<std::uint32_t> UserOfScopeAt(const std::string& path) {
  for (const char* parent : {kInRun, kInTmp}) {
    const std::string place = absl::StrCat(parent, kPrefix);
    if (!path.starts_with(place)) continue;
    const std::string number = path.substr(place.size());
    std::uint32_t uid = 0;
    if (absl::SimpleAtoi(number, &uid) && absl::StrCat(uid) == number) return uid;
  }
  return std::nullopt;
}

absl::Status CheckOwner(const std::string& path, std::uint32_t uid) {
  struct stat status = {};
  if (lstat(path.c_str(), &status) != 0) return absl::OkStatus();
  if (S_ISDIR(status.st_mode) && status.st_uid == uid) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(EscapeBytes(path), " is no directory of ", Who(uid), "; it belongs to ",
                   Who(status.st_uid), ". Find out who put it there before you remove it"));
}

}  // namespace soleguard::os
