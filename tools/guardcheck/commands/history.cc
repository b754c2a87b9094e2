// history: who held the name and how that ended, who was refused, who waited.
#include "show/history.h"

#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <absl/time/clock.h>
#include <absl/time/time.h>

#include "command.h"
#include "exit_code.h"
#include "look.h"
#include "show/terminal.h"
#include <soleguard/history.h>
#include <soleguard/inspect.h>
#include <soleguard/name.h>
#include <soleguard/names.h>

namespace guardcheck {
namespace {

using soleguard::HistoryEvent;
using soleguard::InstanceName;

// Who hold the name now, as far as records say. Takes no lock.
std::vector<soleguard::HolderRecord> HoldersOf(const InstanceName& name, const Common& common) {
  absl::StatusOr<std::vector<InstanceName>> slots =
      soleguard::KnownSlots(common.options.scope, name);
  if (!slots.ok()) slots = std::vector{name};
  std::vector<soleguard::HolderRecord> holders;
  for (const InstanceName& slot : *slots) {
    const auto inspection = soleguard::Inspect(slot, common.policy, ToLook(common));
    const soleguard::Holder* const holder = inspection.holder();
    if (holder != nullptr && holder->record.has_value()) holders.push_back(*holder->record);
  }
  return holders;
}

class HistoryOfName final : public Command {
 public:
  std::vector<Option> Options() override {
    return {{.name = "--limit",
             .value = "N",
             .help = "show the newest N of each list; 0: all",
             .read = Into(limit_, 0, std::numeric_limits<int>::max()),
             .standard = "20; with --json all",
             .is_setting = false},
            {.name = "--since",
             .value = "DURATION",
             .help = "show what has happened in that time: 30m, 48h",
             .read = [this](const std::string& text) { return Into(since_.emplace())(text); },
             .is_setting = false}};
  }

  int Run(const Call& call) override {
    const soleguard::Scope& scope = call.common.options.scope;
    const auto name = InstanceName::Parse(call.operand);
    const absl::StatusOr<std::string> path = soleguard::HistoryPath(scope, *name);
    if (!path.ok()) return CannotLook(path.status());
    absl::StatusOr<soleguard::History> history = soleguard::ReadHistory(scope, *name);
    if (absl::IsNotFound(history.status())) history = soleguard::History{};
    if (!history.ok()) return CannotLook(history.status());
    HistoryView view{.path = *path,
                     .history = *std::move(history),
                     .tenures = {},
                     .limit = Limit(call.common.json)};
    view.tenures = TenuresOf(view.history.events, HoldersOf(*name, call.common));
    NameHolders(view.tenures, view.history.events);
    if (since_.has_value()) LeaveOutBefore(absl::Now() - *since_, view);
    if (call.common.json) {
      Print(HistoryJson(call.operand, call.common, view));
    } else {
      Show(HistoryText(call.operand, view), stdout);
    }
    return kYes;
  }

 private:
  std::optional<int> Limit(bool json) const {
    constexpr int kForPeople = 20;
    const int limit = limit_ >= 0 ? limit_ : json ? 0 : kForPeople;
    return limit > 0 ? std::optional(limit) : std::nullopt;
  }

  // One that held the name at that time, or has ended since, stays.
  static void LeaveOutBefore(absl::Time time, HistoryView& view) {
    std::erase_if(view.history.events,
                  [time](const HistoryEvent& event) { return event.time < time; });
    std::erase_if(view.tenures, [time](const Tenure& tenure) {
      return !tenure.runs && tenure.until().value_or(tenure.begin.time) < time;
    });
  }

  int limit_ = -1;  // not said
  std::optional<absl::Duration> since_;
};

}  // namespace

CommandKind HistoryCommand() {
  return {.name = "history",
          .help = "who held NAME and how that ended, who was refused, who waited",
          .operand = "NAME",
          .make = [] { return std::unique_ptr<Command>(std::make_unique<HistoryOfName>()); }};
}

}  // namespace guardcheck
