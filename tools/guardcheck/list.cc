// list: the running instances of the scope.
#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "command.h"
#include "exit_code.h"
#include "look.h"
#include "report.h"
#include "terminal.h"
#include <soleguard/inspect.h>
#include <soleguard/name.h>
#include <soleguard/names.h>
#include <soleguard/text.h>

namespace guardcheck {
namespace {

class List final : public Command {
 public:
  std::vector<Option> Options() override {
    return {{.name = "--names",
             .help = "print the names only, one a line, as they are (escaped on a terminal)",
             .read = Into(names_),
             .is_setting = false}};
  }

  int Run(const Call& call) override {
    const Common& common = call.common;
    if (names_ && common.json) throw UsageError("list: --names or --json, not both");
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
    if (names_) {
      PrintNames(running);
    } else if (common.json) {
      Print(ListJson(common, running));
    } else {
      Show(ListText(running), stdout);
    }
    return blind ? kUndetermined : kYes;
  }

 private:
  // No name has a newline in it.
  static void PrintNames(const std::vector<Listed>& running) {
    std::set<std::string> names;  // once, however many slots
    for (const Listed& listed : running) names.insert(listed.name.text());
    const bool escaped = IsTerminal(stdout);
    for (const std::string& name : names) {
      (void)std::puts((escaped ? soleguard::EscapeBytes(name) : name).c_str());
    }
  }

  bool names_ = false;
};

}  // namespace

CommandKind ListCommand() {
  return {
      .name = "list", .help = "list the running instances of the scope", .operand = "", .make = [] {
        return std::unique_ptr<Command>(std::make_unique<List>());
      }};
}

}  // namespace guardcheck
