#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <absl/strings/str_cat.h>

#include "os/kept_fd.h"
#include "soleguard/vantage.h"

namespace soleguard {
namespace {

#ifndef STATX_MNT_ID_UNIQUE
constexpr unsigned STATX_MNT_ID_UNIQUE = 0x4000;  // Linux 6.8; an older kernel gives STATX_MNT_ID
#endif

absl::Status Changed(std::string_view what) {
  return absl::UnavailableError(absl::StrCat(
      "cannot tell: this process has changed its ", absl::string_view(what.data(), what.size()),
      " since it acquired the name, and does not see what others see"));
}

}  // namespace

Vantage::Noted Vantage::Note(unsigned parts) {
  Noted noted;
  if ((parts & kFiles) != 0) {
    // A new mount namespace is a copy of all mounts, and each copy has a number of its own
    // (copy_mnt_ns, Linux 6.18). Needs no /proc, which a new root directory may not have.
    struct statx status = {};
    if (statx(AT_FDCWD, "/", 0, STATX_INO | STATX_MNT_ID | STATX_MNT_ID_UNIQUE, &status) == 0) {
      noted.root = {.mount = status.stx_mnt_id,
                    .device = makedev(status.stx_dev_major, status.stx_dev_minor),
                    .inode = status.stx_ino};
    }
  }
  const auto namespace_at = [](const char* path) {
    struct stat status = {};
    if (stat(path, &status) != 0) return Object{};
    return Object{.device = status.st_dev, .inode = status.st_ino};
  };
  if ((parts & kIpc) != 0) noted.ipc = namespace_at("/proc/thread-self/ns/ipc");
  if ((parts & kNetwork) != 0) noted.network = namespace_at("/proc/thread-self/ns/net");
  if ((parts & kUser) != 0) noted.user = geteuid();
  return noted;
}

Vantage::Vantage(unsigned parts) : parts_(parts), noted_(Note(parts)) {
  const os::ProcessMark mark;
  generation_ = mark.generation();
  pid_ = mark.pid();
}

absl::Status Vantage::Check(unsigned parts) const {
  const Noted now = Note(parts_ & parts);
  parts &= parts_;
  if ((parts & kFiles) != 0 && now.root != noted_.root) {
    return Changed("root directory or mount namespace");
  }
  if ((parts & kIpc) != 0 && now.ipc != noted_.ipc) return Changed("ipc namespace");
  if ((parts & kNetwork) != 0 && now.network != noted_.network) {
    return Changed("network namespace");
  }
  if ((parts & kUser) != 0 && now.user != noted_.user) return Changed("effective user");
  return absl::OkStatus();
}

bool Vantage::IsOfCaller() const { return os::ProcessMark(generation_, pid_).IsCurrent(); }

}  // namespace soleguard
