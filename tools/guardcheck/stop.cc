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
#include "terminal.h"

namespace guardcheck {
namespace {

// Without the command the observer does not know what a duplicate looks like.
void KnowsDuplicates(const Call& call) {
  const std::vector<soleguard::LayerSpec>& layers = call.common.policy.layers();
  const bool known =
      std::any_of(layers.begin(), layers.end(), [&call](const soleguard::LayerSpec& layer) {
        return soleguard::FindLayerKind(layer.kind)->observer &&
               (!layer.parameters.empty() || !call.command.empty());
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
             .help = "end the instance in slot K, and no other",
             .read = Into(slot_, 0, static_cast<int>(soleguard::kMaxSlots) - 1),
             .standard = "0",
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
    stop_options_.slot = static_cast<std::uint32_t>(slot_);
    soleguard::Options options = ToLook(call.common);
    if (!call.command.empty()) options.subject = {.argv = call.command, .working_directory = ""};
    const absl::StatusOr<soleguard::StopReport> report =
        soleguard::StopRunning(call.operand, call.common.policy, options, stop_options_);
    if (!report.ok()) return CannotLook(report.status());
    if (call.common.json) {
      Print(StopJson(call.operand, call.common, *report));
    } else {
      Show(StopText(call.operand, call.common, *report), stdout);
    }
    if (report->is_free()) return kYes;
    return report->outcome == soleguard::StopReport::Outcome::kRuns ? kTaken : kUndetermined;
  }

 private:
  soleguard::StopOptions stop_options_;
  bool only_holder_ = false;
  int slot_ = 0;
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
