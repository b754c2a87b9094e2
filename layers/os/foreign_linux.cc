#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>

#include "os/error.h"
#include "os/foreign.h"
#include "soleguard/fd.h"
#include "soleguard/text.h"

namespace soleguard::os {
namespace {

int OpenBeneath(int parent, const std::string& path, std::uint64_t flags) {
  open_how how = {};
  how.flags = flags | O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  return static_cast<int>(syscall(SYS_openat2, parent, path.c_str(), &how, sizeof how));
}

// The directory itself is the system's, and may be a link of root's (/run/lock).
UniqueFd OpenParent(const std::string& parent) {
  return UniqueFd(
      RetryOnEintr([&] { return open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
}

bool IsOf(int fd, mode_t type, std::uint32_t user) {
  struct stat status = {};
  return fstat(fd, &status) == 0 && (status.st_mode & S_IFMT) == type && status.st_uid == user &&
         (type == S_IFDIR || status.st_nlink == 1);
}

// Hands each name in the directory to `take`.
void ForEachName(UniqueFd directory, const Bound& bound,
                 const std::function<void(std::string_view name)>& take) {
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(directory.get()), &closedir);
  if (stream == nullptr) return;
  (void)directory.release();  // the stream's now
  for (std::size_t i = 0; i < bound.entries && !bound.is_over(); ++i) {
    const dirent* entry = readdir(stream.get());  // NOLINT(concurrency-mt-unsafe): own stream
    if (entry == nullptr) return;
    take(entry->d_name);
  }
}

std::optional<std::uint32_t> UserIn(std::string_view name, const std::string& prefix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  const std::string number(name.substr(prefix.size()));
  std::uint32_t user = 0;
  const bool is_one = absl::SimpleAtoi(number, &user) && absl::StrCat(user) == number;
  return is_one ? std::optional(user) : std::nullopt;
}

}  // namespace

std::vector<std::uint32_t> UsersWithDirectory(const std::string& parent, const std::string& prefix,
                                              const Bound& bound) {
  std::vector<std::uint32_t> users;
  const UniqueFd opened = OpenParent(parent);
  if (!opened) return users;
  ForEachName(OpenParent(parent), bound, [&](std::string_view name) {
    const std::optional<std::uint32_t> user = UserIn(name, prefix);
    if (!user.has_value()) return;
    const UniqueFd own(OpenBeneath(opened.get(), std::string(name), O_DIRECTORY));
    if (own && IsOf(own.get(), S_IFDIR, *user)) users.push_back(*user);
  });
  return users;
}

absl::Status KeepForeignFile(const std::string& parent, const std::string& path, std::uint32_t user,
                             KeptFd& kept) {
  const UniqueFd opened = OpenParent(parent);
  const std::string shown = EscapeBytes(absl::StrCat(parent, "/", path));
  if (!opened) return ErrnoStatus(errno, absl::StrCat("open ", EscapeBytes(parent)));
  absl::Status found =
      kept.Keep(absl::StrCat("open ", shown), [&] { return OpenBeneath(opened.get(), path, 0); });
  if (!found.ok() || IsOf(kept.get(), S_IFREG, user)) return found;
  kept.Close();
  return absl::FailedPreconditionError(
      absl::StrCat(shown, " is no file of uid ", user, " with one name"));
}

std::vector<std::string> ForeignNames(const std::string& parent, const std::string& path,
                                      std::uint32_t user, const Bound& bound) {
  std::vector<std::string> names;
  const UniqueFd opened = OpenParent(parent);
  if (!opened) return names;
  UniqueFd directory(OpenBeneath(opened.get(), path, O_DIRECTORY));
  if (!directory || !IsOf(directory.get(), S_IFDIR, user)) return names;
  ForEachName(std::move(directory), bound, [&names](std::string_view name) {
    if (name != "." && name != "..") names.emplace_back(name);
  });
  return names;
}

}  // namespace soleguard::os
