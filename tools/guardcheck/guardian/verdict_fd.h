// The descriptor on which a caller reads the verdict.
#pragma once

#include <string>

#include <absl/status/status.h>

namespace guardcheck {

// Takes `fd`, which the caller of guardcheck left open for writing: no command inherits it.
// InvalidArgument: it is not open, or not for writing.
absl::Status TakeVerdictFd(int fd);

// Writes all of `line` and a newline, and closes `fd`. Blocks while its reader does not read. A
// reader that is gone is an error where SIGPIPE is ignored (OutliveFailedWrites).
absl::Status WriteVerdict(int fd, const std::string& line);

}  // namespace guardcheck
