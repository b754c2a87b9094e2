#include "watcher/log_watch.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include <absl/time/clock.h>

#include "show/words.h"

namespace guardcheck {

LogWatch::LogWatch(const std::string& path, const std::vector<std::string>& patterns)
    : path_(path), follower_(path) {
  if (patterns.empty()) symptoms_.AddKnown();
  for (const std::string& pattern : patterns) (void)symptoms_.Add(pattern);  // valid
}

void LogWatch::Read(Voice& voice) {
  const LogFollower::News news =
      follower_.Read([this](std::string_view line) { (void)symptoms_.Look(line); });
  has_more_ = news.more;
  const Shown shown = Escape(path_);
  for (const LogFollower::Change change : news.changes) {
    const std::array<Shown, 4> said = {"is there now", "was replaced by a new one", "was truncated",
                                       "is gone"};
    voice.Emit({.kind = "log_changed",
                .text = Text("the log ", shown, " ", said.at(static_cast<std::size_t>(change))),
                .more = {{"log", shown}}});
  }
  const std::string trouble(news.status.message());
  if (trouble != std::exchange(trouble_, trouble) && !trouble.empty()) {
    voice.Emit({.kind = "log_trouble", .text = Text("the log cannot be read: ", Said(trouble))});
  }
}

absl::Time LogWatch::due() const {
  constexpr absl::Duration kBetween = absl::Seconds(1);
  const bool has_hits =
      std::any_of(counts().begin(), counts().end(),
                  [](const Symptoms::Count& count) { return count.unreported > 0; });
  return has_hits ? told_ + kBetween : absl::InfiniteFuture();
}

void LogWatch::TellHits(Voice& voice, const Shown& seen, const Shown& next) {
  for (Symptoms::Count& count : symptoms_.counts()) {
    if (count.unreported == 0) continue;
    const std::uint64_t hits = std::exchange(count.unreported, 0);
    const Shown meaning = Said(Explain(count.last));
    voice.Emit({.kind = "log_hit",
                .text = Text("the log says ", Count(static_cast<std::int64_t>(hits), "time"), " '",
                             Escape(count.pattern), "' (", count.total,
                             " in all), last: ", Escape(count.last),
                             meaning.empty() ? Shown() : ". It means: ", meaning, ". ", seen,
                             ". Next: ", next),
                .more = {{"pattern", Escape(count.pattern)},
                         {"hits", hits},
                         {"total", count.total},
                         {"line", Escape(count.last)},
                         {"meaning", OrNull(meaning)},
                         {"seen", seen},
                         {"next", next}}});
  }
  told_ = absl::Now();
}

}  // namespace guardcheck
