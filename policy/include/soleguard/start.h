// One start: its turn, its arbitration and, if it may wait, its wait for the holder's end.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include <absl/status/status.h>
#include <absl/time/time.h>

#include "soleguard/arbiter.h"
#include "soleguard/fd.h"
#include "soleguard/layer.h"
#include "soleguard/policy.h"
#include "soleguard/queue.h"
#include "soleguard/record.h"

namespace soleguard {

// A standby joins the queue, waits until nobody is ahead of it, and then for the end of whoever has
// the name; it holds no layer meanwhile. Everybody else, a newcomer, lets a standby go first if the
// name is free, and is refused if it is not.
//
// As the Arbiter, it does not block and reads no clock. Not thread-safe.
class Start {
 public:
  struct Setup {
    const Policy& policy;
    std::vector<Arbiter::Member> members;  // as the Arbiter takes them
    // What each layer is told of this process; asked before each arbitration.
    std::function<HolderRecord()> candidate;
    ArbiterTimes times;
    // How long an established holder's end is waited for. Zero: not at all, a newcomer.
    absl::Duration wait = absl::ZeroDuration();
    std::unique_ptr<Queue> queue;  // of the name
  };
  explicit Start(Setup setup);

  // `elapsed`: since the start began, never smaller than before.
  Arbiter::Next Step(absl::Duration elapsed);
  // A standby: it waits in line, or for the holder's end.
  bool is_waiting() const { return is_standby() && phase_ != Phase::kArbitration; }

  // Ends it: Undetermined, with Cancelled. Nothing is held afterwards.
  void Cancel();

  // After kDecided.
  Arbiter::Decision decision() const { return decision_; }
  // kUnique: with the claims.
  Arbiter& arbiter() { return *arbiter_; }
  // kDuplicate: who has it.
  const Holder& holder() const { return *holder_; }
  // kUndetermined: why.
  const absl::Status& status() const { return status_; }
  // One per layer that was asked, in order.
  std::vector<LayerReport> reports() const;

 private:
  enum class Phase { kTurn, kArbitration, kHoldersEnd };

  Arbiter::Next AwaitTurn(absl::Duration elapsed);
  Arbiter::Next Arbitrate(absl::Duration elapsed);
  Arbiter::Next AwaitHoldersEnd();
  Arbiter::Next TurnNeverCame();
  Arbiter::Next Wait(std::vector<UniqueFd> wake, absl::Duration left, absl::Duration look_again);
  Arbiter::Next Decide(Arbiter::Decision decision, absl::Status status = absl::OkStatus());
  // Gives back what it holds, and waits for its turn anew.
  Arbiter::Next GiveWay();
  // Whom it has to wait for; not while a holder refuses them both.
  std::optional<Queue::Ahead> WhoGoesFirst();
  std::optional<Holder> SeenHolder() const;
  bool is_standby() const { return setup_.wait > absl::ZeroDuration(); }

  Setup setup_;
  Phase phase_ = Phase::kTurn;
  std::vector<UniqueFd> wake_;
  int rounds_ = 0;                            // in which nothing could wake
  std::optional<absl::Duration> turn_began_;  // the wait for it
  std::optional<absl::Duration> arbitration_began_;
  std::unique_ptr<Arbiter> arbiter_;

  Arbiter::Decision decision_ = Arbiter::Decision::kUndetermined;
  std::optional<Holder> holder_;
  absl::Status status_;
};

}  // namespace soleguard
