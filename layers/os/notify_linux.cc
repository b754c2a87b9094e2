#include <fcntl.h>
#include <sys/inotify.h>

#include <cerrno>
#include <cstdint>
#include <string>

#include <absl/strings/str_cat.h>

#include "os/error.h"
#include "os/kept_fd.h"
#include "os/notify.h"
#include "os/path.h"
#include "soleguard/text.h"

namespace soleguard::os {

absl::Status KeepWatchOf(const Entry& entry, KeptFd& kept) {
  const UniqueFd file(RetryOnEintr(
      [&] { return openat(entry.parent, entry.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC); }));
  if (!file) return ErrnoStatus(errno, absl::StrCat("watch ", EscapeBytes(entry.path)));
  absl::Status made =
      kept.Keep("open an inotify instance", [] { return inotify_init1(IN_CLOEXEC | IN_NONBLOCK); });
  if (!made.ok()) return made;
  const std::string path = absl::StrCat("/proc/self/fd/", file.get());
  constexpr std::uint32_t kEnd = IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;
  if (inotify_add_watch(kept.get(), path.c_str(), kEnd) >= 0) return absl::OkStatus();
  const int error = errno;
  kept.Close();
  return ErrnoStatus(error, absl::StrCat("watch ", EscapeBytes(entry.path)));
}

UniqueFd WatchNamesIn(int directory) {
  UniqueFd watch(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!watch) return watch;
  const std::string path = absl::StrCat("/proc/self/fd/", directory);
  constexpr std::uint32_t kNames = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE;
  if (inotify_add_watch(watch.get(), path.c_str(), kNames) < 0) watch.reset();
  return watch;
}

absl::StatusOr<UniqueFd> WatchWrites(int fd) {
  UniqueFd watch(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!watch) return ErrnoStatus(errno, "open an inotify instance");
  // By the descriptor, not by a path that may lead to another file by now.
  if (inotify_add_watch(watch.get(), absl::StrCat("/proc/self/fd/", fd).c_str(), IN_MODIFY) < 0) {
    return ErrnoStatus(errno, "watch a file");
  }
  return watch;
}

}  // namespace soleguard::os
