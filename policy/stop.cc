#include "soleguard/stop.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>

#include "historian.h"
#include "members.h"
#include "retry.h"
#include "soleguard/coverage.h"
#include "soleguard/fd.h"
#include "soleguard/holder.h"
#include "soleguard/inspect.h"
#include "soleguard/name.h"
#include "soleguard/options.h"
#include "soleguard/send.h"
#include "soleguard/text.h"
#include "target.h"

namespace soleguard {
namespace {

using Clock = std::chrono::steady_clock;
using Reason = StoppedProcess::Reason;
using Outcome = StopReport::Outcome;

// Between a claim and its record the system has no event.
constexpr absl::Duration kAwaitRecord = absl::Milliseconds(20);

bool Lives(const ProcessIdentity& process) {
  const Liveness liveness = LivenessOf(process);
  return liveness == Liveness::kAlive || liveness == Liveness::kDying;
}

std::string GuardedBy(const HolderRecord& record) {
  return record.is_newer() ? NewerSoleguard(record) : "";
}

// One StopRunning. It goes through these phases, and never back:
//
//   kLooking    nobody was asked yet: looks until there is somebody to ask, or nobody has the name
//   kAsked      those who have it were chosen and got a SIGTERM; waits for their end
//   kKilled     by force: what was chosen got a SIGKILL, and a guardian that works ends the rest
//   kAllKilled  commands that outlived it, and what their guardians left, got one too
//
// Each wait ends when nobody of those is left, at limit_, or when it is cancelled. At limit_ the
// next phase begins if there is one.
class Stopper {
 public:
  Stopper(const InstanceName& name, const Policy& policy, const Options& options,
          const StopOptions& stop_options)
      : name_(name),
        policy_(policy),
        options_(options),
        stop_options_(stop_options),
        layers_(MakeLayers(policy, options, name)),
        coverage_(options.scope, name),
        limit_(stop_options.timeout) {}

  absl::StatusOr<StopReport> Run();

 private:
  absl::Duration elapsed() const { return absl::FromChrono(Clock::now() - begin_); }

  absl::Status Look();
  std::optional<Holder> ForeignLockerOf(std::size_t layer) const;
  void LookForForeignLockers();
  // Whether nobody whom this is about has the name or lives any more.
  bool IsOver() const;
  bool IsOurs(const Holder& holder) const;
  bool IsAwaited(const StoppedProcess& process) const;
  bool HasHandedOn(const ProcessIdentity& process) const;

  // kLooking: chooses whom to stop and asks them.
  void AskHolders();
  void AskHolder(const Holder& holder);
  void AskUnguarded();
  // Kills what has not ended, in the next phase. False: nothing more can be done.
  bool Escalate();
  bool KillChosen();
  bool HasWorkingGuardian() const;
  void Kill(StoppedProcess& process);
  void KillDescendants(const ProcessIdentity& ancestor);
  void KillCrews();
  void Collect(const ProcessIdentity& ancestor);

  StoppedProcess& Add(StoppedProcess process);
  bool Has(const ProcessIdentity& process) const;
  void Send(StoppedProcess& process, Signal signal);

  std::vector<UniqueFd> WakeUps() const;
  StopReport Finish(bool cancelled);
  void NoteFates();
  void FindWhoShowsIt(Holder& holder) const;
  void ChooseHolder();
  bool AreUnguardedLeft() const;
  absl::Status WhyNot() const;
  // OK where the next one has to say it.
  absl::Status WhoIsFrozen() const;
  absl::Status WhoDoesNotEnd() const;
  absl::Status WhoHasIt(const Holder& holder) const;

  const InstanceName name_;
  const Policy& policy_;
  const Options& options_;
  const StopOptions& stop_options_;
  const std::vector<std::unique_ptr<Layer>> layers_;
  const Clock::time_point begin_ = Clock::now();

  std::vector<Holder> seen_;       // by the layers, now
  std::set<std::string> telling_;  // layers that could tell, now
  absl::Status blind_;             // a layer could not tell
  bool was_seen_ = false;          // somebody had it when it began
  enum class Phase { kLooking, kAsked, kKilled, kAllKilled };
  Phase phase_ = Phase::kLooking;
  bool has_asked() const { return phase_ != Phase::kLooking; }
  Coverage coverage_;
  std::vector<HolderRecord> guarded_;  // of those that were asked and have a guardian
  // Owners that have handed their claim on: the command ends, and they after it.
  std::vector<ProcessIdentity> handed_on_;
  std::vector<ProcessIdentity> family_;  // descendants, found while their ancestors lived
  absl::Status refused_;                 // the first reason why somebody was not signalled
  absl::Duration limit_;
  std::optional<absl::Duration> unknown_since_;
  StopReport report_;
};

absl::StatusOr<StopReport> Stopper::Run() {
  std::optional<WaitFlag> stopped;
  if (stop_options_.stop.stop_possible()) stopped.emplace();
  const std::stop_callback wake_up(stop_options_.stop, [&stopped] { stopped->Set(); });
  while (true) {
    // The race: the holder ends between the look and the wait. Closed by opening what wakes before
    // the look: what happens after it is then an event.
    std::vector<UniqueFd> wake = WatchEnd(options_.scope, name_);
    const bool has_end = !wake.empty();
    if (absl::Status looked = Look(); !looked.ok()) return looked;
    was_seen_ = was_seen_ || !seen_.empty();
    if (!has_asked()) AskHolders();
    // Before it is asked who lives: who ends after that is an event, and nobody waits for another.
    for (UniqueFd& fd : WakeUps()) wake.push_back(std::move(fd));
    if (IsOver()) return Finish(/*cancelled=*/false);
    const absl::Duration now = elapsed();
    if (now >= limit_) {
      if (Escalate()) continue;
      return Finish(/*cancelled=*/false);
    }
    absl::Duration at_most = has_end ? kLookAgain : kLookForEvents;
    if (unknown_since_.has_value()) at_most = kAwaitRecord;
    (void)WaitForAny(wake, std::min(limit_ - now, at_most),
                     stopped.has_value() ? &*stopped : nullptr);
    if (stop_options_.stop.stop_requested()) return Finish(/*cancelled=*/true);
  }
}

absl::Status Stopper::Look() {
  Inspection inspection = Inspect(name_, policy_, options_);
  seen_.clear();
  blind_ = absl::OkStatus();
  telling_.clear();
  for (Inspection::LayerSighting& layer : inspection.layers) {
    if (!std::holds_alternative<Unavailable>(layer.sighting)) telling_.insert(layer.layer);
    if (auto* taken = std::get_if<Taken>(&layer.sighting)) {
      seen_.push_back(std::move(taken->holder));
    } else if (const auto* unavailable = std::get_if<Unavailable>(&layer.sighting)) {
      if (blind_.ok()) {
        blind_ = absl::UnavailableError(absl::StrCat(
            "layer ", EscapeBytes(layer.layer), " cannot tell: ", unavailable->status.message()));
      }
    }
  }
  if (seen_.empty()) LookForForeignLockers();
  const bool unknown =
      !has_asked() && std::any_of(seen_.begin(), seen_.end(), [](const Holder& holder) {
        return holder.standing == Standing::kUnknown;
      });
  if (!unknown) {
    unknown_since_.reset();
  } else if (!unknown_since_.has_value()) {
    unknown_since_ = elapsed();
  }
  return absl::OkStatus();
}

// Not of an observer, nor of a layer that cannot tell: what is in its way is no instance.
std::optional<Holder> Stopper::ForeignLockerOf(std::size_t layer) const {
  const LayerSpec& spec = policy_.layers()[layer];
  if (spec.kind->observer || !telling_.contains(spec.ToString())) return {};
  return ForeignLocker(*layers_[layer]);
}

void Stopper::LookForForeignLockers() {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    std::optional<Holder> locker = ForeignLockerOf(i);
    if (!locker.has_value()) continue;
    locker->evidence =
        absl::StrCat("layer ", EscapeBytes(policy_.layers()[i].ToString()), ": ", locker->evidence);
    seen_.push_back(*std::move(locker));
  }
}

bool Stopper::Has(const ProcessIdentity& process) const {
  return std::any_of(
      report_.processes.begin(), report_.processes.end(),
      [&process](const StoppedProcess& stopped) { return stopped.identity == process; });
}

bool Stopper::IsOurs(const Holder& holder) const {
  if (!holder.record.has_value()) {
    return std::any_of(holder.processes.begin(), holder.processes.end(),
                       [this](const ProcessIdentity& process) { return Has(process); });
  }
  return Has(holder.record->identity) ||
         (holder.record->instance.has_value() && Has(*holder.record->instance));
}

bool Stopper::IsOver() const {
  // Nobody was, or may be, asked: there is nothing to wait for.
  const bool in_vain = has_asked() && !refused_.ok() &&
                       std::all_of(report_.processes.begin(), report_.processes.end(),
                                   [](const StoppedProcess& p) { return p.sent.empty(); });
  if (in_vain) return true;
  if (unknown_since_.has_value() && elapsed() >= *unknown_since_ + options_.settle) return true;
  for (const Holder& holder : seen_) {
    const bool another =
        holder.standing == Standing::kEstablished || holder.standing == Standing::kUnguarded;
    if (!another || IsOurs(holder)) return false;
  }
  return std::none_of(report_.processes.begin(), report_.processes.end(),
                      [this](const StoppedProcess& process) { return IsAwaited(process); });
}

bool Stopper::HasHandedOn(const ProcessIdentity& process) const {
  return std::find(handed_on_.begin(), handed_on_.end(), process) != handed_on_.end();
}

bool Stopper::IsAwaited(const StoppedProcess& process) const {
  // The name may be free before its process is gone: a mutex is.
  if (LivenessOf(process.identity) == Liveness::kDying) return true;
  if (!process.refused.ok() || !Lives(process.identity)) return false;
  switch (process.reason) {
    case Reason::kUnguarded:
    case Reason::kDescendant:
    case Reason::kGuardian:
      return true;
    case Reason::kHolder:
      // One that guarded a command ends by itself, now that this has ended. Another may live on
      // without the name.
      return HasHandedOn(process.identity);
    case Reason::kCommand:
      return false;
  }
  return false;
}

StoppedProcess& Stopper::Add(StoppedProcess process) {
  report_.processes.push_back(std::move(process));
  return report_.processes.back();
}

void Stopper::Send(StoppedProcess& process, Signal signal) {
  absl::Status sent = Signalled(process.identity, signal);
  if (sent.ok()) {
    process.sent.push_back(signal);
  } else if (!absl::IsNotFound(sent)) {
    process.refused = sent;
    if (refused_.ok()) refused_ = std::move(sent);
  }
}

void Stopper::AskHolders() {
  for (const Holder& holder : seen_) {
    if (holder.record.has_value()) coverage_.Add(*holder.record);
  }
  const bool candidates = std::any_of(seen_.begin(), seen_.end(), [](const Holder& holder) {
    return holder.standing == Standing::kCandidate;
  });
  for (const Holder& holder : std::vector<Holder>(seen_)) {
    switch (holder.standing) {
      case Standing::kEstablished:
        AskHolder(holder);
        break;
      case Standing::kUnknown:
        // A guardian that was frozen when all that it guards was killed.
        if (holder.record.has_value() && HasFrozenGuardian(*holder.record)) AskHolder(holder);
        break;
      case Standing::kDying:
        // One that is ended by a guardian that does not get on.
        if (stop_options_.force && holder.record.has_value() &&
            LivenessOf(holder.record->identity) == Liveness::kGone) {
          AskHolder(holder);
        }
        break;
      default:  // it decides, or ends by itself
        break;
    }
  }
  // Who looks like the instance may be a candidate that has not decided.
  if (stop_options_.duplicates && !candidates) AskUnguarded();
}

void Stopper::AskHolder(const Holder& holder) {
  const HolderRecord& record = *holder.record;
  if (Has(record.identity) || (record.instance.has_value() && Has(*record.instance))) return;
  const absl::StatusOr<ProcessIdentity> target = TargetOf(holder, name_, coverage_);
  if (absl::IsNotFound(target.status())) return;
  phase_ = Phase::kAsked;
  unknown_since_.reset();
  if (!target.ok()) {
    Add({.identity = record.identity, .refused = target.status(), .guarded_by = GuardedBy(record)});
    if (refused_.ok()) refused_ = target.status();
    return;
  }
  const bool handed_on =
      *target == record.identity && record.instance.has_value() && *record.instance != *target;
  if (record.guardian.has_value()) guarded_.push_back(record);
  // While it lives its descendants can be told.
  if (stop_options_.force && !handed_on) Collect(*target);
  Send(Add({.identity = *target, .guarded_by = GuardedBy(record)}), Signal::kTerminate);
  NoteStop(options_.scope, name_, record);
  if (!handed_on) return;
  handed_on_.push_back(record.identity);
  Add({.identity = *record.instance, .reason = Reason::kCommand});
}

void Stopper::AskUnguarded() {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    if (!policy_.layers()[i].kind->observer) continue;
    for (const ProcessIdentity& process : layers_[i]->Suspects()) {
      const absl::StatusOr<ProcessDescription> description = Describe(process);
      // A younger one may be about to ask for the name.
      if (!description.ok() || absl::Now() - description->started < options_.settle) continue;
      const absl::StatusOr<Coverage::Whose> whose = coverage_.Of(process);
      if (!whose.ok() || *whose != Coverage::Whose::kNobodys || Has(process)) continue;
      phase_ = Phase::kAsked;
      Send(Add({.identity = process, .reason = Reason::kUnguarded}), Signal::kTerminate);
    }
  }
}

void Stopper::Collect(const ProcessIdentity& ancestor) {
  const absl::StatusOr<std::vector<ProcessIdentity>> found = DescendantsOf(ancestor);
  if (!found.ok()) return;
  for (const ProcessIdentity& process : *found) {
    const bool known = std::find(family_.begin(), family_.end(), process) != family_.end();
    const absl::StatusOr<Coverage::Whose> whose = coverage_.Of(process);
    // Another name's instance among them stays, and what descends from it.
    if (!known && whose.ok() && *whose == Coverage::Whose::kOfTheName) family_.push_back(process);
  }
}

void Stopper::Kill(StoppedProcess& process) {
  if (!process.refused.ok() || !Lives(process.identity)) return;
  const absl::StatusOr<Coverage::Whose> whose = coverage_.Of(process.identity);
  if (absl::IsNotFound(whose.status())) return;
  if (whose.ok()) {
    Send(process, Signal::kKill);
  } else {
    process.refused = whose.status();
    if (refused_.ok()) refused_ = whose.status();
  }
}

void Stopper::KillDescendants(const ProcessIdentity& ancestor) {
  if (stop_options_.what != StopOptions::What::kInstance) return;
  for (const ProcessIdentity& process : family_) {
    if (process == ancestor || Has(process) || !Lives(process)) continue;
    Kill(Add({.identity = process, .reason = Reason::kDescendant}));
  }
}

// What a guardian leaves, and it.
void Stopper::KillCrews() {
  if (stop_options_.what != StopOptions::What::kInstance) return;
  for (const HolderRecord& record : guarded_) {
    EndCrew(record, coverage_, [&](const ProcessIdentity& process) {
      const bool is_guardian = process == *record.guardian;
      const auto known = std::find_if(
          report_.processes.begin(), report_.processes.end(),
          [&process](const StoppedProcess& stopped) { return stopped.identity == process; });
      Kill(known != report_.processes.end()
               ? *known
               : Add({.identity = process,
                      .reason = is_guardian ? Reason::kGuardian : Reason::kDescendant}));
    });
  }
}

// First the holder, which could start others anew, then its descendants. One that has handed its
// claim on has a guardian, which ends the command and all that descends from it better than
// anybody else; only if there is none, or it does not get on, that is done from here, and the
// guardian, which keeps the name, is killed last.
bool Stopper::Escalate() {
  if (!stop_options_.force || (phase_ != Phase::kAsked && phase_ != Phase::kKilled)) return false;
  phase_ = phase_ == Phase::kAsked ? Phase::kKilled : Phase::kAllKilled;
  const bool any = KillChosen();
  const bool guardian_works = HasWorkingGuardian();
  if (phase_ == Phase::kAllKilled || (!guarded_.empty() && !guardian_works)) KillCrews();
  constexpr absl::Duration kGuardiansTime = absl::Seconds(1);  // for milliseconds of work
  const bool is_guardians = phase_ == Phase::kKilled && guardian_works;
  limit_ =
      elapsed() + (is_guardians ? std::min(kGuardiansTime, options_.deadline) : options_.deadline);
  return any;
}

// Those of this phase, of all that were chosen. Whether there was any.
bool Stopper::KillChosen() {
  bool any = false;
  const std::size_t chosen = report_.processes.size();  // what is killed beside them is added
  for (std::size_t i = 0; i < chosen; ++i) {
    const ProcessIdentity process = report_.processes[i].identity;
    const Reason reason = report_.processes[i].reason;
    if (reason == Reason::kDescendant || !report_.processes[i].refused.ok()) continue;
    if ((reason == Reason::kCommand) != (phase_ == Phase::kAllKilled)) continue;
    const bool with_descendants = reason != Reason::kUnguarded && !HasHandedOn(process);
    if (with_descendants) Collect(process);
    if (Lives(process)) Kill(report_.processes[i]);
    if (with_descendants) KillDescendants(process);
    any = true;
  }
  return any;
}

bool Stopper::HasWorkingGuardian() const {
  return !guarded_.empty() && std::none_of(guarded_.begin(), guarded_.end(), HasFrozenGuardian);
}

std::vector<UniqueFd> Stopper::WakeUps() const {
  std::vector<UniqueFd> wake;
  const auto add = [&wake](const ProcessIdentity& process) {
    if (!Lives(process)) return;  // its end would wake at once
    absl::StatusOr<UniqueFd> end = OpenPidfd(process);
    if (end.ok()) wake.push_back(*std::move(end));
  };
  for (const StoppedProcess& process : report_.processes) add(process.identity);
  for (const Holder& holder : seen_) {
    if (!holder.record.has_value() || IsOurs(holder)) continue;
    add(holder.record->identity);
    if (holder.record->instance.has_value()) add(*holder.record->instance);
  }
  return wake;
}

absl::Status Stopper::WhyNot() const {
  if (!refused_.ok()) return refused_;
  for (const absl::Status& why : {WhoIsFrozen(), WhoDoesNotEnd()}) {
    if (!why.ok()) return why;
  }
  return report_.holder.has_value() ? WhoHasIt(*report_.holder) : blind_;
}

absl::Status Stopper::WhoIsFrozen() const {
  for (const StoppedProcess& process : report_.processes) {
    if (!process.is_frozen()) continue;
    const bool stopped = process.freeze == Freeze::kStopped;
    return absl::DeadlineExceededError(
        absl::StrCat("pid ", process.identity.pid, " is ", std::string(ToString(process.freeze)),
                     stop_options_.force ? ", and was killed: it ends when " : ": it ends when ",
                     stopped ? "it is continued (SIGCONT)"
                             : "that goes on (docker unpause, kubectl, systemctl thaw)",
                     stop_options_.force ? "" : ", or by force"));
  }
  for (const HolderRecord& record : guarded_) {
    const Freeze freeze = FreezeOf(*record.guardian);
    if (freeze == Freeze::kNone) continue;
    return absl::DeadlineExceededError(
        absl::StrCat("pid ", record.guardian->pid, ", its guardian, is ",
                     std::string(ToString(freeze)), " and keeps the name: it ends by force"));
  }
  return absl::OkStatus();
}

absl::Status Stopper::WhoDoesNotEnd() const {
  for (const StoppedProcess& process : report_.processes) {
    if (process.liveness == Liveness::kGone || process.sent.empty()) continue;
    return absl::DeadlineExceededError(
        absl::StrCat("pid ", process.identity.pid, " did not end in time",
                     stop_options_.force ? " although it was killed: it is in a system call that "
                                           "cannot be interrupted"
                                         : ""));
  }
  return absl::OkStatus();
}

absl::Status Stopper::WhoHasIt(const Holder& holder) const {
  if (holder.standing == Standing::kEstablished && !IsOurs(holder)) {
    return absl::AlreadyExistsError(
        absl::StrCat("another instance has the name since, pid ", holder.record->identity.pid));
  }
  if (holder.standing == Standing::kUnknown || holder.standing == Standing::kUnguarded) {
    const absl::StatusOr<ProcessIdentity> target = TargetOf(holder, name_, coverage_);
    if (!target.ok()) return target.status();
  }
  return absl::DeadlineExceededError(absl::StrCat("the holder (",
                                                  std::string(ToString(holder.standing)), "; ",
                                                  holder.evidence, ") did not settle in time"));
}

void Stopper::NoteFates() {
  for (StoppedProcess& process : report_.processes) {
    process.liveness = LivenessOf(process.identity);
    process.freeze = FreezeOf(process.identity);
  }
}

// Of one whom the kernel alone shows: by looking for it.
void Stopper::FindWhoShowsIt(Holder& holder) const {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    std::optional<Holder> locker = ForeignLockerOf(i);
    if (!locker.has_value()) continue;
    for (ProcessIdentity& process : locker->processes) {
      const bool known = std::find(holder.processes.begin(), holder.processes.end(), process) !=
                         holder.processes.end();
      if (!known) holder.processes.push_back(std::move(process));
    }
  }
}

// Ours, if it still has it; else an established one; else any.
void Stopper::ChooseHolder() {
  for (Holder& holder : seen_) {
    if (holder.standing == Standing::kUnknown && holder.processes.empty()) FindWhoShowsIt(holder);
  }
  const auto weight = [this](const Holder& holder) {
    return (IsOurs(holder) ? 2 : 0) + (holder.standing == Standing::kEstablished ? 1 : 0);
  };
  const auto chosen = std::max_element(
      seen_.begin(), seen_.end(),
      [&weight](const Holder& a, const Holder& b) { return weight(a) < weight(b); });
  if (chosen != seen_.end()) report_.holder = *chosen;
}

bool Stopper::AreUnguardedLeft() const {
  return std::any_of(
      report_.processes.begin(), report_.processes.end(), [](const StoppedProcess& process) {
        return (process.reason == Reason::kUnguarded || process.reason == Reason::kDescendant) &&
               process.liveness != Liveness::kGone;
      });
}

StopReport Stopper::Finish(bool cancelled) {
  NoteFates();
  ChooseHolder();
  if (seen_.empty() && !AreUnguardedLeft()) {
    report_.status = blind_;
    if (blind_.ok()) {
      report_.outcome = was_seen_ || has_asked() ? Outcome::kStopped : Outcome::kNotRunning;
    } else {
      report_.outcome = Outcome::kUndetermined;
    }
    return std::move(report_);
  }
  report_.status = cancelled ? absl::CancelledError("the wait was cancelled") : WhyNot();
  const bool cannot = absl::IsFailedPrecondition(report_.status) ||
                      absl::IsPermissionDenied(report_.status) ||
                      absl::IsUnavailable(report_.status);
  const bool unguarded =
      report_.holder.has_value() && report_.holder->standing == Standing::kUnguarded;
  report_.outcome = cannot && !unguarded ? Outcome::kUndetermined : Outcome::kRuns;
  return std::move(report_);
}

}  // namespace

std::string_view ToString(StoppedProcess::Reason reason) {
  switch (reason) {
    case Reason::kHolder:
      return "holder";
    case Reason::kCommand:
      return "command";
    case Reason::kDescendant:
      return "descendant";
    case Reason::kGuardian:
      return "guardian";
    case Reason::kUnguarded:
      return "unguarded";
  }
  return "holder";
}

std::string_view ToString(Outcome outcome) {
  switch (outcome) {
    case Outcome::kNotRunning:
      return "not running";
    case Outcome::kStopped:
      return "stopped";
    case Outcome::kRuns:
      return "runs";
    case Outcome::kUndetermined:
      return "undetermined";
  }
  return "undetermined";
}

absl::StatusOr<std::optional<Holder>> CheckRunning(std::string_view name, const Policy& policy,
                                                   const Options& options) {
  const absl::StatusOr<Inspection> inspection = Inspect(name, policy, options);
  if (!inspection.ok()) return inspection.status();
  if (const Holder* holder = inspection->holder()) return std::optional(*holder);
  for (const Inspection::LayerSighting& layer : inspection->layers) {
    const auto* unavailable = std::get_if<Unavailable>(&layer.sighting);
    if (unavailable == nullptr) continue;
    return absl::UnavailableError(absl::StrCat("layer ", EscapeBytes(layer.layer),
                                               " cannot tell: ", unavailable->status.message()));
  }
  return std::optional<Holder>();
}

absl::StatusOr<StopReport> StopRunning(std::string_view name, const Policy& policy,
                                       const Options& options, const StopOptions& stop_options) {
  const absl::StatusOr<InstanceName> instance = InstanceName::Parse(name);
  if (!instance.ok()) return instance.status();
  const bool observes = std::any_of(policy.layers().begin(), policy.layers().end(),
                                    [](const LayerSpec& layer) { return layer.kind->observer; });
  if (stop_options.duplicates && !observes) {
    return absl::InvalidArgumentError(
        absl::StrCat("policy ", EscapeBytes(policy.ToString()),
                     " has no observer layer that shows duplicates, such as scan"));
  }
  return Stopper(instance->Slot(stop_options.slot), policy, options, stop_options).Run();
}

}  // namespace soleguard
