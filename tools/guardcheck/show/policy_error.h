// What is wrong with a policy's text.
#pragma once

#include <string>

#include <absl/status/status.h>

namespace guardcheck {

// For a person: the status of Policy::Parse, and below it `text` with a caret under the column.
std::string PolicyError(const std::string& text, const absl::Status& status);

}  // namespace guardcheck
