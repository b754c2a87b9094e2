#include "kit/state_directory.h"

#include <cstdint>
#include <optional>

#include <absl/strings/str_cat.h>

#include "base/hash.h"
#include "os/path.h"
#include "os/user.h"
#include "soleguard/patience.h"
#include "soleguard/scope_view.h"
#include "soleguard/text.h"

namespace soleguard {

namespace {

absl::StatusOr<std::string> ChosenStateDirectory(const Scope& scope) {
  if (!scope.state_directory().empty()) return scope.state_directory();
  if (scope.kind() == Scope::Kind::kDirectory) {
    absl::Status scope_answers = AwaitFilesystem(scope.directory());
    if (!scope_answers.ok()) return scope_answers;
  }
  const bool is_of_one_user =
      scope.kind() == Scope::Kind::kUser ||
      (scope.kind() == Scope::Kind::kDirectory && os::IsOwnersAlone(scope.directory()));
  if (is_of_one_user) return os::StateDirectory();
  return absl::FailedPreconditionError(absl::StrCat("several users may have a name in scope ",
                                                    EscapeBytes(scope.ToString()),
                                                    ", and each has a state directory of its own"));
}

}  // namespace

absl::StatusOr<std::string> SharedStateDirectory(const Scope& scope) {
  absl::StatusOr<std::string> chosen = ChosenStateDirectory(scope);
  if (!chosen.ok()) return chosen;
  absl::Status answers = AwaitFilesystem(*chosen);
  if (!answers.ok()) return answers;
  return chosen;
}

std::string StateNameOf(const Scope& scope) {
  const bool may_be_users = scope.kind() == Scope::Kind::kDirectory &&
                            IdentityOf(scope).starts_with("/run/lock/soleguard-");
  return may_be_users && IdentityOf(scope) == IdentityOf(Scope::User()) ? "user" : scope.ToString();
}

std::string StateKeyOf(const std::string& state_name) {
  if (!state_name.starts_with('/')) return state_name;
  return absl::StrCat("directory-", absl::Hex(HashOf(state_name), absl::kZeroPad16));
}

os::Ownership OwnershipIn(const std::string& state) {
  const std::optional<std::uint32_t> group = os::GroupThatMayWrite(state);
  if (!group.has_value()) return {.rule = os::Ownership::Rule::kOwnerOrRoot, .uid = os::OwnUid()};
  return {.rule = os::Ownership::Rule::kGroup, .uid = os::OwnUid(), .gid = *group};
}

}  // namespace soleguard
