// Acquire: reserves the name in this process (OwnNames), makes the layers (members.h), drives a
// Start (drive.h), has the verdict noted (historian.h), and wraps what it holds in a Guard
// (guard_core.h). The rest of Guard is one line each.
#include "soleguard/guard.h"

#include <memory>
#include <utility>

#include "drive.h"
#include "guard_core.h"
#include "historian.h"
#include "members.h"
#include "own_names.h"
#include "soleguard/conflict.h"
#include "soleguard/coverage.h"
#include "soleguard/holder.h"
#include "soleguard/inspect.h"
#include "soleguard/name.h"
#include "soleguard/patience.h"
#include "soleguard/process.h"
#include "soleguard/queue.h"
#include "soleguard/registration.h"
#include "soleguard/scope_view.h"
#include "soleguard/start.h"
#include "soleguard/token.h"
#include "target.h"

namespace soleguard {
namespace {

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
  absl::Status slots_fit = CheckSlots(policy, options.slot_count);
  if (!slots_fit.ok()) return Undetermined{.status = std::move(slots_fit), .layers = {}};

  if (options.replace.has_value() && options.slot_count > 1) {
    return Undetermined{.status = absl::InvalidArgumentError(
                            "of several slots it is not said whose instance is replaced"),
                        .layers = {}};
  }
  const auto historian = std::make_shared<Historian>(options, *instance, *own);
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
    return historian->Noted(Duplicate{
        .holder = {.standing = Standing::kEstablished,
                   .record = std::move(record),
                   .processes = {},
                   .evidence = "a Guard of this very process has the name"},
        .layers = {},
        .not_replaced = options.replace.has_value()
                            ? absl::FailedPreconditionError("a process does not replace itself")
                            : absl::OkStatus()});
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
               .may_await =
                   [&](const Holder& holder) {
                     return CheckMayBeAwaited(holder, options.scope, *instance);
                   },
               .replace = ReplaceOf(options, *instance),
               .queue = MakeQueue(options.scope, *instance)});
  Drive(start, begin, options.stop, [&] {
    historian->Waits();
    if (options.waiting) options.waiting();
  });

  switch (start.decision()) {
    case Arbiter::Decision::kUnique: {
      Guard guard(
          std::make_unique<Core>(Core::Setup{.name = *instance,
                                             .scope = options.scope,
                                             .policy = policy,
                                             .times = times,
                                             .profiles = options.profiles,
                                             .layers = layers,
                                             .historian = historian,
                                             .released = [&names, key] { names.Forget(key); }},
                                 start.arbiter()));
      reservation.Keep(guard.record());
      return historian->Noted(Unique{std::move(guard)}, start.asked());
    }
    case Arbiter::Decision::kDuplicate: {
      std::vector<Holder> holders = start.holders();
      for (Holder& holder : holders) AddBeat(options.scope, *instance, holder);
      return historian->Noted(Duplicate{.holder = holders.front(),
                                        .layers = start.reports(),
                                        .others = BehindTheFirst(holders),
                                        .not_replaced = start.not_replaced(),
                                        .not_awaited = start.not_awaited()});
    }
    case Arbiter::Decision::kUndetermined:
      break;
  }
  return historian->Noted(Undetermined{.status = start.status(), .layers = start.reports()});
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
std::optional<BootTime> Guard::valid_until() const { return core_->valid_until(); }
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
absl::Status Guard::Beat(std::optional<absl::Duration> every) { return core_->Beat(every); }
absl::Status Guard::KeepOverExec() { return core_->KeepOverExec(); }

void Guard::Release() { (void)ReleaseAndConfirm(); }

absl::Status Guard::ReleaseAndConfirm() {
  return core_ != nullptr ? core_->Release() : absl::OkStatus();
}

absl::Status Announce(std::string_view name, const Options& options) {
  absl::StatusOr<InstanceName> instance = InstanceName::Parse(name);
  if (!instance.ok()) return instance.status();
  return Register(options.scope);
}

}  // namespace soleguard
