// Reading standard input within a time.
#pragma once

#include <cstddef>
#include <string>

#include <absl/status/statusor.h>
#include <absl/time/time.h>

namespace guardcheck {

// Standard input until its end, or `at_most` bytes of it. Blocks, but not longer than `timeout`:
// DeadlineExceeded. Another error: it cannot be read.
absl::StatusOr<std::string> ReadInput(std::size_t at_most, absl::Duration timeout);

}  // namespace guardcheck
