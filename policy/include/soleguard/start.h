// One start: its turn, its arbitration and, if it may wait, its wait for the holder's end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <absl/status/status.h>
#include <absl/time/time.h>

#include "soleguard/arbiter.h"
#include "soleguard/fd.h"
#include "soleguard/layer.h"
#include "soleguard/policy.h"
#include "soleguard/process.h"
#include "soleguard/queue.h"
#include "soleguard/record.h"

namespace soleguard {

// A replacer names the holder that it sees, takes a place in the queue before all standbys, and
// when its turn has come asks that holder, and no other, to end. From before the first signal on,
// nobody can take the name between the two. A standby joins the queue, waits until nobody is ahead
// of it, and then waits for the holder's end; it holds no layer meanwhile, and lets a replacer go
// first. Where it would wait in vain it is refused at once (Setup::may_await). Any other start is a
// newcomer: it lets both go first if the name is free, and is refused if it is not.
//
// With slots it takes the first that it can get, and is refused by the holders of them all. There
// is one queue: a process that stands in line waits for the end of any of them.
//
// Like the Arbiter, it does not block and reads no clock. Not thread-safe.
class Start {
 public:
  struct Replace {
    absl::Duration grace;  // between SIGTERM and SIGKILL
    // Sends the signal to the process that ends `holder`. NotFound: it has ended. Other errors say
    // why nobody may be signalled.
    std::function<absl::Status(const Holder& holder, Signal signal)> signal;
  };
  struct Setup {
    const Policy& policy;
    std::vector<Arbiter::Member> members;  // as the Arbiter takes them
    // The same for the name's slots 1, 2, …, each asked when the one before it has refused.
    std::vector<std::vector<Arbiter::Member>> other_slots = {};
    // What each layer is told about this process, except for the slot; asked for before each
    // arbitration.
    std::function<HolderRecord()> candidate;
    ArbiterTimes times;
    TokenIssuer issue = {};  // as the Arbiter takes it
    // How long to wait for an established holder's end. Zero: not at all, so the start is a
    // newcomer. Otherwise it bounds all of the start, and times.deadline does not matter. For a
    // replacer zero means that it waits its grace and the deadline, in line and again when its turn
    // has come.
    absl::Duration wait = absl::ZeroDuration();
    // Whether the end of an established holder may be waited for; if not, the error says why.
    // Empty: the end of each one.
    std::function<absl::Status(const Holder& holder)> may_await = {};
    std::optional<Replace> replace = std::nullopt;
    std::unique_ptr<Queue> queue;  // of the name
  };
  explicit Start(Setup setup);

  // `elapsed` is the time since the start began, and never smaller than before.
  Arbiter::Next Step(absl::Duration elapsed);
  // Whether a standby or replacer waits in line, or for the holder's end.
  bool is_waiting() const {
    return has_place() && (phase_ == Phase::kTurn || phase_ == Phase::kHoldersEnd);
  }
  // The holder that a replacer named. nullopt: nobody had the name when it began.
  const std::optional<ProcessIdentity>& named() const { return named_; }

  // The holder that a replacer has asked to end. nullopt: nobody.
  const std::optional<Holder>& asked() const { return asked_; }

  // Ends the start: it is Undetermined, with Cancelled. Nothing is held afterwards.
  void Cancel();

  // After kDecided.
  Arbiter::Decision decision() const { return decision_; }
  // kUnique: with the claims.
  Arbiter& arbiter() { return *arbiter_; }
  // kUnique: which slot it has.
  std::uint32_t slot() const { return slot_; }
  // kDuplicate: the holders, in the order of the slots.
  const std::vector<Holder>& holders() const { return holders_; }
  // kDuplicate of a replacer: why the holder was not replaced.
  const absl::Status& not_replaced() const { return not_replaced_; }
  // kDuplicate of a standby: why no holder was waited for.
  const absl::Status& not_awaited() const { return not_awaited_; }
  // kUndetermined: why.
  const absl::Status& status() const { return status_; }
  // One for each layer that was asked, in order, of the slot that decided.
  std::vector<LayerReport> reports() const;

 private:
  enum class Phase { kNaming, kTurn, kArbitration, kHoldersEnd };

  Arbiter::Next NameTheHolder();
  Arbiter::Next AwaitTurn(absl::Duration elapsed);
  Arbiter::Next Arbitrate(absl::Duration elapsed);
  Arbiter::Next AwaitHoldersEnd();
  Arbiter::Next TurnNeverCame();
  bool TurnWouldBeInVain();
  // After an arbitration that did not make it unique.
  Arbiter::Next ReplaceHolder(absl::Duration elapsed);
  Arbiter::Next CannotReplace(absl::Status why);
  // Kills the process that it has asked, when the grace is over.
  void KillInTime(absl::Duration elapsed);
  // When its grace is over, or its wait for the end of the process that it has killed.
  absl::Duration NextLimit() const;
  bool IsNamed(const Holder& holder) const;
  Arbiter::Next Wait(std::vector<UniqueFd> wake, absl::Duration left, absl::Duration look_again);
  Arbiter::Next Decide(Arbiter::Decision decision, absl::Status status = absl::OkStatus());
  // Gives back what it holds, and waits for its turn again.
  Arbiter::Next GiveWay();
  // The slot that was asked has refused; after the last one, all have.
  Arbiter::Next OnRefusal(absl::Duration elapsed);
  Arbiter::Next OnRefusals(absl::Duration elapsed);
  // OK: the end of one of them may be waited for.
  absl::Status MayAwait(const std::vector<Holder>& holders) const;
  std::vector<Holder> RefusingHolders() const;
  // Begins with the first slot again.
  void AskAgain();
  // Notes which holders refused, and says whether the same ones did so the time before.
  bool RefusedByTheSame();
  // What it has to wait for. Nothing while holders refuse both it and the process ahead.
  std::optional<Queue::Ahead> WhoGoesFirst();
  const std::vector<Arbiter::Member>& MembersOf(std::size_t slot) const;
  std::size_t slots() const { return 1 + setup_.other_slots.size(); }
  // One of each slot, or none at all.
  std::vector<Holder> SeenHolders() const;
  bool is_replacer() const { return setup_.replace.has_value(); }
  bool has_place() const { return is_replacer() || setup_.wait > absl::ZeroDuration(); }

  Setup setup_;
  Phase phase_ = Phase::kTurn;
  std::vector<UniqueFd> wake_;
  int rounds_ = 0;                            // in which nothing could wake
  std::optional<absl::Duration> turn_began_;  // the wait for it
  std::optional<absl::Duration> arbitration_began_;
  std::optional<absl::Duration> round_began_;  // of the first slot's arbitration
  std::unique_ptr<Arbiter> arbiter_;
  std::uint32_t slot_ = 0;  // which it asks

  // The slots that have refused.
  struct Refusal {
    Arbiter::Decision decision;
    std::optional<Holder> holder;
    absl::Status status;
    std::vector<LayerReport> reports;
    std::vector<UniqueFd> wake;

    bool MayChange() const;
    // Whether `later`, for which there was no time to settle, is by the same holder.
    bool IsBySame(const Refusal& later) const;
  };
  std::vector<Refusal> refusals_;
  std::vector<Refusal> former_;  // the time before
  using Tenancy = std::pair<ProcessIdentity, absl::Time>;
  std::vector<Tenancy> refused_by_;  // the time before
  absl::Status joined_ = absl::UnavailableError("it has no place in line");

  // Of a replacer.
  std::optional<ProcessIdentity> named_;
  std::optional<Holder> asked_;
  std::optional<absl::Duration> asked_at_;
  std::optional<absl::Duration> killed_at_;
  absl::Status not_replaced_;

  absl::Status not_awaited_;  // of a standby

  Arbiter::Decision decision_ = Arbiter::Decision::kUndetermined;
  std::vector<Holder> holders_;
  absl::Status status_;
  std::vector<LayerReport> reports_;  // of a refusal
};

}  // namespace soleguard
