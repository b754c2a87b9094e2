#include "show/history.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "show/words.h"

namespace guardcheck {
namespace {

using soleguard::HistoryEvent;
using soleguard::HistoryParty;
using soleguard::HolderRecord;
using Kind = HistoryEvent::Kind;

// "pid 8218 (trader: python3 bot.py)".
Shown Who(const HistoryParty& party) {
  if (party.pid == 0) return "a process that no record names";
  const Shown user = Escape(party.user);
  const Shown command = Escape(party.command);
  const Shown between = user.empty() || command.empty() ? Shown() : ": ";
  const Shown both = Text(user, between, command);
  return Text("pid ", party.pid, both.empty() ? Shown() : Text(" (", both, ")"));
}

Shown By(const HistoryEvent& event) { return Who(event.by.value_or(HistoryParty{})); }

Shown Behind(const Shown& before, const std::string& detail) {
  return detail.empty() ? Shown() : Text(before, Said(detail));
}

Shown Waited(const HistoryEvent& event) {
  if (!event.waited.has_value()) return "";
  return Text(" after ", Said(absl::FormatDuration(*event.waited)), " in line");
}

Shown WhatHappened(const HistoryEvent& event) {
  switch (event.kind) {
    case Kind::kHeld:
      return Text("holds the name, token ", event.who.token);
    case Kind::kTakenOver:
      return Text("has taken over", Waited(event), ", token ", event.who.token);
    case Kind::kRefused:
      return Text("was refused", Waited(event), " by ", By(event), Behind(": ", event.detail));
    case Kind::kUndetermined:
      return Text("could not tell", Waited(event), " whether it may run",
                  Behind(": ", event.detail));
    case Kind::kWaiting:
      return "waits for the name";
    case Kind::kReplaced:
      return Text("was replaced by ", By(event));
    case Kind::kStopAsked:
      return Text("was asked to end by ", By(event));
    case Kind::kLost:
      return Text("has lost a layer, and others keep every other start out",
                  Behind(": ", event.detail));
    case Kind::kCompromised:
      return Text("has lost its claim", Behind(": ", event.detail));
    case Kind::kRepaired:
      return Text("has repaired its claim", Behind(": ", event.detail));
    case Kind::kExited:
      return Text("ran a command that has ended with exit code ", event.exit_code.value_or(0),
                  Behind(": ", event.detail));
    case Kind::kReleased:
      return "has released the name";
    case Kind::kDied:
      return Text("died without a release, and is followed by ", By(event));
    case Kind::kLeftBehind:
      return Text("died, and left running", Behind(": ", event.detail));
    case Kind::kNoBeat:
      return Text("seems to hang", Behind(": ", event.detail));
    case Kind::kBeatsAgain:
      return Text("beats again", Behind(": ", event.detail));
    case Kind::kTooSoon:
      return Text("let the name go again, as it came too soon", Behind(": ", event.detail));
  }
  return "";
}

bool Begins(Kind kind) { return kind == Kind::kHeld || kind == Kind::kTakenOver; }
bool IsOfAStart(Kind kind) {
  return kind == Kind::kRefused || kind == Kind::kUndetermined || kind == Kind::kWaiting ||
         kind == Kind::kTooSoon;
}

Json PartyJson(const HistoryParty& party) {
  Json object = Json::Object({{"pid", party.pid},
                              {"user", OrNull(Escape(party.user))},
                              {"command", OrNull(Escape(party.command))},
                              {"token", party.token}});
  if (party.instance != 0) object.Set("instance", party.instance);
  return object;
}

std::optional<double> Seconds(const std::optional<absl::Duration>& duration) {
  if (!duration.has_value()) return std::nullopt;
  return absl::ToDoubleSeconds(*duration);
}

// What a later event says of a tenure, if it is of a kind that says something.
std::optional<HistoryEvent>* PlaceIn(Tenure& tenure, Kind kind) {
  switch (kind) {
    case Kind::kExited:
      return &tenure.exited;
    case Kind::kReleased:
      return &tenure.released;
    case Kind::kDied:
      return &tenure.died;
    case Kind::kReplaced:
      return &tenure.replaced;
    case Kind::kStopAsked:
      return &tenure.stop_asked;
    default:
      return nullptr;
  }
}

// The latest of that token: one that is not durable may repeat.
template <typename Tenures>
auto FindTenure(Tenures& tenures, const HistoryParty& who, std::uint32_t slot) {
  const auto found = std::find_if(tenures.rbegin(), tenures.rend(), [&](const Tenure& tenure) {
    return tenure.begin.slot == slot && tenure.begin.who.token == who.token;
  });
  return found != tenures.rend() ? &*found : nullptr;
}

const HistoryEvent* EndOf(const Tenure& tenure) {
  for (const auto* end : {&tenure.died, &tenure.exited, &tenure.released}) {
    if (end->has_value()) return &**end;
  }
  return nullptr;
}

// "exit code 0", "died", "stopped by pid 12, exit code 143".
Shown EndText(const Tenure& tenure) {
  if (tenure.runs) return "runs";
  std::vector<Shown> said;
  if (tenure.replaced.has_value()) {
    said.push_back(Text("replaced by pid ", tenure.replaced->by.value_or(HistoryParty{}).pid));
  } else if (tenure.stop_asked.has_value()) {
    said.push_back(Text("stopped by ", By(*tenure.stop_asked)));
  }
  if (tenure.exited.has_value()) {
    said.push_back(Text("exit code ", tenure.exited->exit_code.value_or(0),
                        Behind(": ", tenure.exited->detail)));
  } else if (tenure.died.has_value()) {
    said.push_back("died");
  } else if (tenure.released.has_value()) {
    said.push_back("released");
  }
  return said.empty() ? "it has ended, and how was not noted" : Join(said, ", ");
}

Shown TenureLine(const Tenure& tenure) {
  Shown until = "now                    ";
  if (!tenure.runs) {
    const auto end = tenure.until();
    until = end.has_value() ? Stamp(*end) : Shown("?                      ");
  }
  const std::uint32_t slot = tenure.begin.slot;
  return Text("  ", Stamp(tenure.begin.time), " to ", until, "  ", Who(tenure.begin.who),
              slot == 0 ? Shown() : Text(", slot ", slot), Waited(tenure.begin), ": ",
              EndText(tenure), "\n");
}

Shown EventLine(const HistoryEvent& event) {
  return Text("  ", Stamp(event.time), "  ", EventText(event), "\n");
}

// The newest of `all`, under a heading.
template <typename Element>
Shown Section(const Shown& heading, const std::vector<Element>& all, std::optional<int> limit,
              const std::function<Shown(const Element&)>& line) {
  if (all.empty()) return "";
  const std::size_t shown =
      limit.has_value() ? std::min(all.size(), static_cast<std::size_t>(*limit)) : all.size();
  Shown text =
      Text("\n", heading,
           shown < all.size() ? Text(" (the last ", shown, " of ", all.size(), ")") : "", "\n");
  for (std::size_t i = all.size() - shown; i < all.size(); ++i) text += line(all[i]);
  return text;
}

std::vector<HistoryEvent> Those(const std::vector<HistoryEvent>& events, bool (*wanted)(Kind)) {
  std::vector<HistoryEvent> found;
  std::copy_if(events.begin(), events.end(), std::back_inserter(found),
               [wanted](const HistoryEvent& event) { return wanted(event.kind); });
  return found;
}

// What the holders' own lines do not say.
bool IsOfAHolder(Kind kind) {
  constexpr std::array kOthers = {Kind::kLost,       Kind::kCompromised, Kind::kRepaired,
                                  Kind::kLeftBehind, Kind::kStopAsked,   Kind::kNoBeat,
                                  Kind::kBeatsAgain};
  return std::find(kOthers.begin(), kOthers.end(), kind) != kOthers.end();
}

std::int64_t CountOf(const std::vector<HistoryEvent>& events, Kind kind) {
  return std::count_if(events.begin(), events.end(),
                       [kind](const HistoryEvent& event) { return event.kind == kind; });
}

Json TenureJson(const Tenure& tenure) {
  const auto end = tenure.until();
  const auto& by = tenure.replaced.has_value() ? tenure.replaced : tenure.stop_asked;
  Json object = PartyJson(tenure.begin.who);
  object.Set("slot", tenure.begin.slot);
  object.Set("from", Rfc3339(tenure.begin.time));
  object.Set("until", end.has_value() ? Json(Rfc3339(*end)) : Json());
  object.Set("ended", tenure.how());
  object.Set("exit_code", tenure.exited.has_value() ? Json(tenure.exited->exit_code) : Json());
  object.Set("by", by.has_value() && by->by.has_value() ? PartyJson(*by->by) : Json());
  object.Set("waited_seconds", Json(Seconds(tenure.begin.waited)));
  return object;
}

template <typename Element>
std::vector<Element> Newest(const std::vector<Element>& all, std::optional<int> limit) {
  if (!limit.has_value() || all.size() <= static_cast<std::size_t>(*limit)) return all;
  return {all.end() - *limit, all.end()};
}

}  // namespace

Shown EventText(const HistoryEvent& event) {
  return Text(event.slot == 0 ? Shown() : Text("slot ", event.slot, ": "), Who(event.who), " ",
              WhatHappened(event));
}

std::vector<Json::Member> EventMembers(const HistoryEvent& event) {
  std::vector<Json::Member> members = {{"slot", event.slot},
                                       {"pid", event.who.pid},
                                       {"user", OrNull(Escape(event.who.user))},
                                       {"command", OrNull(Escape(event.who.command))},
                                       {"token", event.who.token},
                                       {"by", event.by.has_value() ? PartyJson(*event.by) : Json()},
                                       {"waited_seconds", Json(Seconds(event.waited))},
                                       {"exit_code", Json(event.exit_code)},
                                       {"detail", OrNull(Said(event.detail))}};
  if (event.who.instance != 0) members.emplace_back("instance", event.who.instance);
  return members;
}

Json EventJson(const std::string& name, const Common& common, const HistoryEvent& event) {
  Json object = Json::Object({{"schema", 1},
                              {"event", WordOf(event.kind)},
                              {"time", Rfc3339(event.time)},
                              {"name", Escape(name)},
                              {"scope", Escape(common.options.scope.ToString())},
                              {"text", EventText(event)}});
  for (const auto& [key, value] : EventMembers(event)) object.Set(key, value);
  return object;
}

std::optional<absl::Time> Tenure::until() const {
  const HistoryEvent* const end = EndOf(*this);
  return end != nullptr ? std::optional(end->time) : std::nullopt;
}

Shown Tenure::how() const {
  if (runs) return "runs";
  if (replaced.has_value()) return "replaced";
  if (died.has_value()) return "died";
  if (stop_asked.has_value()) return "stopped";
  if (exited.has_value()) return "exited";
  if (released.has_value()) return "released";
  return "unknown";
}

std::vector<Tenure> TenuresOf(const std::vector<HistoryEvent>& events,
                              const std::vector<HolderRecord>& holders) {
  std::vector<Tenure> tenures;
  for (const HistoryEvent& event : events) {
    if (Begins(event.kind)) {
      tenures.push_back({.begin = event});
      continue;
    }
    Tenure* const tenure = FindTenure(tenures, event.who, event.slot);
    std::optional<HistoryEvent>* const place =
        tenure != nullptr ? PlaceIn(*tenure, event.kind) : nullptr;
    if (place != nullptr) *place = event;
  }
  for (const HolderRecord& holder : holders) {
    Tenure* const tenure = FindTenure(tenures, soleguard::PartyOf(holder), holder.slot);
    if (tenure != nullptr && EndOf(*tenure) == nullptr) tenure->runs = true;
  }
  return tenures;
}

void NameHolders(const std::vector<Tenure>& tenures, std::vector<HistoryEvent>& events) {
  for (HistoryEvent& event : events) {
    if (!event.by.has_value() || event.by->token == 0) continue;
    const Tenure* const tenure = FindTenure(tenures, *event.by, event.slot);
    if (tenure != nullptr) event.by->command = tenure->begin.who.command;
  }
}

Shown HistoryText(const std::string& name, const HistoryView& view) {
  const std::vector<HistoryEvent>& events = view.history.events;
  Shown text =
      Text(Escape(name), ": ", Count(static_cast<std::int64_t>(view.tenures.size()), "holder"),
           ", ", Count(CountOf(events, Kind::kRefused), "refused start"), ".\n");
  text += Section<Tenure>("Who held it", view.tenures, view.limit, &TenureLine);
  text += Section<HistoryEvent>("Which starts waited, or did not get it",
                                Those(events, &IsOfAStart), view.limit, &EventLine);
  text += Section<HistoryEvent>("What else happened to holders", Those(events, &IsOfAHolder),
                                view.limit, &EventLine);
  if (view.history.unreadable > 0) {
    text += Text("\n", Count(static_cast<std::int64_t>(view.history.unreadable), "line"), " of ",
                 Escape(view.path), " cannot be read: torn, foreign or of a newer soleguard.\n");
  }
  return text;
}

Json HistoryJson(const std::string& name, const Common& common, const HistoryView& view) {
  const std::vector<HistoryEvent>& events = view.history.events;
  Json counts = Json::Object({});
  for (const Kind kind : soleguard::HistoryKinds()) counts.Set(WordOf(kind), CountOf(events, kind));
  Json object = Head(name, common);
  object.Set("file", Escape(view.path));
  object.Set("counts", counts);
  object.Set("holders", ArrayOf(Newest(view.tenures, view.limit), &TenureJson));
  object.Set(
      "events", ArrayOf(Newest(events, view.limit), [](const HistoryEvent& event) {
        Json entry = Json::Object({{"event", WordOf(event.kind)}, {"time", Rfc3339(event.time)}});
        for (const auto& [key, value] : EventMembers(event)) entry.Set(key, value);
        return entry;
      }));
  object.Set("unreadable", view.history.unreadable);
  return object;
}

}  // namespace guardcheck
