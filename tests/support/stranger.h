// A process that has got the pid of another: what a signal must not hit (H16).
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <fstream>
#include <functional>
#include <string>

#include <absl/strings/str_cat.h>

#include "soleguard/process.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/tick.h"

namespace soleguard::testing {

inline bool Lives(pid_t pid) {
  const absl::StatusOr<ProcessIdentity> identity = IdentityOf(pid);
  return identity.ok() && LivenessOf(*identity) == Liveness::kAlive;
}

// In a new pid namespace: the holder that `start` makes is dead, a child that a raw clone(2) made
// keeps its claim, and a stranger has the pid that the record names. What `act` answers there, and
// behind it ", the stranger lives, the keeper lives" or "was hit"; or "skip: REASON".
inline std::string BesideAStranger(const std::function<Claimant()>& start,
                                   const std::function<std::string()>& act) {
  return InNewPidNamespace([&]() -> std::string {
    Claimant holder = start();
    if (!holder.unique()) return holder.verdict();
    const pid_t first = holder.pid();
    const pid_t keeper = std::stoi(holder.Ask("clone"));
    holder.program().Signal(SIGKILL);
    (void)holder.program().Wait();
    AwaitNextTick();
    std::ofstream last("/proc/sys/kernel/ns_last_pid");
    if (!(last << first - 1 << std::flush)) return "skip: needs the right to set ns_last_pid";
    const Child stranger([] { return "runs"; });
    if (stranger.pid() != first) return absl::StrCat("pid ", stranger.pid(), " not ", first);
    const std::string answer = act();
    return absl::StrCat(answer, ", the stranger ", Lives(first) ? "lives" : "was hit",
                        ", the keeper ", Lives(keeper) ? "lives" : "was hit");
  });
}

}  // namespace soleguard::testing
