// status: is it running, and who is it?
#include "show/status.h"

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "command.h"
#include "exit_code.h"
#include "show/holder.h"
#include "show/other_names.h"
#include "show/other_users.h"
#include "show/say.h"
#include "show/terminal.h"
#include "show/words.h"
#include "soleguard/names.h"

namespace guardcheck {
namespace {

// Of each slot that is held, the process that runs; 69: one that holds cannot be named.
int PrintPids(const std::vector<Listed>& slots) {
  bool all_known = true;
  for (const Listed& slot : slots) {
    const soleguard::Holder* holder = slot.inspection.holder();
    if (holder == nullptr) continue;
    const std::optional<soleguard::ProcessIdentity> running = RunningProcessOf(*holder);
    if (running.has_value()) {
      Show(Text(running->pid, "\n"), stdout);
    } else {
      all_known = false;
      Say(Priority::kError, Text(ShownSlot(slot.name),
                                 " is held by a process that cannot be named; "
                                 "guardcheck status says what is seen of it"));
    }
  }
  return all_known ? kYes : kUndetermined;
}

class Status final : public Command {
 public:
  std::vector<Option> Options() override {
    return {{.name = "--pid",
             .help = "print the pid of what runs and nothing else, a line for each slot",
             .read = Into(pid_),
             .is_setting = false}};
  }

  int Run(const Call& call) override {
    if (pid_ && call.common.json) throw UsageError("--pid and --json exclude each other");
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
    if (pid_ && running) return PrintPids(slots);
    if (pid_) return blind ? kUndetermined : kNotRunning;
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

 private:
  bool pid_ = false;
};

}  // namespace

CommandKind StatusCommand() {
  return {.name = "status", .help = "is it running, and who is it", .operand = "NAME", .make = [] {
            return std::unique_ptr<Command>(std::make_unique<Status>());
          }};
}

}  // namespace guardcheck
