#include "soleguard/guard.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>

#include "guard_core.h"
#include "layers.h"
#include "retry.h"
#include "soleguard/arbiter.h"
#include "soleguard/conflict.h"
#include "soleguard/coverage.h"
#include "soleguard/holder.h"
#include "soleguard/names.h"
#include "soleguard/patience.h"
#include "soleguard/process.h"
#include "soleguard/queue.h"
#include "soleguard/registration.h"
#include "soleguard/registry.h"
#include "soleguard/scope_view.h"
#include "soleguard/start.h"
#include "soleguard/token.h"
#include "soleguard/version.h"
#include "target.h"

namespace soleguard {
namespace {

using Clock = std::chrono::steady_clock;

// The names that this process holds or is arbitrating. Some mechanisms (a System V semaphore, an
// fcntl lock) belong to the process and would give it the same name twice.
class OwnNames {
 public:
  // One per process, never destroyed: a Guard with static storage duration may outlive it
  // otherwise. A forked child gets a new one: what it inherited is its parent's, its mutex perhaps
  // locked for ever.
  static OwnNames& Of(const ProcessIdentity& process) {
    static std::atomic<OwnNames*> current{nullptr};
    OwnNames* found = current.load();
    while (found == nullptr || found->process_ != process) {
      auto fresh = std::make_unique<OwnNames>(process, found);
      if (current.compare_exchange_strong(found, fresh.get())) return *fresh.release();
    }
    return *found;
  }

  OwnNames(ProcessIdentity process, const OwnNames* inherited)
      : process_(std::move(process)), inherited_(inherited) {}

  using Key = std::pair<std::string, std::string>;  // scope directory, name

  // Reserves `key`; waits until `end` or `stop` while another thread arbitrates it. Gives the
  // record of the Guard that has it, if one has.
  std::optional<HolderRecord> Reserve(const Key& key, Clock::time_point end,
                                      const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, stop, end, [&] {
      const auto found = names_.find(key);
      return found == names_.end() || found->second.state != RecordState::kCandidate;
    });
    const auto [found, reserved] = names_.try_emplace(key, HolderRecord{});
    return reserved ? std::nullopt : std::optional(found->second);
  }

  void Set(const Key& key, const HolderRecord& record) {
    const std::lock_guard lock(mutex_);
    names_[key] = record;
    changed_.notify_all();
  }

  void Forget(const Key& key) {
    const std::lock_guard lock(mutex_);
    names_.erase(key);
    changed_.notify_all();
  }

 private:
  const ProcessIdentity process_;
  [[maybe_unused]] const OwnNames* const inherited_;  // a leak checker in a child would miss it
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<Key, HolderRecord> names_;
};

// Gives the reservation back unless the Guard takes it over. There before the name is reserved, so
// that it is given back whatever throws then.
class Reservation {
 public:
  Reservation(OwnNames& names, OwnNames::Key key) : names_(names), key_(std::move(key)) {}
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;
  ~Reservation() {
    if (made_) names_.Forget(key_);
  }
  // As OwnNames::Reserve.
  std::optional<HolderRecord> Make(Clock::time_point end, const std::stop_token& stop) {
    std::optional<HolderRecord> record = names_.Reserve(key_, end, stop);
    made_ = !record.has_value();
    return record;
  }
  void Keep(const HolderRecord& record) {
    names_.Set(key_, record);
    made_ = false;
  }

 private:
  OwnNames& names_;
  const OwnNames::Key key_;
  bool made_ = false;
};

}  // namespace

HolderRecord Candidate(const InstanceName& name, const Policy& policy, const Scope& scope,
                       const ProcessDescription& own) {
  HolderRecord record;
  record.state = RecordState::kCandidate;
  record.name = name.text();
  record.scope = scope.ToString();
  record.identity = own.identity;
  record.hostname = HostName();
  record.user = own.user;
  record.executable = own.executable;
  record.working_directory = own.working_directory;
  record.started = absl::Now();
  record.policy = policy.ToString();
  record.version = Version();
  return record;
}

std::vector<std::unique_ptr<Layer>> MakeLayers(const Policy& policy, const Options& options,
                                               const InstanceName& name) {
  std::vector<std::unique_ptr<Layer>> layers;
  for (const LayerSpec& spec : policy.layers()) {
    // Parse has refused unknown kinds and bad parameters.
    layers.push_back(spec.kind->make({.scope = options.scope,
                                      .name = name,
                                      .parameters = spec.parameters,
                                      .subject = options.subject,
                                      .settle = options.settle,
                                      .kinds = LayerKinds()}));
  }
  return layers;
}

std::optional<Holder> ForeignLocker(const Layer& layer) {
  std::vector<ProcessIdentity> suspects = layer.Suspects();
  std::erase_if(suspects, [](const ProcessIdentity& process) {
    return LivenessOf(process) == Liveness::kGone;
  });
  if (suspects.empty()) return std::nullopt;
  std::string evidence =
      absl::StrCat("pid ", suspects.front().pid, " has it, and no record says so");
  return Holder{.standing = Standing::kUnknown,
                .record = std::nullopt,
                .processes = std::move(suspects),
                .evidence = std::move(evidence)};
}

namespace {

// The layer that lets a claim live on in a child, if the policy does not have it already.
std::unique_ptr<Layer> MakeCarrier(const Policy& policy, const Options& options,
                                   const InstanceName& name) {
  if (!options.hand_on) return nullptr;
  const LayerKind& kind = CarrierKind();
  const LayerSpec plain{.kind = &kind, .parameters = {}};
  for (const LayerSpec& spec : policy.layers()) {
    if (spec == plain) return nullptr;
  }
  return kind.make({.scope = options.scope, .name = name, .parameters = {}, .subject = {}});
}

// The layers to ask, in canonical order.
struct Layers {
  Layers(const Policy& policy, const Options& options, const InstanceName& name)
      : of_policy(MakeLayers(policy, options, name)), carrier(MakeCarrier(policy, options, name)) {}

  // `view`: what the arbiter is given of each.
  template <typename View>
  std::vector<Arbiter::Member> Members(View view) const {
    std::vector<Arbiter::Member> members;
    if (carrier != nullptr) members.push_back({.layer = view(*carrier), .index = std::nullopt});
    for (std::size_t i = 0; i < of_policy.size(); ++i) {
      members.push_back({.layer = view(*of_policy[i]), .index = i});
    }
    return members;
  }

  const std::vector<std::unique_ptr<Layer>> of_policy;
  const std::unique_ptr<Layer> carrier;  // or none
};

std::vector<std::unique_ptr<Layers>> LayersOfSlots(const Policy& policy, const Options& options,
                                                   const InstanceName& name) {
  std::vector<std::unique_ptr<Layers>> slots;
  for (std::uint32_t slot = 0; slot < options.slots; ++slot) {
    slots.push_back(std::make_unique<Layers>(policy, options, name.Slot(slot)));
  }
  return slots;
}

// What a start is given of the slots behind the first.
template <typename View>
std::vector<std::vector<Arbiter::Member>> OtherMembers(
    const std::vector<std::unique_ptr<Layers>>& slots, View view) {
  std::vector<std::vector<Arbiter::Member>> others;
  for (const auto& layers : slots) {
    if (layers != slots.front()) others.push_back(layers->Members(view));
  }
  return others;
}

std::vector<Holder> BehindTheFirst(std::vector<Holder> holders) {
  holders.erase(holders.begin());
  return holders;
}

// A duration that may be infinite, on a clock that is not.
Clock::time_point Deadline(Clock::time_point begin, absl::Duration duration) {
  return begin + absl::ToChronoNanoseconds(std::min(duration, absl::Hours(100 * 365 * 24)));
}

// How long a start may take: what the caller said, and without a word of that the deadline.
absl::Duration WaitOf(const Options& options) {
  return options.wait > absl::ZeroDuration() ? options.wait : options.deadline;
}

// One that has ended meanwhile was killed too.
absl::Status Killed(const ProcessIdentity& process) {
  absl::Status sent = Signalled(process, Signal::kKill);
  return absl::IsNotFound(sent) ? absl::OkStatus() : sent;
}

std::optional<Start::Replace> ReplaceOf(const Options& options, const InstanceName& name) {
  if (!options.replace.has_value()) return std::nullopt;
  return Start::Replace{
      .grace = *options.replace, .signal = [&options, &name](const Holder& holder, Signal signal) {
        Coverage coverage(options.scope, name);
        if (holder.record.has_value()) coverage.Add(*holder.record);
        const absl::StatusOr<ProcessIdentity> target = TargetOf(holder, name, coverage);
        if (!target.ok()) return target.status();
        absl::Status sent = Signalled(*target, signal);
        if (signal == Signal::kKill && HasFrozenGuardian(*holder.record)) {
          EndCrew(*holder.record, coverage,
                  [&sent](const ProcessIdentity& process) { sent.Update(Killed(process)); });
        }
        return sent;
      }};
}

void Drive(Start& start, Clock::time_point begin, const Options& options) {
  std::optional<WaitFlag> stopped;
  if (options.stop.stop_possible()) stopped.emplace();
  const std::stop_callback wake_up(options.stop, [&stopped] { stopped->Set(); });
  bool told = !options.waiting;
  while (!options.stop.stop_requested()) {
    const Arbiter::Next next = start.Step(absl::FromChrono(Clock::now() - begin));
    if (next.action == Arbiter::Next::Action::kDecided) return;
    if (next.action != Arbiter::Next::Action::kWait) continue;
    if (start.is_waiting() && !std::exchange(told, true)) options.waiting();
    (void)WaitForAny(next.wake, next.at_most, stopped.has_value() ? &*stopped : nullptr);
  }
  start.Cancel();
}

// A failure is the observing layer's to report: it registers as well.
void RegisterIfObserved(const Policy& policy, const Options& options) {
  for (const LayerSpec& spec : policy.layers()) {
    if (spec.kind->observer) (void)Register(options.scope);
  }
}

}  // namespace

Verdict Guard::Acquire(std::string_view name, const Policy& policy, const Options& options) {
  const Clock::time_point begin = Clock::now();
  const Patience patience(WaitOf(options));
  absl::StatusOr<InstanceName> instance = InstanceName::Parse(name);
  if (!instance.ok()) return Undetermined{.status = instance.status(), .layers = {}};
  absl::StatusOr<ProcessDescription> own = DescribeSelf();
  if (!own.ok()) return Undetermined{.status = own.status(), .layers = {}};
  absl::Status slots_fit = CheckSlots(policy, options.slots);
  if (!slots_fit.ok()) return Undetermined{.status = std::move(slots_fit), .layers = {}};

  if (options.replace.has_value() && options.slots > 1) {
    return Undetermined{.status = absl::InvalidArgumentError(
                            "of several slots it is not said whose instance is replaced"),
                        .layers = {}};
  }
  OwnNames& names = OwnNames::Of(own->identity);
  const OwnNames::Key key{IdentityOf(options.scope), instance->text()};
  Reservation reservation(names, key);
  if (std::optional<HolderRecord> record =
          reservation.Make(Deadline(begin, WaitOf(options)), options.stop)) {
    if (record->state == RecordState::kCandidate && options.stop.stop_requested()) {
      return Undetermined{.status = absl::CancelledError("the start was cancelled"), .layers = {}};
    }
    if (record->state == RecordState::kCandidate) {
      return Undetermined{.status = absl::DeadlineExceededError(
                              "another thread of this process is still arbitrating this name"),
                          .layers = {}};
    }
    return Duplicate{
        .holder = {.standing = Standing::kEstablished,
                   .record = std::move(record),
                   .processes = {},
                   .evidence = "a Guard of this very process has the name"},
        .layers = {},
        .not_replaced = options.replace.has_value()
                            ? absl::FailedPreconditionError("a process does not replace itself")
                            : absl::OkStatus()};
  }
  RegisterIfObserved(policy, options);

  const auto layers = std::make_shared<const std::vector<std::unique_ptr<Layers>>>(
      LayersOfSlots(policy, options, *instance));
  const ArbiterTimes times{.deadline = options.deadline, .settle = options.settle};
  const auto as_it_is = [](Layer& layer) { return &layer; };
  Start start({.policy = policy,
               .members = layers->front()->Members(as_it_is),
               .other_slots = OtherMembers(*layers, as_it_is),
               .candidate =
                   [&] {
                     HolderRecord record = Candidate(*instance, policy, options.scope, *own);
                     record.takes_messages = options.takes_messages;
                     return record;
                   },
               .times = times,
               .issue =
                   [&](const HolderRecord& record) {
                     return NextToken(options.scope, instance->Slot(record.slot), record.token);
                   },
               .wait = options.wait,
               .replace = ReplaceOf(options, *instance),
               .queue = MakeQueue(options.scope, *instance)});
  Drive(start, begin, options);

  switch (start.decision()) {
    case Arbiter::Decision::kUnique: {
      Guard guard(
          std::make_unique<Core>(Core::Setup{.name = *instance,
                                             .scope = options.scope,
                                             .policy = policy,
                                             .times = times,
                                             .layers = layers,
                                             .released = [&names, key] { names.Forget(key); }},
                                 start.arbiter()));
      reservation.Keep(guard.record());
      return Unique{std::move(guard)};
    }
    case Arbiter::Decision::kDuplicate:
      return Duplicate{.holder = start.holders().front(),
                       .layers = start.reports(),
                       .others = BehindTheFirst(start.holders()),
                       .not_replaced = start.not_replaced()};
    case Arbiter::Decision::kUndetermined:
      break;
  }
  return Undetermined{.status = start.status(), .layers = start.reports()};
}

Verdict Guard::Acquire(std::string_view name, const Options& options) {
  return Acquire(name, Policy::Default(), options);
}

Guard::Guard(std::unique_ptr<Core> core) : core_(std::move(core)) {}
Guard::Guard(Guard&&) noexcept = default;

Guard& Guard::operator=(Guard&& other) noexcept {
  if (this != &other) {
    Release();
    core_ = std::move(other.core_);
  }
  return *this;
}

Guard::~Guard() { Release(); }

const std::string& Guard::name() const { return core_->name(); }
std::uint32_t Guard::slot() const { return core_->record().slot; }
const Scope& Guard::scope() const { return core_->scope(); }
const HolderRecord& Guard::record() const { return core_->record(); }
const std::vector<LayerReport>& Guard::layers() const { return core_->reports(); }
std::optional<std::uint64_t> Guard::token() const { return core_->token().value; }
bool Guard::token_is_durable() const { return core_->token().durable; }
const std::optional<HolderRecord>& Guard::predecessor() const { return core_->predecessor(); }
absl::Status Guard::Verify() const { return core_->Verify(); }
ConflictReport Guard::ReportConflict(std::string_view complaint) const {
  return core_->ReportConflict(complaint);
}
std::vector<Incident> Guard::Repair() { return core_->Repair(); }
absl::Status Guard::Watch(std::function<void(const Incident&)> report, absl::Duration period) {
  return core_->Watch(std::move(report), period);
}
absl::StatusOr<std::vector<UniqueFd>> Guard::ShareWithChild(Renewed renewed) {
  return core_->ShareWithChild(std::move(renewed));
}
absl::Status Guard::Follow(const ProcessIdentity& child,
                           const std::optional<ProcessIdentity>& guardian) {
  return core_->Follow(child, guardian);
}
absl::Status Guard::WriteSideFiles(const SideFiles& files) { return core_->WriteSideFiles(files); }
absl::Status Guard::Receive(Answerer answerer) { return core_->Receive(std::move(answerer)); }
absl::Status Guard::KeepOverExec() { return core_->KeepOverExec(); }

void Guard::Release() {
  if (core_ != nullptr) core_->Release();
}

absl::Status Announce(std::string_view name, const Options& options) {
  absl::StatusOr<InstanceName> instance = InstanceName::Parse(name);
  if (!instance.ok()) return instance.status();
  return Register(options.scope);
}

const Holder* Inspection::holder() const {
  const Holder* found = nullptr;
  for (const LayerSighting& layer : layers) {
    const auto* taken = std::get_if<Taken>(&layer.sighting);
    if (taken == nullptr) continue;
    if (taken->holder.standing == Standing::kEstablished) return &taken->holder;
    if (found == nullptr) found = &taken->holder;
  }
  return found;
}

bool Inspection::blind() const {
  for (const LayerSighting& layer : layers) {
    if (std::holds_alternative<Unavailable>(layer.sighting)) return true;
  }
  return false;
}

namespace {

// What a layer that was only looked at gives: nothing is held.
class NoClaim final : public Claim {
 public:
  absl::Status Publish(const HolderRecord&) override { return absl::OkStatus(); }
  absl::Status Verify() const override { return absl::OkStatus(); }
  void Release() override {}
  absl::Status KeepOverExec() override { return absl::OkStatus(); }
};

// A layer for somebody who only looks: what the arbiter tries is looked at.
class OnlyLooked final : public Layer {
 public:
  explicit OnlyLooked(const Layer& layer) : layer_(layer) {}

  std::string_view text() const override { return layer_.text(); }
  Attempt Try(const HolderRecord& candidate) override {
    Attempt attempt = TryFinally(candidate);
    const auto* unavailable = std::get_if<Unavailable>(&attempt);
    // The race: it is seen half-way, as a contender's socket that is bound and does not listen yet.
    // Closed by looking again for as long as a start would try again.
    if (unavailable == nullptr || !absl::IsAborted(unavailable->status)) return attempt;
    Contested contested{.wake = {}, .unsettled = true};
    contested.holder.evidence = std::string(unavailable->status.message());
    return contested;
  }
  Attempt TryFinally(const HolderRecord&) override {
    seen_ = layer_.Forecast();
    if (std::holds_alternative<Free>(*seen_)) {
      if (std::optional<Holder> locker = ForeignLocker(layer_)) seen_ = Taken{*std::move(locker)};
    }
    if (const auto* unavailable = std::get_if<Unavailable>(&*seen_)) return *unavailable;
    const auto* taken = std::get_if<Taken>(&*seen_);
    if (taken == nullptr) return Held{std::make_unique<NoClaim>()};
    Contested contested{.holder = taken->holder, .wake = {}};
    if (taken->holder.standing == Standing::kDying && taken->holder.record.has_value()) {
      absl::StatusOr<UniqueFd> ended = OpenPidfd(taken->holder.record->identity);
      if (ended.ok()) contested.wake.push_back(*std::move(ended));
    }
    return contested;
  }
  Sighting Look() const override { return layer_.Look(); }
  Sighting Forecast() const override { return layer_.Forecast(); }
  std::vector<ProcessIdentity> Suspects() const override { return layer_.Suspects(); }

  // What was seen last; looks if it was not tried.
  Sighting TakeSeen() { return seen_.has_value() ? *std::move(seen_) : Forecast(); }

 private:
  const Layer& layer_;
  std::optional<Sighting> seen_;
};

}  // namespace

namespace {

// A holder that takes no messages now, and does not say that it never will.
bool MayTakeMessages(const absl::Status& refused, const Holder& holder) {
  return absl::IsFailedPrecondition(refused) && holder.record->takes_messages;
}

// One try of a Send.
struct SendTry {
  absl::StatusOr<Answer> answer = absl::NotFoundError("nobody has the name");
  // It is not yet said that there will be no answer.
  std::optional<Holder> starts = std::nullopt;
};

SendTry TrySend(const std::vector<InstanceName>& slots, const Policy& policy,
                const Options& options, const Message& message, absl::Duration left) {
  SendTry tried;
  for (const InstanceName& slot : slots) {
    const Inspection inspection = Inspect(slot, policy, options);
    const Holder* holder = inspection.holder();
    if (holder != nullptr && holder->standing == Standing::kEstablished) {
      tried.answer = Deliver(options.scope, slot, holder->record->identity, message, left);
      tried.starts.reset();
      if (MayTakeMessages(tried.answer.status(), *holder)) tried.starts = *holder;
      if (!tried.answer.ok() && holder->record->is_newer()) {
        tried.answer =
            absl::Status(tried.answer.status().code(),
                         absl::StrCat(tried.answer.status().message(), "; the holder is ",
                                      NewerSoleguard(*holder->record)));
      }
      return tried;
    }
    if (holder != nullptr) {
      tried.answer = absl::UnavailableError(absl::StrCat(
          "the holder is ", std::string(ToString(holder->standing)), ": ", holder->evidence));
      if (holder->standing != Standing::kUnguarded) tried.starts = *holder;
    } else if (inspection.blind() && absl::IsNotFound(tried.answer.status())) {
      tried.answer = absl::UnavailableError("a layer cannot tell whether somebody has the name");
    }
  }
  return tried;
}

}  // namespace

absl::StatusOr<Answer> Send(std::string_view name, const Policy& policy, const Options& options,
                            const Message& message, absl::Duration timeout) {
  const Clock::time_point begin = Clock::now();
  const Patience patience(timeout);
  absl::StatusOr<InstanceName> instance = InstanceName::Parse(name);
  if (!instance.ok()) return instance.status();
  Options looking = options;
  looking.hand_on = true;  // as the holder may be a guarded command
  looking.subject = {.unknown = true};
  absl::Status refused;  // the last time
  for (int round = 0;; ++round) {
    const absl::StatusOr<std::vector<InstanceName>> slots = KnownSlots(options.scope, *instance);
    if (!slots.ok()) return slots.status();
    // The race: the holder makes its inbox, decides or ends between the try and the wait. Closed by
    // opening what wakes before the try, after a first one that most need no more than.
    std::vector<UniqueFd> wake;
    for (const InstanceName& slot : *slots) {
      if (round == 0) break;
      for (UniqueFd& event : WatchChange(options.scope, slot)) wake.push_back(std::move(event));
    }
    const bool has_events = !wake.empty();
    const absl::Duration left = timeout - absl::FromChrono(Clock::now() - begin);
    if (!refused.ok() && left <= absl::ZeroDuration()) {
      const std::string waited = absl::FormatDuration(absl::Trunc(timeout, absl::Milliseconds(1)));
      return absl::Status(refused.code(),
                          absl::StrCat(refused.message(), " (waited ", waited, ")"));
    }
    SendTry tried = TrySend(*slots, policy, looking, message, left);
    if (!tried.starts.has_value()) return std::move(tried.answer);
    refused = tried.answer.status();
    if (round == 0) continue;
    if (tried.starts->record.has_value()) {
      absl::StatusOr<UniqueFd> end = OpenPidfd(tried.starts->record->identity);
      if (end.ok()) wake.push_back(*std::move(end));
    }
    (void)WaitForAny(wake, std::min(left, has_events ? kLookAgain : RetryAfter(round)));
  }
}

absl::Status CheckSlots(const Policy& policy, std::uint32_t slots) {
  if (slots < 1 || slots > kMaxSlots) {
    return absl::InvalidArgumentError(
        absl::StrCat("slots are 1 to ", kMaxSlots, ", found ", slots));
  }
  for (const LayerSpec& spec : policy.layers()) {
    const auto is_one_object = spec.kind->is_one_object;
    if (slots == 1 || is_one_object == nullptr || !is_one_object(spec.parameters)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("layer ", spec.ToString(), " is one object and cannot be one for each of ",
                     slots, " slots; write ", std::string(spec.kind->name), " without parameters"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Inspection> Inspect(std::string_view name, const Policy& policy,
                                   const Options& options) {
  absl::StatusOr<InstanceName> instance = InstanceName::Parse(name);
  if (!instance.ok()) return instance.status();
  return Inspect(*instance, policy, options);
}

Inspection Inspect(const InstanceName& slot, const Policy& policy, const Options& options) {
  Inspection inspection;
  const Layers layers(policy, options, slot);
  for (const Arbiter::Member& member : layers.Members([](Layer& layer) { return &layer; })) {
    inspection.layers.push_back(
        {.layer = std::string(member.layer->text()), .sighting = member.layer->Look()});
  }
  return inspection;
}

absl::StatusOr<Forecast> Check(std::string_view name, const Policy& policy,
                               const Options& options) {
  const Clock::time_point begin = Clock::now();
  const Patience patience(options.deadline);
  absl::StatusOr<InstanceName> instance = InstanceName::Parse(name);
  if (!instance.ok()) return instance.status();
  absl::Status slots_fit = CheckSlots(policy, options.slots);
  if (!slots_fit.ok()) return slots_fit;
  // What a start needs to say who it is.
  if (const auto own = DescribeSelf(); !own.ok()) {
    return Forecast{.decision = Arbiter::Decision::kUndetermined,
                    .status = own.status(),
                    .inspection = *Inspect(name, policy, options)};
  }
  const auto slots = LayersOfSlots(policy, options, *instance);
  std::vector<std::unique_ptr<OnlyLooked>> looked;  // of one slot after the other
  const auto only_looked = [&looked](const Layer& layer) {
    return looked.emplace_back(std::make_unique<OnlyLooked>(layer)).get();
  };
  Start start({.policy = policy,
               .members = slots.front()->Members(only_looked),
               .other_slots = OtherMembers(slots, only_looked),
               .candidate = [] { return HolderRecord{}; },
               .times = {.deadline = options.deadline, .settle = options.settle},
               .queue = MakeQueue(options.scope, *instance)});
  Drive(start, begin, options);

  Forecast forecast{.decision = start.decision(), .status = start.status()};
  if (forecast.decision == Arbiter::Decision::kUnique) forecast.slot = start.slot();
  if (forecast.decision == Arbiter::Decision::kDuplicate) {
    forecast.holder = start.holders().front();
    forecast.others = BehindTheFirst(start.holders());
  }
  const std::size_t layers_of_each = looked.size() / slots.size();
  for (std::size_t i = 0; i < layers_of_each; ++i) {
    OnlyLooked& layer = *looked[forecast.slot * layers_of_each + i];
    forecast.inspection.layers.push_back(
        {.layer = std::string(layer.text()), .sighting = layer.TakeSeen()});
  }
  return forecast;
}

}  // namespace soleguard
