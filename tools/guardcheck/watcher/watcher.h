// Watches a name: finds copies that run beside the holder or without a guard, and ends them if told
// to.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <absl/time/time.h>

#include "command.h"
#include "shown.h"
#include "watcher/history_watch.h"
#include "watcher/holders.h"
#include "watcher/log_watch.h"
#include "watcher/lookout.h"
#include "watcher/voice.h"
#include "watcher/wakeups.h"
#include <soleguard/census.h>
#include <soleguard/process_identity.h>

namespace guardcheck {

struct WatchSettings {
  bool once = false;
  bool auto_kill = false;
  absl::Duration interval = absl::Seconds(60);
  absl::Duration grace = absl::Seconds(5);
  Keep keep = Keep::kHolderElseOldest;
  std::string log;  // empty: none
  std::vector<std::string> patterns;
  std::vector<std::string> on_event;
  std::string metrics;  // empty: none
};

// A watch is in one of three states. It *checks*: looks until what it sees is settled, tells what
// is news, and ends copies. It *pauses*, until the next check is due, a holder ends or the log has
// hits, and meanwhile reads the log and the name's history; what the log says is told after a check
// of its own. It is
// *over*, when it was asked to end, when nobody reads its standard output any more, or after one
// check with --once. For the process's only thread.
class Watcher {
 public:
  // Both must outlive it.
  Watcher(const Call& call, const WatchSettings& settings);

  // Blocks until the watch is over; the exit code. Throws UsageError if the event hook cannot be
  // started.
  int Run();

 private:
  bool IsOver();
  bool Check();
  void Pause(absl::Time until);
  int ExitCode(bool has_checked) const;

  bool WaitUntil(absl::Time until);
  void Await(absl::Time until);

  void TellSight();
  void TellCopies();
  void TellGone(const std::vector<soleguard::ProcessIdentity>& before);
  void EndCopies();
  void ReadHistory();
  void Save();
  Shown WhatIsSeen() const;
  Shown NextStep() const;

  const Call& call_;
  const WatchSettings& settings_;
  Wakeups wakeups_;
  Voice voice_;
  Lookout lookout_;
  Holders holders_;
  std::optional<HistoryWatch> history_;
  std::optional<LogWatch> log_;
  std::vector<soleguard::ProcessIdentity> copies_;  // that were told of
  std::string blind_;                               // why not everything was seen, as it was told
  absl::Time checked_ = absl::InfinitePast();
  absl::Duration check_duration_;
  std::uint64_t kills_ = 0;
  std::string metrics_trouble_;
};

}  // namespace guardcheck
