// list: the running instances of the scope.
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "command.h"
#include "exit_code.h"
#include "look.h"
#include "report.h"
#include "terminal.h"

namespace guardcheck {
namespace {

class List final : public Command {
 public:
  int Run(const Call& call) override {
    const Common& common = call.common;
    absl::StatusOr<std::vector<soleguard::InstanceName>> names =
        soleguard::KnownNames(common.options.scope);
    if (absl::IsNotFound(names.status())) names = std::vector<soleguard::InstanceName>();
    if (!names.ok()) return CannotLook(names.status());

    std::vector<Listed> running;
    bool blind = false;
    for (const soleguard::InstanceName& name : *names) {
      Listed listed{.name = name,
                    .inspection = soleguard::Inspect(name, common.policy, ToLook(common))};
      if (listed.inspection.holder() != nullptr) {
        running.push_back(std::move(listed));
      } else if (listed.inspection.blind()) {
        blind = true;
        Show(StatusText(name.text(), {listed}), stderr);
      }
    }
    if (common.json) {
      Print(ListJson(common, running));
    } else {
      Show(ListText(running), stdout);
    }
    return blind ? kUndetermined : kYes;
  }
};

}  // namespace

CommandKind ListCommand() {
  return {
      .name = "list", .help = "list the running instances of the scope", .operand = "", .make = [] {
        return std::unique_ptr<Command>(std::make_unique<List>());
      }};
}

}  // namespace guardcheck
