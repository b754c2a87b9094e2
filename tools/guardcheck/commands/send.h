// Handing a message to the holder of a name, and showing its answer.
#pragma once

#include <string>

#include <absl/status/status.h>

#include "command.h"
#include <soleguard/message.h>

namespace guardcheck {

// The words, and of this process its working directory and what a desktop gave it for its window.
soleguard::Message MessageOf(const std::vector<std::string>& words);

// Shows an answer on standard output, or on standard error if it is not ok.
void ShowAnswer(const Call& call, const soleguard::Answer& answer);

}  // namespace guardcheck
