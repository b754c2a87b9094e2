// Why a command could not be executed.
#pragma once

#include <string>
#include <vector>

namespace guardcheck {

// Says what went wrong when executing `command` failed with this errno, and how the
// command would have to be written; gives the exit code. It finds out only now, so that a command
// that runs pays nothing for it.
int SayCannotExecute(const std::vector<std::string>& command, int error);

}  // namespace guardcheck
