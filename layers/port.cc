// The port layer: a TCP socket that listens on loopback. Nobody is ever served there.
//
// Lives in    the network namespace.
// Released by Release, exit and SIGKILL, once the last descriptor is closed. Not by exec if kept.
// Faked by    nobody as a holder: a listener that is not soleguard's, or of a user outside the
// scope, is
//             named and makes the layer unavailable, never "already running".
// Blinded by  another network namespace; a foreign program on the port.
// Covered by  file and mutex, which live elsewhere, and scan. See docs/layer-port.md.
//
// The port is fixed and below the ephemeral range; the name is hashed into the address, 127.a.b.c.
// A companion socket in the abstract name space, made before and closed after the port, says by the
// kernel's word who listens, even when that process is stopped. The record, in the name's
// directory, says how far it is.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "kinds.h"
#include "kit/claim.h"
#include "kit/holder.h"
#include "kit/key.h"
#include "kit/ownership.h"
#include "kit/published_record.h"
#include "os/companion.h"
#include "os/kept_fd.h"
#include "os/listener.h"
#include "os/machine.h"
#include "os/ownership.h"
#include "os/path.h"
#include "soleguard/event.h"
#include "soleguard/finding.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/process.h"
#include "soleguard/scope_view.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

// Not registered with IANA, and below 32768, where Linux's ephemeral ports begin.
constexpr std::uint16_t kPort = 23717;

struct Target {
  Scope scope;
  InstanceName name;
  std::optional<std::uint16_t> port;  // of port(47777)

  std::string text() const { return port.has_value() ? absl::StrCat("port(", *port, ")") : "port"; }
  PublishedRecord Record() const { return {scope, name, RecordName(port)}; }
  static std::string RecordName(std::optional<std::uint16_t> port) {
    return port.has_value() ? absl::StrCat("port.", *port) : "port";
  }

  // A pure function of scope and name. Neither 127.0.0.1 nor its neighbours, where other programs
  // are, nor an address that looks like a network's or a broadcast.
  os::Endpoint endpoint() const {
    if (port.has_value()) return {.address = 0x7f000001, .port = *port};
    const std::uint64_t hash = KeyOf(scope, name);
    const auto a = static_cast<std::uint32_t>(1 + hash % 254);
    const auto b = static_cast<std::uint32_t>(hash / 254 % 256);
    const auto c = static_cast<std::uint32_t>(1 + hash / 254 / 256 % 254);
    return {.address = 0x7f000000U | a << 16 | b << 8 | c, .port = kPort};
  }

  // All of the hash: two names that meet at an address still have two companions.
  std::string companion() const {
    return absl::StrCat("soleguard/", absl::Hex(KeyOf(scope, name), absl::kZeroPad16), "/",
                        endpoint().ToString());
  }
};

// "nginx (pid 812)", or what can be told.
std::string ProgramOf(const os::Listener& listener) {
  for (const ProcessIdentity& process : ProcessesWithOpen(listener.socket)) {
    const absl::StatusOr<ProcessDescription> description = Describe(process);
    if (!description.ok()) continue;
    return absl::StrCat(EscapeBytes(description->executable), " (pid ", process.pid, ")");
  }
  return absl::StrCat("a program of ", EscapeBytes(UserName(listener.uid)), " (uid ", listener.uid,
                      ")");
}

absl::Status Foreign(const os::Endpoint& endpoint, const os::Listener& listener) {
  return absl::UnavailableError(absl::StrCat(
      listener.exact ? "" : "the wildcard address covers ", endpoint.ToString(), " is in use by ",
      ProgramOf(listener), ", which is not an instance; end it or choose another port"));
}

absl::Status Squatted(const Target& target, std::uint32_t owner) {
  return absl::FailedPreconditionError(absl::StrCat(
      "the socket @", target.companion(), ", which says who has ", target.endpoint().ToString(),
      ", was made by another user; it belongs to ", os::Who(owner), ". ss -xlp shows it"));
}

// FailedPrecondition: a stranger listens on the companion's name. OK where it is not known.
absl::Status CheckCompanion(const Target& target, const os::Ownership& ownership) {
  const absl::StatusOr<std::uint32_t> owner = os::CompanionOwner(target.companion());
  if (!owner.ok() || os::MayOwn(*owner, ownership)) return absl::OkStatus();
  return Squatted(target, *owner);
}

class PortClaim final : public CarriedClaim {
 public:
  explicit PortClaim(const Target& target) : target_(target), record_(target.Record()) {}
  ~PortClaim() override { Release(); }

  enum class Taking { kTaken, kNameTaken, kPortTaken };
  // `mute`: a companion that is there and does not answer is somebody's leftover.
  absl::StatusOr<Taking> Take(const os::Ownership& ownership, bool mute);
  absl::Status Introduce(const HolderRecord& candidate) { return record_.Begin(candidate); }
  std::optional<Contested> TakeSurvivor() { return record_.TakeSurvivor(); }

  absl::Status Publish(const HolderRecord& record) override;
  absl::Status Verify() const override;
  absl::Status Watch(Alarm& alarm) override;
  Mended Mend(const HolderRecord& record) override;
  void Release() override;
  std::optional<HolderRecord> Predecessor() const override { return record_.predecessor(); }

 private:
  // A stranger may have the companion's name, and the FIFO need not be there.
  std::vector<const os::KeptFd*> Carriers() const override {
    return {&socket_, &companion_, &record_.end()};
  }

  const Target target_;
  os::KeptFd socket_;
  os::KeptFd companion_;
  PublishedRecord record_;
};

absl::StatusOr<PortClaim::Taking> PortClaim::Take(const os::Ownership& ownership, bool mute) {
  absl::Status made = os::KeepTcpSocket(socket_);
  if (!made.ok()) return made;
  absl::StatusOr<bool> named = os::KeepCompanion(target_.companion(), companion_);
  if (!named.ok()) return named.status();
  if (!*named) {
    const absl::StatusOr<os::Peer> peer = os::CompanionPeer(target_.companion());
    if (peer.ok()) {
      if (!os::MayOwn(peer->uid, peer->groups, ownership)) return Squatted(target_, peer->uid);
      return Taking::kNameTaken;
    }
    // A descriptor of a holder's that a raw clone(2) kept says nothing.
    if (absl::IsNotFound(peer.status()) && !mute) return Taking::kNameTaken;
    // Its backlog is full, by all who have asked or by a stranger: that alone tells of nobody. The
    // port decides, and the record.
    absl::Status owned = CheckCompanion(target_, ownership);
    if (!owned.ok()) return owned;
  }
  absl::StatusOr<bool> listens = os::TryListen(socket_, target_.endpoint());
  if (!listens.ok()) return listens.status();
  taken_ = *listens;
  return taken_ ? Taking::kTaken : Taking::kPortTaken;
}

absl::Status PortClaim::Publish(const HolderRecord& record) {
  absl::Status owner = CheckOwner();
  return owner.ok() ? record_.Write(record) : owner;
}

absl::Status PortClaim::Verify() const {
  absl::Status owner = CheckOwner();
  if (!owner.ok()) return owner;
  absl::Status ours = socket_.CheckStillOurs(target_.endpoint().ToString());
  if (!ours.ok()) return ours;
  if (os::ListensAt(socket_, target_.endpoint())) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat(target_.endpoint().ToString(), " is no longer listened on"));
}

absl::Status PortClaim::Watch(Alarm& alarm) {
  absl::Status owner = CheckOwner();
  if (!owner.ok()) return owner;
  record_.Watch(alarm);
  // One that cannot be moved only makes a successor wait a little.
  (void)socket_.MoveAbove(alarm.slow);
  (void)companion_.MoveAbove(alarm.slow);
  alarm.hang_ups.push_back(socket_.get());  // of a listening socket only a shutdown shows so
  return absl::OkStatus();
}

Claim::Mended PortClaim::Mend(const HolderRecord& record) {
  const absl::Status standing = Verify();
  if (!standing.ok()) return NotStanding(standing);
  Mended mended;
  record_.Mend(record, mended);
  return mended;
}

void PortClaim::Release() {
  if (!IsOwner()) return;
  const bool taken = std::exchange(taken_, false);
  // Not only closed: a child that a raw clone(2) made may have kept the descriptor.
  if (taken && !is_shared()) {
    if (socket_.StillOurs()) os::StopListening(socket_);
    if (companion_.StillOurs()) os::StopListening(companion_);
  }
  socket_.Close();
  companion_.Close();
  record_.End();  // last: who is woken finds the layer free
}

class PortLayerImpl final : public Layer {
 public:
  explicit PortLayerImpl(Target target) : target_(std::move(target)), text_(target_.text()) {}

  std::string_view text() const override { return text_; }
  Attempt Try(const HolderRecord& candidate) override { return Try(candidate, Word::kFirst); }
  Attempt TryFinally(const HolderRecord& candidate) override { return Try(candidate, Word::kLast); }
  Sighting Look() const override;
  Sighting Forecast() const override;
  void Disown(const HolderRecord& record) override { target_.Record().Disown(record); }
  std::vector<ProcessIdentity> Suspects() const override;
  std::vector<Finding> Diagnose() const override;

 private:
  std::string Where() const { return target_.endpoint().ToString(); }
  Sighting LookFor(os::Create create) const;
  absl::Status BoundOnly() const;
  Contested RefusedBy(std::optional<os::Peer> peer) const;
  // The listener that is in the way, if it is an instance of this name by its record.
  absl::StatusOr<std::optional<Holder>> KnownHolder(const os::Listener& listener,
                                                    const os::Ownership& ownership) const;
  // Whether the strangers are still the ones who listen.
  bool StillThere(const std::vector<os::Listener>& strangers) const;
  enum class Word { kFirst, kLast };
  Attempt Try(const HolderRecord& candidate, Word word) const;
  Contested Unsettled(std::string_view what, std::vector<ProcessIdentity> processes) const;

  const Target target_;
  const std::string text_;
};

// Somebody of the scope has the companion: whoever it is, it is about this very name.
Contested PortLayerImpl::RefusedBy(std::optional<os::Peer> peer) const {
  auto [record, watch] = target_.Record().ReadAndWatch();
  // An older record, while the new holder has not written its own.
  if (record.has_value() && peer.has_value() && peer->pid != 0 &&
      os::PidFromHere(record->identity).value_or(record->identity.pid) != peer->pid &&
      LivenessOf(record->identity) != Liveness::kUnknown) {
    record.reset();
  }
  Contested contested;
  contested.holder = JudgeHolder(std::move(record), absl::StrCat(Where(), " is taken"));
  contested.wake = WakeUps(contested.holder, std::move(watch));
  return contested;
}

absl::StatusOr<std::optional<Holder>> PortLayerImpl::KnownHolder(
    const os::Listener& listener, const os::Ownership& ownership) const {
  if (!listener.exact) return std::nullopt;
  if (!os::MayOwn(listener.uid, ownership)) return std::nullopt;
  absl::StatusOr<std::optional<HolderRecord>> last = target_.Record().Last();
  // Without its record a holder looks like a stranger, and a person would be told to end it.
  if (!last.ok()) {
    return absl::Status(last.status().code(),
                        absl::StrCat(Where(), " is in use by ", ProgramOf(listener),
                                     ", and its record cannot be read: ", last.status().message()));
  }
  const std::optional<HolderRecord>& record = *last;
  if (!record.has_value()) return std::nullopt;
  for (const auto* process :
       {&record->identity, record->instance.has_value() ? &*record->instance : nullptr}) {
    if (process == nullptr) continue;
    const Liveness liveness = LivenessOf(*process);
    if (liveness == Liveness::kGone) continue;
    const absl::StatusOr<bool> has = HasOpen(*process, listener.socket);
    // One that cannot be looked into (another pid namespace or user) is believed: the port is
    // taken. The race: a process that ends shows no descriptors any more while the kernel still
    // closes them, the companion's before the port's (fput of an exiting task, Linux 6.18). Closed
    // by believing it until it is gone.
    if (has.ok() && !*has && liveness != Liveness::kDying) continue;
    return JudgeHolder(record, absl::StrCat(Where(), " is listened on by pid ", process->pid));
  }
  return std::nullopt;
}

// The race: a holder ends between the list of listeners and the look at its process, which then
// shows nothing any more. Closed by asking for the listeners once more: a socket that is gone was
// not a stranger's.
bool PortLayerImpl::StillThere(const std::vector<os::Listener>& strangers) const {
  const absl::StatusOr<std::vector<os::Listener>> now = os::ListenersInTheWay(target_.endpoint());
  const auto listens = [&](const os::Listener& stranger) {
    return std::any_of(now->begin(), now->end(), [&](const os::Listener& listener) {
      return listener.socket == stranger.socket;
    });
  };
  return !now.ok() || std::all_of(strangers.begin(), strangers.end(), listens);
}

// Races leave a port that is taken, and no record that says by whom.
//  - A contender has its companion bound and does not listen there yet, or a holder ends between
//    the look at its companion, or its port, and the next.
//  - A contender that found the companion mute listens, and has not written its record yet. Or it
//    was killed there, and is dying: its descriptors do not show any more.
//  - Whoever reads /proc/PID/fd/N has the file of N for a moment (proc_fd_link, Linux 6.18). If a
//    killed holder ends then, its socket outlives it by as long as the reader lacks a processor.
// Closed by asking again, for as long as the arbiter's clock says. After that a companion that does
// not answer is somebody's leftover, and a listener without a record is a stranger.
Contested PortLayerImpl::Unsettled(std::string_view what,
                                   std::vector<ProcessIdentity> processes) const {
  Contested contested{.wake = {}, .unsettled = true};
  contested.holder.evidence = absl::StrCat(Where(), " is taken: ", std::string(what));
  contested.holder.processes = std::move(processes);
  return contested;
}

Attempt PortLayerImpl::Try(const HolderRecord& candidate, Word word) const {
  absl::StatusOr<os::Ownership> ownership = OwnershipOf(target_.scope, os::Create::kYes);
  if (!ownership.ok()) return Unavailable{ownership.status()};
  const bool finally = word == Word::kLast;
  auto claim = std::make_unique<PortClaim>(target_);
  absl::StatusOr<PortClaim::Taking> taking = claim->Take(*ownership, /*mute=*/finally);
  if (!taking.ok()) return Unavailable{taking.status()};
  if (*taking == PortClaim::Taking::kTaken) {
    absl::Status introduced = claim->Introduce(candidate);
    if (std::optional<Contested> survivor = claim->TakeSurvivor()) return *std::move(survivor);
    if (!introduced.ok()) return Unavailable{introduced};
    return Held{std::move(claim)};
  }
  claim.reset();  // its companion must not be taken for a holder's
  if (*taking == PortClaim::Taking::kNameTaken) {
    absl::StatusOr<os::Peer> peer = os::CompanionPeer(target_.companion());
    if (!absl::IsNotFound(peer.status())) {
      return RefusedBy(peer.ok() ? std::optional(*peer) : std::nullopt);
    }
    return Unsettled("its companion socket is there and does not listen", {});
  }
  absl::StatusOr<std::vector<os::Listener>> listeners = os::ListenersInTheWay(target_.endpoint());
  if (!listeners.ok()) return Unavailable{listeners.status()};
  for (const os::Listener& listener : *listeners) {
    absl::StatusOr<std::optional<Holder>> holder = KnownHolder(listener, *ownership);
    if (!holder.ok()) return Unavailable{holder.status()};
    if (holder->has_value()) return RefusedBy(std::nullopt);
  }
  if (listeners->empty() || !StillThere(*listeners)) {
    if (!finally) return Unsettled("whoever listened has just ended", {});
    return Unavailable{BoundOnly()};
  }
  const os::Listener& listener = listeners->front();
  if (finally || !listener.exact || !os::MayOwn(listener.uid, *ownership)) {
    return Unavailable{Foreign(target_.endpoint(), listener)};
  }
  return Unsettled("it is listened on, and no record says by whom",
                   ProcessesWithOpen(listener.socket));
}

absl::Status PortLayerImpl::BoundOnly() const {
  return absl::AbortedError(
      absl::StrCat(Where(),
                   " is in use, and nobody listens: a socket is bound there, and its program "
                   "does not show"));
}

Sighting PortLayerImpl::Look() const { return LookFor(os::Create::kNo); }

Sighting PortLayerImpl::LookFor(os::Create create) const {
  const absl::StatusOr<os::Ownership> ownership = OwnershipOf(target_.scope, create);
  if (!ownership.ok()) return Unavailable{ownership.status()};
  if (create == os::Create::kAsIf) {
    const absl::Status companion = CheckCompanion(target_, *ownership);
    if (!companion.ok()) return Unavailable{companion};
  }
  constexpr int kMostLooks = 100;
  for (int look = 0; look < kMostLooks; ++look) {  // again when a listener ended meanwhile
    absl::StatusOr<std::vector<os::Listener>> listeners = os::ListenersInTheWay(target_.endpoint());
    if (!listeners.ok()) return Unavailable{listeners.status()};
    if (listeners->empty()) {
      // Without a place for its record nobody can hold the layer.
      PublishedRecord record = target_.Record();
      absl::StatusOr<std::optional<HolderRecord>> last = record.Last();
      if (!last.ok()) return Unavailable{last.status()};
      std::optional<Contested> survivor = record.Survivor(*last);
      if (survivor.has_value()) return Taken{std::move(survivor->holder)};
      return Free{*std::move(last)};
    }
    absl::Status unreadable;
    for (const os::Listener& listener : *listeners) {
      absl::StatusOr<std::optional<Holder>> holder = KnownHolder(listener, *ownership);
      if (holder.ok() && holder->has_value()) return Taken{**std::move(holder)};
      unreadable.Update(holder.status());
    }
    if (unreadable.ok() && !StillThere(*listeners)) continue;
    // Its record cannot be read, or is elsewhere: what is mounted here hides the place where it is.
    // Its companion shows that it is an instance all the same, as a start learns.
    const absl::StatusOr<std::uint32_t> owner = os::CompanionOwner(target_.companion());
    if (owner.ok() && os::MayOwn(*owner, *ownership)) {
      return Taken{JudgeHolder(std::nullopt, absl::StrCat(Where(), " is taken"))};
    }
    if (!unreadable.ok()) return Unavailable{unreadable};
    return Unavailable{Foreign(target_.endpoint(), listeners->front())};
  }
  return Unavailable{absl::AbortedError(
      absl::StrCat("the listeners of ", Where(), " changed at each of ", kMostLooks, " looks"))};
}

Sighting PortLayerImpl::Forecast() const {
  Sighting sighting = LookFor(os::Create::kAsIf);
  if (!std::holds_alternative<Free>(sighting)) return sighting;
  absl::Status could_be = os::CheckMayBind(target_.endpoint());
  // What is bound and does not listen shows in no list of listeners.
  if (absl::IsNotFound(could_be)) could_be = BoundOnly();
  if (could_be.ok()) could_be = target_.Record().CheckMayBegin();
  if (!could_be.ok()) return Unavailable{could_be};
  return sighting;
}

std::vector<ProcessIdentity> PortLayerImpl::Suspects() const {
  std::vector<ProcessIdentity> suspects;
  const absl::StatusOr<os::Ownership> ownership = OwnershipOf(target_.scope, os::Create::kNo);
  absl::StatusOr<std::vector<os::Listener>> listeners = os::ListenersInTheWay(target_.endpoint());
  if (!ownership.ok() || !listeners.ok()) return suspects;
  for (const os::Listener& listener : *listeners) {
    if (!os::MayOwn(listener.uid, *ownership)) continue;
    for (ProcessIdentity& process : ProcessesWithOpen(listener.socket)) {
      suspects.push_back(std::move(process));
    }
  }
  if (!listeners->empty()) return suspects;
  // Whoever was stopped between its two sockets has the companion and does not listen yet. Asking
  // it takes a place in its queue, which is there for that.
  const absl::StatusOr<os::Peer> peer = os::CompanionPeer(target_.companion());
  if (peer.ok() && os::MayOwn(peer->uid, peer->groups, *ownership)) {
    absl::StatusOr<ProcessIdentity> process = IdentityOf(peer->pid);
    if (process.ok()) suspects.push_back(*std::move(process));
  }
  return suspects;
}

// What sysctls say of a port: "32768 60999" of ip_local_port_range.
std::optional<std::pair<int, int>> EphemeralRange() {
  const absl::StatusOr<std::string> text =
      os::ReadSetting("/proc/sys/net/ipv4/ip_local_port_range");
  if (!text.ok()) return std::nullopt;
  const std::vector<std::string> words =
      absl::StrSplit(*text, absl::ByAnyChar(" \t"), absl::SkipEmpty());
  int first = 0;
  int last = 0;
  if (words.size() != 2 || !absl::SimpleAtoi(words[0], &first) ||
      !absl::SimpleAtoi(words[1], &last)) {
    return std::nullopt;
  }
  return std::pair(first, last);
}

std::vector<Finding> PortLayerImpl::Diagnose() const {
  std::vector<Finding> findings;
  const auto [address, port] = target_.endpoint();
  const absl::StatusOr<bool> has_address = os::IsOwnAddress(address);
  if (has_address.ok() && !*has_address) {
    findings.push_back({.severity = Severity::kProblem,
                        .layer = text_,
                        .what = "lo has no 127.0.0.0/8 in this network namespace",
                        .consequence = "",
                        .fix = "ip address add 127.0.0.1/8 dev lo; ip link set lo up",
                        .event = Event::kNoLoopback});
  }
  if (!os::MayBindPort(port)) {
    findings.push_back({.severity = Severity::kProblem,
                        .layer = text_,
                        .what = absl::StrCat("port ", port,
                                             " needs a privilege here "
                                             "(net.ipv4.ip_unprivileged_port_start)"),
                        .consequence = "",
                        .fix = absl::StrCat("sysctl net.ipv4.ip_unprivileged_port_start=",
                                            std::min<int>(port, 1024)),
                        .event = Event::kNoLoopback});
  }
  const std::optional<std::pair<int, int>> range = EphemeralRange();
  if (range.has_value() && port >= range->first && port <= range->second) {
    findings.push_back({.severity = Severity::kWarning,
                        .layer = text_,
                        .what = absl::StrCat("port ", port,
                                             " is in the ephemeral range of this "
                                             "machine (",
                                             range->first, " to ", range->second, ")"),
                        .consequence = "any outgoing connection may have it when a start needs it",
                        .fix = absl::StrCat("choose a port below, or sysctl "
                                            "net.ipv4.ip_local_reserved_ports=",
                                            port),
                        .event = Event::kPortSquatted,
                        .threat = true});
  }
  const Sighting sighting = Look();
  const absl::StatusOr<std::vector<os::Listener>> listeners =
      os::ListenersInTheWay(target_.endpoint());
  if (const auto* unavailable = std::get_if<Unavailable>(&sighting);
      unavailable != nullptr && listeners.ok() && !listeners->empty()) {
    findings.push_back({.severity = Severity::kProblem,
                        .layer = text_,
                        .what = std::string(unavailable->status.message()),
                        .consequence = "",
                        .fix = absl::StrCat("ss -ltnp 'sport = :", port, "' shows it"),
                        .event = Event::kPortSquatted});
  } else if (findings.empty()) {
    findings.push_back({.severity = Severity::kOk,
                        .layer = text_,
                        .what = absl::StrCat("no foreign program listens on ", Where()),
                        .consequence = "",
                        .fix = ""});
  }
  return findings;
}

absl::StatusOr<std::uint16_t> ParsePort(const std::string& text) {
  int port = 0;
  if (absl::SimpleAtoi(text, &port) && port >= 1 && port <= 65535 && absl::StrCat(port) == text) {
    return static_cast<std::uint16_t>(port);
  }
  return absl::InvalidArgumentError("a port is a number from 1 to 65535");
}

absl::Status CheckParameters(const LayerParameters& parameters) {
  for (const auto& [key, value] : parameters) {
    if (!key.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("port has no parameter \"", key, "\"; it takes a port number: port(47777)"));
    }
    absl::StatusOr<std::uint16_t> port = ParsePort(value);
    if (!port.ok()) return port.status();
  }
  return absl::OkStatus();
}

std::optional<std::uint16_t> PortOf(const LayerParameters& parameters) {
  const auto port = parameters.find("");
  return port == parameters.end() ? std::nullopt : std::optional(*ParsePort(port->second));
}

std::unique_ptr<Layer> MakePortLayer(const LayerContext& context) {
  return std::make_unique<PortLayerImpl>(
      Target{.scope = context.scope, .name = context.name, .port = PortOf(context.parameters)});
}

std::vector<std::string> FilesOf(const LayerParameters& parameters) {
  return PublishedRecord::Files(Target::RecordName(PortOf(parameters)));
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
    // Without a place for its record nobody can hold the layer.
    case Event::kHiddenPlace:
    case Event::kHiddenUser:
    case Event::kScopeDirectorySquatted:
    case Event::kReadOnlyFilesystem:
    case Event::kDiskFull:
    case Event::kPortSquatted:
    case Event::kNoLoopback:
    case Event::kDescriptorsExhausted:
      return Effect::kUnavailable;
    default:
      return Effect::kNone;
  }
}

// Linux's default (ip_local_port_range). A constant and no sysctl: what a policy is worth must not
// depend on who asks.
constexpr std::uint16_t kFirstEphemeral = 32768;
constexpr std::uint16_t kLastEphemeral = 60999;

std::string CautionOf(const LayerParameters& parameters) {
  const auto port = parameters.find("");
  if (port == parameters.end()) return "";
  std::string caution = absl::StrCat("every name and scope that uses port ", port->second,
                                     " shares it: give each its own");
  const std::uint16_t number = *ParsePort(port->second);
  if (number < kFirstEphemeral || number > kLastEphemeral) return caution;
  return absl::StrCat(caution, "; and port ", number, " is in the ephemeral range (",
                      kFirstEphemeral, " to ", kLastEphemeral,
                      "): any outgoing connection may have it when a start needs it. Choose one "
                      "below");
}

}  // namespace

LayerKind PortLayer() {
  return {.name = "port",
          .check = &CheckParameters,
          .make = &MakePortLayer,
          .carries = true,
          .effect = &EffectOf,
          .caution = &CautionOf,
          .is_one_object = [](const LayerParameters& parameters) { return !parameters.empty(); },
          .files = &FilesOf};
}

}  // namespace soleguard
