#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include <absl/strings/str_cat.h>

#include "guardian/verdict_fd.h"
#include <soleguard/fd.h>

namespace guardcheck {

absl::Status TakeVerdictFd(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY) {
    return absl::InvalidArgumentError(
        absl::StrCat("descriptor ", fd, " is not open for writing; in a shell: ", fd, ">FILE"));
  }
  if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "set close-on-exec");
  return absl::OkStatus();
}

absl::Status WriteVerdict(int fd, const std::string& line) {
  const soleguard::UniqueFd owned(fd);
  const std::string text = line + "\n";
  absl::Status written;
  for (std::string_view rest = text; !rest.empty() && written.ok();) {
    const ssize_t size = write(owned.get(), rest.data(), rest.size());
    if (size >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(size));
    } else if (errno != EINTR) {
      written = absl::ErrnoToStatus(errno, absl::StrCat("write the verdict to descriptor ", fd));
    }
  }
  return written;
}

}  // namespace guardcheck
