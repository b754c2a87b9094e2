#include <cstdint>
#include <string>
#include <string_view>

#include <absl/status/statusor.h>
#include <absl/strings/match.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>

#include "os/view.h"
#include "soleguard/process.h"
#include "soleguard/scope_view.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

constexpr char kOfUserInRun[] = "/run/lock/soleguard-";
constexpr char kOfUserInTmp[] = "/tmp/soleguard-";

// Either place of a user's scope is that scope, also if it is named as a directory.
std::string IdentityOf(std::string_view path) {
  if (!path.starts_with(kOfUserInTmp)) return std::string(path);
  const std::string number(path.substr(std::string_view(kOfUserInTmp).size()));
  std::uint32_t uid = 0;
  const bool is_one = absl::SimpleAtoi(number, &uid) && absl::StrCat(uid) == number;
  return is_one ? absl::StrCat(kOfUserInRun, uid) : std::string(path);
}

}  // namespace

std::string IdentityOf(const Scope& scope) { return IdentityOf(scope.directory()); }

bool IsCalled(const Scope& scope, std::string_view text) {
  if (text == scope.ToString()) return true;
  if (scope.kind() == Scope::Kind::kSystem) return false;
  const std::string identity = IdentityOf(scope);
  if (text == Scope::User().ToString()) return identity.starts_with(kOfUserInRun);
  return IdentityOf(text) == identity;
}

absl::Status CheckIdentified(const Scope& scope) {
  if (scope.kind() != Scope::Kind::kUser) return absl::OkStatus();
  const absl::StatusOr<os::OutsideUser> user = os::FindOutsideUser();
  if (!user.ok()) return user.status();
  // Seen from outside of a container the number may be wrong, and meets nobody's there. All that
  // are in it read the same one, but for those in a user namespace of their own.
  if (user->certain || (os::IsInContainer() && os::SharesUsersWithProcess1())) {
    return absl::OkStatus();
  }
  // The user of that number has made it, and it belongs to this one: it is the same.
  if (os::IsOwnDirectory(scope.directory())) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "this process is in a user namespace that hides which user of the system it is; it may be ",
      "uid ", user->uid, ". A start as that user outside of it, which makes ",
      EscapeBytes(scope.directory()),
      ", tells for certain; or map the group too, or let all use --scope DIRECTORY"));
}

absl::Status CheckPlace(const Scope& scope) {
  absl::Status identified = CheckIdentified(scope);
  if (!identified.ok() || scope.kind() != Scope::Kind::kUser) return identified;
  const std::string& directory = scope.directory();
  return os::CheckPlaceIsShared(directory.substr(0, directory.rfind('/')));
}

}  // namespace soleguard
