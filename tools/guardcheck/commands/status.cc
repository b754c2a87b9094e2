// status: is it running, and who is it?
#include "show/status.h"

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "command.h"
#include "exit_code.h"
#include "show/other_names.h"
#include "show/other_users.h"
#include "show/terminal.h"
#include "soleguard/names.h"

namespace guardcheck {
namespace {

class Status final : public Command {
 public:
  int Run(const Call& call) override {
    const auto name = soleguard::InstanceName::Parse(call.operand);
    const soleguard::Scope& scope = call.common.options.scope;
    absl::StatusOr<std::vector<soleguard::InstanceName>> known =
        soleguard::KnownSlots(scope, *name);
    // Where the directory cannot be read, the layers say so of slot 0.
    if (!known.ok()) known = std::vector{*name};
    std::vector<Listed> slots;
    bool running = false;
    bool blind = false;
    for (const soleguard::InstanceName& slot : *known) {
      slots.push_back(LookAt(slot, call.common));
      running = running || slots.back().inspection.holder() != nullptr;
      blind = blind || slots.back().inspection.blind();
    }
    const std::vector<soleguard::OtherUsersHolder> elsewhere = HoldersElsewhere(call);
    if (call.common.json) {
      Json object = StatusJson(call.operand, call.common, slots);
      SetElsewhere(object, elsewhere);
      Print(object);
    } else {
      const bool is_over = !running && !blind;
      Show(Text(StatusText(call.operand, slots), ElsewhereText(call, elsewhere, "status"),
                is_over ? OtherNamesText(call.operand, call.common) : Shown()),
           stdout);
    }
    if (running) return kYes;
    return blind ? kUndetermined : kNotRunning;
  }
};

}  // namespace

CommandKind StatusCommand() {
  return {.name = "status", .help = "is it running, and who is it", .operand = "NAME", .make = [] {
            return std::unique_ptr<Command>(std::make_unique<Status>());
          }};
}

}  // namespace guardcheck
