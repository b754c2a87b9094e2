#include "watcher/watcher.h"

#include <algorithm>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>

#include "exit_code.h"
#include "show/say.h"
#include "show/words.h"
#include "watcher/end_processes.h"
#include "watcher/metrics.h"

namespace guardcheck {
namespace {

using soleguard::Copy;
using soleguard::HolderRecord;
using soleguard::ProcessIdentity;

bool Has(const std::vector<ProcessIdentity>& processes, const ProcessIdentity& process) {
  return std::find(processes.begin(), processes.end(), process) != processes.end();
}

Voice::Event EventOf(const Ending& ending, absl::Duration grace) {
  const Shown who = Text("pid ", ending.process.pid);
  const std::vector<Json::Member> more = {{"pid", ending.process.pid}};
  switch (ending.result) {
    case Ending::Result::kEnded:
      return {.kind = "ended", .text = Text(who, " has ended after SIGTERM"), .more = more};
    case Ending::Result::kKilled:
      return {.kind = "killed",
              .text = Text(who, " was killed: ", Said(absl::FormatDuration(grace)),
                           " after SIGTERM it still ran"),
              .more = more};
    case Ending::Result::kSpared:
      return {.kind = "spared",
              .text = Text(who, " got no signal: it has ended, or is guarded by now"),
              .more = more};
    case Ending::Result::kStayed:
      break;
  }
  return {.kind = "not_ended",
          .text = Text(who, " could not be ended: ", Said(ending.status.message())),
          .more = more};
}

}  // namespace

Watcher::Watcher(const Call& call, const WatchSettings& settings)
    : call_(call),
      settings_(settings),
      voice_(call, settings.on_event,
             [this] {
               const auto& holder = holders_.holder();
               return Voice::Moment{
                   .holder = holder.has_value() ? std::optional(holder->pid) : std::nullopt,
                   .duplicates = lookout_.census().duplicates(),
                   .unguarded = lookout_.census().copies.size()};
             }),
      lookout_(call, settings.keep, [this](absl::Time until) { return WaitUntil(until); }) {}

int Watcher::Run() {
  if (!settings_.log.empty()) log_.emplace(settings_.log, settings_.patterns);
  if (!settings_.once) history_.emplace(call_.common, call_.operand);
  const absl::Status begun = voice_.Begin();
  if (!begun.ok()) throw UsageError(absl::StrCat("--on-event: ", std::string(begun.message())));
  bool has_checked = false;
  while (!IsOver()) {
    has_checked = Check();
    if (settings_.once) break;
    constexpr absl::Duration kAtOnce = absl::Milliseconds(25);  // its claims are freed by then
    Pause(checked_ + (holders_.has_missed_end() ? kAtOnce : settings_.interval));
  }
  constexpr absl::Duration kLastWords = absl::Seconds(5);
  voice_.Finish(wakeups_.asked_to_end() ? absl::Seconds(1) : kLastWords);
  return ExitCode(has_checked);
}

bool Watcher::IsOver() { return wakeups_.asked_to_end() || !voice_.IsHeard(); }

// False: it was asked to end before it had seen all.
bool Watcher::Check() {
  const absl::Time begin = absl::Now();
  if (!lookout_.LookSettled()) return false;
  const bool is_first = checked_ == absl::InfinitePast();
  checked_ = absl::Now();
  check_duration_ = checked_ - begin;
  TellSight();
  holders_.Tell(lookout_.census(), voice_);
  TellCopies();
  const Copy* const kept = lookout_.Kept();
  if (is_first && kept != nullptr && !lookout_.census().holders.empty()) {
    voice_.Emit({.kind = "guarded",
                 .text = Text("the holder started later than pid ", kept->process.pid,
                              "; it is guarded, and the watch ends no guarded process")});
  }
  if (settings_.auto_kill) EndCopies();
  Save();
  return true;
}

// Until then, or until a holder has ended.
void Watcher::Pause(absl::Time until) {
  while (absl::Now() < until && !IsOver()) {
    ReadHistory();
    if (log_.has_value()) log_->Read(voice_);
    const absl::Time tell = log_.has_value() ? log_->due() : absl::InfiniteFuture();
    if (absl::Now() >= tell) {
      (void)Check();  // what is seen now belongs to what the log says now
      log_->TellHits(voice_, WhatIsSeen(), NextStep());
      Save();
      continue;
    }
    Await(std::min(until, tell));
    if (holders_.HasEnded()) return;
  }
}

// 75: a copy runs, or a second holder; 69: cannot tell.
int Watcher::ExitCode(bool has_checked) const {
  if (!voice_.IsHeard()) {
    Say(Priority::kError, "standard output is gone");
    return kInternal;
  }
  if (!settings_.once) return kYes;
  if (!has_checked) {
    // 0 would say that nobody runs, and the next command of a script would start.
    Say(Priority::kError, "watch: ended by a signal before it could tell");
    return kUndetermined;
  }
  const soleguard::Census& census = lookout_.census();
  if (census.duplicates() > 0 || !census.copies.empty()) return kTaken;
  return census.blind.ok() ? kYes : kUndetermined;
}

// Whatever happens. False: it was asked to end meanwhile.
bool Watcher::WaitUntil(absl::Time until) {
  while (absl::Now() < until && !wakeups_.asked_to_end()) {
    wakeups_.Wait({}, voice_.hook().input(), until - absl::Now());
    voice_.hook().Pump();
  }
  return !wakeups_.asked_to_end();
}

// Until then, or until something happens that is worth a look.
void Watcher::Await(absl::Time until) {
  std::vector<const soleguard::UniqueFd*> readable;
  for (const soleguard::UniqueFd& end : holders_.ends()) readable.push_back(&end);
  if (log_.has_value()) readable.push_back(&log_->changes());
  if (history_.has_value()) readable.push_back(&history_->changes());
  EventHook& hook = voice_.hook();
  const bool has_more =
      (log_.has_value() && log_->has_more()) || (history_.has_value() && history_->has_more());
  wakeups_.Wait(readable, hook.input(),
                has_more ? absl::ZeroDuration() : std::min(until - absl::Now(), hook.due()));
  hook.Pump();
  voice_.TellDropped();
}

void Watcher::ReadHistory() {
  if (history_.has_value() && history_->Read(voice_)) Save();
}

void Watcher::TellSight() {
  const std::string blind(lookout_.census().blind.message());
  if (blind == std::exchange(blind_, blind)) return;
  if (blind.empty()) {
    voice_.Emit({.kind = "sees_again", .text = "everything can be told again"});
  } else {
    voice_.Emit({.kind = "blind", .text = Text("cannot tell everything: ", Said(blind))});
  }
}

void Watcher::TellCopies() {
  const std::vector<ProcessIdentity> before = std::exchange(copies_, {});
  const Copy* const kept = lookout_.Kept();
  const Shown why = settings_.keep == Keep::kOldest ? Shown("it started first")
                                                    : "nobody holds the name, and it started first";
  for (const Copy& copy : lookout_.census().copies) {
    copies_.push_back(copy.process);
    if (Has(before, copy.process)) continue;
    Shown next;
    if (&copy == kept) {
      next = Text("; kept: ", why);
    } else if (!settings_.auto_kill) {
      next = Text("; to end it: kill ", copy.process.pid, ", or watch --auto-kill");
    }
    const auto workers = static_cast<std::int64_t>(copy.workers.size());
    voice_.Emit(
        {.kind = "unguarded",
         .text = Text("runs without a guard: ", ProcessLine(copy.process),
                      workers == 0 ? Shown() : Text(" and ", Count(workers, "worker")), next),
         .more = {{"process", ProcessJson(copy.process)},
                  {"evidence", Said(copy.evidence)},
                  {"workers", workers},
                  {"kept", &copy == kept}}});
  }
  TellGone(before);
}

void Watcher::TellGone(const std::vector<ProcessIdentity>& before) {
  for (const ProcessIdentity& process : before) {
    if (Has(copies_, process)) continue;
    voice_.Emit({.kind = "gone",
                 .text = Text("pid ", process.pid, ", which ran without a guard, is gone"),
                 .more = {{"pid", process.pid}}});
  }
}

void Watcher::EndCopies() {
  const std::vector<Copy> condemned = lookout_.Condemned();
  if (condemned.empty()) return;
  // What a layer cannot tell may be that one of them has the name.
  if (!lookout_.census().blind.ok()) {
    voice_.Emit({.kind = "not_ended",
                 .text = "nobody is ended while it cannot be told who holds the name"});
    return;
  }
  // Who has asked for the name meanwhile, or is covered by a claim now, is no copy any more.
  const auto still_meant = [this]() -> std::vector<ProcessIdentity> {
    if (!lookout_.Look() || !lookout_.census().blind.ok()) return {};
    return ProcessesOf(lookout_.Condemned());
  };
  const std::vector<Ending> endings =
      EndProcesses(ProcessesOf(condemned), settings_.grace, still_meant, wakeups_.end());
  (void)lookout_.Look();
  for (const Ending& ending : endings) {
    using Result = Ending::Result;
    if (ending.result != Result::kStayed) std::erase(copies_, ending.process);
    if (ending.result == Result::kEnded || ending.result == Result::kKilled) ++kills_;
    voice_.Emit(EventOf(ending, settings_.grace));
  }
  holders_.Tell(lookout_.census(), voice_);
}

void Watcher::Save() {
  if (settings_.metrics.empty()) return;
  const soleguard::Census& census = lookout_.census();
  Metrics metrics{.name = call_.operand,
                  .scope = call_.common.options.scope.ToString(),
                  .up = !census.holders.empty(),
                  .holder_started = std::nullopt,
                  .duplicates = census.duplicates(),
                  .unguarded = census.copies.size(),
                  .kills = kills_,
                  .check_duration = check_duration_,
                  .log_hits = {},
                  .events = {}};
  if (!census.holders.empty() && !census.holders.front().is_newer())
    metrics.holder_started = census.holders.front().started;
  if (log_.has_value()) {
    for (const Symptoms::Count& count : log_->counts()) {
      metrics.log_hits.push_back({.pattern = count.pattern, .total = count.total});
    }
  }
  if (history_.has_value()) {
    for (const auto& [kind, total] : history_->counts()) {
      metrics.events.push_back({.event = std::string(ToString(kind)), .total = total});
    }
  }
  const absl::Status written = WriteMetrics(settings_.metrics, metrics);
  const std::string trouble(written.message());
  if (trouble != std::exchange(metrics_trouble_, trouble) && !trouble.empty()) {
    Say(Priority::kError, Text("--metrics: ", Said(trouble)));
  }
}

Shown Watcher::WhatIsSeen() const {
  const soleguard::Census& census = lookout_.census();
  if (!census.blind.ok()) return Text("cannot tell who runs: ", Said(census.blind.message()));
  std::vector<Shown> pids;
  for (const HolderRecord& holder : census.holders) {
    pids.push_back(Text("pid ", holder.running().pid, " with a guard"));
  }
  for (const Copy& copy : census.copies) {
    pids.push_back(Text("pid ", copy.process.pid, " without one"));
  }
  if (pids.empty()) return "nobody runs here";
  return Text("here run ", Join(pids, ", "));
}

Shown Watcher::NextStep() const {
  if (lookout_.census().duplicates() > 0) {
    return Text("end the copies: guardcheck watch ", voice_.Where(), " --once --auto-kill");
  }
  return Text(
      "only one is seen here: look on other hosts, in containers (guardcheck doctor ",
      voice_.Where(),
      ") and for another program with the same key or token; then give each a key of its own");
}

}  // namespace guardcheck
