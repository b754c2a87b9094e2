#include <fcntl.h>
#include <signal.h>

#include <algorithm>
#include <utility>

#include <absl/time/clock.h>

#include "soleguard/process.h"
#include "watcher/end_processes.h"

namespace guardcheck {
namespace {

using soleguard::Liveness;
using soleguard::ProcessIdentity;
using soleguard::UniqueFd;

// How long the kernel may take to end a process after SIGKILL: one in an uninterruptible call takes
// as long as that call.
constexpr absl::Duration kAfterKill = absl::Seconds(5);

bool Has(const std::vector<ProcessIdentity>& processes, const ProcessIdentity& process) {
  return std::find(processes.begin(), processes.end(), process) != processes.end();
}

// Until all have ended, `at_most` has passed or `interrupt` is readable; true: interrupted.
bool WaitForEnds(const std::vector<Ending*>& endings, absl::Duration at_most,
                 const UniqueFd& interrupt) {
  const absl::Time deadline = absl::Now() + at_most;
  std::vector<Ending*> left = endings;
  while (true) {
    std::vector<UniqueFd> fds;
    left.erase(std::remove_if(left.begin(), left.end(),
                              [&fds](const Ending* ending) {
                                absl::StatusOr<UniqueFd> end =
                                    soleguard::OpenPidfd(ending->process);
                                if (!end.ok()) return absl::IsNotFound(end.status());
                                fds.push_back(*std::move(end));
                                return false;
                              }),
               left.end());
    const absl::Duration rest = deadline - absl::Now();
    if (left.empty() || rest <= absl::ZeroDuration()) return false;
    UniqueFd stop(fcntl(interrupt.get(), F_DUPFD_CLOEXEC, 0));
    const bool stoppable = static_cast<bool>(stop);
    if (stoppable) fds.push_back(std::move(stop));
    (void)soleguard::WaitForAny(fds, rest);
    if (stoppable && soleguard::WaitForAny({&fds.back(), 1}, absl::ZeroDuration())) return true;
    // A pidfd is readable while its process is a zombie: it has ended as far as anybody can wait.
    left.erase(std::remove_if(left.begin(), left.end(),
                              [](const Ending* ending) {
                                return LivenessOf(ending->process) == Liveness::kGone;
                              }),
               left.end());
  }
}

std::vector<Ending*> Alive(std::vector<Ending*> endings) {
  endings.erase(std::remove_if(endings.begin(), endings.end(),
                               [](const Ending* ending) {
                                 return LivenessOf(ending->process) == Liveness::kGone;
                               }),
                endings.end());
  return endings;
}

// Those that got the signal. The race: a process registers between `meant` and its signal. It is
// microseconds wide; such a process is a start that is about to be refused by what it looks like.
std::vector<Ending*> Signal(const std::vector<Ending*>& endings, int signal,
                            const std::vector<ProcessIdentity>& meant) {
  std::vector<Ending*> signalled;
  for (Ending* ending : endings) {
    if (!Has(meant, ending->process)) continue;
    const absl::Status sent = soleguard::SendSignal(ending->process, signal);
    if (sent.ok()) {
      signalled.push_back(ending);
    } else if (!absl::IsNotFound(sent)) {
      ending->result = Ending::Result::kStayed;
      ending->status = sent;
    }
  }
  return signalled;
}

}  // namespace

std::vector<soleguard::ProcessIdentity> ProcessesOf(const std::vector<soleguard::Copy>& copies) {
  std::vector<soleguard::ProcessIdentity> processes;
  for (const soleguard::Copy& copy : copies) {
    processes.push_back(copy.process);
    processes.insert(processes.end(), copy.workers.begin(), copy.workers.end());
  }
  return processes;
}

std::vector<Ending> EndProcesses(const std::vector<ProcessIdentity>& processes,
                                 absl::Duration grace,
                                 const std::function<std::vector<ProcessIdentity>()>& still_meant,
                                 const UniqueFd& interrupt) {
  std::vector<Ending> endings;
  endings.reserve(processes.size());  // they are pointed to below
  std::vector<Ending*> all;
  for (const ProcessIdentity& process : processes) {
    endings.push_back({.process = process, .status = absl::OkStatus()});
    all.push_back(&endings.back());
  }
  const std::vector<Ending*> asked = Signal(all, SIGTERM, still_meant());
  for (Ending* ending : asked) ending->result = Ending::Result::kEnded;
  if (WaitForEnds(asked, grace, interrupt)) {
    for (Ending* ending : Alive(asked)) {
      ending->result = Ending::Result::kStayed;
      ending->status = absl::CancelledError("the watch was asked to end");
    }
    return endings;
  }
  const std::vector<Ending*> stubborn = Alive(asked);
  if (stubborn.empty()) return endings;
  const std::vector<ProcessIdentity> meant = still_meant();
  for (Ending* ending : stubborn) {
    if (!Has(meant, ending->process)) ending->result = Ending::Result::kSpared;
  }
  const std::vector<Ending*> killed = Signal(stubborn, SIGKILL, meant);
  for (Ending* ending : killed) ending->result = Ending::Result::kKilled;
  (void)WaitForEnds(killed, kAfterKill, interrupt);
  for (Ending* ending : Alive(killed)) {
    ending->result = Ending::Result::kStayed;
    ending->status = absl::DeadlineExceededError("it was killed, and a system call holds it back");
  }
  return endings;
}

}  // namespace guardcheck
