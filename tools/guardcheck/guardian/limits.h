// What ends the command beside its own end, a signal and a lost claim.
#pragma once

#include <cstdint>
#include <stop_token>
#include <thread>
#include <utility>

#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include <soleguard/fd.h>

namespace guardcheck {

// The process that started this one.
class Parent {
 public:
  // FailedPrecondition: it is outside of the caller's pid namespace, or has ended already, as far
  // as that shows (who ended before this process could look is taken for the one that reaps it).
  static absl::StatusOr<Parent> Find();

  std::int64_t pid() const { return pid_; }
  // Readable once it has ended (pidfd_open(2)).
  const soleguard::UniqueFd& ended() const { return ended_; }
  bool HasEnded() const;

 private:
  Parent(std::int64_t pid, soleguard::UniqueFd ended) : pid_(pid), ended_(std::move(ended)) {}

  std::int64_t pid_;
  soleguard::UniqueFd ended_;
};

// Requests a stop when the parent ends, from a thread that lives as long as this.
class StopWith {
 public:
  explicit StopWith(const Parent& parent);
  StopWith(const StopWith&) = delete;
  StopWith& operator=(const StopWith&) = delete;
  ~StopWith();

  std::stop_token token() const { return stop_.get_token(); }

 private:
  std::stop_source stop_;
  soleguard::WaitFlag over_;
  std::thread thread_;
};

// Readable after this time, in which a machine that is suspended does not count.
absl::StatusOr<soleguard::UniqueFd> OpenTimer(absl::Duration time);
// Lets such a timer begin once more: it is not readable before.
void SetTimer(const soleguard::UniqueFd& timer, absl::Duration time);

}  // namespace guardcheck
