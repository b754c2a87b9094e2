// Runs the guarded command so that no part of it outlives the claim.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include <soleguard/fd.h>
#include <soleguard/process.h>

namespace guardcheck {

struct Supervision {
  std::vector<std::string> command;
  // What carries the claim: the command and all its descendants inherit it.
  std::vector<soleguard::UniqueFd> claim;
  enum class Until {
    kChild,  // the command ends: what it leaves behind is ended
    kTree,   // the command and all its descendants end by themselves (one that daemonises)
  } until = Until::kChild;
  // How long what the command leaves behind may take to end after SIGTERM before it is killed.
  absl::Duration grace;
  // What the wrapper looks after meanwhile: `ready` is called when `fd` is readable, in this
  // thread, and does not block. Once more after the end of the command, for what it left unread.
  struct Meanwhile {
    int fd;
    std::function<void()> ready;
  };
  std::vector<Meanwhile> meanwhile = {};
  // Set: the command and all its descendants are ended, as what it leaves behind is.
  const soleguard::WaitFlag* end = nullptr;
  // Called once the command runs.
  std::function<void(const soleguard::ProcessIdentity&)> started;
  // Called once the command has run for kLasting: for what a short one is not worth.
  static constexpr absl::Duration kLasting = absl::Milliseconds(100);
  std::function<void()> lasting = [] {};
  // Called once nothing is left of the command, while the guardian still ends: what takes time of
  // its own can be done meanwhile.
  std::function<void()> ended;
};

// Starts the command and waits until it and all its descendants have ended. Forwards signals
// (once the command has ended, to the children that it left) and stops and continues with it. Gives
// its status as an exit code: its own, 128 + signal, or 126 and 127 when it could not be started.
// An error: the guardian could not be started, or was killed; then nothing of the command is left
// running.
//
// This process must have one thread and no children. Two processes watch over the command: this one
// and a guardian, which is the command's parent. Each is a subreaper, so that orphans come back to
// it. When one of the two is killed, the other ends all descendants before it lets the claim go.
absl::StatusOr<int> Supervise(const Supervision& supervision);

// Fills the numbers 0 to 2 where this process began with them closed, so that no claim gets one of
// them and no message or output goes into a lock file. A command that is started finds them closed
// as before.
absl::Status OccupyStandardStreams();

// From now on a write to a pipe whose reader is gone fails, and ends nobody. The command gets the
// disposition of SIGPIPE that this process began with.
void OutliveBrokenPipe();

// Becomes the command; returns the exit code only when that failed, after saying why.
int Become(const std::vector<std::string>& command);

// What went wrong when a command could not be executed, said for a person; and its exit code.
int SayCannotExecute(const std::string& command, int error);

}  // namespace guardcheck
