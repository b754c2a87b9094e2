#include "system_linux.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <system_error>

#include <absl/strings/str_format.h>

namespace launch_storm {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kNanoseconds = 1'000'000'000;

// The fields of /proc/PID/stat that are needed here.
struct Stat {
  char state = '?';
  std::uint64_t flags = 0;
  std::uint64_t start_ticks = 0;
};

std::optional<Stat> ReadStat(std::int64_t pid) {
  const std::string path = absl::StrFormat("/proc/%d/stat", pid);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::array<char, 1024> buffer = {};
  const ssize_t got = read(fd, buffer.data(), buffer.size());  // one read: one moment
  (void)close(fd);
  if (got <= 0) return std::nullopt;
  const std::string text(buffer.data(), static_cast<std::size_t>(got));
  // Field 2 is a name in brackets that the process chose, brackets perhaps among it.
  const std::size_t end = text.rfind(')');
  if (end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(end + 1));
  Stat stat;
  fields >> stat.state;
  std::string skipped;
  for (int field = 4; field <= 8; ++field) fields >> skipped;
  fields >> stat.flags;
  for (int field = 10; field <= 21; ++field) fields >> skipped;
  fields >> stat.start_ticks;
  return fields ? std::optional(stat) : std::nullopt;
}

}  // namespace

std::int64_t Now() {
  timespec now = {};
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kNanoseconds + now.tv_nsec;
}

Stamp OwnStamp() { return StampOf(getpid()).value_or(Stamp{.pid = getpid()}); }

std::optional<Stamp> StampOf(std::int64_t pid) {
  const std::optional<Stat> stat = ReadStat(pid);
  if (!stat.has_value()) return std::nullopt;
  return Stamp{.pid = pid, .start_ticks = stat->start_ticks};
}

bool Runs(const Stamp& process) {
  constexpr std::uint64_t kExiting = 0x4;  // PF_EXITING, linux/sched.h; field 9 of proc(5)
  const std::optional<Stat> stat = ReadStat(process.pid);
  return stat.has_value() && stat->start_ticks == process.start_ticks && stat->state != 'Z' &&
         stat->state != 'X' && (stat->flags & kExiting) == 0;
}

void SignalProcess(const Stamp& process, int signal) {
  const auto fd = static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0));
  if (fd < 0) return;  // it has ended
  // Compared after the pidfd was opened: if it is that process now, the pidfd is of it.
  if (StampOf(process.pid) == process) {
    (void)syscall(SYS_pidfd_send_signal, fd, signal, nullptr, 0);
  }
  (void)close(fd);
}

void WaitWhile(const std::atomic<std::uint32_t>& word, std::uint32_t value, std::int64_t deadline) {
  const timespec until = {.tv_sec = deadline / kNanoseconds, .tv_nsec = deadline % kNanoseconds};
  // FUTEX_WAIT_BITSET takes an absolute time, of CLOCK_MONOTONIC. Without FUTEX_PRIVATE_FLAG: the
  // word is shared between processes, for which std::atomic::wait is not made.
  (void)syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, value, &until, nullptr,
                FUTEX_BITSET_MATCH_ANY);
}

void WakeAll(const std::atomic<std::uint32_t>& word) {
  (void)syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

bool DieWith(std::int64_t parent) {
  // Asked after the prctl: if it is still the parent then, its end is not missed.
  return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent;
}

void RaiseLimits() {
  for (const auto resource : {RLIMIT_NOFILE, RLIMIT_NPROC}) {
    rlimit limit = {};
    if (getrlimit(resource, &limit) != 0) continue;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(resource, &limit);  // if it is not enough, starting a process says so
  }
}

void ComeFirst() {
  const sched_param lowest = {.sched_priority = 1};
  (void)sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &lowest);
}

void AdoptOrphans() { (void)prctl(PR_SET_CHILD_SUBREAPER, 1); }

std::set<std::int64_t> Children() {
  std::ifstream file(absl::StrFormat("/proc/self/task/%d/children", getpid()));
  return {std::istream_iterator<std::int64_t>(file), std::istream_iterator<std::int64_t>()};
}

void RemoveKernelObjects(const std::string& directory, const std::set<std::int64_t>& pids,
                         std::time_t since) {
  seminfo info = {};
  // The fourth argument of semctl(2) is a union that its caller declares.
  union {
    semid_ds* set;
    seminfo* info;
  } argument = {.set = nullptr};
  argument.info = &info;
  const int highest = semctl(0, 0, SEM_INFO, argument);
  for (int index = 0; index <= highest; ++index) {
    semid_ds set = {};
    argument.set = &set;
    const int id = semctl(index, 0, SEM_STAT, argument);
    if (id < 0 || set.sem_perm.uid != geteuid() || set.sem_otime < since) continue;
    if (pids.contains(semctl(id, 0, GETPID))) (void)semctl(id, 0, IPC_RMID);
  }

  std::error_code ignored;  // no such directory: no segments
  for (const fs::directory_entry& entry : fs::directory_iterator("/dev/shm", ignored)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("soleguard-") || !entry.is_regular_file(ignored)) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string content{std::istreambuf_iterator<char>(file), {}};
    if (content.find(directory + "/") != std::string::npos) (void)shm_unlink(("/" + name).c_str());
  }
}

}  // namespace launch_storm
