// status: is it running, and who is it?
#include <cstdio>
#include <memory>
#include <string>

#include "command.h"
#include "exit_code.h"
#include "look.h"
#include "report.h"

namespace guardcheck {
namespace {

class Status final : public Command {
 public:
  int Run(const Call& call) override {
    absl::StatusOr<soleguard::Inspection> inspection =
        soleguard::Inspect(call.operand, call.common.policy, ToLook(call.common));
    if (!inspection.ok()) return CannotLook(inspection.status());
    if (call.common.json) {
      Print(StatusJson(call.operand, call.common, *inspection));
    } else {
      (void)std::fputs(StatusText(call.operand, *inspection).c_str(), stdout);
    }
    if (inspection->holder() != nullptr) return kYes;
    return inspection->blind() ? kUndetermined : kNotRunning;
  }
};

}  // namespace

CommandKind StatusCommand() {
  return {.name = "status",
          .help = "status NAME: is it running, and who is it",
          .operand = "NAME",
          .make = [] { return std::unique_ptr<Command>(std::make_unique<Status>()); }};
}

}  // namespace guardcheck
