// The history of a name, for people and for programs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <absl/time/time.h>

#include "command.h"
#include "show/json.h"
#include "shown.h"
#include <soleguard/history.h>
#include <soleguard/record.h>

namespace guardcheck {

// What happened, in one line, without the time.
Shown EventText(const soleguard::HistoryEvent& event);
// What an object about it has beside its kind and time.
std::vector<Json::Member> EventMembers(const soleguard::HistoryEvent& event);
// As a command of --on-event gets it.
Json EventJson(const std::string& name, const Common& common, const soleguard::HistoryEvent& event);

// One process that has held the name.
struct Tenure {
  soleguard::HistoryEvent begin;
  bool runs = false;  // it holds the name now
  // How it ended, as far as that was noted.
  std::optional<soleguard::HistoryEvent> exited;
  std::optional<soleguard::HistoryEvent> released;
  std::optional<soleguard::HistoryEvent> died;
  std::optional<soleguard::HistoryEvent> replaced;
  std::optional<soleguard::HistoryEvent> stop_asked;

  std::optional<absl::Time> until() const;
  // "died", "replaced", "stopped", "exited", "released", "runs" or "unknown".
  Shown how() const;
};
// In the order in which they got the name. `holders`: who hold it now.
std::vector<Tenure> TenuresOf(const std::vector<soleguard::HistoryEvent>& events,
                              const std::vector<soleguard::HolderRecord>& holders);

// Says of holders that others have noted, as who refused them, what they themselves have noted.
void NameHolders(const std::vector<Tenure>& tenures, std::vector<soleguard::HistoryEvent>& events);

// What of a history is shown.
struct HistoryView {
  std::string path;
  soleguard::History history;  // of the time that was asked for
  std::vector<Tenure> tenures;
  std::optional<int> limit;  // the newest of each list; nullopt: all
};
Shown HistoryText(const std::string& name, const HistoryView& view);
Json HistoryJson(const std::string& name, const Common& common, const HistoryView& view);

}  // namespace guardcheck
