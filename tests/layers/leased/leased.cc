// The lease layer: a key of a lock service, which gives it to one owner at a time, for a time.
//
// Lives in    the server; every process that reaches it asks the same one, on whatever machine.
// Released by Release, and by time: the lease runs out if its owner is gone, stopped or cut off.
// Faked by    whoever may speak to the server.
// Blinded by  nothing, as long as there is one server. A lease that has run out is another's.
// Covered by  file, mutex and port, which keep the others of this machine out while it lives.
//
// It is the model of a layer that a server decides (docs/adding-a-layer.md), with a server that is
// only for tests: exchange.h knows how that is spoken to, kept_lease.h keeps a lease alive, and
// target.h finds the server by a profile.
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <boost/uuid/random_generator.hpp>
#include <boost/uuid/uuid_io.hpp>

#include "kit/claim.h"
#include "kit/holder.h"
#include "kit/lease.h"
#include "kit/ownership.h"
#include "layers/leased/exchange.h"
#include "layers/leased/kept_lease.h"
#include "layers/leased/target.h"
#include "os/path.h"
#include "os/timer.h"
#include "soleguard/boot_time.h"
#include "soleguard/event.h"
#include "soleguard/layer.h"
#include "soleguard/patience.h"
#include "soleguard/record.h"
#include "soleguard/watch.h"

namespace soleguard {
namespace {

std::string Encode(const HolderRecord& record) { return EncodeRecord(ForOtherMachines(record), 1); }

std::optional<HolderRecord> Decode(const std::optional<std::string>& text) {
  absl::StatusOr<DecodedRecord> decoded = DecodeRecord(text.value_or(""));
  return decoded.ok() ? std::optional(std::move(decoded->record)) : std::nullopt;
}

class LeaseClaim final : public OwnedClaim {
 public:
  LeaseClaim(const LeaseTarget& target, const std::string& id, std::string candidate)
      : kept_(std::make_shared<KeptLease>(target.server, id)),
        last_words_(ReleaseRequest(id, candidate)) {}
  ~LeaseClaim() override { Release(); }

  // With the answer to the request of `exchange`, which was sent at `sent`.
  absl::Status Take(std::shared_ptr<Exchange> exchange, BootTime sent, const LeaseAnswer& granted) {
    token_ = granted.token;
    predecessor_ = Decode(granted.record);
    absl::Status kept = KeptLease::Keep(kept_, std::move(exchange), sent, granted.time);
    taken_ = kept.ok();
    return kept;
  }

  absl::Status Publish(const HolderRecord& record) override {
    absl::Status standing = Verify();
    if (!standing.ok()) return standing;
    const std::string text = Encode(record);
    last_words_ = ReleaseRequest(kept_->id(), text);
    // What it answers is not waited for: if the lease is over the next renewal says so.
    return Exchange().Begin(kept_->server(), PublishRequest(kept_->id(), text));
  }
  // From what is known here: the server may be silent when it matters.
  absl::Status Verify() const override {
    absl::Status owner = CheckOwner();
    return owner.ok() ? kept_->lease().Check() : owner;
  }
  std::optional<BootTime> valid_until() const override {
    return CheckOwner().ok() ? kept_->lease().valid_until() : BootTime();
  }
  std::optional<std::uint64_t> token() const override { return token_; }
  absl::Status Watch(Alarm& alarm) override {
    absl::Status owner = CheckOwner();
    if (!owner.ok()) return owner;
    alarm.AddLapse(kept_->lease().valid_until());
    absl::Status told = kept_->loss().CheckStillOurs("the keep-alive's pipe");
    if (told.ok()) alarm.hang_ups.push_back(kept_->loss().get());
    return told;
  }
  // What the server has is not looked at, which would take its time.
  Mended Mend(const HolderRecord& /*record*/) override {
    const absl::Status standing = Verify();
    return standing.ok() ? Mended{} : NotStanding(standing);
  }
  // Not only when the lease stands: the server may have it for a moment longer.
  void Release() override {
    if (!IsOwner() || !std::exchange(taken_, false)) return;
    kept_->Stop();
    try {
      released_ = release_.Begin(kept_->server(), last_words_);
    } catch (const std::bad_alloc&) {  // it lapses
      released_ = absl::ResourceExhaustedError("");
    }
  }
  absl::Status Finish() override {
    if (!IsOwner()) return absl::OkStatus();
    absl::Status answered = released_;
    if (answered.ok()) answered = release_.Await(Patience::Left()).status();
    if (answered.ok() || kept_->end() < BootTime::Now()) return absl::OkStatus();
    return absl::DeadlineExceededError(
        absl::StrCat(answered.message(), "; what it has given is free when the lease ends, in ",
                     kept_->end().SecondsLeft(), " s at the latest"));
  }
  std::optional<HolderRecord> Predecessor() const override { return predecessor_; }
  // The next program would not keep the lease alive.
  absl::Status KeepOverExec() override {
    absl::Status owner = CheckOwner();
    if (!owner.ok()) return owner;
    return absl::FailedPreconditionError(
        "a lease is kept alive by a thread, which no exec(3) leaves: do without this layer, or "
        "start the program as a child");
  }

 private:
  const std::shared_ptr<KeptLease> kept_;
  std::string last_words_;  // by Release; there before, as that may lack memory
  std::uint64_t token_ = 0;
  std::optional<HolderRecord> predecessor_;
  Exchange release_;
  absl::Status released_;
};

class LeaseLayerImpl final : public Layer {
 public:
  LeaseLayerImpl(Scope scope, std::string text, absl::StatusOr<LeaseTarget> target)
      : scope_(std::move(scope)), text_(std::move(text)), target_(std::move(target)) {}
  LeaseLayerImpl(const LeaseLayerImpl&) = delete;
  LeaseLayerImpl& operator=(const LeaseLayerImpl&) = delete;
  ~LeaseLayerImpl() override { Cancel(); }

  std::string_view text() const override { return text_; }
  Attempt Try(const HolderRecord& candidate) override;
  void Cancel() override;
  Sighting Look() const override;
  std::vector<ProcessIdentity> Suspects() const override { return {}; }

 private:
  // A request for the lease that is not answered yet.
  struct Asked {
    std::string id = to_string(boost::uuids::random_generator()());
    std::string record;
    std::string release;
    BootTime sent;
    const std::shared_ptr<Exchange> exchange = std::make_shared<Exchange>();
  };

  absl::Status CheckMayAsk() const;
  absl::Status Ask(const HolderRecord& candidate);
  Attempt Hold(const LeaseAnswer& granted);
  Attempt Wait();
  Contested RefusedBy(const LeaseAnswer& refused) const;
  Holder HolderIn(const LeaseAnswer& taken) const;

  const Scope scope_;
  const std::string text_;
  const absl::StatusOr<LeaseTarget> target_;
  std::unique_ptr<Asked> asked_;
};

// The rights to the scope's directory are asked for, as the other layers do: who may have the name
// is one question. Nothing is made there.
absl::Status LeaseLayerImpl::CheckMayAsk() const {
  if (!target_.ok()) return target_.status();
  return OwnershipOf(scope_, os::Create::kNo).status();
}

absl::Status LeaseLayerImpl::Ask(const HolderRecord& candidate) {
  absl::Status may = CheckMayAsk();
  if (!may.ok()) return may;
  auto asked = std::make_unique<Asked>();
  asked->record = Encode(candidate);
  asked->release = ReleaseRequest(asked->id, asked->record);
  const std::string request = AcquireRequest(target_->key, asked->id, target_->time, asked->record);
  // Before it is on its way: the lease may count from now.
  asked->sent = BootTime::Now();
  absl::Status sent = asked->exchange->Begin(target_->server, request);
  if (sent.ok()) asked_ = std::move(asked);
  return sent;
}

Attempt LeaseLayerImpl::Try(const HolderRecord& candidate) {
  if (asked_ == nullptr) {
    absl::Status sent = Ask(candidate);
    if (!sent.ok()) return Unavailable{std::move(sent)};
  }
  const absl::StatusOr<std::optional<LeaseAnswer>> answer = asked_->exchange->Take();
  if (!answer.ok()) {
    asked_.reset();
    return Unavailable{answer.status()};
  }
  if (!answer->has_value()) return Wait();
  if ((*answer)->word == "granted") return Hold(**answer);
  asked_.reset();
  if ((*answer)->word == "refused") return RefusedBy(**answer);
  return Unavailable{
      absl::UnavailableError(absl::StrCat(target_->server.called, " does not give out leases"))};
}

Attempt LeaseLayerImpl::Wait() {
  absl::StatusOr<UniqueFd> event = asked_->exchange->Event();
  if (!event.ok()) {
    Cancel();
    return Unavailable{event.status()};
  }
  Pending pending;
  pending.wake.push_back(*std::move(event));
  return pending;
}

// If this throws, the request is still there to be cancelled.
Attempt LeaseLayerImpl::Hold(const LeaseAnswer& granted) {
  auto claim = std::make_unique<LeaseClaim>(*target_, asked_->id, asked_->record);
  absl::Status taken = claim->Take(asked_->exchange, asked_->sent, granted);
  if (!taken.ok()) {
    Cancel();
    return Unavailable{std::move(taken)};
  }
  asked_.reset();
  return Held{std::move(claim)};
}

// On the same connection: the server grants first and frees then, whenever it gets to it.
void LeaseLayerImpl::Cancel() {
  if (asked_ == nullptr) return;
  asked_->exchange->Add(asked_->release);
  asked_.reset();
}

Holder LeaseLayerImpl::HolderIn(const LeaseAnswer& taken) const {
  return JudgeLeaseholder(Decode(taken.record), BootTime::Now() + taken.time,
                          absl::StrCat(target_->server.called, " has given its lease"));
}

Contested LeaseLayerImpl::RefusedBy(const LeaseAnswer& refused) const {
  Contested contested{.holder = HolderIn(refused), .wake = {}};
  const Standing standing = contested.holder.standing;
  const bool will_decide = standing == Standing::kCandidate || standing == Standing::kUnknown;
  Exchange change;
  const absl::Status sent =
      change.Begin(target_->server, will_decide ? AwaitChangeRequest(target_->key, refused.revision)
                                                : AwaitEndRequest(target_->key, refused.token));
  if (absl::StatusOr<UniqueFd> event = change.Event(); sent.ok() && event.ok()) {
    contested.wake.push_back(*std::move(event));
  }
  // The server may be silent when the lease ends, or have ended itself.
  if (absl::StatusOr<UniqueFd> end = os::OpenTimer(*contested.holder.free_at); end.ok()) {
    contested.wake.push_back(*std::move(end));
  }
  return contested;
}

Sighting LeaseLayerImpl::Look() const {
  absl::Status may = CheckMayAsk();
  if (!may.ok()) return Unavailable{std::move(may)};
  Exchange exchange;
  absl::Status sent = exchange.Begin(target_->server, LookRequest(target_->key));
  if (!sent.ok()) return Unavailable{std::move(sent)};
  const absl::StatusOr<LeaseAnswer> answer = exchange.Await(Patience::Left());
  if (!answer.ok()) return Unavailable{answer.status()};
  if (answer->word == "taken") return Taken{HolderIn(*answer)};
  return Free{Decode(answer->record)};
}

std::unique_ptr<Layer> MakeLeaseLayer(const LayerContext& context) {
  return std::make_unique<LeaseLayerImpl>(context.scope, LeaseTextOf(context.parameters),
                                          LeaseTargetOf(context));
}

Effect EffectOf(Event event, const LayerParameters&) {
  switch (event) {
    case Event::kLeaseLapsed:
    case Event::kTwoPaths:  // the key is called after the scope's directory
      return Effect::kBlinds;
    case Event::kServerUnreachable:
    case Event::kNetworkNamespace:  // the server's socket is of one
    case Event::kIpcAndNetworkNamespaces:
    case Event::kContainer:
    case Event::kHiddenUser:
    case Event::kDescriptorsExhausted:
      return Effect::kUnavailable;
    default:
      return Effect::kNone;
  }
}

std::string CautionOf(const LayerParameters&) {
  return "it is free when its lease ends, whether or not its holder has: who may act after that "
         "must ask Guard::valid_until before, and give his token to whatever he acts upon";
}

}  // namespace

LayerKind LeaseLayer() {
  return {.name = "lease",
          .check = &CheckLeaseParameters,
          .make = &MakeLeaseLayer,
          .remote = true,
          .leased = true,
          .has_profile = true,
          .effect = &EffectOf,
          .caution = &CautionOf};
}

}  // namespace soleguard
