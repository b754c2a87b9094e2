#include "commands/last_start.h"

#include <cstdint>
#include <ranges>
#include <set>

#include <soleguard/name.h>

namespace guardcheck {

using soleguard::HistoryEvent;
using Kind = HistoryEvent::Kind;

absl::StatusOr<std::optional<HistoryEvent>> LastStart(const soleguard::Scope& scope,
                                                      const soleguard::HolderRecord& own) {
  const auto name = soleguard::InstanceName::Parse(own.name);
  if (!name.ok()) return name.status();
  const absl::StatusOr<soleguard::History> history = soleguard::ReadHistory(scope, *name);
  if (absl::IsNotFound(history.status())) return std::nullopt;
  if (!history.ok()) return history.status();
  // From the newest: that a start came too soon is noted after that it got the name.
  std::set<std::uint64_t> others = {own.token};
  for (const HistoryEvent& event : std::ranges::reverse_view(history->events)) {
    if (event.slot != own.slot) continue;
    if (event.kind == Kind::kTooSoon) others.insert(event.who.token);
    const bool is_start = event.kind == Kind::kHeld || event.kind == Kind::kTakenOver;
    if (is_start && !others.contains(event.who.token)) return event;
  }
  return std::nullopt;
}

}  // namespace guardcheck
