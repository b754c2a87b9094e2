// The scope: who shares an instance name, and where its objects live.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <absl/status/statusor.h>

namespace soleguard {

// Where a scope lives is decided by rule, never by what happens to work: two copies of a program
// that were started by a shell, sudo, cron and a service must look at the same place. So neither
// XDG_RUNTIME_DIR nor TMPDIR nor HOME is asked. Immutable, thread-safe.
class Scope {
 public:
  enum class Kind { kUser, kSystem, kDirectory };

  // All processes of the calling process's effective uid on this host: /run/lock/soleguard-UID
  // where /run/lock belongs to root and is sticky and world-writable, else /tmp/soleguard-UID.
  static Scope User();
  // The members of the group that owns /run/soleguard, on this host. Any of them can block any
  // name.
  static Scope System();
  // All processes that may write the directory `path`. InvalidArgument unless `path` is absolute: a
  // relative path names another place in each working directory, and two copies would not see each
  // other. InvalidArgument also for "..", control characters and more than 4,095 bytes. Normalised
  // as text.
  static absl::StatusOr<Scope> Directory(std::string_view path);
  // "user", "system", an absolute path, or for root "user:NAME": the scope of another user.
  static absl::StatusOr<Scope> Parse(std::string_view text);

  Kind kind() const { return kind_; }
  // The scope directory; it need not exist yet.
  const std::string& directory() const { return directory_; }
  // What Parse accepts.
  std::string ToString() const;

  // The same scope with another place for what must outlive a reboot (the ceilings of fencing
  // tokens). By rule that is /var/lib/soleguard for root, else .local/state/soleguard in the home
  // that the password database names. InvalidArgument as for Directory. All processes that share a
  // name must agree.
  absl::StatusOr<Scope> WithStateDirectory(std::string_view path) const;
  // Empty: by rule.
  const std::string& state_directory() const { return state_directory_; }

  friend bool operator==(const Scope&, const Scope&) = default;

 private:
  Scope(Kind kind, std::string directory) : kind_(kind), directory_(std::move(directory)) {}

  Kind kind_;
  std::string directory_;
  std::string state_directory_;
};

}  // namespace soleguard
