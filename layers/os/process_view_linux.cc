#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include <absl/strings/str_cat.h>

#include "os/error.h"
#include "os/proc_process_linux.h"
#include "os/process_view.h"
#include "os/program.h"
#include "soleguard/process.h"

namespace soleguard::os {
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
      proc::ForEachNumber(proc, tasks.c_str(), [&](auto, int directory, const char* thread) {
        const int seen = ProgramFileBelow(directory, absl::StrCat(thread, "/exe").c_str(), program);
        if (seen != ENOENT && seen != ESRCH) error = seen;  // else it has ended
        return seen != 0;
      });
  return error == ENOENT && listed != 0 ? listed : error;
}

}  // namespace

absl::Status ForEachProgram(
    const std::function<void(std::int64_t pid, int error, const ProgramFile& program)>& visit) {
  const absl::StatusOr<std::vector<std::int64_t>> pids = AllPids();
  if (!pids.ok()) return pids.status();
  const UniqueFd proc = proc::OpenPath(AT_FDCWD, "/proc");
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
  const proc::Reading start = proc::ReadStart(AT_FDCWD, path.c_str(), buffer);
  if (start.error != 0) return {};
  if (start.text.size() < buffer.size()) return std::string(start.text);
  proc::LongReading reading = proc::ReadUpTo(AT_FDCWD, path.c_str(), kComparedLimit);
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
  const absl::StatusOr<const proc::Self*> self = proc::OwnSelf();
  if (!self.ok()) return self.status();
  const absl::StatusOr<proc::TaskStat> stat = proc::StatOfPid(**self, pid);
  if (!stat.ok()) return stat.status();
  return Kin{.process = proc::IdentityFrom(**self, pid, *stat), .parent = stat->parent_pid};
}

absl::StatusOr<Kin> OwnKin() {
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  if (!own.ok()) return own.status();
  return Kin{.process = *own, .parent = getppid()};
}

absl::StatusOr<ProcessView> ProcessView::Open(std::int64_t pid) {
  const absl::StatusOr<const proc::Self*> self = proc::OwnSelf();
  if (!self.ok()) return self.status();
  UniqueFd directory = proc::OpenPath(AT_FDCWD, proc::PathOf(**self, pid).c_str());
  if (!directory) return proc::CannotRead(errno, pid, "the directory");
  ProcessView view(pid, std::move(directory));
  ProgramFile program;
  int error = ProgramFileBelow(view.directory_.get(), "exe", program);
  if (error == 0) return view;
  if (error == EACCES || error == EPERM) {  // of another user, and its main thread may have ended
    const proc::StatReading reading = proc::ReadTaskStat(view.directory_.get(), "stat");
    if (reading.error == 0 && !proc::HasEnded(reading.stat)) return view;
    error = reading.error;
  } else if (error == ENOENT) {
    error = 0;
  }
  if (error != 0) return proc::CannotRead(error, pid, "the program");
  proc::OpenProcess process{.directory = std::move(view.directory_)};
  error = proc::UseAnotherThread(process);
  if (error != 0) return proc::CannotRead(error, pid, "the threads");
  view.directory_ = std::move(process.directory);
  view.task_ = std::move(process.task);
  if (!view.task_) return proc::Gone(pid, "executes nothing");
  return view;
}

absl::StatusOr<ProcessView> ProcessView::OfCaller() { return Open(getpid()); }

absl::StatusOr<Kin> ProcessView::Kinship() const {
  const absl::StatusOr<const proc::Self*> self = proc::OwnSelf();
  if (!self.ok()) return self.status();
  const proc::StatReading reading = proc::ReadTaskStat(directory_.get(), "stat");
  if (reading.error != 0) return proc::CannotRead(reading.error, pid_, "the stat");
  return Kin{.process = proc::IdentityFrom(**self, pid_, reading.stat),
             .parent = reading.stat.parent_pid};
}

absl::StatusOr<absl::Duration> ProcessView::Age() const {
  const proc::StatReading reading = proc::ReadTaskStat(directory_.get(), "stat");
  if (reading.error != 0) return proc::CannotRead(reading.error, pid_, "the stat");
  return proc::Age(reading.stat.start_ticks);
}

absl::StatusOr<std::uint32_t> ProcessView::EffectiveUser() const {
  return proc::EffectiveUid(directory_.get(), pid_);
}

absl::StatusOr<bool> ProcessView::IsInOwnPidNamespace() const {
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  if (!own.ok()) return own.status();
  const std::string link = proc::ReadLink(readable(), "ns/pid");
  if (link.empty()) return proc::CannotRead(errno, pid_, "the pid namespace");
  return link == absl::StrCat("pid:[", own->pid_namespace, "]");
}

absl::StatusOr<ProgramFile> ProcessView::Program() const {
  ProgramFile program;
  const int error = ProgramFileBelow(readable(), "exe", program);
  if (error != 0) return proc::CannotRead(error, pid_, "the program");
  return program;
}

absl::StatusOr<UniqueFd> ProcessView::OpenProgram() const {
  UniqueFd fd(RetryOnEintr([&] { return openat(readable(), "exe", O_RDONLY | O_CLOEXEC); }));
  if (!fd) return proc::CannotRead(errno, pid_, "the program");
  return fd;
}

absl::StatusOr<std::string> ProcessView::ProgramPath() const {
  std::string path = proc::ReadLink(readable(), "exe");
  if (path.empty()) return proc::CannotRead(errno, pid_, "the program's path");
  return path;
}

absl::StatusOr<std::vector<std::string>> ProcessView::Arguments() const {
  const proc::LongReading reading = proc::ReadUpTo(readable(), "cmdline", kComparedLimit);
  if (reading.error != 0) return proc::CannotRead(reading.error, pid_, "the arguments");
  return proc::SplitArguments(reading.text);
}

absl::StatusOr<std::vector<std::string>> ProcessView::Environment() const {
  const proc::LongReading reading = proc::ReadUpTo(readable(), "environ", kComparedLimit);
  if (reading.error != 0) return proc::CannotRead(reading.error, pid_, "the environment");
  return proc::SplitArguments(reading.text);
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
  return proc::CannotRead(error, pid_, "the files");
}

}  // namespace soleguard::os
