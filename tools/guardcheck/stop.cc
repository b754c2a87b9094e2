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
#include "report.h"
#include "soleguard/inspect.h"
#include "soleguard/name.h"
#include "soleguard/names.h"
#include "soleguard/registry.h"
#include "terminal.h"

namespace guardcheck {
namespace {

using soleguard::InstanceName;

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
    int code = kYes;
    for (const InstanceName& slot : *slots) {
      const int of_slot = StopSlot(call, options, slot);
      if (of_slot == kUsage) return of_slot;
      if (code != kTaken && of_slot != kYes) code = of_slot;  // that one runs is told first
    }
    return code;
  }

 private:
  int StopSlot(const Call& call, const soleguard::Options& options, const InstanceName& name) {
    stop_options_.slot = name.slot();
    const absl::StatusOr<soleguard::StopReport> report =
        soleguard::StopRunning(call.operand, call.common.policy, options, stop_options_);
    if (!report.ok()) return CannotLook(report.status());
    // Slots that were used once are many; slot 0 is the name.
    const bool is_idle = report->outcome == soleguard::StopReport::Outcome::kNotRunning;
    if (!is_idle || name.slot() == 0 || slot_ >= 0) {
      if (call.common.json) {
        Print(StopJson(name, call.common, *report));
      } else {
        Show(StopText(name, call.common, *report), stdout);
      }
    }
    if (report->is_free()) return kYes;
    return report->outcome == soleguard::StopReport::Outcome::kRuns ? kTaken : kUndetermined;
  }

  soleguard::StopOptions stop_options_;
  bool only_holder_ = false;
  int slot_ = -1;  // all
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
