// The arbiter: it asks the layers in order, waits for what is about to change, and decides.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/time/time.h>

#include "soleguard/fd.h"
#include "soleguard/layer.h"
#include "soleguard/policy.h"
#include "soleguard/record.h"
#include "soleguard/token.h"

namespace soleguard {

// What one layer answered.
struct LayerReport {
  enum class Outcome { kHeld, kContested, kUnavailable };
  std::string layer;  // canonical text
  Outcome outcome = Outcome::kUnavailable;
  std::optional<Holder> holder = std::nullopt;  // when contested
  absl::Status status = absl::OkStatus();       // when unavailable
};
std::string_view ToString(LayerReport::Outcome outcome);

struct ArbiterTimes {
  absl::Duration deadline = absl::Seconds(10);  // for the whole of it
  // How long a holder that cannot be identified is waited for. A candidate is waited for twice as
  // long, and again each time it is found runnable, because it decides once it gets a processor.
  // What a layer calls unsettled is waited for this long, or a quarter of it when a process shows
  // that is perhaps not an instance: an instance writes its record in less than a millisecond.
  absl::Duration settle = absl::Seconds(1);
  // How long the server of a remote layer may take to answer, before the layer is unavailable.
  absl::Duration answer = absl::Seconds(5);
};

// How long a candidate under `policy` may need until it decides.
absl::Duration TimeToDecide(const Policy& policy, const ArbiterTimes& times);

// Gives the token of a start that is Unique. `record` is what the start publishes; the token in it
// is the largest one in the records of the layers that it holds.
using TokenIssuer = std::function<Token(const HolderRecord& record)>;

// One arbitration of one process. It reads no clock, and does not block but for what a server has
// to confirm when it is given back (Claim::Finish): its caller waits as it asks and says what time
// it is, so that a test can drive it through every schedule. Not thread-safe.
class Arbiter {
 public:
  // A layer to ask, which outlives the arbiter.
  struct Member {
    Layer* layer;
    // Which of policy.layers() it is. A member that is none of them does not confirm, but it vetoes
    // and must be held: it is the carrier.
    std::optional<std::size_t> index;
  };
  // `members` are all of policy.layers() and perhaps others, in canonical order. `candidate` is
  // what each layer is told about this process. `issue` is asked once all layers that are needed
  // are held; without it there is no token.
  Arbiter(const Policy& policy, std::vector<Member> members, HolderRecord candidate,
          ArbiterTimes times, TokenIssuer issue = {});
  Arbiter(const Arbiter&) = delete;
  Arbiter& operator=(const Arbiter&) = delete;
  // Gives back what is still held.
  ~Arbiter();

  // What to do before the next Step: nothing, wait, or stop because it is decided.
  struct Next {
    enum class Action { kStep, kWait, kDecided } action = Action::kStep;
    // kWait: wait until one of `wake` is ready, but not longer than `at_most`.
    std::span<const UniqueFd> wake = {};
    absl::Duration at_most = absl::ZeroDuration();
  };
  // Asks one layer, or decides. `elapsed` is the time since the arbiter was made, and never smaller
  // than before.
  Next Step(absl::Duration elapsed);
  // Every layer has answered: the next Step decides.
  bool is_about_to_decide() const { return next_ == members_.size(); }

  // After kDecided. Exactly one of the three.
  enum class Decision { kUnique, kDuplicate, kUndetermined };
  Decision decision() const { return decision_; }

  struct HeldLayer {
    Member member;
    std::unique_ptr<Claim> claim;
  };
  // kUnique: the claims, published as established, in the order they were taken.
  std::vector<HeldLayer> TakeClaims() { return std::move(held_); }
  // kUnique: the record that was published.
  const HolderRecord& record() const { return record_; }
  // kUnique: that of the first layer whose server gives out tokens (Claim::token), or what was
  // issued.
  const std::optional<Token>& token() const { return token_; }
  // kDuplicate: the holder; of several, the one that was met first.
  const Holder& holder() const { return *FirstContested()->holder; }
  // kDuplicate: each becomes readable or hangs up when it is worth asking again, because the holder
  // may have ended. Empty when the system has no event for it.
  std::vector<UniqueFd> TakeWake() { return std::move(wake_); }
  // kUndetermined: why.
  const absl::Status& status() const { return status_; }
  // One for each layer that was asked, in order. Under a policy with veto=off the decision may be
  // kUnique although a layer is contested.
  const std::vector<LayerReport>& reports() const { return reports_; }

 private:
  Next Settle(Contested contested, absl::Duration elapsed);
  Next AwaitUnsettled(absl::Duration elapsed);
  Next AwaitAnswer(Pending pending, absl::Duration elapsed);
  bool GetsOn(const std::vector<ProcessIdentity>& suspects);
  Next OnAnotherInstance();
  Next Decide();
  Next Refuse(Decision decision, absl::Status status = absl::OkStatus());
  void Remember(const std::optional<HolderRecord>& last);
  void Report(LayerReport report);
  void GiveBack();
  void PublishEstablished();
  void IssueToken();
  bool Met() const;
  // nullptr when no layer is taken by another.
  const LayerReport* FirstContested() const;

  const Policy policy_;
  const std::vector<Member> members_;
  const ArbiterTimes times_;
  const TokenIssuer issue_;
  HolderRecord record_;

  std::size_t next_ = 0;                         // the member to ask
  std::optional<absl::Duration> asked_at_ = {};  // while its answer is pending
  std::vector<HeldLayer> held_;
  std::vector<LayerReport> reports_;
  Decision decision_ = Decision::kUndetermined;
  absl::Status status_;
  std::optional<Token> token_;

  // The wait for one holder of members_[next_].
  struct Wait {
    Standing standing;
    std::optional<ProcessIdentity> process;
    absl::Duration since;
    int rounds = 0;
    std::optional<std::vector<ProcessIdentity>> suspects = std::nullopt;  // at the last expiry
    bool unsettled = false;
    bool over = false;  // what is unsettled has been so for long enough
  };
  std::optional<Wait> wait_;
  std::vector<UniqueFd> wake_;
};

}  // namespace soleguard
