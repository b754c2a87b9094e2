#include "watcher/metrics.h"

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_replace.h>

#include "shown.h"

namespace guardcheck {
namespace {

// As a label's value: printable UTF-8, and the format's own escapes.
std::string Label(const std::string& bytes) {
  return absl::StrReplaceAll(Escape(bytes).text(), {{"\\", "\\\\"}, {"\"", "\\\""}});
}

class Exposition {
 public:
  explicit Exposition(const Metrics& metrics)
      : labels_(absl::StrCat("name=\"", Label(metrics.name), "\",scope=\"", Label(metrics.scope),
                             "\"")) {}

  void Family(const std::string& metric, const std::string& type, const std::string& help) {
    absl::StrAppend(&text_, "# HELP ", metric, " ", help, "\n# TYPE ", metric, " ", type, "\n");
  }
  void Sample(const std::string& metric, const std::string& value, const std::string& more = "") {
    absl::StrAppend(&text_, metric, "{", labels_, more, "} ", value, "\n");
  }
  void Add(const std::string& metric, const std::string& type, const std::string& help,
           const std::string& value) {
    Family(metric, type, help);
    Sample(metric, value);
  }
  const std::string& text() const { return text_; }

 private:
  const std::string labels_;
  std::string text_;
};

}  // namespace

std::string MetricsText(const Metrics& metrics) {
  Exposition text(metrics);
  text.Add("soleguard_up", "gauge", "Whether an established holder lives.", metrics.up ? "1" : "0");
  if (metrics.holder_started.has_value()) {
    text.Add("soleguard_holder_started_seconds", "gauge",
             "When the holder's process started, since the epoch.",
             absl::StrFormat("%.3f",
                             absl::ToDoubleSeconds(*metrics.holder_started - absl::UnixEpoch())));
  }
  text.Add("soleguard_duplicates", "gauge", "Instances that run beside the one that may.",
           absl::StrCat(metrics.duplicates));
  text.Add("soleguard_unguarded", "gauge", "Instances that never asked for the name.",
           absl::StrCat(metrics.unguarded));
  if (!metrics.log_hits.empty()) {
    text.Family("soleguard_log_hits_total", "counter", "Lines of the log that match a pattern.");
    for (const Metrics::LogHits& hits : metrics.log_hits) {
      text.Sample("soleguard_log_hits_total", absl::StrCat(hits.total),
                  absl::StrCat(",pattern=\"", Label(hits.pattern), "\""));
    }
  }
  if (!metrics.events.empty()) {
    text.Family("soleguard_events_total", "counter",
                "What was noted in the name's history since the watch began.");
    for (const Metrics::Events& events : metrics.events) {
      text.Sample("soleguard_events_total", absl::StrCat(events.total),
                  absl::StrCat(",event=\"", Label(events.event), "\""));
    }
  }
  text.Add("soleguard_kills_total", "counter", "Processes that the watch has ended.",
           absl::StrCat(metrics.kills));
  text.Add("soleguard_check_duration_seconds", "gauge", "How long the last check took.",
           absl::StrFormat("%.6f", absl::ToDoubleSeconds(metrics.check_duration)));
  return text.text();
}

absl::Status WriteMetrics(const std::string& path, const Metrics& metrics) {
  // The collector reads *.prom only, so that it never meets this one.
  const std::string temporary = path + ".tmp";
  std::ofstream file(temporary, std::ios::trunc);
  file << MetricsText(metrics);
  file.close();
  if (!file) {
    return absl::ErrnoToStatus(errno, absl::StrCat("write ", Escape(temporary).text()));
  }
  std::error_code error;
  std::filesystem::rename(temporary, path, error);
  if (!error) return absl::OkStatus();
  return absl::ErrnoToStatus(error.value(), absl::StrCat("rename to ", Escape(path).text()));
}

}  // namespace guardcheck
