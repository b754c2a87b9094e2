// What a start in the background says at its end.
#pragma once

#include "command.h"
#include "guardian/background.h"

namespace guardcheck {

// Tells what became of it; gives the exit code, which is 0 only if it is up.
int TellCameUp(const Call& call, const Background::Settings& settings,
               const Background::Outcome& outcome, bool quiet);

}  // namespace guardcheck
