// What is noted in the history of the watched name, by whichever process, told as it comes.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include <absl/status/status.h>

#include "command.h"
#include "watcher/log_follower.h"
#include "watcher/voice.h"
#include <soleguard/history.h>

namespace guardcheck {

// Not thread-safe. Does not block. Tells of what is noted from its making on.
class HistoryWatch {
 public:
  HistoryWatch(const Common& common, const std::string& name);

  // Tells what has come. Whether anything has.
  bool Read(Voice& voice);

  // Readable when there is something to read; and whether there is more of it than was read.
  // Invalid where there is no history.
  const soleguard::UniqueFd& changes() const;
  bool has_more() const { return has_more_; }
  // How often each has come.
  const std::map<soleguard::HistoryEvent::Kind, std::uint64_t>& counts() const { return counts_; }

 private:
  void TellTrouble(const absl::Status& status, Voice& voice);

  absl::Status none_;  // why there is no history
  std::optional<LogFollower> follower_;
  std::map<soleguard::HistoryEvent::Kind, std::uint64_t> counts_;
  bool has_more_ = false;
  std::string trouble_;  // why it could not be read, as it was told
};

}  // namespace guardcheck
