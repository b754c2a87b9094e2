// What the commands that only look have in common.
#pragma once

#include <absl/status/status.h>

#include "command.h"
#include <soleguard/guard.h>
#include <soleguard/options.h>

namespace guardcheck {

// As a run would: whatever its policy, it locks the name's directory. Which command runs as the
// instance is not known.
soleguard::Options ToLook(const Common& common);

// Says why it cannot look, and gives the exit code.
int CannotLook(const absl::Status& status);

}  // namespace guardcheck
