// Files that may name commands.
#pragma once

#include <string>

#include <absl/status/statusor.h>

namespace guardcheck {

// The text of the file `path`, at most 1 MiB. It must be a regular file of root or of the caller's
// effective user that nobody else may write: PermissionDenied, with what to do, otherwise. Of the
// directories above it nothing is asked: who may replace the file there could not give it to one of
// these users. NotFound: there is none. Unavailable: whether there is one cannot be seen: a
// directory on the way, or on that of a link which it is, may not be entered, or its filesystem is
// broken, or does not answer (the wait for that is that of soleguard::AwaitFilesystem). /dev/null
// is an empty file.
absl::StatusOr<std::string> ReadTrustedFile(const std::string& path);

}  // namespace guardcheck
