// What launch_storm is told to do.
#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include <absl/time/time.h>

namespace launch_storm {

// As sysexits.h has them where it has one.
enum ExitCode {
  kClean = 0,
  kViolation = 1,
  kUsage = 64,
  kInternal = 70,
  kInterrupted = 130,
};

// What each launch does once the barrier is open.
enum class Mode : std::uint32_t {
  kLibrary,  // calls Guard::Acquire itself
  kCommand,  // becomes `guardcheck run NAME … -- launch_storm hold …`
  kFlock,    // becomes `flock -n FILE launch_storm hold …`: what --compare-flock compares with
  // Asks nobody and believes that it is the only instance: shows that the referee would see it.
  kBroken,
};
const char* ToString(Mode mode);

struct Settings {
  std::uint32_t launches = 100;
  std::uint32_t rounds = 10;
  Mode mode = Mode::kLibrary;
  std::string policy;                  // canonical text
  std::optional<absl::Duration> hold;  // nullopt: until every launch has its verdict
  bool linger = false;
  bool standby = false;
  bool kill = false;
  bool freeze = false;
  bool unlink = false;
  bool compare_flock = false;
  std::uint64_t seed = 0;
  absl::Duration limit = absl::Minutes(1);  // for one round
  std::string json;                         // empty: none
  std::string guardcheck;                   // path
  std::string directory;                    // where rounds have theirs
};

class UsageError : public std::exception {
 public:
  explicit UsageError(std::string what) : what_(std::move(what)) {}
  const char* what() const noexcept override { return what_.c_str(); }

 private:
  const std::string what_;
};

// nullopt: it asked for --help, which was printed. Throws UsageError.
std::optional<Settings> ParseOptions(int argc, char** argv);

}  // namespace launch_storm
