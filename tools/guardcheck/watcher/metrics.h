// Metrics in the text format of Prometheus, for node_exporter's textfile collector.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/time/time.h>

namespace guardcheck {

struct Metrics {
  std::string name;
  std::string scope;
  bool up = false;                           // an established holder lives
  std::optional<absl::Time> holder_started;  // of its process
  std::uint64_t duplicates = 0;
  std::uint64_t unguarded = 0;
  std::uint64_t kills = 0;
  absl::Duration check_duration;
  struct LogHits {
    std::string pattern;
    std::uint64_t total = 0;
  };
  std::vector<LogHits> log_hits;
  struct Events {
    std::string event;
    std::uint64_t total = 0;
  };
  std::vector<Events> events;  // of the history, since the watch began
};

// Ends in a newline.
std::string MetricsText(const Metrics& metrics);

// Writes the file anew and renames it into place: a reader sees the old or the new text, whole.
absl::Status WriteMetrics(const std::string& path, const Metrics& metrics);

}  // namespace guardcheck
