#include "watcher/history_watch.h"

#include <string_view>
#include <utility>
#include <vector>

#include "show/history.h"
#include "show/json.h"
#include <soleguard/name.h>

namespace guardcheck {

using soleguard::HistoryEvent;

HistoryWatch::HistoryWatch(const Common& common, const std::string& name) {
  for (const HistoryEvent::Kind kind : soleguard::HistoryKinds()) counts_[kind] = 0;
  const soleguard::Scope scope = common.options.scope;
  const soleguard::InstanceName instance = *soleguard::InstanceName::Parse(name);
  const absl::StatusOr<std::string> path = soleguard::HistoryPath(scope, instance);
  none_ = path.status();
  // What somebody has planted there is not followed.
  if (path.ok()) {
    follower_.emplace(*path, [scope, instance] { return soleguard::OpenHistory(scope, instance); });
  }
}

const soleguard::UniqueFd& HistoryWatch::changes() const {
  static const soleguard::UniqueFd kNone;
  return follower_.has_value() ? follower_->changes() : kNone;
}

bool HistoryWatch::Read(Voice& voice) {
  if (!follower_.has_value()) {
    TellTrouble(none_, voice);
    return false;
  }
  bool any = false;
  const LogFollower::News news = follower_->Read([&](std::string_view line) {
    for (const HistoryEvent& event : soleguard::ParseHistory(line).events) {
      any = true;
      ++counts_[event.kind];
      std::vector<Json::Member> more = EventMembers(event);
      more.emplace_back("noted", Rfc3339(event.time));
      voice.Emit({.kind = WordOf(event.kind), .text = EventText(event), .more = std::move(more)});
    }
  });
  has_more_ = news.more;
  TellTrouble(news.status, voice);
  return any;
}

void HistoryWatch::TellTrouble(const absl::Status& status, Voice& voice) {
  const std::string trouble(status.message());
  if (trouble == std::exchange(trouble_, trouble) || trouble.empty()) return;
  voice.Emit({.kind = "history_trouble",
              .text = Text("what other processes note is not seen: ", Said(trouble))});
}

}  // namespace guardcheck
