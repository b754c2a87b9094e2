// A file that tells other tools about a running instance, such as a PID file.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

namespace soleguard {

// It says who runs and nothing else: missing, stale or damaged, it decides nothing. It is removed
// on a normal end, but only while it is still the file that this process wrote and contains what it
// wrote. What somebody else has put in its place, or written into it, stays. After a SIGKILL it
// stays, and the next holder overwrites it. It also stays when the program closed its descriptors,
// because it can then no longer be distinguished from another file, and when the process may no
// longer remove it. It is found where it was written, whatever the process's root directory is by
// then. Nothing here blocks. Not thread-safe; a forked child does nothing with it.
class SideFile {
 public:
  // Touches nothing yet. InvalidArgument unless `path` is absolute: a relative one is another file
  // in each working directory.
  static absl::StatusOr<std::unique_ptr<SideFile>> At(std::string path);
  virtual ~SideFile() = default;

  // Replaces the file in one step by `text`, readable by everybody; the first time it replaces
  // whatever file is there. FailedPrecondition: what is there is not a regular file, or is larger
  // than 64 KiB, so the path is a mistake; or this is not the first time, and somebody else has
  // replaced the file or written into it meanwhile.
  virtual absl::Status Write(std::string_view text) = 0;

  // Removes the file if it is the one that was written and contains what was written. Call it
  // before the name is free, because the next holder writes its own there. A second call does
  // nothing.
  virtual void Remove() = 0;

  // Lets the file stay where it is, beyond the end of this object. It is then no longer this
  // process's, and Remove does nothing.
  virtual void Leave() = 0;
};

}  // namespace soleguard
