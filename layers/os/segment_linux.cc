// POSIX shared memory (shm_overview(7)), which is a tmpfs at /dev/shm.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include <absl/strings/str_cat.h>

#include "os/denied.h"
#include "os/error.h"
#include "os/kept_fd.h"
#include "os/ownership.h"
#include "os/path.h"
#include "os/segment.h"

namespace soleguard::os {
namespace {

constexpr char kDirectory[] = "/dev/shm";

// Under its name only when all of it is right. False: another was faster.
absl::StatusOr<bool> Make(const Entry& entry, const Ownership& ownership) {
  const auto failed = [&] { return PathError(errno, "create", entry.path); };
  const UniqueFd file(RetryOnEintr(
      [&] { return open(kDirectory, O_TMPFILE | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR); }));
  if (!file) return failed();
  const bool shared = ownership.rule == Ownership::Rule::kGroup;
  if (fchmod(file.get(), shared ? 0660 : 0600) != 0) return failed();
  if (shared && fchown(file.get(), static_cast<uid_t>(-1), ownership.gid) != 0) return failed();
  const std::string open_file = absl::StrCat("/proc/self/fd/", file.get());
  if (linkat(AT_FDCWD, open_file.c_str(), AT_FDCWD, entry.path.c_str(), AT_SYMLINK_FOLLOW) == 0) {
    return true;
  }
  if (errno == EEXIST) return false;
  return failed();
}

}  // namespace

std::string SegmentPath(const std::string& name) { return absl::StrCat(kDirectory, "/", name); }

absl::Status KeepSegment(const std::string& name, const Ownership& ownership, Create create,
                         KeptFd& kept) {
  const std::string path = SegmentPath(name);
  const Entry entry{.parent = AT_FDCWD, .name = path, .path = path};
  // Never with O_CREAT: in a sticky directory the kernel refuses another member's file then
  // (fs.protected_regular).
  const Create open = create == Create::kNo ? Create::kNo : Create::kAsIf;
  constexpr int kMaxRemovals = 100;
  absl::Status kept_it;
  for (int i = 0; i < kMaxRemovals; ++i) {
    kept_it = KeepFile(entry, ownership, open, kept);
    if (create != Create::kYes || !absl::IsNotFound(kept_it)) return kept_it;
    const absl::StatusOr<bool> made = Make(entry, ownership);
    if (!made.ok()) return made.status();
  }
  return kept_it;
}

absl::Status CheckSegment(const std::string& name, const Ownership& ownership, std::size_t size) {
  const std::string path = SegmentPath(name);
  return CheckFile({.parent = AT_FDCWD, .name = path, .path = path}, ownership, size);
}

void RemoveSegment(const std::string& name) { (void)unlink(SegmentPath(name).c_str()); }

}  // namespace soleguard::os
