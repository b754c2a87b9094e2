// The socket layer: a listening Unix socket of the abstract name space that nobody accepts on.
//
// Lives in    the network namespace.
// Released by Release, exit and SIGKILL, once the last descriptor is closed. Not by exec if kept.
// Faked by    nobody as a holder: another user's socket of that name makes it unavailable.
// Blinded by  another network namespace; another user's socket of that name.
// Covered by  file and mutex, which live elsewhere, and scan. Not by port: see below.
//
// This is the exercise of docs/adding-a-layer.md and no part of the library: all that destroys or
// blinds it does the same to port, which carries such a socket as its companion, and a child that a
// raw clone(2) made keeps the name over a Release, because no call takes a name off a Unix socket.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "kit/claim.h"
#include "kit/holder.h"
#include "kit/key.h"
#include "kit/ownership.h"
#include "kit/published_record.h"
#include "os/companion.h"
#include "os/kept_fd.h"
#include "os/listener.h"
#include "os/ownership.h"
#include "os/path.h"
#include "soleguard/event.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/process.h"

namespace soleguard {
namespace {

struct Target {
  Scope scope;
  InstanceName name;

  // All of the hash, as a socket's name is shorter than an instance's may be.
  std::string address() const {
    return absl::StrFormat("soleguard-socket/%016x", KeyOf(scope, name));
  }
  PublishedRecord Record() const { return {scope, name, "socket"}; }
};

class SocketClaim final : public CarriedClaim {
 public:
  explicit SocketClaim(const Target& target) : target_(target), record_(target.Record()) {}
  ~SocketClaim() override { Release(); }

  // False: the address is taken.
  absl::StatusOr<bool> Take() {
    absl::StatusOr<bool> named = os::KeepCompanion(target_.address(), socket_);
    taken_ = named.ok() && *named;
    return named;
  }
  absl::Status Introduce(const HolderRecord& candidate) { return record_.Begin(candidate); }
  std::optional<Contested> TakeSurvivor() { return record_.TakeSurvivor(); }

  absl::Status Publish(const HolderRecord& record) override {
    absl::Status owner = CheckOwner();
    return owner.ok() ? record_.Write(record) : owner;
  }
  absl::Status Verify() const override {
    absl::Status owner = CheckOwner();
    return owner.ok() ? socket_.CheckStillOurs(target_.address()) : owner;
  }
  absl::Status Watch(Alarm& alarm) override {
    absl::Status owner = CheckOwner();
    if (!owner.ok()) return owner;
    record_.Watch(alarm);
    (void)socket_.MoveAbove(
        alarm.slow);  // one that cannot be moved makes a successor wait a little
    alarm.hang_ups.push_back(socket_.get());
    return absl::OkStatus();
  }
  Mended Mend(const HolderRecord& record) override {
    const absl::Status standing = Verify();
    if (!standing.ok()) return NotStanding(standing);
    Mended mended;
    record_.Mend(record, mended);
    return mended;
  }
  void Release() override {
    if (!IsOwner()) return;
    // Not only closed: whoever kept a copy must not look like a holder.
    if (std::exchange(taken_, false) && !is_shared() && socket_.StillOurs())
      os::StopListening(socket_);
    socket_.Close();
    record_.End();  // last: who is woken finds the layer free
  }
  std::optional<HolderRecord> Predecessor() const override { return record_.predecessor(); }

 private:
  std::vector<const os::KeptFd*> Carriers() const override { return {&socket_, &record_.end()}; }

  const Target target_;
  os::KeptFd socket_;
  PublishedRecord record_;
};

class SocketLayerImpl final : public Layer {
 public:
  explicit SocketLayerImpl(Target target) : target_(std::move(target)) {}

  std::string_view text() const override { return "socket"; }
  Attempt Try(const HolderRecord& candidate) override;
  Attempt TryFinally(const HolderRecord& candidate) override;
  Sighting Look() const override;
  Sighting Forecast() const override;
  void Disown(const HolderRecord& record) override { target_.Record().Disown(record); }
  std::vector<ProcessIdentity> Suspects() const override;

 private:
  Contested RefusedBy(const absl::StatusOr<os::Peer>& peer) const;
  absl::Status Foreign(std::uint32_t uid) const {
    return absl::UnavailableError(
        absl::StrCat(Evidence(), " by a program of ", os::Who(uid),
                     ", who may not hold it; end it or use another scope"));
  }
  std::string Evidence() const { return absl::StrCat("socket @", target_.address(), " is taken"); }

  const Target target_;
};

Contested SocketLayerImpl::RefusedBy(const absl::StatusOr<os::Peer>& peer) const {
  auto [record, decision] = target_.Record().ReadAndWatch();
  // An older record, while the new holder has not written its own.
  if (record.has_value() && peer.ok() && peer->pid != 0 && record->identity.pid != peer->pid &&
      LivenessOf(record->identity) != Liveness::kUnknown) {
    record.reset();
  }
  Contested contested;
  contested.holder = JudgeHolder(std::move(record), Evidence());
  contested.wake = WakeUps(contested.holder, std::move(decision));
  return contested;
}

Attempt SocketLayerImpl::Try(const HolderRecord& candidate) {
  Attempt attempt = TryFinally(candidate);
  const auto* unavailable = std::get_if<Unavailable>(&attempt);
  // The race: a contender has bound the name and does not listen yet, or a holder is just ending.
  // Closed by asking again, for as long as the arbiter's clock says.
  if (unavailable == nullptr || !absl::IsAborted(unavailable->status)) return attempt;
  Contested contested{.wake = {}, .unsettled = true};
  contested.holder.evidence = std::string(unavailable->status.message());
  return contested;
}

Attempt SocketLayerImpl::TryFinally(const HolderRecord& candidate) {
  absl::StatusOr<os::Ownership> ownership = OwnershipOf(target_.scope, os::Create::kYes);
  if (!ownership.ok()) return Unavailable{ownership.status()};
  auto claim = std::make_unique<SocketClaim>(target_);
  absl::StatusOr<bool> taken = claim->Take();
  if (!taken.ok()) return Unavailable{taken.status()};
  if (*taken) {
    absl::Status introduced = claim->Introduce(candidate);
    if (std::optional<Contested> survivor = claim->TakeSurvivor()) return *std::move(survivor);
    if (!introduced.ok()) return Unavailable{introduced};
    return Held{std::move(claim)};
  }
  const absl::StatusOr<os::Peer> peer = os::CompanionPeer(target_.address());
  if (absl::IsNotFound(peer.status())) {
    return Unavailable{absl::AbortedError(
        absl::StrCat(Evidence(), " and nobody listens: a child kept it over its release"))};
  }
  if (peer.ok() && !os::MayOwn(peer->uid, peer->groups, *ownership)) {
    return Unavailable{Foreign(peer->uid)};
  }
  return RefusedBy(peer);
}

Sighting SocketLayerImpl::Look() const {
  const absl::StatusOr<os::Ownership> ownership = OwnershipOf(target_.scope, os::Create::kNo);
  if (!ownership.ok()) return Unavailable{ownership.status()};
  // Nothing is connected to: a look must not fill the backlog.
  const absl::StatusOr<std::uint32_t> owner = os::CompanionOwner(target_.address());
  if (!owner.ok() && !absl::IsNotFound(owner.status())) return Unavailable{owner.status()};
  if (owner.ok() && !os::MayOwn(*owner, *ownership)) return Unavailable{Foreign(*owner)};
  PublishedRecord published = target_.Record();
  std::optional<HolderRecord> record = published.Read();
  if (owner.ok()) return Taken{JudgeHolder(std::move(record), Evidence())};
  if (auto survivor = published.Survivor(record)) return Taken{std::move(survivor->holder)};
  return Free{std::move(record)};
}

Sighting SocketLayerImpl::Forecast() const {
  Sighting sighting = Look();
  if (!std::holds_alternative<Free>(sighting)) return sighting;
  // Without a place for its record nobody can hold the layer.
  const absl::Status could_be = target_.Record().CheckMayBegin();
  if (!could_be.ok()) return Unavailable{could_be};
  return sighting;
}

std::vector<ProcessIdentity> SocketLayerImpl::Suspects() const {
  const absl::StatusOr<FileIdentity> socket = os::CompanionSocket(target_.address());
  return socket.ok() ? ProcessesWithOpen(*socket) : std::vector<ProcessIdentity>();
}

absl::Status CheckParameters(const LayerParameters& parameters) {
  if (parameters.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError("socket takes no parameters");
}

Effect EffectOf(Event event, const LayerParameters&) {
  switch (event) {
    case Event::kNetworkNamespace:
    case Event::kIpcAndNetworkNamespaces:
    case Event::kTwoPaths:
    case Event::kContainer:
    case Event::kAnotherHost:
    case Event::kDescriptorsClosed:
      return Effect::kBlinds;
    case Event::kHiddenPlace:  // without a place for its record nobody can hold the layer
    case Event::kHiddenUser:
    case Event::kScopeDirectorySquatted:
    case Event::kReadOnlyFilesystem:
    case Event::kDiskFull:
    case Event::kDescriptorsExhausted:
      return Effect::kUnavailable;
    default:
      return Effect::kNone;
  }
}

std::unique_ptr<Layer> MakeSocketLayer(const LayerContext& context) {
  return std::make_unique<SocketLayerImpl>(Target{.scope = context.scope, .name = context.name});
}

}  // namespace

LayerKind SocketLayer() {
  return {.name = "socket",
          .check = &CheckParameters,
          .make = &MakeSocketLayer,
          .carries = true,
          .effect = &EffectOf,
          .files = [](const LayerParameters&) { return PublishedRecord::Files("socket"); }};
}

}  // namespace soleguard
