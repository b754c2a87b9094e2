#include <fcntl.h>
#include <signal.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>
#include <boost/uuid/name_generator_sha1.hpp>
#include <boost/uuid/uuid.hpp>
#include <boost/uuid/uuid_io.hpp>

#include "os/error.h"
#include "os/proc_process_linux.h"
#include "soleguard/process.h"

namespace soleguard {
namespace {

// A process can make its arguments megabytes long. What is cut is for display only.
constexpr std::size_t kArgumentsLimit = std::size_t{256} * 1024;

// The resident set, from the second field of statm.
std::uint64_t ResidentBytes(const proc::OpenProcess& process) {
  std::array<char, 256> buffer;
  std::string_view text = proc::ReadStart(process.readable(), "statm", buffer).text;
  (void)proc::NextField(text);  // the whole address space
  std::uint64_t pages = 0;
  if (!proc::ParseNumber(proc::NextField(text), pages)) return 0;
  return pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

double CpuPercent(const proc::TaskStat& stat, absl::Duration age) {
  if (age <= absl::ZeroDuration()) return 0;
  const double used =
      static_cast<double>((stat.user_ticks + stat.system_ticks) * proc::NanosecondsPerTick()) / 1e9;
  return 100 * used / absl::ToDoubleSeconds(age);
}

// One of the calling process's children, by the number that it has here, in whichever namespace's
// /proc.
std::optional<proc::TaskStat> StatOfChild(std::int64_t pid) {
  const UniqueFd own = proc::OpenPath(AT_FDCWD, "/proc/self");
  std::vector<std::int64_t> shown;
  if (!own || proc::ChildrenBelow(own.get(), shown) != 0) return std::nullopt;
  const std::size_t level = proc::NumbersBelow(own.get()).size();
  for (const std::int64_t number : shown) {
    const UniqueFd child = proc::OpenPath(AT_FDCWD, absl::StrCat("/proc/", number).c_str());
    if (!child) continue;
    const std::vector<std::int64_t> numbers = proc::NumbersBelow(child.get());
    if (level == 0 || numbers.size() < level || numbers[level - 1] != pid) continue;
    const proc::StatReading reading = proc::ReadTaskStat(child.get(), "stat");
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
  const absl::StatusOr<const proc::Self*> self = proc::OwnSelf();
  if (!self.ok()) return self.status();
  return (*self)->identity;
}

absl::StatusOr<ProcessIdentity> IdentityOf(std::int64_t pid) {
  const absl::StatusOr<const proc::Self*> self = proc::OwnSelf();
  if (!self.ok()) return self.status();
  if (pid == (*self)->identity.pid) return (*self)->identity;
  if (!(*self)->proc_is_ours) {
    // Of a child of one's own it can be told all the same: it is in the list of children.
    const std::optional<proc::TaskStat> child = StatOfChild(pid);
    if (child.has_value()) return proc::IdentityFrom(**self, pid, *child);
  }
  const absl::StatusOr<proc::TaskStat> stat = proc::StatOfPid(**self, pid);
  if (!stat.ok()) return stat.status();
  return proc::IdentityFrom(**self, pid, *stat);
}

absl::StatusOr<ProcessIdentity> IdentityHere(const ProcessIdentity& identity) {
  const absl::StatusOr<const proc::Self*> self = proc::OwnSelf();
  if (!self.ok()) return self.status();
  return proc::Here(**self, identity);
}

Liveness LivenessOf(const ProcessIdentity& identity) {
  const absl::StatusOr<const proc::Self*> self = proc::OwnSelf();
  if (!self.ok()) return Liveness::kUnknown;
  if (identity == (*self)->identity) return Liveness::kAlive;
  const absl::StatusOr<ProcessIdentity> here = proc::Here(**self, identity);
  if (absl::IsNotFound(here.status())) return Liveness::kGone;
  if (!here.ok()) return Liveness::kUnknown;
  return proc::LivenessHere(**self, *here);
}

absl::StatusOr<ProcessDescription> Describe(const ProcessIdentity& process_identity) {
  const absl::StatusOr<proc::Found> found = proc::Find(process_identity);
  if (!found.ok()) return found.status();
  const auto& [self, identity, process] = *found;
  const absl::StatusOr<std::uint32_t> uid =
      proc::EffectiveUid(process.directory.get(), identity.pid);
  if (!uid.ok()) return uid.status();

  const proc::TaskStat& stat = process.stat;
  const int directory = process.readable();
  ProcessDescription description;
  description.identity = identity;
  // In another namespace's /proc the field is of that namespace.
  description.parent_pid = identity == self->identity ? getppid() : stat.parent_pid;
  description.executable = proc::ReadLink(directory, "exe");
  description.argv =
      proc::SplitArguments(proc::ReadUpTo(directory, "cmdline", kArgumentsLimit).text);
  description.working_directory = proc::ReadLink(directory, "cwd");
  description.uid = *uid;
  description.user = UserName(*uid);
  description.state = stat.state;
  description.memory_bytes = ResidentBytes(process);

  // Again of the main thread: the times of the process, whichever thread it was read by.
  const absl::StatusOr<proc::TaskStat> again = proc::StatOf(*self, identity);
  if (!again.ok()) return again.status();
  const absl::Duration age = proc::Age(again->start_ticks);
  description.cpu_percent = CpuPercent(*again, age);
  description.started = absl::Now() - age;
  return description;
}

namespace {

// Whether the process of `directory` is in a cgroup that is frozen, itself or by one above, where
// the cgroups are mounted as everywhere.
bool CgroupIsFrozen(int directory) {
  std::string_view lines;
  const proc::LongReading cgroups = proc::ReadUpTo(directory, "cgroup", proc::kStatusLimit);
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
      if (proc::ReadStart(AT_FDCWD, file.c_str(), buffer).text.starts_with("FR")) return true;
    }
    if (!controllers.empty()) continue;
    for (const char* mount : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
      const std::string file = absl::StrCat(mount, path, "/cgroup.events");
      const proc::Reading events = proc::ReadStart(AT_FDCWD, file.c_str(), buffer);
      std::string_view frozen = proc::LineAfter(events.text, "frozen ").value_or("");
      if (proc::NextField(frozen) == "1") return true;
    }
  }
  return false;
}

}  // namespace

Freeze FreezeOf(const ProcessIdentity& identity) {
  const absl::StatusOr<proc::Found> found = proc::Find(identity);
  if (!found.ok()) return Freeze::kNone;
  if (CgroupIsFrozen(found->process.readable())) return Freeze::kCgroup;
  const char state = found->process.stat.state;
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
  const absl::StatusOr<const proc::Self*> self = proc::OwnSelf();
  if (!self.ok()) return self.status();
  ProcessDescription description;
  description.identity = (*self)->identity;
  description.uid = geteuid();
  description.user = UserName(description.uid);
  description.executable = proc::ReadLink(AT_FDCWD, "/proc/self/exe");
  description.working_directory = proc::ReadLink(AT_FDCWD, "/proc/self/cwd");
  return description;
}

std::vector<std::string> OwnArguments() {
  return proc::SplitArguments(proc::ReadUpTo(AT_FDCWD, "/proc/self/cmdline", kArgumentsLimit).text);
}

absl::StatusOr<UniqueFd> OpenPidfd(const ProcessIdentity& identity) {
  const absl::StatusOr<const proc::Self*> self = proc::OwnSelf();
  if (!self.ok()) return self.status();
  const absl::StatusOr<ProcessIdentity> here = proc::Here(**self, identity);
  return here.ok() ? proc::OpenPidfd(**self, *here) : here.status();
}

absl::Status SendSignal(const ProcessIdentity& identity, int signal) {
  const absl::StatusOr<UniqueFd> pidfd = OpenPidfd(identity);
  if (!pidfd.ok()) return pidfd.status();
  if (proc::PidfdSendSignal(pidfd->get(), signal) == 0) return absl::OkStatus();
  if (errno == ESRCH) return proc::Gone(identity.pid, "is gone");
  return os::ErrnoStatus(errno, absl::StrCat("send signal ", signal, " to process ", identity.pid));
}

std::string_view ToString(Signal signal) {
  return signal == Signal::kTerminate ? "SIGTERM" : "SIGKILL";
}

absl::Status SendSignal(const ProcessIdentity& identity, Signal signal) {
  return SendSignal(identity, signal == Signal::kTerminate ? SIGTERM : SIGKILL);
}

absl::StatusOr<std::vector<std::int64_t>> AllPids() {
  const absl::StatusOr<const proc::Self*> self = proc::OwnSelf();
  if (!self.ok()) return self.status();
  if (!(*self)->proc_is_ours) {
    return absl::FailedPreconditionError(
        "cannot list processes: /proc shows another pid namespace than this process's");
  }
  std::vector<std::int64_t> pids;
  const int error = proc::ForEachNumber(AT_FDCWD, "/proc", [&](std::int64_t pid, auto...) {
    pids.push_back(pid);
    return true;
  });
  if (error != 0) return os::ErrnoStatus(error, "list /proc");
  return pids;
}

std::string MachineId() {
  // Any constant will do, as long as it stays: it makes the names this library's own.
  constexpr boost::uuids::uuid kOurs = {{0x9c, 0x3e, 0x0b, 0x51, 0x6d, 0x5f, 0x4a, 0x27, 0xb8, 0x0d,
                                         0x41, 0xe2, 0x77, 0x1c, 0x90, 0xaf}};
  constexpr std::size_t kDigits = 32;
  std::array<char, 64> buffer;
  std::string_view text = proc::ReadStart(AT_FDCWD, "/etc/machine-id", buffer).text;
  std::string machine(proc::NextField(text));
  // While an image is made the file is empty, or says "uninitialized" (machine-id(5)).
  if (machine.size() != kDigits) {
    const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
    machine = own.ok() ? own->boot_id : HostName();
  }
  return boost::uuids::to_string(boost::uuids::name_generator_sha1(kOurs)(machine));
}

std::string HostName() {
  utsname names = {};
  return uname(&names) == 0 ? names.nodename : std::string();
}

}  // namespace soleguard
