// gc: removes what names that nobody holds have left.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <boost/json.hpp>

#include "command.h"
#include "exit_code.h"
#include "look.h"
#include "report.h"
#include <soleguard/collect.h>
#include <soleguard/name.h>
#include <soleguard/names.h>
#include <soleguard/text.h>

namespace guardcheck {
namespace {

namespace json = boost::json;
using soleguard::EscapeBytes;
using soleguard::InstanceName;

std::string Shown(const InstanceName& name) {
  return name.slot() == 0 ? EscapeBytes(name.text())
                          : absl::StrCat(EscapeBytes(name.text()), " slot ", name.slot());
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
    json::array entries;
    for (const InstanceName& name : *names) {
      // Also one without a directory, which somebody may have deleted: what else it has is removed.
      const absl::Status collected = soleguard::Collect(name, scope);
      // That it is in use is an answer, not a failure.
      if (!collected.ok() && !absl::IsFailedPrecondition(collected)) code = kUndetermined;
      const bool removed = collected.ok() && is_there;
      const std::string why = collected.ok()
                                  ? absl::StrCat("nothing of ", Shown(name), " is there, in scope ",
                                                 EscapeBytes(scope.ToString()))
                                  : std::string(collected.message());
      if (call.common.json) {
        json::object entry{
            {"name", EscapeBytes(name.text())}, {"slot", name.slot()}, {"removed", removed}};
        if (!removed) entry["reason"] = Said(why);
        entries.push_back(std::move(entry));
      } else {
        std::string line = removed ? "removed " + Shown(name) : why;
        if (!collected.ok()) line = absl::StrCat("kept ", Shown(name), ": ", why);
        (void)std::puts(line.c_str());
      }
    }
    if (call.common.json) {
      Print(json::object{
          {"schema", 1}, {"scope", EscapeBytes(scope.ToString())}, {"names", std::move(entries)}});
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
