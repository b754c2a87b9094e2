// check: may it start now? Asks every layer, and takes none.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "command.h"
#include "exit_code.h"
#include "line/slots.h"
#include "look.h"
#include "show/other_users.h"
#include "show/terminal.h"
#include "show/verdict.h"
#include "soleguard/inspect.h"
#include "soleguard/options.h"

namespace guardcheck {
namespace {

// An observer looks for the like of the command, unless its parameters say what to look for.
void NeedsNoCommand(const soleguard::Policy& policy) {
  for (const soleguard::LayerSpec& layer : policy.layers()) {
    if (layer.kind->observer && layer.parameters.empty()) {
      throw UsageError("check: layer " + std::string(layer.kind->name) +
                       " looks for other instances of the command: say behind -- which one it is");
    }
  }
}

class Check final : public Command {
 public:
  std::vector<Option> Options() override { return {SlotsOption(slot_count_)}; }

  int Run(const Call& call) override {
    RequireSlots(call.common.policy, slot_count_);
    soleguard::Options options = ToLook(call.common);
    options.slot_count = slot_count_;
    if (call.command.empty()) {
      NeedsNoCommand(call.common.policy);
    } else {
      options.subject = {.argv = call.command, .working_directory = ""};
    }
    absl::StatusOr<soleguard::Forecast> forecast =
        soleguard::Check(call.operand, call.common.policy, options);
    if (!forecast.ok()) return CannotLook(forecast.status());
    const std::vector<soleguard::OtherUsersHolder> elsewhere = HoldersElsewhere(call);
    if (call.common.json) {
      Json object = CheckJson(call.operand, call.common, *forecast);
      SetElsewhere(object, elsewhere);
      Print(object);
    } else {
      Show(Text(CheckText(call, *forecast, {.slots = slot_count_}),
                ElsewhereText(call, elsewhere, "status")),
           stdout);
    }
    switch (forecast->decision) {
      case soleguard::Arbiter::Decision::kUnique:
        MentionUnsafe(call.common.policy);
        return kYes;
      case soleguard::Arbiter::Decision::kDuplicate:
        return kTaken;
      case soleguard::Arbiter::Decision::kUndetermined:
        break;
    }
    return kUndetermined;
  }

 private:
  std::uint32_t slot_count_ = 1;
};

}  // namespace

CommandKind CheckCommand() {
  return {.name = "check",
          .help = "may it start now? Asks every layer, takes none",
          .operand = "NAME",
          .takes = CommandKind::Takes::kTimes,
          .behind = CommandKind::Behind::kMayBeCommand,
          .make = [] { return std::unique_ptr<Command>(std::make_unique<Check>()); }};
}

}  // namespace guardcheck
