// list: the running instances of the scope.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <absl/time/time.h>

#include "command.h"
#include "exit_code.h"
#include "look.h"
#include "show/holder.h"
#include "show/json.h"
#include "show/other_users.h"
#include "show/status.h"
#include "show/terminal.h"
#include "show/words.h"
#include <soleguard/inspect.h>
#include <soleguard/layer.h>
#include <soleguard/name.h>
#include <soleguard/names.h>

namespace guardcheck {
namespace {

// The layers that see the holder, and with a question mark those that cannot tell.
Shown SeenBy(const soleguard::Inspection& inspection) {
  std::vector<Shown> layers;
  for (const auto& layer : inspection.layers) {
    if (std::holds_alternative<soleguard::Free>(layer.sighting)) continue;
    const bool blind = std::holds_alternative<soleguard::Unavailable>(layer.sighting);
    layers.push_back(Text(Escape(layer.layer), blind ? "?" : Shown()));
  }
  return Join(layers, ",");
}

// Without the zone, which the heading has: a row shall fit on a terminal of 80 columns.
Shown TimeOf(absl::Time time) {
  return Said(absl::FormatTime("%Y-%m-%d %H:%M:%S", time, absl::UTCTimeZone()));
}

// One name in a list, as shown in columns.
struct Row {
  Shown name;
  Shown pid = "?";
  Shown started = "?";
  Shown user = "?";
  Shown seen_by;
  Shown command;
};

Row RowOf(const Listed& listed) {
  const soleguard::Holder& holder = *listed.inspection.holder();
  Row row{.name = ShownSlot(listed.name),
          .seen_by = SeenBy(listed.inspection),
          .command = Said(holder.evidence)};
  if (!holder.record.has_value()) return row;
  const soleguard::HolderRecord& record = *holder.record;
  const auto process = Live(record.running());
  row.pid = Text(record.running().pid);
  if (!record.is_newer()) row.started = TimeOf(record.started);
  row.user = Escape(record.user);
  row.command = process.has_value() ? CommandLine(process->argv) : Escape(record.executable);
  return row;
}

// Below the name whose holder seems to hang.
void AddOverdue(const Listed& listed, std::vector<Row>& rows) {
  const Shown overdue = OverdueText(*listed.inspection.holder());
  if (overdue.empty()) return;
  rows.push_back({.name = "  overdue",
                  .pid = "",
                  .started = "",
                  .user = "",
                  .seen_by = "",
                  .command = overdue});
}

// Below the name that they wait for.
void AddWaiters(const Listed& listed, std::vector<Row>& rows) {
  if (!listed.waiters.ok()) return;
  std::size_t place = 0;
  for (const soleguard::Waiter& waiter : *listed.waiters) {
    Row& row = rows.emplace_back(Row{.name = Text("  waits: ", ++place)});
    if (waiter.processes.empty()) continue;
    row.pid = Text(waiter.processes.front().pid);
    const auto process = Live(waiter.processes.front());
    if (!process.has_value()) continue;
    row.started = TimeOf(process->started);
    row.user = Escape(process->user);
    row.command = CommandLine(process->argv);
  }
}

// Of a column: one long text does not push all others away.
std::size_t WidthOf(const std::vector<Row>& rows, Shown Row::*column) {
  constexpr std::size_t kMost = 40;
  std::size_t width = 0;
  for (const Row& row : rows) width = std::max(width, (row.*column).text().size());
  return std::min(width, kMost);
}

Shown ListText(const std::vector<Listed>& running) {
  if (running.empty()) return "No guarded program is running in this scope.\n";
  std::vector<Row> rows = {{.name = "NAME",
                            .pid = "PID",
                            .started = "STARTED (UTC)",
                            .user = "USER",
                            .seen_by = "SEEN BY",
                            .command = "COMMAND"}};
  for (const Listed& listed : running) {
    rows.push_back(RowOf(listed));
    AddOverdue(listed, rows);
    AddWaiters(listed, rows);
  }
  const std::size_t name = WidthOf(rows, &Row::name);
  const std::size_t pid = WidthOf(rows, &Row::pid);
  const std::size_t started = WidthOf(rows, &Row::started);
  const std::size_t user = WidthOf(rows, &Row::user);
  const std::size_t seen_by = WidthOf(rows, &Row::seen_by);
  Shown text;
  for (const Row& row : rows) {
    text += Text(Padded(row.name, name), "  ", PaddedLeft(row.pid, pid), "  ",
                 Padded(row.started, started), "  ", Padded(row.user, user), "  ",
                 Padded(row.seen_by, seen_by), "  ", row.command, "\n");
  }
  return text;
}

Json ListJson(const Common& common, const std::vector<Listed>& running) {
  return Json::Object({{"schema", 1},
                       {"scope", Escape(common.options.scope.ToString())},
                       {"running", ArrayOf(running, [](const Listed& listed) {
                          return Json::Object({{"name", Escape(listed.name.text())},
                                               {"slot", listed.name.slot()},
                                               {"holder", HolderJson(*listed.inspection.holder())},
                                               {"layers", SightingsJson(listed.inspection.layers)},
                                               {"waiting", WaitersJson(listed.waiters)}});
                        })}});
}

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
      Listed listed = LookAt(name, common);
      if (listed.inspection.holder() != nullptr) {
        running.push_back(std::move(listed));
      } else if (listed.inspection.blind()) {
        blind = true;
        Show(StatusText(name.text(), {listed}), stderr);
      }
    }
    if (names_) {
      PrintNames(running);
      return blind ? kUndetermined : kYes;
    }
    const std::vector<soleguard::OtherUsersHolder> elsewhere = HoldersElsewhere(call);
    if (common.json) {
      Json object = ListJson(common, running);
      SetElsewhere(object, elsewhere);
      Print(object);
    } else {
      Show(Text(ListText(running), ElsewhereText(call, elsewhere, "list")), stdout);
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
      (void)std::puts((escaped ? Escape(name).text() : name).c_str());
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
