// What ends a guarded command from outside, beside signals, and what becomes of the run then.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <absl/status/status.h>
#include <absl/time/time.h>

#include "guardian/heartbeat.h"
#include "guardian/limits.h"
#include "guardian/supervise.h"
#include "shown.h"
#include <soleguard/fd.h>

namespace guardcheck {

// Each says on standard error that it ends the command. What it is given, and this object, outlive
// the supervision.
class Endings {
 public:
  // `name`: of the instance.
  explicit Endings(Shown name) : name_(std::move(name)) {}
  Endings(const Endings&) = delete;
  Endings& operator=(const Endings&) = delete;
  ~Endings() = default;

  // Who sets the flag has said so.
  void WhenLost(const soleguard::WaitFlag& lost);
  void WithParent(const Parent& parent);
  // An error: there is no timer.
  absl::Status After(absl::Duration time);
  void WithoutBeat(const Heartbeat& heartbeat);

  const std::vector<Supervision::End>& all() const { return all_; }
  // After the supervision: why the command was ended, or nothing.
  const std::string& why() const { return why_; }
  // The exit code of the run, whose command ended with `own`.
  int CodeFor(int own) const { return instead_.value_or(own); }

 private:
  void End(const Shown& why, std::optional<int> instead);

  const Shown name_;
  soleguard::UniqueFd timer_;
  std::vector<Supervision::End> all_;
  std::string why_;
  std::optional<int> instead_;
};

}  // namespace guardcheck
