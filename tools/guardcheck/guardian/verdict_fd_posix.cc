#include <fcntl.h>

#include <cerrno>
#include <string_view>

#include <absl/strings/str_cat.h>

#include "guardian/verdict_fd.h"
#include "system.h"
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
  for (std::string_view rest = text; !rest.empty();) {
    if (WriteSome(owned.get(), rest)) continue;
    return absl::ErrnoToStatus(errno, absl::StrCat("write the verdict to descriptor ", fd));
  }
  return absl::OkStatus();
}

}  // namespace guardcheck
