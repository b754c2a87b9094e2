// stop: ends the instance, and waits until the name is free.
#include "soleguard/stop.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "command.h"
#include "exit_code.h"
#include "look.h"
#include "show/holder.h"
#include "show/json.h"
#include "show/other_names.h"
#include "show/other_users.h"
#include "show/terminal.h"
#include "show/words.h"
#include "soleguard/inspect.h"
#include "soleguard/name.h"
#include "soleguard/names.h"

namespace guardcheck {
namespace {

using soleguard::InstanceName;
using soleguard::StopReport;

// Without the command the observer does not know what a duplicate looks like.
void KnowsDuplicates(const Call& call) {
  const std::vector<soleguard::LayerSpec>& layers = call.common.policy.layers();
  const bool known =
      std::any_of(layers.begin(), layers.end(), [&call](const soleguard::LayerSpec& layer) {
        return layer.kind->observer && (!layer.parameters.empty() || !call.command.empty());
      });
  if (known) return;
  throw UsageError(
      "stop: --duplicates needs a policy with scan, and what to look for: the command behind --, "
      "or parameters of scan");
}

Shown SignalsText(const soleguard::StoppedProcess& process) {
  if (process.sent.empty()) {
    return process.reason == soleguard::StoppedProcess::Reason::kCommand
               ? Shown("told by its guard")
               : "not signalled";
  }
  std::vector<Shown> signals;
  for (const soleguard::Signal signal : process.sent) signals.push_back(WordOf(signal));
  return Join(signals, ", ");
}

Shown EndText(const soleguard::StoppedProcess& process) {
  switch (process.liveness) {
    case soleguard::Liveness::kGone:
      return "ended";
    case soleguard::Liveness::kDying:
      return "is ending";
    case soleguard::Liveness::kUnknown:
      return "cannot be seen from here";
    case soleguard::Liveness::kAlive:
      break;
  }
  return process.is_frozen() ? Shown("runs, frozen") : "runs";
}

Shown ProcessText(const soleguard::StoppedProcess& process, const StopReport& report) {
  Shown text =
      Text("  pid ", process.identity.pid, " (", WordOf(process.reason),
           process.guarded_by.empty() ? Shown() : Text(", guarded by ", Said(process.guarded_by)),
           "): ", SignalsText(process), "; ", EndText(process), "\n");
  if (!process.refused.ok() && process.refused != report.status) {
    text += Text("      ", Said(process.refused.message()), "\n");
  }
  return text;
}

Shown HeadText(const InstanceName& name, const StopReport& report) {
  const Shown shown = ShownSlot(name);
  const Shown why = Said(report.status.message());
  switch (report.outcome) {
    case StopReport::Outcome::kNotRunning:
      return Text(shown, " was not running.\n");
    case StopReport::Outcome::kStopped:
      return Text(shown, " is stopped; the name is free.\n");
    case StopReport::Outcome::kRuns:
      return Text(shown, " still runs: ", why, ".\n");
    case StopReport::Outcome::kUndetermined:
      break;
  }
  return Text(shown, " was not stopped: ", why, ".\n");
}

// Of one slot.
Shown StopText(const InstanceName& name, const Call& call, const StopReport& report) {
  Shown text = HeadText(name, report);
  if (report.outcome == StopReport::Outcome::kNotRunning) {
    return Text(text, OtherNamesText(name.text(), call.common));
  }
  for (const soleguard::StoppedProcess& process : report.processes) {
    text += ProcessText(process, report);
  }
  if (!report.holder.has_value()) return text;
  text += Text("\nWho holds it\n", HolderText(*report.holder));
  if (report.outcome != StopReport::Outcome::kRuns) return text;
  const bool unguarded = report.holder->standing == soleguard::Standing::kUnguarded;
  std::vector<std::string> options = {unguarded ? "--duplicates" : "--force"};
  if (name.slot() != 0) options.insert(options.begin(), {"--slot", std::to_string(name.slot())});
  return Text(
      text, "\nWhat you can do\n",
      ProposalText(call,
                   {.command = "stop",
                    .options = options,
                    .without = {"--slot", "--duplicates", "--force"},
                    .has_command = true,
                    .what = unguarded ? Shown("ends what runs without a guard, too")
                                      : "kills it (SIGKILL) if it has not ended at the timeout"}));
}

Json ProcessJson(const soleguard::StoppedProcess& process) {
  Json object = IdentityJson(process.identity);
  object.Set("reason", WordOf(process.reason));
  object.Set("signals", ArrayOf(process.sent, &WordOf<soleguard::Signal>));
  object.Set("liveness", WordOf(process.liveness));
  object.Set("frozen", process.is_frozen());
  if (!process.guarded_by.empty()) object.Set("guarded_by", Said(process.guarded_by));
  if (!process.refused.ok()) object.Set("refused", Said(process.refused.message()));
  return object;
}

Json StopJson(const InstanceName& name, const Common& common, const StopReport& report) {
  Json object = Head(name.text(), common);
  object.Set("slot", name.slot());
  object.Set("outcome", WordOf(report.outcome));
  if (!report.status.ok()) object.Set("reason", Said(report.status.message()));
  object.Set("processes", ArrayOf(report.processes, [](const soleguard::StoppedProcess& process) {
               return ProcessJson(process);
             }));
  object.Set("holder", HolderOrNull(report.holder.has_value() ? &*report.holder : nullptr));
  return object;
}

class Stop final : public Command {
 public:
  std::vector<Option> Options() override {
    return {{.name = "--timeout",
             .value = "DURATION",
             .help = "how long it may take to end",
             .read = Into(stop_options_.timeout),
             .standard = "30s"},
            {.name = "--force",
             .help = "kill what has not ended by then",
             .read = Into(stop_options_.force),
             .is_setting = false},
            {.name = "--slot",
             .value = "K",
             .help = "end the instance in slot K, and no other (default: all slots)",
             .read = Into(slot_, 0, static_cast<int>(soleguard::kMaxSlots) - 1),
             .is_setting = false},
            {.name = "--only-holder",
             .help = "with --force: kill the holder alone, and not its descendants",
             .read = Into(only_holder_),
             .is_setting = false},
            {.name = "--duplicates",
             .help = "end also those that run without a guard, as scan sees them",
             .read = Into(stop_options_.duplicates),
             .is_setting = false}};
  }

  int Run(const Call& call) override {
    if (stop_options_.duplicates) KnowsDuplicates(call);
    if (only_holder_) stop_options_.what = soleguard::StopOptions::What::kHolder;
    soleguard::Options options = ToLook(call.common);
    if (!call.command.empty()) options.subject = {.argv = call.command, .working_directory = ""};

    const InstanceName name = *InstanceName::Parse(call.operand);
    absl::StatusOr<std::vector<InstanceName>> slots = std::vector{name.Slot(0)};
    if (slot_ >= 0) {
      slots->front() = name.Slot(static_cast<std::uint32_t>(slot_));
    } else if (soleguard::CheckSlots(call.common.policy, 2).ok()) {
      slots = soleguard::KnownSlots(options.scope, name);
    }
    if (!slots.ok()) return CannotLook(slots.status());
    elsewhere_ = HoldersElsewhere(call);
    int code = kYes;
    for (const InstanceName& slot : *slots) {
      const int of_slot = StopSlot(call, options, slot);
      if (of_slot == kUsage) return of_slot;
      if (code != kTaken && of_slot != kYes) code = of_slot;  // that one runs is told first
    }
    if (!call.common.json) Show(ElsewhereText(call, elsewhere_, "stop"), stdout);
    return code;
  }

 private:
  int StopSlot(const Call& call, const soleguard::Options& options, const InstanceName& name) {
    stop_options_.slot = name.slot();
    const absl::StatusOr<StopReport> report =
        soleguard::StopRunning(call.operand, call.common.policy, options, stop_options_);
    if (!report.ok()) return CannotLook(report.status());
    // Slots that were used once are many; slot 0 is the name.
    const bool is_idle = report->outcome == StopReport::Outcome::kNotRunning;
    if (!is_idle || name.slot() == 0 || slot_ >= 0) {
      if (call.common.json) {
        Json object = StopJson(name, call.common, *report);
        SetElsewhere(object, elsewhere_);
        Print(object);
      } else {
        Show(StopText(name, call, *report), stdout);
      }
    }
    if (report->is_free()) return kYes;
    return report->outcome == StopReport::Outcome::kRuns ? kTaken : kUndetermined;
  }

  soleguard::StopOptions stop_options_;
  bool only_holder_ = false;
  int slot_ = -1;  // all
  std::vector<soleguard::OtherUsersHolder> elsewhere_;
};

}  // namespace

CommandKind StopCommand() {
  return {.name = "stop",
          .help = "end it, and wait until the name is free",
          .operand = "NAME",
          .takes = CommandKind::Takes::kTimes,
          .behind = CommandKind::Behind::kMayBeCommand,
          .make = [] { return std::unique_ptr<Command>(std::make_unique<Stop>()); }};
}

}  // namespace guardcheck
