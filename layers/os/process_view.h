// The process table, and a process that is looked at closely.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "os/program.h"
#include "soleguard/fd.h"
#include "soleguard/process_identity.h"

namespace soleguard::os {

// One pass over the process table of the caller's pid namespace: for each process the file that it
// executes, or `error` EACCES where the caller may not see that. A process whose main thread has
// ended counts, zombies, kernel threads and thread ids do not. Processes that come and go meanwhile
// may or may not be seen. FailedPrecondition when /proc shows another pid namespace.
absl::Status ForEachProgram(
    const std::function<void(std::int64_t pid, int error, const ProgramFile& program)>& visit);

// The arguments of `pid` as they stand, a NUL after each; empty where they cannot be read. For a
// first look: whose they are is for ProcessView to say.
std::string CommandLineOf(std::int64_t pid);

// PermissionDenied when /proc hides the processes of other users from the caller (hidepid).
absl::Status CheckProcessTable();

// A process and its parent. NotFound when it is gone.
struct Kin {
  ProcessIdentity process;
  std::int64_t parent = 0;
};
absl::StatusOr<Kin> KinOf(std::int64_t pid);
// The same of the calling process.
absl::StatusOr<Kin> OwnKin();

// A process that is looked at closely. All is read below one open directory, which belongs to that
// very process: when it is gone everything fails, whoever has its pid by then. Strings are foreign
// bytes.
class ProcessView {
 public:
  static absl::StatusOr<ProcessView> Open(std::int64_t pid);
  // The calling process.
  static absl::StatusOr<ProcessView> OfCaller();

  absl::StatusOr<Kin> Kinship() const;
  // Since it was forked: exec(3) does not change that.
  absl::StatusOr<absl::Duration> Age() const;
  absl::StatusOr<std::uint32_t> EffectiveUser() const;
  // Not of one below it.
  absl::StatusOr<bool> IsInOwnPidNamespace() const;
  absl::StatusOr<ProgramFile> Program() const;
  // Open for reading.
  absl::StatusOr<UniqueFd> OpenProgram() const;
  // Of the program's file, as it was when it was started.
  absl::StatusOr<std::string> ProgramPath() const;
  absl::StatusOr<std::vector<std::string>> Arguments() const;
  // NAME=VALUE, as they were at its exec(3).
  absl::StatusOr<std::vector<std::string>> Environment() const;
  // The regular file at `path`, as the process would find it: from its working directory.
  absl::StatusOr<ProgramFile> FileAt(const std::string& path) const;

 private:
  ProcessView(std::int64_t pid, UniqueFd directory) : pid_(pid), directory_(std::move(directory)) {}
  int readable() const { return task_ ? task_.get() : directory_.get(); }

  std::int64_t pid_;
  UniqueFd directory_;
  UniqueFd task_;  // of a thread that lives, when the main thread has ended
};

}  // namespace soleguard::os
