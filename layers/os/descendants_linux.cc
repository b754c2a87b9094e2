#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <set>
#include <utility>

#include <absl/strings/str_cat.h>

#include "os/proc_process_linux.h"
#include "os/process_view.h"
#include "soleguard/process.h"

namespace soleguard {
namespace {

// A process as the namespace of /proc numbers it, whichever that is.
struct Shown {
  std::int64_t number = 0;
  std::uint64_t start_ticks = 0;  // as shown
};

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
  if (proc::ChildrenBelow(directory, numbers) != 0) return false;
  std::vector<Shown> children;
  for (const std::int64_t number : numbers) {
    const proc::StatReading reading =
        proc::ReadTaskStat(AT_FDCWD, absl::StrCat("/proc/", number, "/stat").c_str());
    if (reading.error != 0 || reading.stat.parent_pid != parent.number) continue;
    children.push_back({.number = number, .start_ticks = reading.stat.start_ticks});
  }
  // The race: the parent ended before a child was looked at, and its number is another process's,
  // whose children were seen. Closed by asking for it once more: its directory is its own.
  const proc::StatReading again = proc::ReadTaskStat(directory, "stat");
  if (again.error != 0 || proc::HasEnded(again.stat)) return false;
  found.insert(found.end(), children.begin(), children.end());
  return true;
}

}  // namespace

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
    return proc::Gone(ancestor->pid, "is gone");
  }
  line.erase(line.begin());
  return line;
}

std::vector<std::int64_t> OwnChildren() {
  const UniqueFd own = proc::OpenPath(AT_FDCWD, "/proc/self");
  std::vector<std::int64_t> shown;
  if (!own || proc::ChildrenBelow(own.get(), shown) != 0) return ChildrenByWaiting();
  const std::vector<std::int64_t> own_numbers = proc::NumbersBelow(own.get());
  if (own_numbers.size() <= 1 && (own_numbers.empty() || own_numbers.front() == getpid())) {
    return shown;
  }
  // Another namespace's /proc: the number that counts here stands as far behind as this process's.
  std::vector<std::int64_t> children;
  for (const std::int64_t number : shown) {
    const UniqueFd child = proc::OpenPath(AT_FDCWD, absl::StrCat("/proc/", number).c_str());
    const std::vector<std::int64_t> numbers =
        child ? proc::NumbersBelow(child.get()) : std::vector<std::int64_t>();
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
  const UniqueFd own = proc::OpenPath(AT_FDCWD, "/proc/self");
  std::vector<std::int64_t> numbers;
  if (own) numbers = proc::NumbersBelow(own.get());
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
    const proc::StatReading reading = proc::ReadTaskStat(directory.get(), "stat");
    if (reading.error != 0 || reading.stat.start_ticks != process.start_ticks) continue;
    (void)AddChildren(process, directory.get(), line);  // before it ends, and they go elsewhere
    if (proc::PidfdSendSignal(directory.get(), SIGKILL) == 0) {
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

}  // namespace soleguard
