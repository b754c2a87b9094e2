// Processes: which is which, which live, which are dying. This is the seam to the operating
// system's process table; everything above it is free of any one system's facts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "soleguard/fd.h"
#include "soleguard/process_identity.h"

namespace soleguard {

enum class Liveness {
  kAlive,    // runs, sleeps or is stopped
  kDying,    // killed but not gone: it may still be finishing a system call
  kGone,     // no such process, a zombie with no live thread, or the pid is another process's now
  kUnknown,  // of a pid namespace or machine that is not seen from here, or /proc doesn't show it
};
std::string_view ToString(Liveness liveness);

// What a person wants to know about a process. Strings are raw bytes as the process chose them:
// escape them (text.h) before they reach a terminal or JSON. What could not be read (another user's
// process, hidepid) is empty.
struct ProcessDescription {
  ProcessIdentity identity;
  std::int64_t parent_pid = 0;
  std::string executable;
  std::vector<std::string> argv;
  std::string working_directory;
  std::uint32_t uid = 0;           // effective
  std::string user;                // name of uid in the password database, else the number
  char state = '?';                // as in ps(1): R S D T t Z …
  double cpu_percent = 0;          // CPU time over lifetime, as ps(1) shows it
  std::uint64_t memory_bytes = 0;  // resident set
  absl::Time started;
};

// The calling process's identity; read once per process and again after fork. Does not block.
// Thread-safe. Fails where /proc is missing (FailedPrecondition) or cannot be read.
absl::StatusOr<ProcessIdentity> OwnIdentity();

// The identity of `pid` in the caller's pid namespace, as of now. NotFound: no such process (or the
// id of a thread); FailedPrecondition: /proc shows another pid namespace, and it is not a child of
// the caller; PermissionDenied: it exists, but /proc does not show it (hidepid).
absl::StatusOr<ProcessIdentity> IdentityOf(std::int64_t pid);

// The same process as the caller's pid namespace numbers it: `identity` itself, or that of a
// process in a namespace below, as a container's is from its host (one pass over the table).
// Functions that take an identity do this themselves. NotFound: it is gone; of a process below,
// only the initial pid namespace can say that. FailedPrecondition: it cannot be seen from here
// (another machine, a sibling namespace, or one above, or hidepid).
absl::StatusOr<ProcessIdentity> IdentityHere(const ProcessIdentity& identity);

// Whether exactly that process still runs. Dying: every task of it has PF_EXITING, or SIGKILL is
// pending, or it dumps core. A process of which only the main thread has ended is alive, though it
// looks like a zombie. Does not block.
Liveness LivenessOf(const ProcessIdentity& identity);

// Reads everything, then compares the identity again: what is returned belongs to that process and
// to no later owner of its pid. NotFound when it is gone.
absl::StatusOr<ProcessDescription> Describe(const ProcessIdentity& identity);

// The calling process: identity, uid, user, executable and working directory; the rest is left
// empty. It is cheap enough for each start.
absl::StatusOr<ProcessDescription> DescribeSelf();
// Its argument vector. Empty where /proc does not show it.
std::vector<std::string> OwnArguments();

// What keeps a process from running until somebody lets it continue. A request to end it (SIGTERM)
// has no effect before that.
enum class Freeze {
  kNone,
  kStopped,  // by a signal (SIGSTOP) or a tracer; SIGKILL ends it all the same
  kCgroup,   // with its cgroup (a paused container); SIGKILL ends it in cgroup v2 only
};
// kNone also where that cannot be seen. Reads /proc and the cgroup filesystems. Does not block.
Freeze FreezeOf(const ProcessIdentity& identity);
// For a person: "frozen (SIGSTOP)", "frozen with its cgroup (a paused container)"; empty: kNone.
std::string_view ToString(Freeze freeze);

// A descriptor that becomes readable when the process has ended (pidfd_open(2), Linux 5.3), opened
// and then checked against `identity`. NotFound when it is gone.
absl::StatusOr<UniqueFd> OpenPidfd(const ProcessIdentity& identity);

// Sends `signal` to exactly that process, or to nobody: NotFound when it is gone. Goes through a
// pidfd whose identity was checked after it was opened, so a recycled pid is never hit.
absl::Status SendSignal(const ProcessIdentity& identity, int signal);

// The signals that end a process.
enum class Signal {
  kTerminate,  // SIGTERM: asks it to end, which it may handle or ignore
  kKill,       // SIGKILL
};
std::string_view ToString(Signal signal);  // "SIGTERM", "SIGKILL"
absl::Status SendSignal(const ProcessIdentity& identity, Signal signal);

// The processes that descend from `ancestor` now, parents before their children. A process whose
// parent has already ended is not among them. One pass over the table; a process that is forked
// meanwhile may be missed. NotFound when it is gone.
absl::StatusOr<std::vector<ProcessIdentity>> DescendantsOf(const ProcessIdentity& ancestor);

// The pids of all processes in the caller's pid namespace. One pass over the table; processes that
// come and go meanwhile may or may not be in it.
absl::StatusOr<std::vector<std::int64_t>> AllPids();

// The pids of the calling process's children, zombies included, in its own pid namespace, whichever
// one /proc shows. A child's pid is not reused until it is waited for, so the one thread that waits
// may signal them. Where /proc does not show them, each number is tried (waitid(2)), which takes up
// to a second.
std::vector<std::int64_t> OwnChildren();

// Kills every descendant of the calling process, which is a subreaper (prctl(2)), and nobody else,
// and waits until no child is left. It kills all at once, not one generation after the other, in
// whichever pid namespace they are and whichever one /proc shows. A process that may not be killed
// (a setuid program) is waited for. Only for the one thread that waits for children.
void EndOwnDescendants();

// The processes that have `file` open, among those whose descriptors the caller may see. One pass
// over the table and its descriptors: it is for evidence in a refused start, not for a hot path.
std::vector<ProcessIdentity> ProcessesWithOpen(const FileIdentity& file);

// Whether that process has `file` open now, a socket or a file. PermissionDenied for another user's
// process.
absl::StatusOr<bool> HasOpen(const ProcessIdentity& identity, const FileIdentity& file);

// Whether that process holds a flock(2) or fcntl lock on `file` now, from /proc/PID/fdinfo, which
// is exact and takes no lock. PermissionDenied for another user's process.
absl::StatusOr<bool> HoldsLock(const ProcessIdentity& identity, const FileIdentity& file);

// The name of `uid` in the password database, else the number as text.
std::string UserName(std::uint32_t uid);

// The home of the effective user, from the password database and not from $HOME, which differs
// under sudo and in services. NotFound: it has no entry there, or the entry names no absolute path.
absl::StatusOr<std::string> HomeDirectory();

// The host's name as the kernel has it now. For display only; nothing is ever decided by it.
std::string HostName();

// Tells this machine from others, also after a reboot: a UUID that is derived from /etc/machine-id,
// because that file's content is not for other machines (machine-id(5)). Without such a file it
// tells this run of the kernel from others, and after a reboot it is another machine. Machines that
// were copied together with that file have the same id, so it never decides whether somebody holds
// a layer. Does not block. Thread-safe.
std::string MachineId();

}  // namespace soleguard
