// Before a start: what looks like its command and never asked is ended.
#pragma once

#include <optional>

#include <absl/time/time.h>

#include "command.h"

namespace guardcheck {

// Ends the copies of the call's command that run without a guard: SIGTERM, and SIGKILL after
// `grace`. No holder, and nothing that a claim or a registration covers. Says which. nullopt: none
// is left. The exit code: nobody can tell, or one stays, which is said.
std::optional<int> EndDuplicates(const Call& call, absl::Duration grace);

}  // namespace guardcheck
