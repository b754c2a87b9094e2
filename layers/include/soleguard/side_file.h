// A file that tells other tools of a running instance: a PID file, say.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

namespace soleguard {

// Says who runs and nothing else: it decides nothing, missing, stale or damaged. Removed on a
// normal end, and then only while it is still this process's: the file that was written, with what
// was written. What somebody else has put in its place, or written into it, stays. After a SIGKILL
// it stays, and the next holder overwrites it. It stays too when the program closed its descriptors
// (it cannot be told any more from another one), and when the process may not remove it any more.
// It is found where it was written, whatever the process's root directory is by then. Does not
// block; not thread-safe; a forked child does nothing with it.
class SideFile {
 public:
  // Touches nothing yet. InvalidArgument unless `path` is absolute: a relative one is another file
  // in each working directory.
  static absl::StatusOr<std::unique_ptr<SideFile>> At(std::string path);
  virtual ~SideFile() = default;

  // Replaces the file in one step by `text`, for everybody to read: the first time whatever is
  // there. FailedPrecondition: what is there is not regular, or larger than 64 KiB: a mistake in
  // the path; or not the first time, and somebody else has replaced it or written into it
  // meanwhile.
  virtual absl::Status Write(std::string_view text) = 0;

  // Removes it if it is the one that was written, and says what was written. Call it before the
  // name is free: the next holder writes its own there. A second call does nothing.
  virtual void Remove() = 0;

  // Lets it stay where it is, beyond the end of this object. It is not this process's any more:
  // Remove does nothing then.
  virtual void Leave() = 0;
};

}  // namespace soleguard
