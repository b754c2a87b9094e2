// gc: removes what names that nobody holds have left.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <absl/time/clock.h>
#include <absl/time/time.h>

#include "command.h"
#include "exit_code.h"
#include "look.h"
#include "show/json.h"
#include <soleguard/collect.h>
#include <soleguard/history.h>
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

struct ToCollect {
  std::vector<InstanceName> names;  // a name behind its slots: it can go once they are gone
  bool is_there = true;             // something of what was asked for
};

absl::StatusOr<ToCollect> NamesToCollect(const soleguard::Scope& scope, const std::string& asked) {
  ToCollect found{.names = {}, .is_there = asked.empty() || MayBeKnown(scope, asked)};
  absl::StatusOr<std::vector<InstanceName>> names =
      asked.empty() ? soleguard::KnownNames(scope)
                    : soleguard::KnownSlots(scope, *InstanceName::Parse(asked));
  if (!names.ok() && !absl::IsNotFound(names.status())) return names.status();
  if (names.ok()) found.names = *std::move(names);
  for (InstanceName& name : soleguard::NamesOutside(scope)) {
    if (!asked.empty() && name.text() != asked) continue;
    found.is_there = true;
    const bool is_known =
        std::find(found.names.begin(), found.names.end(), name) != found.names.end();
    if (!is_known) found.names.push_back(std::move(name));
  }
  std::stable_sort(found.names.begin(), found.names.end(), [](const auto& one, const auto& other) {
    return one.text() != other.text() ? one.text() > other.text() : one.slot() > other.slot();
  });
  return found;
}

// Removes the history of the name that was asked for, or those that nobody has added to for a long
// time; not of the names in `kept`, which are in use. Gives the names whose history was removed.
absl::StatusOr<std::vector<InstanceName>> RemoveHistories(const soleguard::Scope& scope,
                                                          const std::string& asked,
                                                          const std::set<std::string>& kept) {
  constexpr absl::Duration kKept = absl::Hours(30 * 24);
  const absl::StatusOr<std::vector<InstanceName>> names = soleguard::NamesWithHistory(scope);
  // Its users share no state directory, and so have none.
  if (absl::IsFailedPrecondition(names.status())) return std::vector<InstanceName>();
  if (!names.ok()) return names;
  std::vector<InstanceName> removed;
  for (const InstanceName& name : *names) {
    if (kept.contains(name.text()) || (!asked.empty() && name.text() != asked)) continue;
    const absl::Time before = asked.empty() ? absl::Now() - kKept : absl::InfiniteFuture();
    const absl::StatusOr<bool> gone = soleguard::RemoveHistory(scope, name, before);
    if (!gone.ok()) return gone.status();
    if (*gone) removed.push_back(name);
  }
  return removed;
}

class Gc final : public Command {
 public:
  int Run(const Call& call) override {
    const soleguard::Scope& scope = call.common.options.scope;
    const absl::StatusOr<ToCollect> found = NamesToCollect(scope, call.operand);
    if (!found.ok()) return CannotLook(found.status());
    int code = kYes;
    std::set<std::string> kept;
    Json entries = Json::Array();
    for (const InstanceName& name : found->names) {
      // Also one without a directory, which somebody may have deleted: what else it has is removed.
      const absl::Status collected = soleguard::Collect(name, scope);
      // That it is in use is an answer, not a failure.
      if (!collected.ok() && !absl::IsFailedPrecondition(collected)) code = kUndetermined;
      if (!collected.ok()) kept.insert(name.text());
      const bool removed = collected.ok() && found->is_there;
      const Shown why = collected.ok() ? Text("nothing of ", NameAndSlot(name),
                                              " is there, in scope ", Escape(scope.ToString()))
                                       : Said(collected.message());
      if (call.common.json) {
        entries.Add(Entry(name, removed, why));
      } else {
        Shown line = removed ? Text("removed ", NameAndSlot(name)) : why;
        if (!collected.ok()) line = Text("kept ", NameAndSlot(name), ": ", why);
        (void)std::puts(line.text().c_str());
      }
    }
    const absl::StatusOr<std::vector<InstanceName>> histories =
        RemoveHistories(scope, call.operand, kept);
    if (!histories.ok()) code = CannotLook(histories.status());
    if (call.common.json) {
      Json object =
          Json::Object({{"schema", 1}, {"scope", Escape(scope.ToString())}, {"names", entries}});
      object.Set("histories", ArrayOf(histories.ok() ? *histories : std::vector<InstanceName>(),
                                      [](const auto& name) { return Json(Escape(name.text())); }));
      Print(object);
    } else if (histories.ok()) {
      for (const InstanceName& name : *histories) {
        (void)std::puts(Text("removed the history of ", Escape(name.text())).text().c_str());
      }
    }
    return code;
  }

 private:
  static Json Entry(const InstanceName& name, bool removed, const Shown& why) {
    Json entry =
        Json::Object({{"name", Escape(name.text())}, {"slot", name.slot()}, {"removed", removed}});
    if (!removed) entry.Set("reason", why);
    return entry;
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
