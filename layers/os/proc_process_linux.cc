// The process table of Linux, from /proc and pidfds.
//
// Two rules keep a recycled pid from being taken for its former owner. What is read by path is only
// believed together with a start time from the same read; what needs several reads is read below an
// open directory /proc/PID, which belongs to the kernel's struct pid and not to the number: once
// the process is gone its files fail with ESRCH or ENOENT, whoever has the number then. And "gone"
// is never concluded from a file that is missing in /proc (hidepid, a /proc of another namespace),
// but from the system calls tgkill(2) and pidfd_open(2), or from a start time that was read and
// differs.
#include "os/proc_process_linux.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <optional>
#include <utility>

#include <absl/strings/str_cat.h>

#include "os/error.h"
#include "soleguard/process.h"

namespace soleguard::proc {
namespace {

// The inodes of the initial namespaces (include/linux/proc_ns.h); part of the kernel's interface.
constexpr std::uint64_t kInitialPidNamespace = 0xEFFFFFFC;
constexpr std::uint64_t kInitialTimeNamespace = 0xEFFFFFFA;

// The last value that was read, the parent's in a forked child until it reads its own.
std::atomic<const Self*> g_self{nullptr};

// `error` of reading `path`, which every process can read of itself.
absl::Status CannotReadSelf(int error, std::string_view path) {
  absl::Status status = os::ErrnoStatus(error, absl::StrCat("read ", std::string(path)));
  if (error != ENOENT && error != ENOTDIR) return status;
  return absl::FailedPreconditionError(
      absl::StrCat(status.message(), "; is /proc mounted, and of this process's pid namespace?"));
}

// Reads a link such as "pid:[4026531836]". (A readlink costs half of what a stat of it does.)
absl::StatusOr<std::uint64_t> NamespaceInode(const char* path) {
  std::array<char, 64> buffer;
  const ssize_t size = readlink(path, buffer.data(), buffer.size());
  if (size < 0) return CannotReadSelf(errno, path);
  const std::string_view link(buffer.data(), static_cast<std::size_t>(size));
  const std::size_t open = link.find('[');
  const std::size_t close = link.find(']');
  std::uint64_t inode = 0;
  if (open == std::string_view::npos || close == std::string_view::npos || close < open ||
      !ParseNumber(link.substr(open + 1, close - open - 1), inode)) {
    return absl::InternalError(absl::StrCat(path, " is \"", std::string(link), "\""));
  }
  return inode;
}

// The boot-time offset of the caller's time namespace (time_namespaces(7), Linux 5.6).
absl::StatusOr<std::uint64_t> ReadClockOffset() {
  // Of the thread: when the main thread has ended, /proc/self has no time namespace.
  const char* const own_path = "/proc/thread-self/ns/time";
  const absl::StatusOr<std::uint64_t> own = NamespaceInode(own_path);
  if (!own.ok()) {
    // The caller has read other files of /proc: what is missing is the feature.
    if (absl::IsFailedPrecondition(own.status())) return 0;
    return own.status();
  }
  if (*own == kInitialTimeNamespace) return 0;

  // The file shows the offsets of the namespace in which the *next children* will be: after
  // unshare(CLONE_NEWTIME) they are not those of the caller's clocks.
  const absl::StatusOr<std::uint64_t> children =
      NamespaceInode("/proc/thread-self/ns/time_for_children");
  if (!children.ok()) return children.status();
  if (*children != *own) {
    return absl::FailedPreconditionError(
        "cannot tell the clock offset of this process: it is in one time namespace, its children "
        "in "
        "another (unshare --time without --fork?)");
  }

  const char* const path = "/proc/self/timens_offsets";
  std::array<char, 256> buffer;
  const Reading reading = ReadStart(AT_FDCWD, path, buffer);
  if (reading.error == ENOENT) return 0;
  if (reading.error != 0) return CannotReadSelf(reading.error, path);
  std::optional<std::string_view> line = LineAfter(reading.text, "boottime");
  std::int64_t seconds = 0;
  std::int64_t nanoseconds = 0;
  if (!line || !ParseNumber(NextField(*line), seconds) ||
      !ParseNumber(NextField(*line), nanoseconds)) {
    return absl::InternalError(absl::StrCat(path, " has no boottime"));
  }
  return static_cast<std::uint64_t>(seconds) * 1'000'000'000 +
         static_cast<std::uint64_t>(nanoseconds);
}

// Field 22 without the reader's offset. The kernel adds the offset to the start time and divides by
// the length of a tick, all modulo 2^64: a negative offset makes old processes' numbers huge.
std::uint64_t StartTicks(const TaskStat& stat, std::uint64_t clock_offset_ns) {
  return (stat.start_ticks * NanosecondsPerTick() - clock_offset_ns) / NanosecondsPerTick();
}

// Whether /proc was mounted in the pid namespace of this process; unshare --pid without
// --mount-proc leaves the outer one.
absl::StatusOr<bool> ProcIsOurs(const ProcessIdentity& own) {
  const char* const link = "/proc/self";
  const std::string target = ReadLink(AT_FDCWD, link);
  // A process that is not in the namespace of /proc has no such link there.
  if (target.empty() && errno != ENOENT) return CannotReadSelf(errno, link);
  std::int64_t number = 0;
  if (!ParseNumber(target, number) || number != own.pid) return false;

  // The same number in both namespaces can be chance, but not in the initial one: it is in no
  // other.
  if (own.pid_namespace == kInitialPidNamespace) return true;

  // NSpid has the process's numbers in the namespace of /proc and in each below it, up to its own.
  const LongReading status = ReadUpTo(AT_FDCWD, "/proc/self/status", kStatusLimit);
  if (status.error != 0) return CannotReadSelf(status.error, "/proc/self/status");
  std::optional<std::string_view> numbers = LineAfter(status.text, "NSpid:");
  if (!numbers) return true;
  (void)NextField(*numbers);  // the number in /proc's namespace, which is known
  return NextField(*numbers).empty();
}

absl::StatusOr<Self> ReadSelf() {
  Self self;  // marks the process first: all that follows is of it
  self.identity.pid = getpid();

  const StatReading reading = ReadTaskStat(AT_FDCWD, "/proc/self/stat");
  if (reading.error != 0) return CannotReadSelf(reading.error, "/proc/self/stat");

  std::array<char, 64> buffer;
  const char* const boot_id_path = "/proc/sys/kernel/random/boot_id";
  const Reading boot_id = ReadStart(AT_FDCWD, boot_id_path, buffer);
  if (boot_id.error != 0) return CannotReadSelf(boot_id.error, boot_id_path);
  std::string_view text = boot_id.text;
  self.identity.boot_id = NextField(text);
  if (self.identity.boot_id.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(boot_id_path, " is empty"));
  }

  absl::StatusOr<std::uint64_t> pid_namespace = NamespaceInode("/proc/self/ns/pid");
  if (!pid_namespace.ok()) return pid_namespace.status();
  self.identity.pid_namespace = *pid_namespace;

  absl::StatusOr<std::uint64_t> offset = ReadClockOffset();
  if (!offset.ok()) return offset.status();
  self.clock_offset_ns = *offset;
  self.identity.start_ticks = StartTicks(reading.stat, *offset);

  absl::StatusOr<bool> ours = ProcIsOurs(self.identity);
  if (!ours.ok()) return ours.status();
  self.proc_is_ours = *ours;
  return self;
}

}  // namespace

absl::StatusOr<const Self*> OwnSelf() {
  const Self* known = g_self.load(std::memory_order_acquire);
  if (known != nullptr && known->mark.IsCurrent()) return known;
  absl::StatusOr<Self> read = ReadSelf();
  if (!read.ok()) return read.status();
  auto* const fresh = new Self(*std::move(read));
  fresh->previous = known;
  while (!g_self.compare_exchange_weak(fresh->previous, fresh, std::memory_order_acq_rel)) {
  }
  return fresh;
}

// Other processes.

namespace {

// Whether some process has the number, a zombie too. tgkill(2) is asked and not kill(2), for which
// the ids of other threads are as good as processes; and not /proc, which can hide processes.
bool Exists(std::int64_t pid) {
  if (pid <= 0 || pid > INT_MAX) return false;
  const auto number = static_cast<pid_t>(pid);
  return tgkill(number, number, 0) == 0 || errno != ESRCH;
}

}  // namespace

std::string PathOf(const Self& self, std::int64_t pid) {
  // This one works in another namespace's /proc too.
  return pid == self.identity.pid ? "/proc/self" : absl::StrCat("/proc/", pid);
}

absl::Status Gone(std::int64_t pid, std::string_view how) {
  return absl::NotFoundError(absl::StrCat("process ", pid, " ", std::string(how)));
}

namespace {

// Whether the process `pid` can be looked at at all.
absl::Status CheckVisible(const Self& self, std::int64_t pid) {
  if (!Exists(pid)) return Gone(pid, "is gone");
  if (self.proc_is_ours || pid == self.identity.pid) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "cannot look at process ", pid, ": /proc shows another pid namespace than this process's"));
}

}  // namespace

absl::Status CannotRead(int error, std::int64_t pid, std::string_view what) {
  if (error != ENOENT && error != ESRCH) {
    return os::ErrnoStatus(error, absl::StrCat("read ", std::string(what), " of process ", pid));
  }
  if (!Exists(pid)) return Gone(pid, "is gone");
  // Shown, so it is not hidden: it is ending, and has nothing of the kind any more (a zombie has no
  // exe), or the number is another's by now.
  if (ReadTaskStat(AT_FDCWD, absl::StrCat("/proc/", pid, "/stat").c_str()).error == 0) {
    return Gone(pid, "has ended");
  }
  return absl::PermissionDeniedError(
      absl::StrCat("process ", pid, " exists, but /proc does not show it (hidepid?)"));
}

absl::StatusOr<TaskStat> StatOfPid(const Self& self, std::int64_t pid) {
  if (absl::Status visible = CheckVisible(self, pid); !visible.ok()) return visible;
  const StatReading reading =
      ReadTaskStat(AT_FDCWD, absl::StrCat(PathOf(self, pid), "/stat").c_str());
  if (reading.error != 0) return CannotRead(reading.error, pid, "the stat");
  return reading.stat;
}

namespace {

// How a process in the table compares with one of a pid namespace below this one.
enum class Match { kNo, kYes, kMaybe };

Match MatchBelow(const Self& self, std::int64_t pid, const ProcessIdentity& identity) {
  const std::string path = absl::StrCat("/proc/", pid);
  const std::string link = ReadLink(AT_FDCWD, (path + "/ns/pid").c_str());
  // Another user's process does not show its namespace, but how it is numbered.
  if (!link.empty() && link != absl::StrCat("pid:[", identity.pid_namespace, "]")) {
    return Match::kNo;
  }
  const LongReading status = ReadUpTo(AT_FDCWD, (path + "/status").c_str(), kStatusLimit);
  if (status.error == ENOENT || status.error == ESRCH) return Match::kNo;  // it has ended
  if (status.error != 0) return Match::kMaybe;
  // One number for each namespace, the innermost last (proc(5), Linux 4.1).
  std::string_view line = LineAfter(status.text, "NSpid:").value_or("");
  std::int64_t number = 0;
  int levels = 0;
  while (ParseNumber(NextField(line), number)) ++levels;
  if (levels < 2 || number != identity.pid) return Match::kNo;
  const absl::StatusOr<TaskStat> stat = StatOfPid(self, pid);
  if (!stat.ok()) return absl::IsNotFound(stat.status()) ? Match::kNo : Match::kMaybe;
  if (StartTicks(*stat, self.clock_offset_ns) != identity.start_ticks) return Match::kNo;
  return link.empty() ? Match::kMaybe : Match::kYes;
}

}  // namespace

absl::StatusOr<ProcessIdentity> Here(const Self& self, const ProcessIdentity& identity) {
  if (!identity.machine.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("process ", identity.pid, " runs on another machine"));
  }
  if (identity.boot_id != self.identity.boot_id) {
    return Gone(identity.pid, "ended with an earlier boot of the system");
  }
  if (identity.pid_namespace == self.identity.pid_namespace) return identity;
  absl::Status unseen = absl::FailedPreconditionError(absl::StrCat(
      "process ", identity.pid, " is of another pid namespace (", identity.pid_namespace, ")"));
  if (!self.proc_is_ours || identity.pid_namespace == kInitialPidNamespace) return unseen;
  bool all_seen = true;
  std::optional<std::int64_t> found;
  const int error = ForEachNumber(AT_FDCWD, "/proc", [&](std::int64_t pid, auto...) {
    const Match match = MatchBelow(self, pid, identity);
    if (match == Match::kMaybe) all_seen = false;
    if (match == Match::kYes) found = pid;
    return !found.has_value();
  });
  if (found.has_value()) {
    ProcessIdentity here = identity;
    here.pid_namespace = self.identity.pid_namespace;
    here.pid = *found;
    return here;
  }
  const bool sees_all = error == 0 && all_seen &&
                        self.identity.pid_namespace == kInitialPidNamespace &&
                        StatOfPid(self, 1).ok();  // hidepid would hide it
  return sees_all ? Gone(identity.pid, "of another pid namespace is gone") : unseen;
}

namespace {

absl::Status CheckStart(const Self& self, const ProcessIdentity& identity, const TaskStat& stat) {
  if (StartTicks(stat, self.clock_offset_ns) == identity.start_ticks) return absl::OkStatus();
  return Gone(identity.pid, "is gone, and another process has its number now");
}

}  // namespace

absl::StatusOr<TaskStat> StatOf(const Self& self, const ProcessIdentity& identity) {
  absl::StatusOr<TaskStat> stat = StatOfPid(self, identity.pid);
  if (!stat.ok()) return stat.status();
  if (absl::Status start = CheckStart(self, identity, *stat); !start.ok()) return start;
  return stat;
}

ProcessIdentity IdentityFrom(const Self& self, std::int64_t pid, const TaskStat& stat) {
  return {.boot_id = self.identity.boot_id,
          .pid_namespace = self.identity.pid_namespace,
          .pid = pid,
          .start_ticks = StartTicks(stat, self.clock_offset_ns)};
}

namespace {

// glibc 2.36 declares this and the next call in <sys/pidfd.h>, but not for C++: it lacks the
// extern "C".
UniqueFd PidfdOpen(std::int64_t pid) {
  return UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0U)));
}

}  // namespace

int PidfdSendSignal(int pidfd, int signal) {
  return static_cast<int>(syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0U));
}

namespace {

// Whether all threads of the process have ended.
bool HasEnded(const UniqueFd& pidfd) {
  pollfd poll_entry{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  return os::RetryOnEintr([&] { return poll(&poll_entry, 1, 0); }) == 1;
}

}  // namespace

absl::StatusOr<UniqueFd> OpenPidfd(const Self& self, const ProcessIdentity& identity) {
  UniqueFd pidfd = PidfdOpen(identity.pid);
  const int error = errno;
  if (absl::StatusOr<TaskStat> stat = StatOf(self, identity); !stat.ok()) return stat.status();
  if (!pidfd) return os::ErrnoStatus(error, absl::StrCat("open a pidfd of process ", identity.pid));
  if (HasEnded(pidfd)) return Gone(identity.pid, "has ended and waits for its parent to notice");
  return pidfd;
}

namespace {

// The main thread of `identity` is ending. Whether all others are, too.
absl::StatusOr<bool> AllTasksAreEnding(const Self& self, const ProcessIdentity& identity) {
  const std::string path = absl::StrCat(PathOf(self, identity.pid), "/task");
  bool all = true;
  int task_error = 0;
  const int error = ForEachNumber(AT_FDCWD, path.c_str(), [&](auto, int tasks, const char* name) {
    const StatReading reading = ReadTaskStat(tasks, absl::StrCat(name, "/stat").c_str());
    if (reading.error == ENOENT || reading.error == ESRCH) return true;  // ended meanwhile
    task_error = reading.error;
    all = reading.error == 0 && IsEnding(reading.stat);
    return all;
  });
  if (error != 0 || task_error != 0) {
    return CannotRead(error != 0 ? error : task_error, identity.pid, "the threads");
  }
  return all;
}

// Whether SIGKILL was sent to the process. The race: kill(2) has returned, and a thread has taken
// the signal from its own pending ones and not set PF_SIGNALED yet (get_signal in kernel/signal.c),
// so that no stat of a thread tells: up to 2 % of looks right after a kill, measured on Linux 6.18.
// Closed by the signals that are pending for the process, from which this one is never taken. Open
// for SIGKILL by tgkill(2) and for exit_group(2): then nobody was told yet that the process ends.
absl::StatusOr<bool> WasKilled(const Self& self, std::int64_t pid) {
  const std::string path = absl::StrCat(PathOf(self, pid), "/status");
  const LongReading status = ReadUpTo(AT_FDCWD, path.c_str(), kStatusLimit);
  if (status.error != 0) return CannotRead(status.error, pid, "the status");
  std::string_view line = LineAfter(status.text, "ShdPnd:").value_or("");
  const std::string_view field = NextField(line);
  std::uint64_t pending = 0;
  (void)std::from_chars(field.data(), field.data() + field.size(), pending, 16);  // else none
  return (pending & kSigkill) != 0;
}

// Of a process whose main thread is ending, for which "gone" and "dying" need more than one read.
Liveness LivenessByTasks(const Self& self, const ProcessIdentity& identity) {
  const absl::StatusOr<UniqueFd> pidfd = OpenPidfd(self, identity);
  if (absl::IsNotFound(pidfd.status())) return Liveness::kGone;
  if (!pidfd.ok()) return Liveness::kUnknown;

  absl::StatusOr<bool> ending = AllTasksAreEnding(self, identity);
  // The listing can miss a thread that is made while another one ends. Once more makes that
  // harmless: a process would have to do so all the time, and would then be waited for, not taken
  // for gone.
  if (ending.ok() && *ending) ending = AllTasksAreEnding(self, identity);

  // The threads were looked up by number. That the process has not ended says that all was its own.
  if (HasEnded(*pidfd)) return Liveness::kGone;
  if (!ending.ok()) return Liveness::kUnknown;
  return *ending ? Liveness::kDying : Liveness::kAlive;
}

}  // namespace

Liveness LivenessHere(const Self& self, const ProcessIdentity& identity) {
  const absl::StatusOr<TaskStat> stat = StatOf(self, identity);
  if (absl::IsNotFound(stat.status())) return Liveness::kGone;
  if (!stat.ok()) return Liveness::kUnknown;
  // An exec by another thread kills the main thread while the process lives on: all threads count.
  const Liveness seen = IsEnding(*stat) ? LivenessByTasks(self, identity) : Liveness::kAlive;
  if (seen != Liveness::kAlive) return seen;
  const absl::StatusOr<bool> killed = WasKilled(self, identity.pid);
  if (absl::IsNotFound(killed.status())) return Liveness::kGone;
  if (!killed.ok()) return Liveness::kUnknown;
  return *killed ? Liveness::kDying : Liveness::kAlive;
}

int UseAnotherThread(OpenProcess& process) {
  int thread_error = 0;
  const auto visit = [&](auto, int tasks, const char* name) {
    UniqueFd task = OpenPath(tasks, name);
    const int open_error = task ? 0 : errno;
    const StatReading reading =
        task ? ReadTaskStat(task.get(), "stat") : StatReading{.error = open_error};
    if (reading.error == ENOENT || reading.error == ESRCH) return true;  // ended meanwhile
    if (reading.error != 0) thread_error = reading.error;
    if (reading.error != 0 || HasEnded(reading.stat)) return true;
    process.task = std::move(task);
    process.stat = reading.stat;
    return false;
  };
  const int error = ForEachNumber(process.directory.get(), "task", visit);
  if (process.task) return 0;
  return error != 0 ? error : thread_error;
}

absl::StatusOr<OpenProcess> OpenPid(const Self& self, std::int64_t pid) {
  if (absl::Status visible = CheckVisible(self, pid); !visible.ok()) return visible;
  OpenProcess process{.directory = OpenPath(AT_FDCWD, PathOf(self, pid).c_str())};
  if (!process.directory) return CannotRead(errno, pid, "the directory");
  const StatReading reading = ReadTaskStat(process.directory.get(), "stat");
  if (reading.error != 0) return CannotRead(reading.error, pid, "the stat");
  process.stat = reading.stat;
  return process;
}

absl::StatusOr<OpenProcess> OpenIdentity(const Self& self, const ProcessIdentity& identity) {
  absl::StatusOr<OpenProcess> process = OpenPid(self, identity.pid);
  if (!process.ok()) return process.status();
  if (absl::Status start = CheckStart(self, identity, process->stat); !start.ok()) return start;
  if (!HasEnded(process->stat)) return process;
  (void)UseAnotherThread(*process);  // what cannot be read stays empty in the end
  if (!process->task && LivenessHere(self, identity) == Liveness::kGone) {
    return Gone(identity.pid, "has ended and waits for its parent to notice");
  }
  return process;
}

absl::StatusOr<Found> Find(const ProcessIdentity& identity) {
  const absl::StatusOr<const Self*> self = OwnSelf();
  if (!self.ok()) return self.status();
  absl::StatusOr<ProcessIdentity> here = Here(**self, identity);
  if (!here.ok()) return here.status();
  absl::StatusOr<OpenProcess> process = OpenIdentity(**self, *here);
  if (!process.ok()) return process.status();
  return Found{.self = *self, .identity = *std::move(here), .process = *std::move(process)};
}

absl::StatusOr<std::uint32_t> EffectiveUid(int directory, std::int64_t pid) {
  std::array<char, 2048> buffer;
  const Reading reading = ReadStart(directory, "status", buffer);
  if (reading.error != 0) return CannotRead(reading.error, pid, "the status");
  std::optional<std::string_view> line = LineAfter(reading.text, "Uid:");
  std::uint32_t uid = 0;
  if (line) (void)NextField(*line);  // the real one
  if (!line || !ParseNumber(NextField(*line), uid)) {
    return absl::InternalError(absl::StrCat("no Uid in the status of process ", pid));
  }
  return uid;
}

absl::Duration Age(std::uint64_t shown_start_ticks) {
  timespec now = {};
  (void)clock_gettime(CLOCK_BOOTTIME, &now);  // cannot fail: Linux 2.6.39
  const std::uint64_t start_ns = shown_start_ticks * NanosecondsPerTick();
  const std::uint64_t now_ns = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
                               static_cast<std::uint64_t>(now.tv_nsec);
  return absl::Nanoseconds(static_cast<std::int64_t>(now_ns - start_ns));  // modulo 2^64, as above
}

}  // namespace soleguard::proc
