// gc: removes what names that nobody holds have left.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "command.h"
#include "exit_code.h"
#include "look.h"
#include "show/json.h"
#include <soleguard/collect.h>
#include <soleguard/name.h>
#include <soleguard/names.h>

namespace guardcheck {
namespace {

using soleguard::InstanceName;

Shown NameAndSlot(const InstanceName& name) {
  const Shown text = Escape(name.text());
  return name.slot() == 0 ? text : Text(text, " slot ", name.slot());
}

// Whether it has a directory, or it cannot be told.
bool MayBeKnown(const soleguard::Scope& scope, const std::string& name) {
  const absl::StatusOr<std::vector<InstanceName>> known = soleguard::KnownNames(scope);
  if (!known.ok()) return !absl::IsNotFound(known.status());
  return std::any_of(known->begin(), known->end(),
                     [&name](const InstanceName& one) { return one.text() == name; });
}

class Gc final : public Command {
 public:
  int Run(const Call& call) override {
    const soleguard::Scope& scope = call.common.options.scope;
    bool is_there = call.operand.empty() || MayBeKnown(scope, call.operand);
    absl::StatusOr<std::vector<InstanceName>> names =
        call.operand.empty() ? soleguard::KnownNames(scope)
                             : soleguard::KnownSlots(scope, *InstanceName::Parse(call.operand));
    if (absl::IsNotFound(names.status())) names = std::vector<InstanceName>();
    if (!names.ok()) return CannotLook(names.status());
    for (InstanceName& name : soleguard::NamesOutside(scope)) {
      const bool is_asked = call.operand.empty() || name.text() == call.operand;
      const bool is_known = std::find(names->begin(), names->end(), name) != names->end();
      is_there = is_there || is_asked;
      if (is_asked && !is_known) names->push_back(std::move(name));
    }
    // A name can go once its slots are gone.
    std::stable_sort(names->begin(), names->end(), [](const auto& one, const auto& other) {
      return one.text() != other.text() ? one.text() > other.text() : one.slot() > other.slot();
    });

    int code = kYes;
    Json entries = Json::Array();
    for (const InstanceName& name : *names) {
      // Also one without a directory, which somebody may have deleted: what else it has is removed.
      const absl::Status collected = soleguard::Collect(name, scope);
      // That it is in use is an answer, not a failure.
      if (!collected.ok() && !absl::IsFailedPrecondition(collected)) code = kUndetermined;
      const bool removed = collected.ok() && is_there;
      const Shown shown = NameAndSlot(name);
      const Shown why = collected.ok() ? Text("nothing of ", shown, " is there, in scope ",
                                              Escape(scope.ToString()))
                                       : Said(collected.message());
      if (call.common.json) {
        Json entry = Json::Object(
            {{"name", Escape(name.text())}, {"slot", name.slot()}, {"removed", removed}});
        if (!removed) entry.Set("reason", why);
        entries.Add(entry);
      } else {
        Shown line = removed ? Text("removed ", shown) : why;
        if (!collected.ok()) line = Text("kept ", shown, ": ", why);
        (void)std::puts(line.text().c_str());
      }
    }
    if (call.common.json) {
      Print(Json::Object({{"schema", 1}, {"scope", Escape(scope.ToString())}, {"names", entries}}));
    }
    return code;
  }
};

}  // namespace

CommandKind GcCommand() {
  return {.name = "gc",
          .help = "remove what names that nobody holds have left behind",
          .operand = "[NAME]",
          .make = [] { return std::unique_ptr<Command>(std::make_unique<Gc>()); }};
}

}  // namespace guardcheck
