// Runs the guarded command so that no part of it outlives the claim.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include <soleguard/fd.h>
#include <soleguard/process_identity.h>

namespace guardcheck {

// The connection of this process ("the wrapper") with the guardian, made before that is forked. The
// calls send it something, and do nothing once it is gone. Thread-safe; they do not block.
class GuardianLink {
 public:
  absl::Status Open();

  // The guardian keeps these as well until nothing is left of the command: of a layer that was
  // claimed anew.
  void Keep(const std::vector<soleguard::UniqueFd>& claim) const;

  // The guardian starts Supervision::hook as a child of its own, in a process group of its own, and
  // kills that group, also when the hook itself has ended, when the other end of `life` is closed
  // without a HookDone. When it has ended, or could not be started, a HookEnd comes there; without
  // one the guardian is gone, and the hook with it.
  struct HookEnds {
    const soleguard::UniqueFd& input;
    const soleguard::UniqueFd& output;
    const soleguard::UniqueFd& life;
  };
  absl::Status StartHook(const HookEnds& ends) const;

  // For Supervise.
  soleguard::UniqueFd& wrapper_end() { return wrapper_end_; }
  soleguard::UniqueFd& guardian_end() { return guardian_end_; }

 private:
  soleguard::UniqueFd wrapper_end_;
  soleguard::UniqueFd guardian_end_;
};

struct HookEnd {
  int error = 0;      // an errno value: it could not be started
  int exit_code = 0;  // as a shell says it
};
// Sent before `life` is closed: the hook that has ended has done what it was to do, and what it
// left in its process group lives on.
struct HookDone {
  char is_done = 1;
};

struct Supervision {
  std::vector<std::string> command;
  // What carries the claim: the command and all its descendants inherit it, and hooks too.
  std::vector<soleguard::UniqueFd> claim;
  GuardianLink* link = nullptr;
  // A path: what StartHook starts.
  std::string hook;
  enum class Until {
    kChild,  // the command ends: what it leaves behind is ended
    kTree,   // the command and all its descendants end by themselves (one that daemonises)
    // The command ends, and what it leaves behind lives on. Neither gets `claim`, so that nothing
    // keeps it then.
    kDetach,
  } until = Until::kChild;
  // How long what the command leaves behind may take to end after SIGTERM before it is killed.
  absl::Duration grace;
  // What the wrapper looks after meanwhile: `ready` is called when `fd` is readable, in this
  // thread, and does not block. It may be called for nothing. Once more after the end of the
  // command, for what it left unread.
  struct Meanwhile {
    int fd;
    std::function<void()> ready;
  };
  std::vector<Meanwhile> meanwhile = {};
  // The command and all its descendants are ended, as what it leaves behind is, when one of these
  // is readable; `told` is called then, for the first one only.
  struct End {
    int fd;
    std::function<void()> told;
  };
  std::vector<End> ends = {};
  // Who does the work now: first the command, and when it has ended the oldest that is left of it
  // (a daemon's main process) until that has ended too. Nothing where /proc does not tell.
  struct Crew {
    std::optional<soleguard::ProcessIdentity> instance;
    std::optional<soleguard::ProcessIdentity> guardian;
  };
  // Called once the command runs, and each time that its main process is another one.
  std::function<void(const Crew&)> started;
  std::function<void(const Crew&)> moved = [](const Crew&) {};
  // Called before what the command has left by itself is ended: with some of it, and how many more
  // there are. Not when the command was asked to end.
  struct LeftProcess {
    std::int64_t pid = 0;
    std::vector<std::string> argv;  // its first bytes
  };
  std::function<void(const std::vector<LeftProcess>&, int)> left =
      [](const std::vector<LeftProcess>&, int) {};
  // Called once the command has run for kLasting: for what a short one is not worth.
  static constexpr absl::Duration kLasting = absl::Milliseconds(100);
  std::function<void()> lasting = [] {};
  // Called once nothing is left of the command, while the guardian still ends: what takes time of
  // its own can be done meanwhile.
  std::function<void()> ended;
};

// Starts the command and waits until it and all its descendants have ended (under kDetach: until it
// has). Forwards all signals that can be caught, but for those that the command has got already
// (under kTree, once the command has ended, to the children that it left), and stops and continues
// with it. Gives its status as an exit code: its own, 128 + signal, or 126 and 127 when it could
// not be started. An error: the guardian could not be started, or was killed; then nothing that
// keeps the name is left running, or the error says that something may be.
//
// When the terminal's SIGINT ended the command, this process ends by it as well once all is done,
// and does not return. As soon as the command runs, this process's working directory is /, and its
// standard input and output and the descriptors that it inherited are the command's alone.
//
// This process must have one thread. Two processes watch over the command: this one and a guardian,
// which is the command's parent. Each is a subreaper, so that orphans come back to it. When one of
// the two is killed, the other ends all descendants before it lets the claim go. Where this process
// has children already (a shell that became it), which are none of the command's, a third one
// between the two is the subreaper in its place. When that one is killed as well as the guardian,
// the command's orphans come to nobody: this process ends the command and its descendants alone.
absl::StatusOr<int> Supervise(const Supervision& supervision);

// Where the arguments of main are: a process beside the command writes there what it is, for ps(1)
// and so that a kill by a pattern of the command's words does not meet it.
void RememberArguments(int argc, char** argv);
void ShowAs(std::string_view title);

// Fills the numbers 0 to 2 where this process began with them closed, so that no claim gets one of
// them and no message or output goes into a lock file. A command that is started finds them closed
// as before.
absl::Status OccupyStandardStreams();

// From now on a write to a pipe whose reader is gone, or beyond the limit of file sizes, fails, and
// ends nobody. The command gets the dispositions of SIGPIPE and SIGXFSZ that this process began
// with.
void OutliveFailedWrites();

// The processes whose environment says that they are of the guarded instance with this token, which
// was started at `since_ticks` (ProcessIdentity): what it left running. One pass over the table; a
// process that cleaned its environment is not seen.
struct Left {
  std::vector<std::int64_t> pids;
  bool is_all = false;  // false: there are processes whose environment may not be read
};
Left LeftBy(const std::string& name, std::uint64_t token, std::uint64_t since_ticks);

// Becomes the command; returns the exit code only when that failed, after saying why.
int Become(const std::vector<std::string>& command);

}  // namespace guardcheck
