// Whether the command gives its beats, and what is done when it does not.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <utility>

#include <absl/status/status.h>
#include <absl/time/time.h>

#include <soleguard/fd.h>
#include <soleguard/guard.h>
#include <soleguard/name.h>

namespace guardcheck {

// For the thread that supervises the command. It looks from time to time, and not at each beat.
class Heartbeat {
 public:
  enum class Then {
    kWarn,
    kEnd,          // the command
    kEndForOther,  // the command, once another start waits for the name
  };
  struct Setup {
    absl::Duration every;
    Then then = Then::kWarn;
    // Called each time that beats stop and come again; `ever`: there was one besides the start.
    std::function<void(absl::Duration none_for, bool ever)> missed = {};
    std::function<void(absl::Duration none_for)> resumed = {};
    // Called at least every `feed_every` while beats come; zero: never.
    absl::Duration feed_every = absl::ZeroDuration();
    std::function<void()> feed = {};
  };
  // `guard` outlives it.
  Heartbeat(soleguard::Guard& guard, Setup setup)
      : guard_(guard),
        slot_(soleguard::InstanceName::Parse(guard.name())->Slot(guard.slot())),
        setup_(std::move(setup)) {}

  // The command starts, which counts as its first beat. An error: there is no descriptor for that.
  absl::Status Begin();

  // Readable when it is time to look.
  int fd() const { return timer_.get(); }
  void Look();
  // A beat that came another way.
  void Hear();

  // Set when the command is to be ended.
  const soleguard::WaitFlag& end() const { return end_; }
  bool is_for_other() const { return setup_.then == Then::kEndForOther; }

 private:
  using Clock = std::chrono::steady_clock;

  absl::Duration due() const;
  // Whether there is another beat than at the last look.
  bool TakeBeat(Clock::time_point now);
  void LookFor(absl::Duration time);
  bool MustEnd() const;

  soleguard::Guard& guard_;
  const soleguard::InstanceName slot_;
  const Setup setup_;
  soleguard::UniqueFd timer_;
  soleguard::WaitFlag end_;
  Clock::time_point last_;    // beat, later by the time in which none could come
  Clock::time_point looked_;  // the last time
  Clock::time_point next_;    // look
  std::uint64_t count_ = 0;   // of beats
  bool heard_ = false;        // since the last look
  bool is_missed_ = false;
};

}  // namespace guardcheck
