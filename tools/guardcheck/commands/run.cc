#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>
#include <absl/time/time.h>

#include "command.h"
#include "commands/came_up.h"
#include "commands/end_duplicates.h"
#include "commands/endings.h"
#include "commands/last_start.h"
#include "commands/send.h"
#include "exit_code.h"
#include "guardian/background.h"
#include "guardian/heartbeat.h"
#include "guardian/limits.h"
#include "guardian/message_hook.h"
#include "guardian/notify.h"
#include "guardian/supervise.h"
#include "guardian/verdict_fd.h"
#include "line/slots.h"
#include "show/history.h"
#include "show/incident.h"
#include "show/json.h"
#include "show/other_users.h"
#include "show/say.h"
#include "show/verdict.h"
#include "show/words.h"
#include "watcher/event_feeder.h"
#include <soleguard/diagnosis.h>
#include <soleguard/history.h>
#include <soleguard/inspect.h>
#include <soleguard/name.h>
#include <soleguard/options.h>
#include <soleguard/process.h>
#include <soleguard/send.h>

namespace guardcheck {
namespace {

using soleguard::Guard;
using soleguard::HistoryEvent;

constexpr int kFirstDescriptor = 3;        // those below are COMMAND's own
constexpr int kMostDescriptors = 1 << 20;  // more than fs.nr_open by default

constexpr absl::Duration kShortestBeat = absl::Milliseconds(100);

// How long a report of an incident may wait for whoever reads stderr.
constexpr absl::Duration kLogPatience = absl::Seconds(1);

// Reads one of `words`, two at least, into `target`, which must outlive it.
template <typename Choice>
Reader OneOf(Choice& target, std::vector<std::pair<std::string, Choice>> words) {
  return [&target, words = std::move(words)](const std::string& text) {
    std::string all = words.front().first;
    for (const auto& [word, choice] : words) {
      if (word == text) {
        target = choice;
        return absl::OkStatus();
      }
      if (word == words.front().first) continue;
      absl::StrAppend(&all, word == words.back().first ? " or " : ", ", word);
    }
    return Expected(all, text);
  };
}

Shown Numbers(const std::vector<std::int64_t>& numbers) {
  std::vector<Shown> shown;
  for (const std::int64_t number : numbers) shown.push_back(Text(number));
  return Join(shown, ", ");
}

// What the command may read of its claim.
void Export(const Guard& guard) {
  (void)setenv("SOLEGUARD_NAME", guard.name().c_str(), 1);  // one thread so far
  (void)setenv("SOLEGUARD_SLOT", std::to_string(guard.slot()).c_str(), 1);
  (void)setenv("SOLEGUARD_TOKEN", std::to_string(guard.token().value_or(0)).c_str(), 1);
  (void)setenv("SOLEGUARD_TOKEN_DURABLE", guard.token_is_durable() ? "1" : "0", 1);
}

// What a guarded command has started knows by its environment whose it is. Of another program's
// nothing is said.
Left LeftBehindBy(const soleguard::HolderRecord& last) {
  if (!last.instance.has_value() || last.token == 0) return {};
  return LeftBy(last.name, last.token, last.identity.start_ticks);
}

Shown WhatIsLeft(const soleguard::HolderRecord& last, const Left& left) {
  if (!last.instance.has_value() || last.token == 0) return "";
  if (!left.pids.empty()) {
    return Text(" It left running: pid ", Numbers(left.pids), ".");
  }
  // Of a holder in another pid namespace, what it left may not be in the table here.
  const bool is_seen = LivenessOf(last.identity) != soleguard::Liveness::kUnknown &&
                       LivenessOf(*last.instance) != soleguard::Liveness::kUnknown;
  return left.is_all && is_seen ? " Nothing was left to clean up." : Shown();
}

void MentionPredecessor(const Guard& guard, const soleguard::HolderRecord& last, const Left& left) {
  Say(Priority::kNotice,
      Text(Escape(guard.name()), ": follows a holder that died: pid ", last.identity.pid,
           last.is_newer() ? Text(", guarded by ", Said(NewerSoleguard(last)))
                           : Text(", started ", Stamp(last.started)),
           last.token == 0 ? Shown() : Text(", token ", last.token), ".", WhatIsLeft(last, left)));
}

// Who says where the ceilings of tokens are kept counts on them. Elsewhere the command is told by
// its environment.
void MentionToken(const Guard& guard, const soleguard::Scope& scope) {
  if (guard.token_is_durable() || scope.state_directory().empty()) return;
  const absl::Status why = soleguard::CheckStateDirectory(scope);
  if (why.ok()) return;
  Say(Priority::kWarning, Text(Escape(guard.name()),
                               ": its fencing token is not durable, and a later one may be "
                               "smaller: ",
                               Said(why.message())));
}

// Said once, so that a start that waits does not look like one that hangs.
void MentionWait(const Call& call, std::uint32_t slot_count, bool replaces) {
  soleguard::Options options = call.common.options;
  options.subject.unknown = true;
  const auto name = soleguard::InstanceName::Parse(call.operand);
  std::vector<std::int64_t> pids;
  for (std::uint32_t slot = 0; slot < slot_count; ++slot) {
    const auto inspection = soleguard::Inspect(name->Slot(slot), call.common.policy, options);
    const soleguard::Holder* holder = inspection.holder();
    if (holder == nullptr || !holder->record.has_value()) continue;
    pids.push_back(holder->record->running().pid);
  }
  Say(Priority::kNotice, Text(Escape(call.operand), " is held by ",
                              pids.empty() ? "another instance" : Text("pid ", Numbers(pids)),
                              replaces ? Shown("; replacing it") : "; waiting"));
}

// What a program that answers messages for `guard` is given.
Json MessageJson(const Guard& guard, const soleguard::Sender& sender,
                 const soleguard::Message& message) {
  Json from = IdentityJson(sender.identity);
  from.Set("uid", sender.uid);
  return Json::Object({{"schema", 1},
                       {"name", Escape(guard.name())},
                       {"slot", guard.slot()},
                       {"sender", from},
                       {"argv", WordsJson(message.argv)},
                       {"cwd", Escape(message.working_directory)},
                       {"payload", Escape(message.payload)},
                       {"activation_token", OrNull(Escape(message.activation_token))},
                       {"startup_id", OrNull(Escape(message.startup_id))}});
}

class GuardedRun final : public Command {
 public:
  std::vector<Option> Options() override {
    return {
        {.name = "--grace",
         .value = "DURATION",
         .help = "how long what COMMAND leaves behind may take to end before it is killed",
         .read = Into(grace_),
         .standard = "5s"},
        {.name = "--until",
         .value = "child|tree|detach",
         .help = "child: end what COMMAND leaves behind; tree: wait until it has ended too, for "
                 "a COMMAND that daemonises; detach: let it run on without the name",
         .read = OneOf(until_, {{"child", Supervision::Until::kChild},
                                {"tree", Supervision::Until::kTree},
                                {"detach", Supervision::Until::kDetach}}),
         .standard = "child"},
        {.name = "--wait",
         .value = "DURATION",
         .help = "wait until the name is free, first come first served; --wait=30s: not longer",
         .read =
             [this](const std::string& text) {
               wait_ = absl::InfiniteDuration();
               return text == "forever" ? absl::OkStatus() : Into(wait_)(text);
             },
         .bare = "forever",
         .bounds_call = true},
        {.name = "--replace",
         .value = "GRACE",
         .help = "end the instance that runs, and take its place with nobody in between; kill it "
                 "if it has not ended after this grace",
         .read = [this](const std::string& text) { return Into(replace_.emplace())(text); },
         .bare = "10s",
         .is_setting = false},
        {.name = "--exec",
         .help = "become COMMAND instead of watching over it: no guardian, nothing is ended "
                 "with it",
         .read = Into(exec_)},
        {.name = "--on-lost",
         .value = "warn|stop",
         .help = "when the claim is lost while COMMAND runs and cannot be repaired: warn: say so; "
                 "stop: end COMMAND as well",
         .read = OneOf(stop_when_lost_, {{"warn", false}, {"stop", true}}),
         .standard = "warn"},
        {.name = "--pidfile",
         .value = "FILE",
         .help = "write COMMAND's pid there, for tools that expect it",
         .read = IntoAbsolutePath(files_.pid_file)},
        {.name = "--infofile",
         .value = "FILE",
         .help = "write the holder record there as JSON, for tools that expect it",
         .read = IntoAbsolutePath(files_.info_file)},
        {.name = "--verdict-fd",
         .value = "N",
         .help = "write the verdict as a line of JSON to descriptor N, 3 or higher, which COMMAND "
                 "does not inherit",
         .read = Into(verdict_fd_, kFirstDescriptor, kMostDescriptors),
         .is_setting = false},
        {.name = "--refused-exit",
         .value = "CODE",
         .help = "end with CODE when another instance holds the name",
         .read = Into(refused_exit_, 0, 255),
         .standard = "75"},
        {.name = "--forward",
         .value = "DURATION",
         .help = "when another instance holds the name, hand COMMAND's words to it and show its "
                 "answer, for which it has 10s; --forward=30s: longer",
         .read = Into(forward_),
         .bare = "10s"},
        {.name = "--on-message",
         .value = "PROGRAM",
         .help = "answer messages: PROGRAM, a path, reads one as JSON and writes the answer",
         .read = Into(on_message_)},
        {.name = "--on-event",
         .value = "WORD",
         .help = "a command that gets what happens to this start and its claim, each event as a "
                 "line of JSON on its standard input; given once for each word of it "
                 "(--on-event=--x for one with dashes)",
         .read = Into(on_event_),
         .repeats = true,
         .is_setting = false},
        {.name = "--background",
         .help = "start COMMAND without a terminal, writing to --log FILE, and end once it is up: "
                 "with 0 then, and else with what it wrote last",
         .read = Into(in_background_),
         .is_setting = false},
        {.name = "--ready",
         .value = "notify|DURATION|COMMAND",
         .help = "with --background, when it is up: it says READY=1 (sd_notify), it has run for "
                 "this time, or a shell's COMMAND ends with 0",
         .read = [this](const std::string& text) { return ReadReady(text); },
         .standard = "1s"},
        {.name = "--ready-within",
         .value = "DURATION",
         .help = "how long it may take to be up, before it is ended",
         .read = Into(ready_within_),
         .standard = "1m"},
        {.name = "--end-duplicates",
         .help = "first end what looks like COMMAND and runs without a guard",
         .read = Into(end_duplicates_)},
        {.name = "--max-runtime",
         .value = "DURATION",
         .help = "end COMMAND and what it has started after this time, and end with 124",
         .read = [this](const std::string& text) { return Into(max_runtime_.emplace())(text); }},
        {.name = "--beat-every",
         .value = "DURATION",
         .help = "expect a beat of COMMAND this often (guardcheck beat, or WATCHDOG=1 by "
                 "sd_notify); --on-no-beat says what else happens when none comes",
         .read = [this](const std::string& text) { return ReadBeatEvery(text); }},
        {.name = "--on-no-beat",
         .value = "warn|stop|replace-me",
         .help = "when no beat came for twice the time of --beat-every: warn: say so; stop: end "
                 "COMMAND too; replace-me: end it once another start waits for the name",
         .read = OneOf(on_no_beat_, {{"warn", Heartbeat::Then::kWarn},
                                     {"stop", Heartbeat::Then::kEnd},
                                     {"replace-me", Heartbeat::Then::kEndForOther}}),
         .standard = "warn"},
        {.name = "--min-interval",
         .value = "DURATION",
         .help = "do not start sooner than this after the last start of NAME",
         .read = Into(min_interval_)},
        {.name = "--with-parent",
         .help = "end COMMAND, or the wait for the name, when the process that started guardcheck "
                 "ends",
         .read = Into(with_parent_)},
        {.name = "--log",
         .value = "journal|syslog|FILE",
         .help = "where to say what there is to say, instead of standard error; COMMAND's own "
                 "output stays what it is",
         .read = [this](const std::string& text) { return ReadLog(text); },
         .is_setting = false},
        {.name = "--brief",
         .help = "say of a refusal one line, and leave out notices",
         .read = Into(brief_)},
        {.name = "--quiet",
         .help =
             "say nothing of a refusal, as for cron, and leave out notices; warnings and errors "
             "are said",
         .read = Into(quiet_)},
        SlotsOption(slot_count_),
        slot_environment_.AsOption()};
  }

  int Run(const Call& call) override {
    OutliveFailedWrites();  // a log's reader that is gone keeps no command from running
    RefuseCombinations(call);
    if (in_background_) {
      absl::StatusOr<std::optional<Background::Outcome>> begun =
          background_.Begin({.log = log_, .ready = ready_, .within = ready_within_});
      if (!begun.ok()) throw UsageError("--background: " + std::string(begun.status().message()));
      if (begun->has_value()) return TellCameUp(call, background_.settings(), **begun, quiet_);
    }
    Prepare(call);
    // Before it waits, or runs for days.
    const Shown beside = BesideText(call, HoldersElsewhere(call));
    if (!beside.empty()) Say(Priority::kWarning, beside);
    if (end_duplicates_) {
      if (const std::optional<int> code = EndDuplicates(call, grace_)) return *code;
    }
    soleguard::Verdict verdict = Acquire(call);
    if (parent_.has_value() && parent_->HasEnded()) {
      Say(Priority::kNotice, Text(Escape(call.operand), ": the process that started this one, pid ",
                                  parent_->pid(), ", has ended; so nothing is started"));
      return kSignalled + SIGTERM;
    }
    auto* unique = std::get_if<soleguard::Unique>(&verdict);
    return unique != nullptr ? RunAs(call, std::move(unique->guard)) : Decline(call, verdict);
  }

 private:
  void RefuseCombinations(const Call& call) const {
    struct Combination {
      bool is_said;
      const char* why;
    };
    const bool tree = until_ == Supervision::Until::kTree;
    const bool detach = until_ == Supervision::Until::kDetach;
    for (const auto& [is_said, why] : {
             Combination{exec_ && tree,
                         "--exec and --until=tree exclude each other: nobody is left to wait"},
             Combination{exec_ && detach,
                         "--exec and --until=detach exclude each other: COMMAND itself has the "
                         "name then, and so has what it starts"},
             Combination{exec_ && stop_when_lost_,
                         "--exec and --on-lost=stop exclude each other: nobody is left to watch"},
             Combination{exec_ && max_runtime_.has_value(),
                         "--exec and --max-runtime exclude each other: nobody is left to end "
                         "COMMAND"},
             Combination{exec_ && beat_every_ > absl::ZeroDuration(),
                         "--exec and --beat-every exclude each other: nobody is left to expect a "
                         "beat; guardcheck beat --every says it from COMMAND"},
             Combination{call.Says("--on-no-beat") && beat_every_ == absl::ZeroDuration(),
                         "--on-no-beat needs --beat-every: how often a beat is expected"},
             Combination{exec_ && with_parent_,
                         "--exec and --with-parent exclude each other: nobody is left to end "
                         "COMMAND"},
             Combination{exec_ && !on_message_.empty(),
                         "--exec and --on-message exclude each other: nobody would answer"},
             Combination{exec_ && in_background_,
                         "--background and --exec exclude each other: nobody would look on"},
             Combination{in_background_ && !log_.starts_with('/'),
                         "--background needs --log FILE: where COMMAND writes when nobody looks, "
                         "and what is shown if it does not come up"},
             Combination{in_background_ && with_parent_,
                         "--background and --with-parent exclude each other: what is started in "
                         "the background outlives its starter"},
             Combination{replace_.has_value() && slot_count_ > 1,
                         "--replace and --slots exclude each other: which instance is not said; "
                         "guardcheck stop ends them"},
         }) {
      if (is_said) throw UsageError(why);
    }
    RequireSlots(call.common.policy, slot_count_);
    slot_environment_.Check(slot_count_);
  }

  // What the start needs beside the name, as far as it is asked for.
  void Prepare(const Call& call) {
    const auto require = [](const char* option, const absl::Status& status) {
      if (!status.ok()) {
        throw UsageError(absl::StrCat(option, ": ", std::string(status.message())));
      }
    };
    if (with_parent_) {
      absl::StatusOr<Parent> found = Parent::Find();
      require("--with-parent", found.status());
      parent_ = *std::move(found);
    }
    if (!on_message_.empty()) require("--on-message", hook_.emplace(on_message_).Check());
    if (verdict_fd_ >= 0) require("--verdict-fd", TakeVerdictFd(verdict_fd_));
    if (!on_event_.empty()) {
      const std::string title = Text("guardcheck: events of ", Escape(call.operand)).text();
      require("--on-event", events_.Begin(on_event_, [&title] { ShowAs(title); }));
    }
    if (!log_.empty() && !in_background_) require("--log", SayInLog(log_, call.operand));
    if (quiet_ || brief_) SayNoNotices();
  }

  // Gives up when the parent ends.
  soleguard::Verdict Acquire(const Call& call) const {
    soleguard::Options options = call.common.options;
    if (!on_event_.empty()) {
      options.on_event = [this, &call](const HistoryEvent& event) { TellHook(call, event); };
    }
    options.slot_count = slot_count_;
    options.wait = wait_;
    options.replace = replace_;
    options.hand_on = true;
    options.takes_messages = hook_.has_value();
    std::error_code unknown;  // where it was removed, say: then it is not asked for
    options.subject = {.argv = call.command,
                       .working_directory = std::filesystem::current_path(unknown).string()};
    options.waiting = [this, &call] { MentionWait(call, slot_count_, replace_.has_value()); };
    std::optional<StopWith> with_parent;
    if (parent_.has_value()) options.stop = with_parent.emplace(*parent_).token();
    return Guard::Acquire(call.operand, call.common.policy, options);
  }

  // The command is not started.
  int Decline(const Call& call, const soleguard::Verdict& verdict) const {
    if (const auto* duplicate = std::get_if<soleguard::Duplicate>(&verdict)) {
      if (forward_ > absl::ZeroDuration() && Forward(call, *duplicate)) return kYes;
      Tell(
          call, [&] { return RefusalJson(call.operand, call.common, *duplicate); },
          [&] { SayRefused(call, *duplicate); });
      return refused_exit_;
    }
    const auto& undetermined = std::get<soleguard::Undetermined>(verdict);
    Tell(
        call, [&] { return UndeterminedJson(call.operand, call.common, undetermined); },
        [&] { Say(Priority::kError, UndeterminedText(call.operand, undetermined)); });
    return kUndetermined;
  }

  int RunAs(const Call& call, Guard guard) {
    if (const std::optional<int> code = WhenTooSoon(call, guard)) return *code;
    const absl::Status written = guard.WriteSideFiles(files_);
    if (!written.ok()) throw UsageError(SideFileOptions() + std::string(written.message()));
    MentionUnsafe(call.common.policy);
    TellOfPredecessor(call, guard);
    MentionToken(guard, call.common.options.scope);
    Report([&] { return UniqueJson(call.operand, call.common, guard); });
    Export(guard);
    slot_environment_.Apply(guard.slot());
    if (in_background_) {
      absl::Status left = background_.LeaveTerminal();
      if (left.ok()) left = SayInLog(log_, call.operand);
      if (!left.ok()) {
        Say(Priority::kError, Text("--background: ", Said(left.message())));
        return kInternal;
      }
    }
    return exec_ ? BecomeGuarded(std::move(guard), call.command)
                 : RunGuarded(call, std::move(guard));
  }

  // Asked by the one that has the name: nobody starts in between. nullopt: it may run.
  std::optional<int> WhenTooSoon(const Call& call, const Guard& guard) const {
    if (min_interval_ == absl::ZeroDuration()) return std::nullopt;
    const auto last = LastStart(call.common.options.scope, guard.record());
    if (!last.ok()) {
      Say(Priority::kError, Text(Escape(call.operand), ": --min-interval: cannot tell when it was ",
                                 "started last: ", Said(last.status().message())));
      return kUndetermined;
    }
    if (!last->has_value()) return std::nullopt;
    const absl::Duration ago = absl::Now() - (*last)->time;
    if (ago < absl::ZeroDuration()) {
      Say(Priority::kWarning,
          Text(Escape(call.operand), ": --min-interval: the clock was set back; ",
               "the last start is noted for ", Stamp((*last)->time)));
      return std::nullopt;
    }
    if (ago >= min_interval_) return std::nullopt;
    const absl::Time next = (*last)->time + min_interval_;
    Note(call, {.kind = HistoryEvent::Kind::kTooSoon,
                .slot = guard.slot(),
                .who = PartyOf(guard.record()),
                .detail = Text("not before ", Stamp(next)).text()});
    Tell(
        call, [&] { return TooSoonJson(call.operand, call.common, **last, next); },
        [&] {
          if (quiet_) return;
          Say(Priority::kWarning,
              Text(Escape(call.operand), " was started ", Age((*last)->time), " ago, pid ",
                   (*last)->who.pid, ": too soon for --min-interval, which lets it start at ",
                   Stamp(next)));
        });
    return refused_exit_;
  }

  // Notes what the library cannot know.
  void Note(const Call& call, HistoryEvent event) const {
    event.time = absl::Now();
    (void)soleguard::AppendToHistory(  // doctor says where there can be no history
        call.common.options.scope, *soleguard::InstanceName::Parse(call.operand), {&event, 1});
    if (!on_event_.empty()) TellHook(call, event);
  }

  void TellHook(const Call& call, const HistoryEvent& event) const {
    events_.Send(Line(EventJson(call.operand, call.common, event)));
  }

  // `why`: it was ended from outside.
  void NoteExit(const Call& call, const Guard& guard, int code, const std::string& why) const {
    HistoryEvent event{.kind = HistoryEvent::Kind::kExited,
                       .slot = guard.slot(),
                       .who = PartyOf(guard.record()),
                       .exit_code = code};
    event.who.command = soleguard::HistoryCommand(call.command);
    event.detail = why;
    Note(call, std::move(event));
  }

  void TellOfPredecessor(const Call& call, const Guard& guard) const {
    const auto& last = guard.predecessor();
    if (!last.has_value()) return;
    const Left left = LeftBehindBy(*last);
    MentionPredecessor(guard, *last, left);
    if (left.pids.empty()) return;
    Note(call, {.kind = HistoryEvent::Kind::kLeftBehind,
                .slot = guard.slot(),
                .who = PartyOf(*last),
                .detail = Text("pid ", Numbers(left.pids)).text()});
  }

  absl::Status ReadReady(const std::string& text) {
    if (text == "notify") {
      ready_.kind = Readiness::Kind::kNotifies;
    } else if (Into(ready_.time)(text).ok()) {
      ready_.kind = Readiness::Kind::kLasts;
    } else if (const std::string meant = DurationMeant(text); !meant.empty()) {
      return Expected("notify, a duration (" + meant + "?) or a command", text);
    } else {
      ready_ = {.kind = Readiness::Kind::kAnswers, .time = {}, .command = text};
    }
    return absl::OkStatus();
  }

  absl::Status ReadLog(const std::string& text) {
    if (text != "journal" && text != "syslog") return IntoAbsolutePath(log_)(text);
    log_ = text;
    return absl::OkStatus();
  }

  absl::Status ReadBeatEvery(const std::string& text) {
    absl::Status read = Into(beat_every_)(text);
    // Each beat by guardcheck beat is a process.
    if (read.ok() && beat_every_ < kShortestBeat) return Expected("100ms or more", text);
    return read;
  }

  // In front of an error of these files: which of them were asked for.
  std::string SideFileOptions() const {
    const std::string pid_file = files_.pid_file.empty() ? "" : "--pidfile: ";
    const std::string info_file = files_.info_file.empty() ? "" : "--infofile: ";
    return pid_file.empty() || info_file.empty() ? pid_file + info_file : "--pidfile, --infofile: ";
  }

  // From here on says what happens to the claim, and sets `end` when the command shall end for it.
  // (In a thread of the library.)
  void Watch(Guard& guard, const soleguard::WaitFlag& end) const {
    const std::string name = guard.name();
    const absl::Status watched =
        guard.Watch([this, name, &end](const soleguard::Incident& incident) {
          const bool compromised = incident.outcome == soleguard::Incident::Outcome::kCompromised;
          const Shown next = !compromised      ? ""
                             : stop_when_lost_ ? Shown(". Ending the command")
                                               : ". The command runs on (--on-lost=stop ends it)";
          if (compromised && stop_when_lost_) end.Set();
          // Release waits for this: a terminal that is stopped or a log that nobody reads must not
          // hold the name.
          if (MaySay(kLogPatience))
            Say(Priority::kWarning, Text(IncidentText(name, incident), next));
        });
    if (!watched.ok()) Say(Priority::kWarning, Text(Escape(name), ": ", Said(watched.message())));
  }

  // Whether the holder has taken over what the command was to do.
  bool Forward(const Call& call, const soleguard::Duplicate& duplicate) const {
    const absl::StatusOr<soleguard::Answer> answer = soleguard::Send(
        call.operand, call.common.policy, call.common.options, MessageOf(call.command), forward_);
    if (!answer.ok()) {
      Say(Priority::kWarning,
          Text("not delivered to the holder: ", Said(answer.status().message())));
      return false;
    }
    if (!answer->ok) {
      Say(Priority::kWarning, Text("the holder could not do it: ", Escape(answer->text)));
      return false;
    }
    Report([&] { return RefusalJson(call.operand, call.common, duplicate); });
    ShowAnswer(call, *answer);
    return true;
  }

  // The next start on another machine waits for what its server has not confirmed.
  static void SayUnfinished(const absl::Status& released) {
    if (released.ok()) return;
    Say(Priority::kWarning, Text("the command has ended, and the release is not confirmed: ",
                                 Said(released.message())));
  }

  // Messages are answered from now on, in a thread of their own: after the last fork.
  static void TakeMessages(Guard& guard, const MessageHook& hook, const GuardianLink& guardian) {
    const absl::Status takes =
        guard.Receive([&](const soleguard::Sender& sender, const soleguard::Message& message) {
          return hook.Ask(Line(MessageJson(guard, sender, message)), guardian);
        });
    if (takes.ok()) return;
    Say(Priority::kWarning, Text("takes no messages: ", Said(takes.message())));
  }

  // Why the command was not started. What is not asked for is not made: evidence is read from
  // /proc.
  template <typename ToJson, typename SayIt>
  void Tell(const Call& call, ToJson json, SayIt say) const {
    Report(json);
    if (call.common.json) {
      Print(json());
    } else {
      say();
    }
  }

  void SayRefused(const Call& call, const soleguard::Duplicate& duplicate) const {
    if (quiet_) return;
    if (brief_) return Say(Priority::kWarning, RefusalLine(call, duplicate));
    const SlotLimits limits = {.slots = slot_count_, .most = slot_environment_.most()};
    Say(Priority::kWarning, RefusalText(call, duplicate, limits));
  }

  template <typename ToJson>
  void Report(ToJson json) const {
    if (verdict_fd_ < 0) return;
    const absl::Status written = WriteVerdict(verdict_fd_, Line(json()));
    if (!written.ok()) Say(Priority::kError, Text("--verdict-fd: ", Said(written.message())));
  }

  // That what looks like a daemon is ended should surprise nobody.
  static void SayLeft(const Call& call, const Guard& guard,
                      const std::vector<Supervision::LeftProcess>& left, int others) {
    if (call.common.json) {
      Json said = Head(call.operand, call.common);
      said.Set("slot", guard.slot());
      said.Set("left", ArrayOf(left, [](const Supervision::LeftProcess& process) {
                 return Json::Object({{"pid", process.pid}, {"argv", WordsJson(process.argv)}});
               }));
      said.Set("others", others);
      (void)std::fprintf(stderr, "%s\n", Line(said).c_str());
      return;
    }
    std::vector<Shown> shown;
    for (const Supervision::LeftProcess& process : left) {
      shown.push_back(Text("pid ", process.pid, " (", ShortCommandLine(process.argv), ")"));
    }
    Say(Priority::kWarning,
        Text(Escape(guard.name()),
             ": the command has ended; what it left running is being ended too: ",
             Join(shown, ", "), others > 0 ? Text(" and ", others, " more") : Shown(),
             ". For a command that daemonises there is --until=tree, which holds the name as long "
             "as that runs, and --until=detach, which lets it run without the name"));
  }

  // Who hears what the command says to its service manager. `heartbeat`: or nothing yet.
  NotifyRelay::Listeners ListenersOf(std::optional<Heartbeat>& heartbeat) const {
    NotifyRelay::Listeners listeners;
    if (in_background_ && background_.expects_notification()) {
      listeners.ready = [this] { background_.SaysReady(); };
    }
    if (beat_every_ > absl::ZeroDuration()) {
      listeners.watchdog = [&heartbeat] {
        if (heartbeat.has_value()) heartbeat->Hear();
      };
      listeners.watchdog_every = beat_every_;
    }
    return listeners;
  }

  // `relay`: or nullptr.
  void Expect(std::optional<Heartbeat>& heartbeat, const Call& call, Guard& guard,
              NotifyRelay* relay) const {
    const auto note = [this, &call, &guard](HistoryEvent::Kind kind, absl::Duration none_for) {
      const soleguard::Beat beat = {.age = none_for, .every = beat_every_};
      HistoryEvent event{.kind = kind, .slot = guard.slot(), .who = PartyOf(guard.record())};
      event.detail = BeatText(beat);
      Note(call, event);
      return Said(event.detail);
    };
    Heartbeat::Setup setup = {.every = beat_every_, .then = on_no_beat_};
    setup.missed = [this, note, &guard](absl::Duration none_for, bool ever) {
      const Shown beat = note(HistoryEvent::Kind::kNoBeat, none_for);
      const Shown hint =
          ever ? Shown() : ". It has given none so far: does it call guardcheck beat?";
      const Shown next = on_no_beat_ == Heartbeat::Then::kWarn
                             ? Shown(". The command runs on (--on-no-beat=stop ends it)")
                             : Shown();
      if (!MaySay(kLogPatience)) return;
      Say(Priority::kWarning, Text(Escape(guard.name()), ": seems to hang: ", beat, hint, next));
    };
    setup.resumed = [note, &guard](absl::Duration none_for) {
      const Shown beat = note(HistoryEvent::Kind::kBeatsAgain, none_for);
      if (!MaySay(kLogPatience)) return;
      Say(Priority::kNotice, Text(Escape(guard.name()), ": beats again: ", beat));
    };
    if (relay != nullptr && relay->watchdog() > absl::ZeroDuration()) {
      setup.feed_every = relay->watchdog() / 2;  // as sd_watchdog_enabled(3) advises
      setup.feed = [relay] { relay->FeedWatchdog(); };
    }
    heartbeat.emplace(guard, std::move(setup));
  }

  int RunGuarded(const Call& call, Guard given) const {
    const MessageHook* const hook = hook_.has_value() ? &*hook_ : nullptr;
    GuardianLink link;
    const absl::Status linked = link.Open();
    if (!linked.ok()) {
      Say(Priority::kError, Said(linked.message()));
      return kInternal;
    }
    const soleguard::WaitFlag lost;
    std::unique_ptr<NotifyRelay> relay;
    // Destroyed before them, whatever way this ends: its threads use them.
    Guard guard = std::move(given);
    // What is claimed anew later must not be free before the guardian has ended the command.
    auto claim = guard.ShareWithChild(
        [&link](const std::vector<soleguard::UniqueFd>& renewed) { link.Keep(renewed); });
    if (!claim.ok()) {
      Say(Priority::kError, Said(claim.status().message()));
      return kInternal;
    }
    std::optional<Heartbeat> heartbeat;
    absl::StatusOr<std::unique_ptr<NotifyRelay>> from_environment =
        NotifyRelay::FromEnvironment(ListenersOf(heartbeat));
    if (!from_environment.ok()) {
      Say(Priority::kError, Said(from_environment.status().message()));
      return kInternal;
    }
    relay = *std::move(from_environment);
    std::vector<Supervision::Meanwhile> meanwhile;
    if (relay != nullptr) {
      meanwhile.push_back({.fd = relay->fd(), .ready = [&relay] { relay->Pass(); }});
    }
    Endings endings(Escape(guard.name()));
    endings.WhenLost(lost);
    if (parent_.has_value()) endings.WithParent(*parent_);
    const auto fail = [](const Shown& option, const absl::Status& status) {
      Say(Priority::kError, Text(option, ": ", Said(status.message())));
      return kInternal;
    };
    if (max_runtime_.has_value()) {
      const absl::Status begun = endings.After(*max_runtime_);
      if (!begun.ok()) return fail("--max-runtime", begun);
    }
    if (beat_every_ > absl::ZeroDuration()) {
      Expect(heartbeat, call, guard, relay.get());
      const absl::Status begun = heartbeat->Begin();
      if (!begun.ok()) return fail("--beat-every", begun);
      meanwhile.push_back({.fd = heartbeat->fd(), .ready = [&] { heartbeat->Look(); }});
      endings.WithoutBeat(*heartbeat);
    }
    const auto follow = [&guard](const Supervision::Crew& crew) {
      if (!crew.instance.has_value()) return;
      const absl::Status followed = guard.Follow(*crew.instance, crew.guardian);
      if (followed.ok()) return;
      Say(Priority::kWarning,
          Text("the holder record doesn't show the command: ", Said(followed.message())));
    };
    absl::StatusOr<int> code = Supervise(
        {.command = call.command,
         .claim = *std::move(claim),
         .link = &link,
         .hook = on_message_,
         .until = until_,
         .grace = grace_,
         .meanwhile = std::move(meanwhile),
         .ends = endings.all(),
         .started =
             [&](const Supervision::Crew& crew) {
               follow(crew);
               if (in_background_)
                 background_.Begun(crew.instance.has_value() ? crew.instance->pid : -1);
               if (hook != nullptr) TakeMessages(guard, *hook, link);
             },
         .moved = follow,
         .left = [&](const auto& left, int others) { SayLeft(call, guard, left, others); },
         .lasting = [&] { Watch(guard, lost); },
         .ended =
             [&guard, hook] {
               if (hook != nullptr) hook->Stop();
               SayUnfinished(guard.ReleaseAndConfirm());
             }});
    if (code.ok()) {
      NoteExit(call, guard, *code, endings.why());
      return endings.CodeFor(*code);
    }
    Say(Priority::kError, Said(code.status().message()));
    return kInternal;
  }

  static int BecomeGuarded(Guard guard, const std::vector<std::string>& command) {
    const absl::Status kept = guard.KeepOverExec();
    if (!kept.ok()) {
      Say(Priority::kError, Text("--exec: ", Said(kept.message())));
      return kUsage;
    }
    return Become(command);
  }

  Supervision::Until until_ = Supervision::Until::kChild;
  absl::Duration grace_ = absl::Seconds(5);
  absl::Duration wait_ = absl::ZeroDuration();
  std::optional<absl::Duration> replace_;
  bool exec_ = false;
  bool stop_when_lost_ = false;
  soleguard::SideFiles files_;
  int verdict_fd_ = -1;
  int refused_exit_ = kTaken;
  absl::Duration forward_ = absl::ZeroDuration();
  std::string on_message_;
  std::optional<MessageHook> hook_;
  std::vector<std::string> on_event_;
  EventFeeder events_;
  bool in_background_ = false;
  Background background_;
  Readiness ready_;
  absl::Duration ready_within_ = absl::Minutes(1);
  bool end_duplicates_ = false;
  std::optional<absl::Duration> max_runtime_;
  absl::Duration min_interval_ = absl::ZeroDuration();
  absl::Duration beat_every_ = absl::ZeroDuration();
  Heartbeat::Then on_no_beat_ = Heartbeat::Then::kWarn;
  bool with_parent_ = false;
  std::optional<Parent> parent_;
  std::string log_;
  bool brief_ = false;
  bool quiet_ = false;
  std::uint32_t slot_count_ = 1;
  SlotEnvironment slot_environment_;
};

}  // namespace

CommandKind RunCommand() {
  return {.name = "run",
          .help = "run COMMAND as the only instance of NAME",
          .operand = "NAME",
          .takes = CommandKind::Takes::kTimes,
          .behind = CommandKind::Behind::kCommand,
          .make = [] { return std::unique_ptr<Command>(std::make_unique<GuardedRun>()); }};
}

}  // namespace guardcheck
