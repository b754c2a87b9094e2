#include "commands/end_duplicates.h"

#include <vector>

#include "exit_code.h"
#include "look.h"
#include "show/say.h"
#include "show/words.h"
#include "watcher/end_processes.h"
#include <soleguard/census.h>

namespace guardcheck {
namespace {

using soleguard::Census;
using soleguard::ProcessIdentity;

absl::StatusOr<Census> Look(const Call& call) {
  soleguard::Options options = ToLook(call.common);
  options.subject = {.argv = call.command, .working_directory = ""};
  absl::StatusOr<Census> census = soleguard::TakeCensus(call.operand, call.common.policy, options);
  if (census.ok() && !census->blind.ok()) return census->blind;
  return census;
}

}  // namespace

std::optional<int> EndDuplicates(const Call& call, absl::Duration grace) {
  const absl::StatusOr<Census> census = Look(call);
  if (!census.ok()) {
    Say(Priority::kError, Text("--end-duplicates: cannot tell what runs without a guard: ",
                               Said(census.status().message())));
    return kUndetermined;
  }
  // Who has asked for the name meanwhile is no duplicate any more.
  const auto still_meant = [&call]() -> std::vector<ProcessIdentity> {
    const absl::StatusOr<Census> now = Look(call);
    return now.ok() ? ProcessesOf(now->copies) : std::vector<ProcessIdentity>();
  };
  const soleguard::UniqueFd never;
  std::optional<int> code;
  for (const Ending& ending :
       EndProcesses(ProcessesOf(census->copies), grace, still_meant, never)) {
    const std::int64_t pid = ending.process.pid;
    switch (ending.result) {
      case Ending::Result::kEnded:
      case Ending::Result::kKilled:
        Say(Priority::kWarning,
            Text(Escape(call.operand), ": ended pid ", pid, ", which ran without a guard",
                 ending.result == Ending::Result::kKilled ? Shown(" (SIGKILL)") : Shown()));
        break;
      case Ending::Result::kSpared:
        break;
      case Ending::Result::kStayed:
        Say(Priority::kError,
            Text(Escape(call.operand), ": pid ", pid,
                 " runs without a guard, and has not ended: ", Said(ending.status.message())));
        code = kTaken;
        break;
    }
  }
  return code;
}

}  // namespace guardcheck
