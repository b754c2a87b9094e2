// The process table of Linux, from /proc and pidfds.
//
// Two rules keep a recycled pid from being taken for its former owner. What is read by path is only
// believed together with a start time from the same read; what needs several reads is read below an
// open directory /proc/PID, which belongs to the kernel's struct pid and not to the number: once
// the process is gone its files fail with ESRCH or ENOENT, whoever has the number then. And "gone"
// is never concluded from a file that is missing in /proc (hidepid, a /proc of another namespace),
// but from the system calls tgkill(2) and pidfd_open(2), or from a start time that was read and
// differs.

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>

#include "os/os.h"
#include "soleguard/process.h"

namespace soleguard {
namespace {

// The inodes of the initial namespaces (include/linux/proc_ns.h); part of the kernel's interface.
constexpr std::uint64_t kInitialPidNamespace = 0xEFFFFFFC;
constexpr std::uint64_t kInitialTimeNamespace = 0xEFFFFFFA;

// Enough for a /proc/PID/stat: 52 fields, of which one is a name of at most 64 bytes.
constexpr std::size_t kStatSize = 2048;

// A process can make its arguments megabytes long. What is cut is for display only.
constexpr std::size_t kArgumentsLimit = std::size_t{256} * 1024;

// A process may be in 65,536 groups, and status lists them before the line that is wanted.
constexpr std::size_t kStatusLimit = std::size_t{1024} * 1024;

// The first lines of an fdinfo that are wanted stand before any list that could be long.
constexpr std::size_t kDescriptorInfoLimit = std::size_t{64} * 1024;

// Reading.

// The next word of `line`, which is shortened by it. Empty at the end of the line.
std::string_view NextField(std::string_view& line) {
  const std::size_t start = std::min(line.find_first_not_of(" \t"), line.size());
  const std::size_t end = std::min(line.find_first_of(" \t\n", start), line.size());
  const std::string_view field = line.substr(start, end - start);
  line.remove_prefix(end);
  return field;
}

template <typename Number>
bool ParseNumber(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

// What follows `key` at the start of a line, up to the line's end; nothing when there is no such
// line.
std::optional<std::string_view> LineAfter(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    if (line.substr(0, key.size()) == key) return line.substr(key.size());
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return std::nullopt;
}

struct Reading {
  int error = 0;  // an errno value
  std::string_view text = {};
};

// The start of the file `path` below `directory`, by one read(2): files of /proc such as stat come
// whole when the buffer is large enough. Neither allocates nor loops: this is on the way of every
// acquire.
Reading ReadStart(int directory, const char* path, std::span<char> buffer) {
  const UniqueFd fd(
      os::RetryOnEintr([&] { return openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOCTTY); }));
  if (!fd) return {.error = errno};
  const ssize_t size =
      os::RetryOnEintr([&] { return read(fd.get(), buffer.data(), buffer.size()); });
  if (size < 0) return {.error = errno};
  return {.text = std::string_view(buffer.data(), static_cast<std::size_t>(size))};
}

struct LongReading {
  int error = 0;  // an errno value
  std::string text = {};
};

// The file `path` below `directory` up to `limit` bytes.
LongReading ReadUpTo(int directory, const char* path, std::size_t limit) {
  const UniqueFd fd(
      os::RetryOnEintr([&] { return openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOCTTY); }));
  if (!fd) return {.error = errno};
  LongReading reading;
  std::array<char, 4096> buffer;
  while (reading.text.size() < limit) {
    const std::size_t wanted = std::min(buffer.size(), limit - reading.text.size());
    const ssize_t size = os::RetryOnEintr([&] { return read(fd.get(), buffer.data(), wanted); });
    if (size < 0) return {.error = errno};
    if (size == 0) break;
    reading.text.append(buffer.data(), static_cast<std::size_t>(size));
  }
  return reading;
}

// Where the link points to; empty when that cannot be read.
std::string ReadLink(int directory, const char* path) {
  std::array<char, PATH_MAX + 1> buffer;
  const ssize_t size = readlinkat(directory, path, buffer.data(), buffer.size());
  return size < 0 ? std::string() : std::string(buffer.data(), static_cast<std::size_t>(size));
}

struct CloseDir {
  void operator()(DIR* dir) const { (void)closedir(dir); }  // was only read
};

// Calls visit(number, descriptor of the directory, name) for each entry whose name is a number,
// until it returns false. An errno value, or 0.
template <typename Visit>
int ForEachNumber(int directory, const char* path, Visit visit) {
  UniqueFd fd(os::RetryOnEintr(
      [&] { return openat(directory, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!fd) return errno;
  const std::unique_ptr<DIR, CloseDir> dir(fdopendir(fd.get()));
  if (dir == nullptr) return errno;
  (void)fd.release();  // the DIR's now
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(dir.get());
    if (entry == nullptr) return errno;
    std::int64_t number = 0;
    if (!ParseNumber(std::string_view(entry->d_name), number)) continue;
    if (!visit(number, dirfd(dir.get()), entry->d_name)) return 0;
  }
}

// The fields of /proc/PID/stat and /proc/PID/task/TID/stat (proc(5)) that are used here.
struct TaskStat {
  char state = '?';
  std::int64_t parent_pid = 0;
  std::uint64_t flags = 0;
  std::uint64_t user_ticks = 0;
  std::uint64_t system_ticks = 0;
  std::uint64_t start_ticks = 0;  // as shown, with the reader's time-namespace offset in it
  std::uint64_t pending_signals = 0;
};

std::optional<TaskStat> ParseTaskStat(std::string_view text) {
  // Field 2 is a name that the process chose, ") R 1 (" if it likes. No later field has a ')'.
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string_view::npos) return std::nullopt;
  text.remove_prefix(name_end + 1);

  const std::string_view state = NextField(text);
  if (state.size() != 1) return std::nullopt;
  TaskStat stat{.state = state[0]};
  bool valid = true;
  for (int field = 4; field <= 31; ++field) {
    const std::string_view value = NextField(text);
    if (field == 4) valid &= ParseNumber(value, stat.parent_pid);
    if (field == 9) valid &= ParseNumber(value, stat.flags);
    if (field == 14) valid &= ParseNumber(value, stat.user_ticks);
    if (field == 15) valid &= ParseNumber(value, stat.system_ticks);
    if (field == 22) valid &= ParseNumber(value, stat.start_ticks);
    if (field == 31) valid &= ParseNumber(value, stat.pending_signals);
  }
  return valid ? std::optional(stat) : std::nullopt;
}

struct StatReading {
  int error = 0;  // an errno value; EBADMSG when the text is not what proc(5) says
  TaskStat stat = {};
};

StatReading ReadTaskStat(int directory, const char* path) {
  std::array<char, kStatSize> buffer;
  const Reading reading = ReadStart(directory, path, buffer);
  if (reading.error != 0) return {.error = reading.error};
  const std::optional<TaskStat> stat = ParseTaskStat(reading.text);
  if (!stat) return {.error = EBADMSG};
  return {.stat = *stat};
}

// A task that has ended: nothing but its exit status is left. Its files, its locks and its memory
// were given back before (do_exit in kernel/exit.c).
bool HasEnded(const TaskStat& stat) {
  return stat.state == 'Z' || stat.state == 'X' || stat.state == 'x';
}

constexpr std::uint64_t kSigkill = std::uint64_t{1} << (SIGKILL - 1);

// A task that runs no user code any more. A SIGKILL, or another deadly signal, is at once pending
// for each thread; the thread takes it and sets PF_SIGNALED, dumps core (PF_DUMPCORE) if it shall,
// and sets PF_EXITING later in do_exit: a tracer, a core dump and io_uring can hold it before that,
// and then no pending signal of the thread and no PF_EXITING tells (measured at PTRACE_EVENT_EXIT,
// Linux 6.18).
bool IsEnding(const TaskStat& stat) {
  constexpr std::uint64_t kExiting = 0x4, kDumpsCore = 0x200, kSignaled = 0x400;  // linux/sched.h
  return HasEnded(stat) || (stat.flags & (kExiting | kDumpsCore | kSignaled)) != 0 ||
         (stat.pending_signals & kSigkill) != 0;
}

std::uint64_t NanosecondsPerTick() {
  static const auto nanoseconds = 1'000'000'000 / static_cast<std::uint64_t>(sysconf(_SC_CLK_TCK));
  return nanoseconds;
}

// The calling process.

struct Self {
  os::ProcessMark mark;
  ProcessIdentity identity;
  std::uint64_t clock_offset_ns = 0;  // of its time namespace, modulo 2^64
  bool proc_is_ours = false;          // /proc shows the pid namespace of this process
  const Self* previous = nullptr;     // an older value, which another thread may still be reading
};

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

// Read once per process. Lock-free, so that a child forked in the middle of it is not stuck. A
// failure is not kept: the next call may find /proc mounted.
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

// Whether some process has the number, a zombie too. tgkill(2) is asked and not kill(2), for which
// the ids of other threads are as good as processes; and not /proc, which can hide processes.
bool Exists(std::int64_t pid) {
  if (pid <= 0 || pid > INT_MAX) return false;
  const auto number = static_cast<pid_t>(pid);
  return tgkill(number, number, 0) == 0 || errno != ESRCH;
}

std::string PathOf(const Self& self, std::int64_t pid) {
  // This one works in another namespace's /proc too.
  return pid == self.identity.pid ? "/proc/self" : absl::StrCat("/proc/", pid);
}

absl::Status Gone(std::int64_t pid, std::string_view how) {
  return absl::NotFoundError(absl::StrCat("process ", pid, " ", std::string(how)));
}

// Whether the process `pid` can be looked at at all.
absl::Status CheckVisible(const Self& self, std::int64_t pid) {
  if (!Exists(pid)) return Gone(pid, "is gone");
  if (self.proc_is_ours || pid == self.identity.pid) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "cannot look at process ", pid, ": /proc shows another pid namespace than this process's"));
}

// `error` of reading something in the directory of `pid` that every process has and shows.
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

absl::StatusOr<TaskStat> StatOfPid(const Self& self, std::int64_t pid);

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

// The same process as this pid namespace numbers it. One of a namespace below is looked for in the
// whole table. NotFound: it is gone, which of one below only the initial namespace can tell, from
// where every process is seen. FailedPrecondition: it is of a namespace that cannot be seen from
// here (a sibling, or one above).
absl::StatusOr<ProcessIdentity> Here(const Self& self, const ProcessIdentity& identity) {
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

absl::Status CheckStart(const Self& self, const ProcessIdentity& identity, const TaskStat& stat) {
  if (StartTicks(stat, self.clock_offset_ns) == identity.start_ticks) return absl::OkStatus();
  return Gone(identity.pid, "is gone, and another process has its number now");
}

// In what follows an identity is one of this pid namespace: Here gives it.

// The stat of that very process, which may be a zombie.
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

// glibc 2.36 declares these in <sys/pidfd.h>, but not for C++: it lacks the extern "C".
UniqueFd PidfdOpen(std::int64_t pid) {
  return UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0U)));
}

int PidfdSendSignal(int pidfd, int signal) {
  return static_cast<int>(syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0U));
}

// Whether all threads of the process have ended.
bool HasEnded(const UniqueFd& pidfd) {
  pollfd poll_entry{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  return os::RetryOnEintr([&] { return poll(&poll_entry, 1, 0); }) == 1;
}

// A descriptor for that very process. The check comes after the opening: whoever had the number at
// the opening has it still, and so is the one that `identity` names.
absl::StatusOr<UniqueFd> OpenPidfd(const Self& self, const ProcessIdentity& identity) {
  UniqueFd pidfd = PidfdOpen(identity.pid);
  const int error = errno;
  if (absl::StatusOr<TaskStat> stat = StatOf(self, identity); !stat.ok()) return stat.status();
  if (!pidfd) return os::ErrnoStatus(error, absl::StrCat("open a pidfd of process ", identity.pid));
  if (HasEnded(pidfd)) return Gone(identity.pid, "has ended and waits for its parent to notice");
  return pidfd;
}

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

// Of a process of this pid namespace.
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

// That very process's directory in /proc.
struct OpenProcess {
  UniqueFd directory;
  UniqueFd task =
      {};  // of another thread, when the main thread has ended and shows nothing any more
  TaskStat stat = {};  // of `task`, else of the main thread

  int readable() const { return task ? task.get() : directory.get(); }
};

UniqueFd OpenPath(int directory, const char* path) {
  return UniqueFd(
      os::RetryOnEintr([&] { return openat(directory, path, O_PATH | O_DIRECTORY | O_CLOEXEC); }));
}

// Finds a thread that has not ended, if there is one. An errno value, or 0: without a thread then,
// all have ended.
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

// The process that has the number `pid` now.
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

// The effective user, from the line "Uid: real effective saved filesystem". (The owner of /proc/PID
// is root for a process that is not dumpable.)
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

std::vector<std::string> SplitArguments(std::string_view text) {
  std::vector<std::string> arguments;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\0'), text.size());
    arguments.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return arguments;
}

// The resident set, from the second field of statm.
std::uint64_t ResidentBytes(const OpenProcess& process) {
  std::array<char, 256> buffer;
  std::string_view text = ReadStart(process.readable(), "statm", buffer).text;
  (void)NextField(text);  // the whole address space
  std::uint64_t pages = 0;
  if (!ParseNumber(NextField(text), pages)) return 0;
  return pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

// How long ago a process with that field 22 was started. The clock has the same offset as the
// field.
absl::Duration Age(std::uint64_t shown_start_ticks) {
  timespec now = {};
  (void)clock_gettime(CLOCK_BOOTTIME, &now);  // cannot fail: Linux 2.6.39
  const std::uint64_t start_ns = shown_start_ticks * NanosecondsPerTick();
  const std::uint64_t now_ns = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
                               static_cast<std::uint64_t>(now.tv_nsec);
  return absl::Nanoseconds(static_cast<std::int64_t>(now_ns - start_ns));  // modulo 2^64, as above
}

double CpuPercent(const TaskStat& stat, absl::Duration age) {
  if (age <= absl::ZeroDuration()) return 0;
  const double used =
      static_cast<double>((stat.user_ticks + stat.system_ticks) * NanosecondsPerTick()) / 1e9;
  return 100 * used / absl::ToDoubleSeconds(age);
}

// What the descriptor `name` refers to. Not synchronised with the server of a network filesystem,
// which may be away: AT_STATX_DONT_SYNC, Linux 4.11. An errno value, or 0.
int DescriptorFile(int directory, const char* name, FileIdentity& file) {
  struct statx result = {};
  const int status = os::RetryOnEintr(
      [&] { return statx(directory, name, AT_STATX_DONT_SYNC, STATX_INO, &result); });
  if (status != 0) return errno;
  file = {.device = makedev(result.stx_dev_major, result.stx_dev_minor), .inode = result.stx_ino};
  return 0;
}

bool HasOpen(const OpenProcess& process, const FileIdentity& file) {
  bool found = false;
  // Descriptors that cannot be listed are another user's: not among those that the caller may see.
  (void)ForEachNumber(process.readable(), "fd", [&](auto, int descriptors, const char* name) {
    FileIdentity opened;
    found = DescriptorFile(descriptors, name, opened) == 0 && opened == file;
    return !found;
  });
  return found;
}

// Whether an fdinfo has a line such as "lock:	1: FLOCK  ADVISORY  WRITE 359 fe:00:1691 0 EOF".
// Leases are listed there as well. The numbers of device and inode are not looked at: on overlayfs
// they are those of the file below.
bool ShowsLock(std::string_view descriptor_info) {
  while (std::optional<std::string_view> line = LineAfter(descriptor_info, "lock:")) {
    descriptor_info.remove_prefix(
        static_cast<std::size_t>(line->data() + line->size() - descriptor_info.data()));
    (void)NextField(*line);  // "1:"
    const std::string_view kind = NextField(*line);
    if (kind == "FLOCK" || kind == "POSIX" || kind == "OFDLCK") return true;
  }
  return false;
}

constexpr std::size_t kListLimit = std::size_t{16} * 1024 * 1024;

// A process as the namespace of /proc numbers it, whichever that is.
struct Shown {
  std::int64_t number = 0;
  std::uint64_t start_ticks = 0;  // as shown
};

// The numbers of the children of a process, by its directory in /proc. An errno value, or 0.
int ChildrenBelow(int directory, std::vector<std::int64_t>& children) {
  int error = 0;
  // Each child is listed with the thread that forked it, or that it was given to (proc(5),
  // Linux 3.5).
  const auto visit = [&](auto, int tasks, const char* name) {
    const LongReading list = ReadUpTo(tasks, absl::StrCat(name, "/children").c_str(), kListLimit);
    if (list.error != 0 && list.error != ESRCH) error = list.error;
    std::string_view text = list.text;
    std::int64_t child = 0;
    while (ParseNumber(NextField(text), child)) children.push_back(child);
    return error == 0;
  };
  const int listed = ForEachNumber(directory, "task", visit);
  return error != 0 ? error : listed;
}

// How many namespaces below that of /proc the process of `directory` is numbered, and each number.
std::vector<std::int64_t> NumbersBelow(int directory) {
  std::vector<std::int64_t> numbers;
  const LongReading status = ReadUpTo(directory, "status", kStatusLimit);
  std::string_view line = LineAfter(status.text, "NSpid:").value_or("");
  std::int64_t number = 0;
  while (ParseNumber(NextField(line), number)) numbers.push_back(number);
  return numbers;
}

// A pid is a child's if it can be waited for. Without /proc there is no other way to learn which
// children came to a subreaper. (About 0.1 µs for each number.)
std::vector<std::int64_t> ChildrenByWaiting() {
  constexpr std::int64_t kMostPids = std::int64_t{4} * 1024 * 1024;  // PID_MAX_LIMIT
  std::vector<std::int64_t> children;
  siginfo_t info = {};
  constexpr int kOnlyAsk = WEXITED | WNOHANG | WNOWAIT;
  if (waitid(P_ALL, 0, &info, kOnlyAsk) != 0 && errno == ECHILD) return children;
  for (std::int64_t pid = 1; pid < kMostPids; ++pid) {
    if (waitid(P_PID, static_cast<id_t>(pid), &info, kOnlyAsk) == 0) children.push_back(pid);
  }
  return children;
}

// The children of `parent`, whose directory is open: each was seen to have that parent. False: the
// parent ended meanwhile, and what it had is another's now.
bool AddChildren(const Shown& parent, int directory, std::vector<Shown>& found) {
  std::vector<std::int64_t> numbers;
  if (ChildrenBelow(directory, numbers) != 0) return false;
  std::vector<Shown> children;
  for (const std::int64_t number : numbers) {
    const StatReading reading =
        ReadTaskStat(AT_FDCWD, absl::StrCat("/proc/", number, "/stat").c_str());
    if (reading.error != 0 || reading.stat.parent_pid != parent.number) continue;
    children.push_back({.number = number, .start_ticks = reading.stat.start_ticks});
  }
  // The race: the parent ended before a child was looked at, and its number is another process's,
  // whose children were seen. Closed by asking for it once more: its directory is its own.
  const StatReading again = ReadTaskStat(directory, "stat");
  if (again.error != 0 || HasEnded(again.stat)) return false;
  found.insert(found.end(), children.begin(), children.end());
  return true;
}

// One of the calling process's children, by the number that it has here, in whichever namespace's
// /proc.
std::optional<TaskStat> StatOfChild(std::int64_t pid) {
  const UniqueFd own = OpenPath(AT_FDCWD, "/proc/self");
  std::vector<std::int64_t> shown;
  if (!own || ChildrenBelow(own.get(), shown) != 0) return std::nullopt;
  const std::size_t level = NumbersBelow(own.get()).size();
  for (const std::int64_t number : shown) {
    const UniqueFd child = OpenPath(AT_FDCWD, absl::StrCat("/proc/", number).c_str());
    if (!child) continue;
    const std::vector<std::int64_t> numbers = NumbersBelow(child.get());
    if (level == 0 || numbers.size() < level || numbers[level - 1] != pid) continue;
    const StatReading reading = ReadTaskStat(child.get(), "stat");
    if (reading.error == 0) return reading.stat;
  }
  return std::nullopt;
}

}  // namespace

std::string_view ToString(Liveness liveness) {
  switch (liveness) {
    case Liveness::kAlive:
      return "alive";
    case Liveness::kDying:
      return "dying";
    case Liveness::kGone:
      return "gone";
    case Liveness::kUnknown:
      return "unknown";
  }
  return "invalid";
}

absl::StatusOr<ProcessIdentity> OwnIdentity() {
  const absl::StatusOr<const Self*> self = OwnSelf();
  if (!self.ok()) return self.status();
  return (*self)->identity;
}

absl::StatusOr<ProcessIdentity> IdentityOf(std::int64_t pid) {
  const absl::StatusOr<const Self*> self = OwnSelf();
  if (!self.ok()) return self.status();
  if (pid == (*self)->identity.pid) return (*self)->identity;
  if (!(*self)->proc_is_ours) {
    // Of a child of one's own it can be told all the same: it is in the list of children.
    const std::optional<TaskStat> child = StatOfChild(pid);
    if (child.has_value()) return IdentityFrom(**self, pid, *child);
  }
  const absl::StatusOr<TaskStat> stat = StatOfPid(**self, pid);
  if (!stat.ok()) return stat.status();
  return IdentityFrom(**self, pid, *stat);
}

absl::StatusOr<ProcessIdentity> IdentityHere(const ProcessIdentity& identity) {
  const absl::StatusOr<const Self*> self = OwnSelf();
  if (!self.ok()) return self.status();
  return Here(**self, identity);
}

Liveness LivenessOf(const ProcessIdentity& identity) {
  const absl::StatusOr<const Self*> self = OwnSelf();
  if (!self.ok()) return Liveness::kUnknown;
  if (identity == (*self)->identity) return Liveness::kAlive;
  const absl::StatusOr<ProcessIdentity> here = Here(**self, identity);
  if (absl::IsNotFound(here.status())) return Liveness::kGone;
  if (!here.ok()) return Liveness::kUnknown;
  return LivenessHere(**self, *here);
}

absl::StatusOr<ProcessDescription> Describe(const ProcessIdentity& process_identity) {
  const absl::StatusOr<const Self*> self = OwnSelf();
  if (!self.ok()) return self.status();
  const absl::StatusOr<ProcessIdentity> here = Here(**self, process_identity);
  if (!here.ok()) return here.status();
  const ProcessIdentity& identity = *here;
  const absl::StatusOr<OpenProcess> process = OpenIdentity(**self, identity);
  if (!process.ok()) return process.status();
  const absl::StatusOr<std::uint32_t> uid = EffectiveUid(process->directory.get(), identity.pid);
  if (!uid.ok()) return uid.status();

  const TaskStat& stat = process->stat;
  const int directory = process->readable();
  ProcessDescription description;
  description.identity = identity;
  // In another namespace's /proc the field is of that namespace.
  description.parent_pid = identity == (*self)->identity ? getppid() : stat.parent_pid;
  description.executable = ReadLink(directory, "exe");
  description.argv = SplitArguments(ReadUpTo(directory, "cmdline", kArgumentsLimit).text);
  description.working_directory = ReadLink(directory, "cwd");
  description.uid = *uid;
  description.user = UserName(*uid);
  description.state = stat.state;
  description.memory_bytes = ResidentBytes(*process);

  // Again of the main thread: the times of the process, whichever thread it was read by.
  const absl::StatusOr<TaskStat> again = StatOf(**self, identity);
  if (!again.ok()) return again.status();
  const absl::Duration age = Age(again->start_ticks);
  description.cpu_percent = CpuPercent(*again, age);
  description.started = absl::Now() - age;
  return description;
}

namespace {

// Whether the process of `directory` is in a cgroup that is frozen, itself or by one above, where
// the cgroups are mounted as everywhere.
bool CgroupIsFrozen(int directory) {
  std::string_view lines;
  const LongReading cgroups = ReadUpTo(directory, "cgroup", kStatusLimit);
  lines = cgroups.text;
  std::array<char, 256> buffer;
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find('\n'), lines.size());
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(std::min(end + 1, lines.size()));
    // "0::/path" of version 2, "6:freezer:/path" of version 1 (cgroups(7)).
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', std::min(first + 1, line.size()));
    if (second == std::string_view::npos) continue;
    const std::string path(line.substr(second + 1));
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    if (controllers == "freezer") {
      const std::string file = absl::StrCat("/sys/fs/cgroup/freezer", path, "/freezer.state");
      if (ReadStart(AT_FDCWD, file.c_str(), buffer).text.starts_with("FR")) return true;
    }
    if (!controllers.empty()) continue;
    for (const char* mount : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
      const std::string file = absl::StrCat(mount, path, "/cgroup.events");
      const Reading events = ReadStart(AT_FDCWD, file.c_str(), buffer);
      std::string_view frozen = LineAfter(events.text, "frozen ").value_or("");
      if (NextField(frozen) == "1") return true;
    }
  }
  return false;
}

}  // namespace

Freeze FreezeOf(const ProcessIdentity& identity) {
  const absl::StatusOr<const Self*> self = OwnSelf();
  const absl::StatusOr<ProcessIdentity> here = IdentityHere(identity);
  if (!self.ok() || !here.ok()) return Freeze::kNone;
  const absl::StatusOr<OpenProcess> process = OpenIdentity(**self, *here);
  if (!process.ok()) return Freeze::kNone;
  if (CgroupIsFrozen(process->readable())) return Freeze::kCgroup;
  const char state = process->stat.state;
  return state == 'T' || state == 't' ? Freeze::kStopped : Freeze::kNone;
}

std::string_view ToString(Freeze freeze) {
  switch (freeze) {
    case Freeze::kNone:
      return "";
    case Freeze::kStopped:
      return "frozen (SIGSTOP)";
    case Freeze::kCgroup:
      return "frozen with its cgroup (a paused container)";
  }
  return "";
}

absl::StatusOr<ProcessDescription> DescribeSelf() {
  const absl::StatusOr<const Self*> self = OwnSelf();
  if (!self.ok()) return self.status();
  ProcessDescription description;
  description.identity = (*self)->identity;
  description.uid = geteuid();
  description.user = UserName(description.uid);
  description.executable = ReadLink(AT_FDCWD, "/proc/self/exe");
  description.working_directory = ReadLink(AT_FDCWD, "/proc/self/cwd");
  return description;
}

absl::StatusOr<UniqueFd> OpenPidfd(const ProcessIdentity& identity) {
  const absl::StatusOr<const Self*> self = OwnSelf();
  if (!self.ok()) return self.status();
  const absl::StatusOr<ProcessIdentity> here = Here(**self, identity);
  return here.ok() ? OpenPidfd(**self, *here) : here.status();
}

absl::Status SendSignal(const ProcessIdentity& identity, int signal) {
  const absl::StatusOr<UniqueFd> pidfd = OpenPidfd(identity);
  if (!pidfd.ok()) return pidfd.status();
  if (PidfdSendSignal(pidfd->get(), signal) == 0) return absl::OkStatus();
  if (errno == ESRCH) return Gone(identity.pid, "is gone");
  return os::ErrnoStatus(errno, absl::StrCat("send signal ", signal, " to process ", identity.pid));
}

std::string_view ToString(Signal signal) {
  return signal == Signal::kTerminate ? "SIGTERM" : "SIGKILL";
}

absl::Status SendSignal(const ProcessIdentity& identity, Signal signal) {
  return SendSignal(identity, signal == Signal::kTerminate ? SIGTERM : SIGKILL);
}

absl::StatusOr<std::vector<ProcessIdentity>> DescendantsOf(const ProcessIdentity& process) {
  const absl::StatusOr<ProcessIdentity> ancestor = IdentityHere(process);
  if (!ancestor.ok()) return ancestor.status();
  const absl::StatusOr<std::vector<std::int64_t>> pids = AllPids();
  if (!pids.ok()) return pids.status();
  std::multimap<std::int64_t, ProcessIdentity> children;  // by parent
  for (const std::int64_t pid : *pids) {
    absl::StatusOr<os::Kin> kin = os::KinOf(pid);
    if (kin.ok()) children.emplace(kin->parent, std::move(kin->process));
  }
  std::vector<ProcessIdentity> line = {*ancestor};
  for (std::size_t i = 0; i < line.size(); ++i) {
    const auto [first, last] = children.equal_range(line[i].pid);
    for (auto child = first; child != last; ++child) {
      // The race: the parent ended meanwhile, and its pid is another's. Whoever started before that
      // one is no child of it.
      if (child->second.start_ticks >= line[i].start_ticks) line.push_back(child->second);
    }
  }
  // All of it was so if the ancestor still lives: its pid was its own.
  if (const absl::StatusOr<ProcessIdentity> now = IdentityOf(ancestor->pid);
      !now.ok() || *now != *ancestor) {
    return Gone(ancestor->pid, "is gone");
  }
  line.erase(line.begin());
  return line;
}

absl::StatusOr<std::vector<std::int64_t>> AllPids() {
  const absl::StatusOr<const Self*> self = OwnSelf();
  if (!self.ok()) return self.status();
  if (!(*self)->proc_is_ours) {
    return absl::FailedPreconditionError(
        "cannot list processes: /proc shows another pid namespace than this process's");
  }
  std::vector<std::int64_t> pids;
  const int error = ForEachNumber(AT_FDCWD, "/proc", [&](std::int64_t pid, auto...) {
    pids.push_back(pid);
    return true;
  });
  if (error != 0) return os::ErrnoStatus(error, "list /proc");
  return pids;
}

std::vector<std::int64_t> OwnChildren() {
  const UniqueFd own = OpenPath(AT_FDCWD, "/proc/self");
  std::vector<std::int64_t> shown;
  if (!own || ChildrenBelow(own.get(), shown) != 0) return ChildrenByWaiting();
  const std::vector<std::int64_t> own_numbers = NumbersBelow(own.get());
  if (own_numbers.size() <= 1 && (own_numbers.empty() || own_numbers.front() == getpid())) {
    return shown;
  }
  // Another namespace's /proc: the number that counts here stands as far behind as this process's.
  std::vector<std::int64_t> children;
  for (const std::int64_t number : shown) {
    const UniqueFd child = OpenPath(AT_FDCWD, absl::StrCat("/proc/", number).c_str());
    const std::vector<std::int64_t> numbers =
        child ? NumbersBelow(child.get()) : std::vector<std::int64_t>();
    if (numbers.size() >= own_numbers.size() && !own_numbers.empty()) {
      children.push_back(numbers[own_numbers.size() - 1]);
    }
  }
  return children.size() == shown.size() ? children : ChildrenByWaiting();
}

namespace {

// SIGKILL to every child by its number: what needs no descriptor and no /proc of one's own.
void KillOwnChildren() {
  for (const std::int64_t child : OwnChildren()) (void)kill(static_cast<pid_t>(child), SIGKILL);
}

// SIGKILL to every descendant that can be seen now and is not one of `killed`, to which it is
// added. (Who has a SIGKILL pending forks no more: copy_process in kernel/fork.c.)
void KillOwnDescendants(std::set<std::pair<std::int64_t, std::uint64_t>>& killed) {
  const UniqueFd own = OpenPath(AT_FDCWD, "/proc/self");
  std::vector<std::int64_t> numbers;
  if (own) numbers = NumbersBelow(own.get());
  std::vector<Shown> line;
  if (numbers.empty() || !AddChildren({.number = numbers.front()}, own.get(), line)) {
    return KillOwnChildren();
  }
  bool unseen = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const Shown process = line[i];
    if (killed.contains({process.number, process.start_ticks})) continue;
    // A directory of /proc is as good as a pidfd (pidfd_send_signal(2)): it belongs to the process
    // and not to the number, so nothing has to be known of this number in any other namespace.
    const UniqueFd directory(
        open(absl::StrCat("/proc/", process.number).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    unseen = unseen || (!directory && errno != ENOENT);
    if (!directory) continue;
    const StatReading reading = ReadTaskStat(directory.get(), "stat");
    if (reading.error != 0 || reading.stat.start_ticks != process.start_ticks) continue;
    (void)AddChildren(process, directory.get(), line);  // before it ends, and they go elsewhere
    if (PidfdSendSignal(directory.get(), SIGKILL) == 0) {
      killed.emplace(process.number, process.start_ticks);
    }
  }
  if (unseen) KillOwnChildren();  // no descriptor is left: level by level then
}

}  // namespace

void EndOwnDescendants() {
  std::set<std::pair<std::int64_t, std::uint64_t>> killed;
  // The race: a process is forked between the look and the end of its parent. It comes to this
  // process when its parent ends, before that can be waited for (exit_notify in kernel/exit.c): so
  // it is looked for after each wait.
  while (true) {
    KillOwnDescendants(killed);
    if (waitpid(-1, nullptr, 0) < 0 && errno == ECHILD) return;
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
  }
}

std::vector<ProcessIdentity> ProcessesWithOpen(const FileIdentity& file) {
  std::vector<ProcessIdentity> found;
  const absl::StatusOr<const Self*> self = OwnSelf();
  const absl::StatusOr<std::vector<std::int64_t>> pids = AllPids();
  if (!self.ok() || !pids.ok()) return found;
  for (const std::int64_t pid : *pids) {
    absl::StatusOr<OpenProcess> process = OpenPid(**self, pid);
    if (!process.ok()) continue;
    const ProcessIdentity identity = IdentityFrom(**self, pid, process->stat);
    if (HasEnded(process->stat)) (void)UseAnotherThread(*process);  // else nothing is seen open
    if (HasOpen(*process, file)) found.push_back(identity);
  }
  return found;
}

absl::StatusOr<bool> HasOpen(const ProcessIdentity& process_identity, const FileIdentity& file) {
  const absl::StatusOr<const Self*> self = OwnSelf();
  if (!self.ok()) return self.status();
  const absl::StatusOr<ProcessIdentity> here = Here(**self, process_identity);
  if (!here.ok()) return here.status();
  const ProcessIdentity& identity = *here;
  const absl::StatusOr<OpenProcess> process = OpenIdentity(**self, identity);
  if (!process.ok()) return process.status();

  bool has = false;
  int unseen = 0;  // an errno value: something could not be looked at
  const auto visit = [&](auto, int descriptors, const char* name) {
    FileIdentity opened;
    const int error = DescriptorFile(descriptors, name, opened);
    if (error != 0 && error != ENOENT) unseen = error;  // else it was closed meanwhile
    has = error == 0 && opened == file;
    return !has;
  };
  int error = ForEachNumber(process->readable(), "fd", visit);
  if (error == 0 && !has) error = unseen;
  if (absl::StatusOr<TaskStat> again = StatOf(**self, identity); !again.ok()) return again.status();
  if (error == 0) return has;
  return os::ErrnoStatus(error, absl::StrCat("list the descriptors of process ", identity.pid));
}

absl::StatusOr<bool> HoldsLock(const ProcessIdentity& process_identity, const FileIdentity& file) {
  const absl::StatusOr<const Self*> self = OwnSelf();
  if (!self.ok()) return self.status();
  const absl::StatusOr<ProcessIdentity> here = Here(**self, process_identity);
  if (!here.ok()) return here.status();
  const ProcessIdentity& identity = *here;
  const absl::StatusOr<OpenProcess> process = OpenIdentity(**self, identity);
  if (!process.ok()) return process.status();

  bool holds = false;
  int refused = 0;  // an errno value: something could not be looked at
  const auto visit = [&](auto, int descriptors, const char* name) {
    FileIdentity opened;
    const int error = DescriptorFile(descriptors, name, opened);
    if (error == EACCES || error == EPERM) refused = error;
    // Any other failure is a descriptor that was closed meanwhile, or a file that does not answer.
    if (error != 0 || !(opened == file)) return true;
    const LongReading info =
        ReadUpTo(process->readable(), absl::StrCat("fdinfo/", name).c_str(), kDescriptorInfoLimit);
    if (info.error != 0 && info.error != ENOENT) refused = info.error;
    holds = ShowsLock(info.text);
    return !holds;
  };
  int error = ForEachNumber(process->readable(), "fd", visit);
  if (error == 0 && !holds) error = refused;

  if (absl::StatusOr<TaskStat> again = StatOf(**self, identity); !again.ok()) return again.status();
  if (error == 0) return holds;
  return os::ErrnoStatus(error, absl::StrCat("list the descriptors of process ", identity.pid));
}

std::string UserName(std::uint32_t uid) {
  const std::optional<os::User> user = os::FindUser(uid);
  return user.has_value() ? user->name : absl::StrCat(uid);
}

absl::StatusOr<std::string> HomeDirectory() {
  const uid_t uid = geteuid();
  std::optional<os::User> user = os::FindUser(uid);
  if (user.has_value() && user->home.starts_with('/')) return std::move(user->home);
  return absl::NotFoundError(absl::StrCat("the password database names no home of uid ", uid));
}

std::string HostName() {
  utsname names = {};
  return uname(&names) == 0 ? names.nodename : std::string();
}

namespace os {
namespace {

// A process can make its arguments and environment megabytes long. Who hides behind more than this
// is not found.
constexpr std::size_t kComparedLimit = std::size_t{1024} * 1024;

// An errno value, or 0.
int ProgramFileBelow(int directory, const char* path, ProgramFile& program) {
  struct statx result = {};
  // Not synchronised with a server that may be away.
  if (RetryOnEintr([&] {
        return statx(directory, path, AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO | STATX_SIZE,
                     &result);
      }) != 0) {
    return errno;
  }
  if (!S_ISREG(result.stx_mode)) return ENOENT;
  program = {.file = {.device = makedev(result.stx_dev_major, result.stx_dev_minor),
                      .inode = result.stx_ino},
             .size = result.stx_size};
  return 0;
}

// Of a process without a program: a kernel thread, a zombie, or one whose main thread has ended.
// The directory of threads has a link for each besides its own two (proc_task_getattr in
// fs/proc/base.c), and the main thread is counted until it is reaped. ENOENT: there is none.
int ProgramOfThreads(int proc, const std::string& tasks, ProgramFile& program) {
  constexpr std::uint32_t kLinksOfOneThread = 3;
  struct statx result = {};
  if (statx(proc, tasks.c_str(), 0, STATX_NLINK, &result) != 0) return errno;
  if (result.stx_nlink <= kLinksOfOneThread) return ENOENT;
  int error = ENOENT;
  const int listed =
      ForEachNumber(proc, tasks.c_str(), [&](auto, int directory, const char* thread) {
        const int seen = ProgramFileBelow(directory, absl::StrCat(thread, "/exe").c_str(), program);
        if (seen != ENOENT && seen != ESRCH) error = seen;  // else it has ended
        return seen != 0;
      });
  return error == ENOENT && listed != 0 ? listed : error;
}

}  // namespace

absl::StatusOr<std::uint64_t> MicrosSinceBoot() {
  const absl::StatusOr<const Self*> self = OwnSelf();
  if (!self.ok()) return self.status();
  timespec now = {};
  (void)clock_gettime(CLOCK_BOOTTIME, &now);  // cannot fail: Linux 2.6.39
  const std::uint64_t shown = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
                              static_cast<std::uint64_t>(now.tv_nsec);
  return (shown - (*self)->clock_offset_ns) / 1000;
}

absl::Status ForEachProgram(
    const std::function<void(std::int64_t pid, int error, const ProgramFile& program)>& visit) {
  const absl::StatusOr<std::vector<std::int64_t>> pids = AllPids();
  if (!pids.ok()) return pids.status();
  const UniqueFd proc = OpenPath(AT_FDCWD, "/proc");
  if (!proc) return ErrnoStatus(errno, "open /proc");
  std::string path;
  for (const std::int64_t pid : *pids) {
    path.clear();
    absl::StrAppend(&path, pid, "/exe");
    ProgramFile program;
    int error = ProgramFileBelow(proc.get(), path.c_str(), program);
    if (error == ENOENT) {
      error = ProgramOfThreads(proc.get(), absl::StrCat(pid, "/task"), program);
    }
    if (error == ENOENT || error == ESRCH) continue;
    if (error == EPERM) error = EACCES;
    if (error != 0 && error != EACCES) {
      return ErrnoStatus(error, absl::StrCat("look at the program of process ", pid));
    }
    visit(pid, error, program);
  }
  return absl::OkStatus();
}

std::string CommandLineOf(std::int64_t pid) {
  const std::string path = absl::StrCat("/proc/", pid, "/cmdline");
  // One read(2) where that will do: among many processes of one program this is most of a walk. The
  // kernel returns less than was asked for only at the end (get_mm_cmdline in fs/proc/base.c).
  std::array<char, 4096> buffer;
  const Reading start = ReadStart(AT_FDCWD, path.c_str(), buffer);
  if (start.error != 0) return {};
  if (start.text.size() < buffer.size()) return std::string(start.text);
  LongReading reading = ReadUpTo(AT_FDCWD, path.c_str(), kComparedLimit);
  return reading.error == 0 ? std::move(reading.text) : std::string();
}

absl::Status CheckProcessTable() {
  // Process 1 is always there and, but for a namespace of one's own, another user's. hidepid=1 lets
  // its files not be read, hidepid=2 and 4 do not show it (proc(5)).
  absl::Status status = IdentityOf(1).status();
  if (!absl::IsPermissionDenied(status)) return status;
  return absl::PermissionDeniedError(absl::StrCat(
      "/proc does not show the processes of other users (its option hidepid): ", status.message()));
}

absl::StatusOr<Kin> KinOf(std::int64_t pid) {
  const absl::StatusOr<const Self*> self = OwnSelf();
  if (!self.ok()) return self.status();
  const absl::StatusOr<TaskStat> stat = StatOfPid(**self, pid);
  if (!stat.ok()) return stat.status();
  return Kin{.process = IdentityFrom(**self, pid, *stat), .parent = stat->parent_pid};
}

absl::StatusOr<Kin> OwnKin() {
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  if (!own.ok()) return own.status();
  return Kin{.process = *own, .parent = getppid()};
}

absl::StatusOr<ProcessView> ProcessView::Open(std::int64_t pid) {
  const absl::StatusOr<const Self*> self = OwnSelf();
  if (!self.ok()) return self.status();
  UniqueFd directory = OpenPath(AT_FDCWD, PathOf(**self, pid).c_str());
  if (!directory) return CannotRead(errno, pid, "the directory");
  ProcessView view(pid, std::move(directory));
  ProgramFile program;
  int error = ProgramFileBelow(view.directory_.get(), "exe", program);
  if (error == 0) return view;
  if (error == EACCES || error == EPERM) {  // of another user, and its main thread may have ended
    const StatReading reading = ReadTaskStat(view.directory_.get(), "stat");
    if (reading.error == 0 && !HasEnded(reading.stat)) return view;
    error = reading.error;
  } else if (error == ENOENT) {
    error = 0;
  }
  if (error != 0) return CannotRead(error, pid, "the program");
  OpenProcess process{.directory = std::move(view.directory_)};
  error = UseAnotherThread(process);
  if (error != 0) return CannotRead(error, pid, "the threads");
  view.directory_ = std::move(process.directory);
  view.task_ = std::move(process.task);
  if (!view.task_) return Gone(pid, "executes nothing");
  return view;
}

absl::StatusOr<ProcessView> ProcessView::OfCaller() { return Open(getpid()); }

absl::StatusOr<Kin> ProcessView::Kinship() const {
  const absl::StatusOr<const Self*> self = OwnSelf();
  if (!self.ok()) return self.status();
  const StatReading reading = ReadTaskStat(directory_.get(), "stat");
  if (reading.error != 0) return CannotRead(reading.error, pid_, "the stat");
  return Kin{.process = IdentityFrom(**self, pid_, reading.stat),
             .parent = reading.stat.parent_pid};
}

absl::StatusOr<absl::Duration> ProcessView::Age() const {
  const StatReading reading = ReadTaskStat(directory_.get(), "stat");
  if (reading.error != 0) return CannotRead(reading.error, pid_, "the stat");
  return soleguard::Age(reading.stat.start_ticks);
}

absl::StatusOr<std::uint32_t> ProcessView::EffectiveUser() const {
  return EffectiveUid(directory_.get(), pid_);
}

absl::StatusOr<bool> ProcessView::IsInOwnPidNamespace() const {
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  if (!own.ok()) return own.status();
  const std::string link = ReadLink(readable(), "ns/pid");
  if (link.empty()) return CannotRead(errno, pid_, "the pid namespace");
  return link == absl::StrCat("pid:[", own->pid_namespace, "]");
}

absl::StatusOr<ProgramFile> ProcessView::Program() const {
  ProgramFile program;
  const int error = ProgramFileBelow(readable(), "exe", program);
  if (error != 0) return CannotRead(error, pid_, "the program");
  return program;
}

absl::StatusOr<UniqueFd> ProcessView::OpenProgram() const {
  UniqueFd fd(RetryOnEintr([&] { return openat(readable(), "exe", O_RDONLY | O_CLOEXEC); }));
  if (!fd) return CannotRead(errno, pid_, "the program");
  return fd;
}

absl::StatusOr<std::string> ProcessView::ProgramPath() const {
  std::string path = ReadLink(readable(), "exe");
  if (path.empty()) return CannotRead(errno, pid_, "the program's path");
  return path;
}

absl::StatusOr<std::vector<std::string>> ProcessView::Arguments() const {
  const LongReading reading = ReadUpTo(readable(), "cmdline", kComparedLimit);
  if (reading.error != 0) return CannotRead(reading.error, pid_, "the arguments");
  return SplitArguments(reading.text);
}

absl::StatusOr<std::vector<std::string>> ProcessView::Environment() const {
  const LongReading reading = ReadUpTo(readable(), "environ", kComparedLimit);
  if (reading.error != 0) return CannotRead(reading.error, pid_, "the environment");
  return SplitArguments(reading.text);
}

absl::StatusOr<ProgramFile> ProcessView::FileAt(const std::string& path) const {
  if (path.empty()) return absl::NotFoundError("an empty path");
  ProgramFile program;
  const std::string below = absl::StrCat(path.front() == '/' ? "root" : "cwd/", path);
  const int error = ProgramFileBelow(readable(), below.c_str(), program);
  if (error == 0) return program;
  // The path is whatever the process was called with.
  const bool no_file = error == ENOENT || error == ENOTDIR || error == ELOOP ||
                       error == ENAMETOOLONG || error == ESRCH;
  if (no_file) return absl::NotFoundError("no such file");
  return CannotRead(error, pid_, "the files");
}

}  // namespace os
}  // namespace soleguard
