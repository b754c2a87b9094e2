// watch: finds copies that run beside the holder or without a guard, and ends them if told to.
#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>
#include <absl/time/time.h>

#include "command.h"
#include "exit_code.h"
#include "look.h"
#include "show/json.h"
#include "show/words.h"
#include "watcher/end_processes.h"
#include "watcher/event_hook.h"
#include "watcher/log_follower.h"
#include "watcher/metrics.h"
#include "watcher/symptom.h"
#include "watcher/wakeups.h"
#include <soleguard/census.h>
#include <soleguard/options.h>
#include <soleguard/process.h>
#include <soleguard/subject.h>

namespace guardcheck {
namespace {

using soleguard::Census;
using soleguard::Copy;
using soleguard::HolderRecord;
using soleguard::ProcessDescription;
using soleguard::ProcessIdentity;
using soleguard::Subject;
using soleguard::UniqueFd;

enum class Keep {
  kHolderElseOldest,
  kHolder,  // and nobody else
  kOldest,  // whether it has a guard or not
};

struct WatchSettings {
  bool once = false;
  bool auto_kill = false;
  absl::Duration interval = absl::Seconds(60);
  absl::Duration grace = absl::Seconds(5);
  Keep keep = Keep::kHolderElseOldest;
  std::string log;
  std::vector<std::string> patterns;
  std::vector<std::string> on_event;
  std::string metrics;
};

// A guardcheck that waits, looks or guards has the name, and perhaps the command, among its
// arguments: a pattern would match it, and it is no instance.
bool IsGuardcheck(const ProcessIdentity& process) {
  const absl::StatusOr<ProcessDescription> description = soleguard::Describe(process);
  if (!description.ok()) return false;
  std::string_view path = description->executable;
  constexpr std::string_view kDeleted = " (deleted)";  // proc(5), of an upgrade
  if (path.ends_with(kDeleted)) path.remove_suffix(kDeleted.size());
  return path.substr(path.rfind('/') + 1) == "guardcheck";
}

// What the process runs, to look for its like after it has ended.
std::optional<Subject> CommandOf(const ProcessIdentity& process) {
  const absl::StatusOr<ProcessDescription> description = soleguard::Describe(process);
  if (!description.ok() || description->argv.empty() || description->executable.empty()) {
    return std::nullopt;
  }
  Subject subject{.argv = description->argv, .working_directory = description->working_directory};
  subject.argv.front() = description->executable;  // argv[0] is whatever it was called with
  return subject;
}

class Watcher {
 public:
  Watcher(const Call& call, const WatchSettings& settings)
      : call_(call), settings_(settings), hook_(settings.on_event) {}

  int Run();

 private:
  struct Event {
    Shown kind;  // a word of a-z and _
    Shown text;  // one line for a person
    std::vector<Json::Member> more = {};
  };
  void Emit(const Event& event);

  bool Look();
  bool LookSettled();
  bool IsUnsettled() const;
  bool Wait(absl::Time until);
  void Check();
  void TellHolder();
  void TellCopies(const std::vector<Copy>& condemned);
  void End(const std::vector<Copy>& condemned);
  const Copy* Kept() const;
  Shown WhyKept() const;
  bool HolderIsOldest() const;
  std::vector<Copy> Condemned() const;
  int Verdict() const;

  void ReadLog();
  void TellHits();
  Shown WhatIsSeen() const;
  Shown NextStep() const;
  void Save();
  void Pause(absl::Time until);
  void TellDropped();
  Shown Where() const;

  const Call& call_;
  const WatchSettings& settings_;
  Wakeups wakeups_;
  EventHook hook_;
  std::uint64_t told_dropped_ = 0;
  std::optional<LogFollower> log_;
  Symptoms symptoms_;
  std::string log_trouble_;
  bool log_has_more_ = false;
  absl::Time hits_told_ = absl::InfinitePast();

  Census census_;
  absl::Time checked_ = absl::InfinitePast();
  std::optional<Subject> remembered_;  // what the last holder ran
  std::optional<ProcessIdentity> holder_;
  std::vector<ProcessIdentity> known_;  // copies that were told of
  std::vector<ProcessIdentity> other_holders_;
  std::vector<UniqueFd> holder_ends_;
  bool has_changed_ = false;  // a holder has ended since
  bool told_ = false;         // the last check went to its end
  std::string blind_;
  std::string unknown_;  // who has the name without a record, by the evidence
  bool first_ = true;
  bool gone_quiet_ = false;  // standard output is gone
  std::uint64_t kills_ = 0;
  absl::Duration check_duration_;
  std::string metrics_trouble_;
};

void Watcher::Emit(const Event& event) {
  const absl::Time now = absl::Now();
  Json object = Json::Object({{"schema", 1},
                              {"event", event.kind},
                              {"time", Rfc3339(now)},
                              {"name", Escape(call_.operand)},
                              {"scope", Escape(call_.common.options.scope.ToString())},
                              {"text", event.text},
                              {"holder", holder_.has_value() ? Json(holder_->pid) : Json()},
                              {"duplicates", census_.duplicates()},
                              {"unguarded", census_.copies.size()}});
  for (const auto& [key, value] : event.more) object.Set(key, value);
  const std::string line = Line(object);
  if (!settings_.on_event.empty()) hook_.Send(line);
  const std::string shown =
      (call_.common.json ? line : Text(Stamp(now), "  ", event.text).text()) + "\n";
  if (std::fputs(shown.c_str(), stdout) < 0 || std::fflush(stdout) != 0) gone_quiet_ = true;
}

// What a command for a person needs to look at the same name.
Shown Watcher::Where() const {
  return Text(ShellWord(call_.operand), guardcheck::Where(call_.common));
}

// False: it was asked to end meanwhile.
bool Watcher::Look() {
  soleguard::Options options = ToLook(call_.common);
  if (!call_.command.empty()) {
    options.subject = {.argv = call_.command, .working_directory = ""};
  }
  absl::StatusOr<Census> census =
      soleguard::TakeCensus(call_.operand, call_.common.policy, options);
  const bool nothing_to_look_for =
      census.ok() && census->subject.unknown && !census->blind.ok() && remembered_.has_value();
  if (nothing_to_look_for) {
    options.subject = *remembered_;
    census = soleguard::TakeCensus(call_.operand, call_.common.policy, options);
  }
  if (!census.ok()) {
    census_ = {};
    census_.blind = census.status();
    return !wakeups_.asked_to_end();
  }
  census_ = *std::move(census);
  const auto is_ours = [](const Copy& copy) { return IsGuardcheck(copy.process); };
  std::erase_if(census_.copies, is_ours);
  std::erase_if(census_.young, &IsGuardcheck);
  if (census_.subject.process.has_value()) {
    std::optional<Subject> command = CommandOf(*census_.subject.process);
    if (command.has_value()) remembered_ = std::move(command);
  }
  return !wakeups_.asked_to_end();
}

// Who has the name and is deciding, ending or giving it back: soon the holder, or nobody.
bool Watcher::IsUnsettled() const {
  using soleguard::Standing;
  return std::any_of(
      census_.unknown.begin(), census_.unknown.end(), [](const soleguard::Holder& holder) {
        return holder.standing == Standing::kCandidate || holder.standing == Standing::kReleasing ||
               holder.standing == Standing::kDying;
      });
}

// Waits as a start does for a holder that is about to change, and for those who are too young to be
// told. Who comes meanwhile is for the next check.
bool Watcher::LookSettled() {
  if (!Look()) return false;
  const absl::Time begin = absl::Now();
  const soleguard::Options& options = call_.common.options;
  if (!census_.young.empty()) {
    if (!Wait(begin + options.settle) || !Look()) return false;
  }
  // Not every change has an event: a start that decides wakes those who stand in line only.
  constexpr absl::Duration kStep = absl::Milliseconds(25);
  while (IsUnsettled() && absl::Now() < begin + options.deadline) {
    if (!Wait(absl::Now() + kStep) || !Look()) return false;
  }
  return true;
}

// False: it was asked to end meanwhile.
bool Watcher::Wait(absl::Time until) {
  while (absl::Now() < until && !wakeups_.asked_to_end()) {
    wakeups_.Wait({}, hook_.input(), until - absl::Now());
    hook_.Pump();
  }
  return !wakeups_.asked_to_end();
}

bool Watcher::HolderIsOldest() const {
  if (census_.copies.empty()) return true;
  const ProcessIdentity& first = census_.copies.front().process;
  // In another pid namespace the clock is the same, and in another boot nobody lives.
  return std::any_of(census_.holders.begin(), census_.holders.end(),
                     [&first](const HolderRecord& holder) {
                       return InstanceOf(holder).start_ticks <= first.start_ticks;
                     });
}

// The copy that stays, if one does.
const Copy* Watcher::Kept() const {
  if (census_.copies.empty() || settings_.keep == Keep::kHolder) return nullptr;
  const bool has_holder = !census_.holders.empty() || !census_.unknown.empty();
  const bool keeps_copy = settings_.keep == Keep::kOldest ? !HolderIsOldest() : !has_holder;
  return keeps_copy ? &census_.copies.front() : nullptr;
}

Shown Watcher::WhyKept() const {
  return settings_.keep == Keep::kOldest ? Shown("it started first")
                                         : "nobody holds the name, and it started first";
}

std::vector<Copy> Watcher::Condemned() const {
  const Copy* const kept = Kept();
  std::vector<Copy> condemned;
  for (const Copy& copy : census_.copies) {
    if (&copy != kept) condemned.push_back(copy);
  }
  return condemned;
}

void Watcher::TellHolder() {
  std::optional<ProcessIdentity> now;
  if (!census_.holders.empty()) now = InstanceOf(census_.holders.front());
  std::string unknown;
  if (!now.has_value() && !census_.unknown.empty()) unknown = census_.unknown.front().evidence;
  const bool changed = now != holder_ || unknown != unknown_;
  unknown_ = std::move(unknown);
  if (first_ || changed) {
    const std::optional<ProcessIdentity> before = std::exchange(holder_, now);
    if (now.has_value()) {
      Emit({.kind = "holder",
            .text = Text(Escape(call_.operand), " is held by ", ProcessLine(*now)),
            .more = {{"process", ProcessJson(*now)}, {"token", census_.holders.front().token}}});
    } else if (!census_.unknown.empty()) {
      Emit({.kind = "holder_unknown",
            .text = Text(Escape(call_.operand), " is taken, and no record says by whom: ",
                         Said(census_.unknown.front().evidence))});
    } else if (before.has_value()) {
      Emit({.kind = "holder_gone",
            .text = Text("the holder of ", Escape(call_.operand), ", pid ", before->pid,
                         ", has ended; nobody holds the name")});
    } else {
      Emit({.kind = "free", .text = Text("nobody holds ", Escape(call_.operand))});
    }
  }
  std::vector<ProcessIdentity> others;
  for (std::size_t i = 1; i < census_.holders.size(); ++i) {
    const ProcessIdentity& other = InstanceOf(census_.holders[i]);
    others.push_back(other);
    if (std::find(other_holders_.begin(), other_holders_.end(), other) != other_holders_.end()) {
      continue;
    }
    const std::uint32_t slot = census_.holders[i].slot;
    const bool has_own_slot = std::none_of(
        census_.holders.begin(), census_.holders.begin() + static_cast<std::ptrdiff_t>(i),
        [slot](const HolderRecord& before) { return before.slot == slot; });
    Emit({.kind = has_own_slot ? Shown("slot_holder") : "second_holder",
          .text = has_own_slot ? Text("slot ", slot, " is held by ", ProcessLine(other))
                               : Text("a second holder: ", ProcessLine(other),
                                      ". Layers were lost, or the policy is not safe: guardcheck "
                                      "doctor ",
                                      Where()),
          .more = {{"process", ProcessJson(other)}, {"slot", slot}}});
  }
  other_holders_ = std::move(others);

  holder_ends_.clear();
  has_changed_ = false;
  for (const HolderRecord& record : census_.holders) {
    for (const ProcessIdentity* process : {&record.identity, &InstanceOf(record)}) {
      absl::StatusOr<UniqueFd> end = soleguard::OpenPidfd(*process);
      if (end.ok()) holder_ends_.push_back(*std::move(end));
      // The race: it ended after it was seen as the holder, and has no end to wait for any more.
      if (process == &record.identity && absl::IsNotFound(end.status())) has_changed_ = true;
    }
  }
}

void Watcher::TellCopies(const std::vector<Copy>& condemned) {
  std::vector<ProcessIdentity> now;
  for (const Copy& copy : census_.copies) {
    now.push_back(copy.process);
    if (std::find(known_.begin(), known_.end(), copy.process) != known_.end()) continue;
    const bool kept = std::none_of(condemned.begin(), condemned.end(), [&](const Copy& other) {
      return other.process == copy.process;
    });
    Shown next = kept ? Text("; kept: ", WhyKept()) : Shown();
    if (!kept && !settings_.auto_kill) {
      next = Text("; to end it: kill ", copy.process.pid, ", or watch --auto-kill");
    }
    const Shown workers =
        copy.workers.empty()
            ? Shown()
            : Text(" and ", Count(static_cast<std::int64_t>(copy.workers.size()), "worker"));
    Emit({.kind = "unguarded",
          .text = Text("runs without a guard: ", ProcessLine(copy.process), workers, next),
          .more = {{"process", ProcessJson(copy.process)},
                   {"evidence", Said(copy.evidence)},
                   {"workers", copy.workers.size()},
                   {"kept", kept}}});
  }
  for (const ProcessIdentity& before : known_) {
    if (std::find(now.begin(), now.end(), before) != now.end()) continue;
    Emit({.kind = "gone",
          .text = Text("pid ", before.pid, ", which ran without a guard, is gone"),
          .more = {{"pid", before.pid}}});
  }
  known_ = std::move(now);
}

void Watcher::End(const std::vector<Copy>& condemned) {
  std::vector<ProcessIdentity> processes;
  for (const Copy& copy : condemned) {
    processes.push_back(copy.process);
    processes.insert(processes.end(), copy.workers.begin(), copy.workers.end());
  }
  // Who has asked for the name meanwhile, or is covered by a claim now, is no copy any more.
  const auto still_meant = [&]() -> std::vector<ProcessIdentity> {
    if (!Look() || !census_.blind.ok()) return {};
    std::vector<ProcessIdentity> meant;
    for (const Copy& copy : Condemned()) {
      meant.push_back(copy.process);
      meant.insert(meant.end(), copy.workers.begin(), copy.workers.end());
    }
    return meant;
  };
  const std::vector<Ending> endings =
      EndProcesses(processes, settings_.grace, still_meant, wakeups_.end());
  (void)Look();
  for (const Ending& ending : endings) {
    const Shown who = Text("pid ", ending.process.pid);
    if (ending.result != Ending::Result::kStayed) std::erase(known_, ending.process);
    const std::vector<Json::Member> more = {{"pid", ending.process.pid}};
    switch (ending.result) {
      case Ending::Result::kEnded:
        ++kills_;
        Emit({.kind = "ended", .text = Text(who, " has ended after SIGTERM"), .more = more});
        break;
      case Ending::Result::kKilled:
        ++kills_;
        Emit({.kind = "killed",
              .text = Text(who, " was killed: ", Said(absl::FormatDuration(settings_.grace)),
                           " after SIGTERM it still ran"),
              .more = more});
        break;
      case Ending::Result::kSpared:
        Emit({.kind = "spared",
              .text = Text(who, " got no signal: it has ended, or is guarded by now"),
              .more = more});
        break;
      case Ending::Result::kStayed:
        Emit({.kind = "not_ended",
              .text = Text(who, " could not be ended: ", Said(ending.status.message())),
              .more = more});
        break;
    }
  }
}

void Watcher::Check() {
  const absl::Time begin = absl::Now();
  told_ = false;
  if (!LookSettled()) return;
  check_duration_ = absl::Now() - begin;
  checked_ = absl::Now();
  const std::string blind(census_.blind.message());
  if (blind != std::exchange(blind_, blind)) {
    if (blind.empty()) {
      Emit({.kind = "sees_again", .text = "everything can be told again"});
    } else {
      Emit({.kind = "blind", .text = Text("cannot tell everything: ", Said(blind))});
    }
  }
  TellHolder();
  const bool first = std::exchange(first_, false);
  const std::vector<Copy> condemned = Condemned();
  TellCopies(condemned);
  if (settings_.keep == Keep::kOldest && !census_.holders.empty() && Kept() != nullptr && first) {
    Emit({.kind = "guarded",
          .text = Text("the holder started later than pid ", Kept()->process.pid,
                       "; it is guarded, and the watch ends no guarded process")});
  }
  // What a layer cannot tell may be that one of them has the name.
  if (settings_.auto_kill && !condemned.empty()) {
    if (census_.blind.ok()) {
      End(condemned);
      TellHolder();
    } else {
      Emit({.kind = "not_ended",
            .text = "nobody is ended while it cannot be told who holds the name"});
    }
  }
  told_ = true;
  Save();
}

// 75: a copy runs, or a second holder; 69: cannot tell.
int Watcher::Verdict() const {
  if (census_.duplicates() > 0 || !census_.copies.empty()) return kTaken;
  return census_.blind.ok() ? kYes : kUndetermined;
}

Shown Watcher::WhatIsSeen() const {
  if (!census_.blind.ok()) return Text("cannot tell who runs: ", Said(census_.blind.message()));
  std::vector<Shown> pids;
  for (const HolderRecord& holder : census_.holders) {
    pids.push_back(Text("pid ", InstanceOf(holder).pid, " with a guard"));
  }
  for (const Copy& copy : census_.copies) {
    pids.push_back(Text("pid ", copy.process.pid, " without one"));
  }
  if (pids.empty()) return "nobody runs here";
  return Text("here run ", Join(pids, ", "));
}

Shown Watcher::NextStep() const {
  if (census_.duplicates() > 0) {
    return Text("end the copies: guardcheck watch ", Where(), " --once --auto-kill");
  }
  return Text(
      "only one is seen here: look on other hosts, in containers (guardcheck doctor ", Where(),
      ") and for another program with the same key or token; then give each a key of its own");
}

void Watcher::TellHits() {
  for (Symptoms::Count& count : symptoms_.counts()) {
    if (count.unreported == 0) continue;
    const std::uint64_t hits = std::exchange(count.unreported, 0);
    const Shown meaning = Said(Explain(count.last));
    Emit({.kind = "log_hit",
          .text = Text("the log says ", Count(static_cast<std::int64_t>(hits), "time"), " '",
                       Escape(count.pattern), "' (", count.total, " in all), last: ",
                       Escape(count.last), meaning.empty() ? Shown() : ". It means: ", meaning,
                       ". ", WhatIsSeen(), ". Next: ", NextStep()),
          .more = {{"pattern", Escape(count.pattern)},
                   {"hits", hits},
                   {"total", count.total},
                   {"line", Escape(count.last)},
                   {"meaning", OrNull(meaning)},
                   {"seen", WhatIsSeen()},
                   {"next", NextStep()}}});
  }
  hits_told_ = absl::Now();
  Save();
}

void Watcher::ReadLog() {
  if (!log_.has_value()) return;
  const LogFollower::News news =
      log_->Read([this](std::string_view line) { (void)symptoms_.Look(line); });
  log_has_more_ = news.more;
  for (const LogFollower::Change change : news.changes) {
    const std::array<Shown, 4> said = {"is there now", "was replaced by a new one", "was truncated",
                                       "is gone"};
    Emit({.kind = "log_changed",
          .text = Text("the log ", Escape(settings_.log), " ",
                       said.at(static_cast<std::size_t>(change))),
          .more = {{"log", Escape(settings_.log)}}});
  }
  const std::string trouble(news.status.message());
  if (trouble != std::exchange(log_trouble_, trouble) && !trouble.empty()) {
    Emit({.kind = "log_trouble", .text = Text("the log cannot be read: ", Said(trouble))});
  }
}

void Watcher::Save() {
  if (settings_.metrics.empty()) return;
  Metrics metrics{.name = call_.operand,
                  .scope = call_.common.options.scope.ToString(),
                  .up = !census_.holders.empty(),
                  .holder_started = std::nullopt,
                  .duplicates = census_.duplicates(),
                  .unguarded = census_.copies.size(),
                  .kills = kills_,
                  .check_duration = check_duration_,
                  .log_hits = {}};
  if (!census_.holders.empty() && !census_.holders.front().is_newer())
    metrics.holder_started = census_.holders.front().started;
  for (const Symptoms::Count& count : symptoms_.counts()) {
    metrics.log_hits.push_back({.pattern = count.pattern, .total = count.total});
  }
  const absl::Status written = WriteMetrics(settings_.metrics, metrics);
  const std::string trouble(written.message());
  if (trouble != std::exchange(metrics_trouble_, trouble) && !trouble.empty()) {
    (void)std::fprintf(stderr, "guardcheck: --metrics: %s\n", trouble.c_str());
  }
}

// Until then, or until something happens that is worth a look.
void Watcher::Pause(absl::Time until) {
  std::vector<const UniqueFd*> readable;
  for (const UniqueFd& end : holder_ends_) readable.push_back(&end);
  if (log_.has_value()) readable.push_back(&log_->changes());
  const absl::Duration at_most = std::min(until - absl::Now(), hook_.due());
  wakeups_.Wait(readable, hook_.input(), log_has_more_ ? absl::ZeroDuration() : at_most);
  hook_.Pump();
  TellDropped();
}

void Watcher::TellDropped() {
  if (hook_.dropped() == told_dropped_) return;
  (void)std::fprintf(
      stderr, "guardcheck: --on-event: %s dropped, as the command does not read\n",
      Count(static_cast<std::int64_t>(hook_.dropped() - told_dropped_), "event").text().c_str());
  told_dropped_ = hook_.dropped();
}

int Watcher::Run() {
  if (!settings_.log.empty()) {
    if (settings_.patterns.empty()) symptoms_.AddKnown();
    for (const std::string& pattern : settings_.patterns) (void)symptoms_.Add(pattern);  // checked
    log_.emplace(settings_.log);
  }
  if (!settings_.on_event.empty()) {
    const absl::Status begun = hook_.Begin();
    if (!begun.ok()) {
      throw UsageError(absl::StrCat("--on-event: ", std::string(begun.message())));
    }
  }
  // A log that floods is told of once a second; the end of a holder at once.
  constexpr absl::Duration kBetweenHits = absl::Seconds(1);
  while (!wakeups_.asked_to_end() && !gone_quiet_) {
    Check();
    if (settings_.once) break;
    constexpr absl::Duration kAtOnce = absl::Milliseconds(25);  // its claims are freed by then
    const absl::Time next = checked_ + (has_changed_ ? kAtOnce : settings_.interval);
    while (absl::Now() < next && !wakeups_.asked_to_end() && !gone_quiet_) {
      ReadLog();
      const bool hit =
          std::any_of(symptoms_.counts().begin(), symptoms_.counts().end(),
                      [](const Symptoms::Count& count) { return count.unreported > 0; });
      const absl::Time tell = hits_told_ + kBetweenHits;
      if (hit && absl::Now() >= tell) {
        Check();  // what is seen now belongs to what the log says now
        TellHits();
        continue;
      }
      Pause(hit ? std::min(next, tell) : next);
      if (!holder_ends_.empty() && soleguard::WaitForAny(holder_ends_, absl::ZeroDuration())) {
        break;
      }
    }
  }
  constexpr absl::Duration kLastWords = absl::Seconds(5);
  if (!settings_.on_event.empty()) {
    hook_.Finish(wakeups_.asked_to_end() ? absl::Seconds(1) : kLastWords);
    TellDropped();
  }
  if (gone_quiet_) {
    (void)std::fprintf(stderr, "guardcheck: standard output is gone\n");
    return kInternal;
  }
  if (!settings_.once) return kYes;
  if (told_) return Verdict();
  // 0 would say that nobody runs, and the next command of a script would start.
  (void)std::fprintf(stderr, "guardcheck: watch: ended by a signal before it could tell\n");
  return kUndetermined;
}

class Watch final : public Command {
 public:
  std::vector<Option> Options() override {
    return {
        {.name = "--once",
         .help = "look once; the exit code says what was found",
         .read = Into(settings_.once),
         .is_setting = false},
        {.name = "--interval",
         .value = "DURATION",
         .help = "how long from one look at the process table to the next",
         .read =
             [this](const std::string& text) {
               absl::Status read = Into(settings_.interval)(text);
               if (!read.ok() || settings_.interval >= absl::Milliseconds(100)) return read;
               return absl::InvalidArgumentError("expected at least 100ms, found '" + text + "'");
             },
         .standard = "60s"},
        {.name = "--auto-kill",
         .help = "end what runs without a guard, but for the one that is kept",
         .read = Into(settings_.auto_kill),
         .is_setting = false},
        {.name = "--keep",
         .value = "WHOM",
         .help = "whom --auto-kill keeps: the holder (and nobody else), or the oldest process "
                 "(a holder is never ended)",
         .read = IntoKeep(settings_.keep),
         .standard = "the holder, without one the oldest"},
        {.name = "--grace",
         .value = "DURATION",
         .help = "how long a process may take to end after SIGTERM before it is killed",
         .read = Into(settings_.grace),
         .standard = "5s"},
        {.name = "--log",
         .value = "FILE",
         .help = "follow the instance's log, and tell what its complaints have to do with it",
         .read = Into(settings_.log)},
        {.name = "--pattern",
         .value = "REGEX",
         .help = "what to count in the log (RE2); may be repeated. Without it: nonce errors, "
                 "getUpdates conflicts, 409",
         .read =
             [this](const std::string& text) {
               absl::Status valid = Symptoms().Add(text);
               if (valid.ok()) settings_.patterns.push_back(text);
               return valid;
             },
         .repeats = true},
        {.name = "--on-event",
         .value = "WORD",
         .help = "a command that gets each event as a line of JSON on its standard input; given "
                 "once for each word of it (--on-event=--x for one with dashes)",
         .read = Into(settings_.on_event),
         .repeats = true},
        {.name = "--metrics",
         .value = "FILE",
         .help = "write metrics for Prometheus to FILE after each look",
         .read = Into(settings_.metrics)}};
  }

  int Run(const Call& call) override {
    if (settings_.once) {
      if (call.said.contains("--log") || call.said.contains("--pattern")) {
        throw UsageError("watch: --log is followed from its end on; leave out --once");
      }
      // Said for the watch that goes on, by a variable or a file.
      settings_.log.clear();
      settings_.patterns.clear();
    }
    if (!settings_.patterns.empty() && settings_.log.empty()) {
      throw UsageError("watch: --pattern needs --log");
    }
    return Watcher(call, settings_).Run();
  }

 private:
  static Reader IntoKeep(Keep& keep) {
    return [&keep](const std::string& text) {
      if (text != "holder" && text != "oldest") {
        return absl::InvalidArgumentError("expected holder or oldest, found '" +
                                          Escape(text).text() + "'");
      }
      keep = text == "holder" ? Keep::kHolder : Keep::kOldest;
      return absl::OkStatus();
    };
  }

  WatchSettings settings_;
};

}  // namespace

CommandKind WatchCommand() {
  return {.name = "watch",
          .help = "find copies, and end them if told to",
          .operand = "NAME",
          .takes = CommandKind::Takes::kTimes,
          .behind = CommandKind::Behind::kMayBeCommand,
          .make = [] { return std::unique_ptr<Command>(std::make_unique<Watch>()); }};
}

}  // namespace guardcheck
