// What a command that was refused says.
#pragma once

#include <cstdint>
#include <string>

namespace launch_storm {

inline constexpr int kFlockRefused = 1;  // flock(1)

struct Refusal {
  enum class Kind { kDuplicate, kUndetermined, kNeither } kind = Kind::kNeither;
  std::int64_t cited = 0;  // pid; 0: nobody
  std::string note;        // what it says of the reason
};

// By the exit code of `guardcheck run --json` and what it printed.
Refusal ReadRefusal(int code, const std::string& output);

}  // namespace launch_storm
