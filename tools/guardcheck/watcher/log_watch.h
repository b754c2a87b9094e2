// The instance's log: what it complains of, counted and told.
#pragma once

#include <string>
#include <vector>

#include <absl/time/time.h>

#include "shown.h"
#include "watcher/log_follower.h"
#include "watcher/symptom.h"
#include "watcher/voice.h"

namespace guardcheck {

// Not thread-safe. Does not block.
class LogWatch {
 public:
  // `patterns`: valid ones; none: the built-in ones.
  LogWatch(const std::string& path, const std::vector<std::string>& patterns);

  // Reads what has come. Tells what has become of the file.
  void Read(Voice& voice);

  // When the hits may be told: a log that floods is told of once a second. Infinite: there are none
  // that were not told.
  absl::Time due() const;
  // `seen`: who runs here; `next`: what a person can do.
  void TellHits(Voice& voice, const Shown& seen, const Shown& next);

  // Readable when there is something to read; and whether there is more of it than was read.
  const soleguard::UniqueFd& changes() const { return follower_.changes(); }
  bool has_more() const { return has_more_; }
  const std::vector<Symptoms::Count>& counts() const { return symptoms_.counts(); }

 private:
  const std::string path_;
  LogFollower follower_;
  Symptoms symptoms_;
  bool has_more_ = false;
  std::string trouble_;  // why it could not be read
  absl::Time told_ = absl::InfinitePast();
};

}  // namespace guardcheck
