#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/strings/str_cat.h>

#include "os/denied.h"
#include "os/ownership.h"
#include "os/path.h"
#include "os/user.h"
#include "os/user_scope.h"
#include "os/view.h"
#include "soleguard/scope.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

constexpr std::string_view kUserText = "user";
constexpr std::string_view kOfUserText = "user:";
constexpr std::string_view kSystemText = "system";
constexpr char kSystemDirectory[] = "/run/soleguard";

// PATH_MAX of Linux without the terminating zero; longer paths cannot be opened.
constexpr std::size_t kMaxPathBytes = 4095;

bool IsControl(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7f;
}

absl::Status Error(std::string_view path, const std::string& fault) {
  return absl::InvalidArgumentError(
      absl::StrCat("scope directory '", EscapeBytes(path), "': ", fault));
}

absl::Status CheckBytes(std::string_view path) {
  const auto bad = std::find_if(path.begin(), path.end(), IsControl);
  if (bad == path.end()) return absl::OkStatus();
  return Error(path, absl::StrCat("a path has no control characters, found one at byte ",
                                  bad - path.begin() + 1));
}

// `path`, which is absolute, with single slashes, none at its end, and without "." components.
// ".." is refused: what it leads to depends on symbolic links, which may change between two starts.
absl::StatusOr<std::string> Normalise(std::string_view path) {
  std::string normal;
  for (std::size_t begin = 0; begin < path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view component = path.substr(begin, end - begin);
    if (component == "..") {
      return Error(path, absl::StrCat("'..' at byte ", begin + 1,
                                      " leads to another place when a symbolic link changes; write "
                                      "the path without it"));
    }
    if (!component.empty() && component != ".") {
      normal += '/';
      normal += component;
    }
    begin = end + 1;
  }
  return normal.empty() ? "/" : normal;
}

absl::Status MayEnter(std::uint32_t uid) {
  const std::uint32_t own = os::OwnUid();
  if (own == 0) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat(
      "that scope belongs to ", os::Who(uid), ", and this process is ", os::Who(own),
      ": the directory of a user's scope is open to that user and root alone. Ask that user, or do "
      "it as root or as that user (",
      os::SudoAs(uid), ")"));
}

// A directory to root: what is in it is the user's own, so root looks at it, asks its holders to
// end, and starts nothing there.
absl::StatusOr<Scope> ScopeOfUser(std::string_view name) {
  const std::optional<std::uint32_t> uid = os::FindUid(name);
  if (!uid.has_value()) {
    return absl::NotFoundError(
        absl::StrCat("no user is called '", EscapeBytes(name),
                     "' in the password database (getent passwd lists them)"));
  }
  if (*uid == os::OwnUid()) return Scope::User();
  if (absl::Status may_enter = MayEnter(*uid); !may_enter.ok()) return may_enter;
  const std::string path = absl::StrCat(os::PlaceOfUserScopes(), *uid);
  // Everybody may make a directory of that name, and only its owner or root can take it away: one
  // that is the user's now stays so for as long as he likes. (The race: he removes it, and another
  // makes his own there. That one shows processes of his own, and no others are ever signalled.)
  if (absl::Status owned = os::CheckOwner(path, *uid); !owned.ok()) return owned;
  return Scope::Directory(path);
}

}  // namespace

// Always computed anew, never remembered: a process may change its effective uid.
Scope Scope::User() {
  const absl::StatusOr<os::OutsideUser> user = os::FindOutsideUser();
  return Scope(Kind::kUser,
               absl::StrCat(os::PlaceOfUserScopes(), user.ok() ? user->uid : os::OwnUid()));
}

Scope Scope::System() { return Scope(Kind::kSystem, kSystemDirectory); }

absl::StatusOr<Scope> Scope::Directory(std::string_view path) {
  if (path.size() > kMaxPathBytes) {
    return absl::InvalidArgumentError(absl::StrCat("scope directory: a path has at most ",
                                                   kMaxPathBytes, " bytes, this one has ",
                                                   path.size()));
  }
  if (!path.starts_with('/')) return Error(path, "the path must be absolute (begin with '/')");
  if (absl::Status status = CheckBytes(path); !status.ok()) return status;
  absl::StatusOr<std::string> directory = Normalise(path);
  if (!directory.ok()) return directory.status();
  return Scope(Kind::kDirectory, os::FollowLinks(*directory));
}

absl::StatusOr<Scope> Scope::Parse(std::string_view text) {
  if (text == kUserText) return User();
  if (text == kSystemText) return System();
  if (text.starts_with('/')) return Directory(text);
  if (text.starts_with(kOfUserText)) return ScopeOfUser(text.substr(kOfUserText.size()));
  constexpr std::size_t kMaxShown = 40;
  return absl::InvalidArgumentError(
      absl::StrCat("a scope is user, user:NAME, system or an absolute path, found '",
                   EscapeBytes(text.substr(0, kMaxShown)), text.size() > kMaxShown ? "...'" : "'"));
}

absl::StatusOr<Scope> Scope::WithStateDirectory(std::string_view path) const {
  absl::StatusOr<Scope> place = Directory(path);  // the rules for paths are the same
  if (!place.ok()) return place.status();
  Scope scope = *this;
  scope.state_directory_ = std::move(place->directory_);
  return scope;
}

std::string Scope::ToString() const {
  switch (kind_) {
    case Kind::kUser:
      return std::string(kUserText);
    case Kind::kSystem:
      return std::string(kSystemText);
    case Kind::kDirectory:
      break;
  }
  return directory_;
}

}  // namespace soleguard
