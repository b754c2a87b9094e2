// Ends processes that have no right to the name.
#pragma once

#include <functional>
#include <vector>

#include <absl/status/status.h>
#include <absl/time/time.h>

#include <soleguard/census.h>
#include <soleguard/fd.h>
#include <soleguard/process_identity.h>

namespace guardcheck {

// All of them, with their workers.
std::vector<soleguard::ProcessIdentity> ProcessesOf(const std::vector<soleguard::Copy>& copies);

struct Ending {
  soleguard::ProcessIdentity process;
  enum class Result {
    kEnded,   // after SIGTERM
    kKilled,  // by SIGKILL
    kSpared,  // not meant any more when its turn came, or gone by itself
    kStayed,  // `status` says why
  } result = Result::kSpared;
  absl::Status status;
};

// SIGTERM to each, and after `grace` SIGKILL to those that live on. Right before each round of
// signals `still_meant` says which of them are meant now: whoever has registered or ended meanwhile
// gets none. A signal reaches that very process or nobody (soleguard::SendSignal). Blocks until
// they have ended; `interrupt`, once readable, ends the wait without SIGKILL.
std::vector<Ending> EndProcesses(
    const std::vector<soleguard::ProcessIdentity>& processes, absl::Duration grace,
    const std::function<std::vector<soleguard::ProcessIdentity>()>& still_meant,
    const soleguard::UniqueFd& interrupt);

}  // namespace guardcheck
