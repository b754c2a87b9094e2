// A guarded command in the background, started by a process that waits until it is up.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include <soleguard/fd.h>

namespace guardcheck {

// When a command counts as up.
struct Readiness {
  enum class Kind {
    kLasts,     // it has run for `time`
    kNotifies,  // it says READY=1 (sd_notify(3))
    kAnswers,   // `command`, given to sh, ends with 0
  } kind = Kind::kLasts;
  absl::Duration time = absl::Seconds(1);
  std::string command;
};

// The call is two processes from Begin on: the *starter*, which was called and tells how it went,
// and the *runner*, in a session of its own without a terminal, which becomes the wrapper of the
// command. For one start, in a process of one thread.
class Background {
 public:
  struct Settings {
    std::string log;  // an absolute path: standard output and error of the command
    Readiness ready;
    absl::Duration within = absl::Minutes(1);  // how long it may take once the command has begun
  };
  // What the starter has found out.
  struct Outcome {
    enum class Kind {
      kUp,
      kNotBegun,  // the runner has said why, on the caller's standard error or in the log
      kEnded,     // the command, before it was up
      kNotUp,     // in time, and it was ended
    } kind = Kind::kNotBegun;
    std::int64_t pid = 0;     // of the command
    int exit_code = 0;        // the runner's; of kUp: none
    std::string last_output;  // but for kUp: the end of what came into the log since
  };

  // In the runner: nullopt. In the starter: what became of it; blocks until that is known. A signal
  // that would end the starter ends the runner first. An error: there is no runner.
  absl::StatusOr<std::optional<Outcome>> Begin(const Settings& settings);

  // For the runner. Once its call has said all that the caller is to read: the standard streams are
  // the log and /dev/null from here on.
  absl::Status LeaveTerminal();
  void Begun(std::int64_t pid) const;
  void SaysReady() const;
  const Settings& settings() const { return settings_; }
  bool expects_notification() const { return settings_.ready.kind == Readiness::Kind::kNotifies; }

 private:
  Settings settings_;
  soleguard::UniqueFd log_;
  soleguard::UniqueFd report_;
};

}  // namespace guardcheck
