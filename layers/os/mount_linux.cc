#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "os/answer.h"
#include "os/error.h"
#include "os/file.h"
#include "os/mount.h"
#include "soleguard/text.h"

namespace soleguard::os {

namespace {

// Far more than a table of mounts is; what is behind is not looked at.
constexpr std::size_t kMaxTable = std::size_t{4} << 20;
constexpr std::size_t kMaxInfo = std::size_t{4} << 10;

// "key:	value" of fdinfo and status.
std::optional<std::string> ValueOf(const std::string& text, std::string_view key) {
  for (const auto line : absl::StrSplit(text, '\n')) {
    if (!absl::StartsWith(line, absl::string_view(key.data(), key.size()))) continue;
    return std::string(absl::StripAsciiWhitespace(line.substr(key.size())));
  }
  return std::nullopt;
}

// mountinfo writes blanks as \040 (proc(5)).
std::string WithoutOctal(absl::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    constexpr std::size_t kDigits = 3;
    if (text[i] != '\\' || i + kDigits >= text.size()) {
      plain += text[i];
      continue;
    }
    int value = 0;
    for (std::size_t j = 1; j <= kDigits; ++j) value = value * 8 + (text[i + j] - '0');
    plain += static_cast<char>(value);
    i += kDigits;
  }
  return plain;
}

}  // namespace

absl::StatusOr<std::vector<Mount>> Mounts() {
  const absl::StatusOr<std::string> table = ReadAll("/proc/self/mountinfo", kMaxTable);
  if (!table.ok()) return table.status();
  std::vector<Mount> mounts;
  for (const auto line : absl::StrSplit(*table, '\n')) {
    const std::vector<absl::string_view> fields = absl::StrSplit(line, ' ');
    constexpr std::size_t kBeforeTags = 6;
    if (fields.size() < kBeforeTags) continue;
    const auto dash = std::find(fields.begin() + kBeforeTags, fields.end(), "-");
    if (fields.end() - dash < 3) continue;
    mounts.push_back({.id = std::string(fields[0]),
                      .device = std::string(fields[2]),
                      .filesystem = {.type = std::string(dash[1]),
                                     .mount_point = WithoutOctal(fields[4]),
                                     .root = WithoutOctal(fields[3]),
                                     .source = WithoutOctal(dash[2])}});
  }
  return mounts;
}

namespace {

absl::StatusOr<Filesystem> MountOf(const std::string& id) {
  absl::StatusOr<std::vector<Mount>> mounts = Mounts();
  if (!mounts.ok()) return mounts.status();
  for (Mount& mount : *mounts) {
    if (mount.id == id) return std::move(mount.filesystem);
  }
  return absl::NotFoundError(absl::StrCat("/proc/self/mountinfo does not show mount ", id));
}

// O_PATH asks no server and needs no permission for the file itself.
UniqueFd OpenNearest(std::string path) {
  while (true) {
    UniqueFd fd(RetryOnEintr([&] { return open(path.c_str(), O_PATH | O_CLOEXEC); }));
    if (fd || path.size() <= 1) return fd;
    path = path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
  }
}

// The mount that `path` lies below by its text; nullptr: the table shows no root.
const Filesystem* MountAbove(const std::string& path, const std::vector<Mount>& mounts) {
  const std::string below = path + "/";
  const Filesystem* deepest = nullptr;
  for (const Mount& mount : mounts) {
    const std::string& point = mount.filesystem.mount_point;
    const bool is_above = point == "/" || below.starts_with(point + "/");
    const bool is_deeper =
        deepest == nullptr || point.size() >= deepest->mount_point.size();  // or mounted over it
    if (is_above && is_deeper) deepest = &mount.filesystem;
  }
  return deepest;
}

// The target of a link; empty: it is none, or cannot be seen.
std::string TargetOf(const std::string& path) {
  std::array<char, PATH_MAX> target{};
  const ssize_t size = readlink(path.c_str(), target.data(), target.size());
  return {target.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
}

}  // namespace

absl::StatusOr<std::optional<Filesystem>> MountOnTheWay(
    const std::string& path, bool (*is_wanted)(const std::string& type)) {
  const absl::StatusOr<std::vector<Mount>> mounts = Mounts();
  if (!mounts.ok()) return mounts.status();
  std::string walked;            // without links
  std::string rest = path;       // to be walked from there
  constexpr int kMaxLinks = 40;  // as the kernel (path_resolution(7))
  for (int links = 0; links < kMaxLinks;) {
    const Filesystem* mount = MountAbove(walked, *mounts);
    if (mount != nullptr && is_wanted(mount->type)) return std::optional(*mount);
    const std::size_t begin = rest.find_first_not_of('/');
    if (begin == std::string::npos) return std::optional<Filesystem>();
    const std::size_t end = std::min(rest.find('/', begin), rest.size());
    const std::string name = rest.substr(begin, end - begin);
    rest.erase(0, end);
    if (name == ".") continue;
    if (name == "..") {
      walked.erase(std::min(walked.rfind('/'), walked.size()));
      continue;
    }
    const std::string next = absl::StrCat(walked, "/", name);
    // Not of what is mounted there: readlink(2) of a mount point asks that filesystem.
    const Filesystem* above = MountAbove(next, *mounts);
    const std::string target = above != nullptr && is_wanted(above->type) ? "" : TargetOf(next);
    if (target.empty()) {
      walked = next;
      continue;
    }
    ++links;
    if (target.starts_with('/')) walked.clear();
    rest = absl::StrCat(target, "/", rest);
  }
  return std::optional<Filesystem>();
}

absl::StatusOr<Filesystem> FilesystemAt(const std::string& path) {
  const UniqueFd fd = OpenNearest(path);
  if (!fd) return ErrnoStatus(errno, absl::StrCat("open ", EscapeBytes(path)));
  const absl::StatusOr<std::string> info =
      ReadAll(absl::StrCat("/proc/self/fdinfo/", fd.get()), kMaxInfo);
  if (!info.ok()) return info.status();
  const std::optional<std::string> mount = ValueOf(*info, "mnt_id:");
  if (!mount.has_value()) return absl::UnavailableError("/proc/self/fdinfo names no mount");
  absl::StatusOr<Filesystem> filesystem = MountOf(*mount);
  if (!filesystem.ok()) return filesystem;
  struct statvfs status = {};
  if (fstatvfs(fd.get(), &status) != 0) {
    return ErrnoStatus(errno, absl::StrCat("statvfs ", EscapeBytes(path)));
  }
  filesystem->read_only = (status.f_flag & ST_RDONLY) != 0;
  // A filesystem without a table of inodes says 0 of 0.
  const bool no_inodes = status.f_files != 0 && status.f_favail == 0 && geteuid() != 0;
  const bool no_inodes_at_all = status.f_files != 0 && status.f_ffree == 0;
  const bool no_blocks = status.f_blocks != 0 && status.f_bavail == 0 && geteuid() != 0;
  const bool no_blocks_at_all = status.f_blocks != 0 && status.f_bfree == 0;
  filesystem->full = no_inodes || no_inodes_at_all || no_blocks || no_blocks_at_all;
  return filesystem;
}

std::vector<std::string> OtherPathsTo(const std::string& path) {
  const absl::StatusOr<std::vector<Mount>> mounts = Mounts();
  const Filesystem* own = mounts.ok() ? MountAbove(path, *mounts) : nullptr;
  struct stat status = {};
  if (own == nullptr || !ServedMountAbove(path).empty() || stat(path.c_str(), &status) != 0) {
    return {};
  }
  const auto below = [](std::string_view whole, std::string_view above) {
    return std::string(whole.substr(above == "/" ? 0 : above.size()));
  };
  // Where it is in its filesystem.
  const std::string inside = (own->root == "/" ? "" : own->root) + below(path, own->mount_point);
  std::vector<std::string> others;
  for (const Mount& mount : *mounts) {
    const std::string& root = mount.filesystem.root;
    const bool shows_it = root == "/" || inside == root || inside.starts_with(root + "/");
    if (!shows_it) continue;
    const std::string& point = mount.filesystem.mount_point;
    const std::string other = (point == "/" ? "" : point) + below(inside, root);
    struct stat there = {};
    if (other == path || !ServedMountAbove(other).empty() || stat(other.c_str(), &there) != 0 ||
        there.st_dev != status.st_dev || there.st_ino != status.st_ino) {
      continue;
    }
    others.push_back(other);
  }
  return others;
}

}  // namespace soleguard::os
