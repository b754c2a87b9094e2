#include "historian.h"

#include <exception>
#include <string>
#include <utility>
#include <variant>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>
#include <absl/time/time.h>

namespace soleguard {
namespace {

using Kind = HistoryEvent::Kind;

// The holder of which a refused start was told.
HistoryParty PartyOf(const Holder& holder) {
  if (holder.standing != Standing::kUnknown && holder.record.has_value()) {
    return PartyOf(*holder.record);
  }
  HistoryParty party;
  if (!holder.processes.empty()) party.pid = holder.processes.front().pid;
  return party;
}

Kind KindOf(Incident::Outcome outcome) {
  switch (outcome) {
    case Incident::Outcome::kRepaired:
      return Kind::kRepaired;
    case Incident::Outcome::kDegraded:
      return Kind::kLost;
    case Incident::Outcome::kCompromised:
      break;
  }
  return Kind::kCompromised;
}

std::string DetailOf(const Incident& incident) {
  std::string detail = absl::StrCat(incident.layer, ": ", incident.lost.message());
  if (!incident.left.ok()) absl::StrAppend(&detail, "; ", incident.left.message());
  if (!incident.exclusion_stood) detail += "; meanwhile another start could get the name";
  return detail;
}

}  // namespace

Historian::Historian(const Options& options, const InstanceName& name,
                     const ProcessDescription& own)
    : scope_(options.scope), name_(name.Slot(0)), on_event_(options.on_event) {
  own_.pid = own.identity.pid;
  own_.user = own.user;
  own_.command =
      HistoryCommand(options.subject.argv.empty() ? OwnArguments() : options.subject.argv);
}

template <typename Make>
void Historian::Note(Make make) const noexcept {
  try {
    const std::vector<HistoryEvent> events = make();
    if (events.empty()) return;
    (void)AppendToHistory(scope_, name_, events);  // doctor says where there can be no history
    if (!on_event_) return;
    for (const HistoryEvent& event : events) on_event_(event);
  } catch (const std::exception&) {  // no memory: the history has a gap
  }
}

HistoryEvent Historian::EventOf(Kind kind, std::uint32_t slot) const {
  HistoryEvent event{.kind = kind, .time = absl::Now(), .slot = slot, .who = own_};
  if (waits_since_.has_value()) event.waited = absl::FromChrono(Clock::now() - *waits_since_);
  return event;
}

// As it was noted when it got the name, with what its record says now.
HistoryEvent Historian::EventOf(Kind kind, const HolderRecord& record) const {
  HistoryEvent event{.kind = kind, .time = absl::Now(), .slot = record.slot, .who = own_};
  event.who.token = record.token;
  event.who.instance = PartyOf(record).instance;
  return event;
}

void Historian::Waits() noexcept {
  Note([this] { return std::vector{EventOf(Kind::kWaiting, 0)}; });
  waits_since_ = Clock::now();
}

std::vector<HistoryEvent> Historian::EventsOf(const Verdict& verdict,
                                              const std::optional<Holder>& asked) const {
  std::vector<HistoryEvent> events;
  if (const auto* unique = std::get_if<Unique>(&verdict)) {
    const Guard& guard = unique->guard;
    HistoryEvent got =
        EventOf(waits_since_.has_value() ? Kind::kTakenOver : Kind::kHeld, guard.slot());
    got.who.token = guard.token().value_or(0);
    if (asked.has_value() && asked->record.has_value()) {
      events.push_back({.kind = Kind::kReplaced,
                        .time = got.time,
                        .slot = got.slot,
                        .who = PartyOf(*asked->record),
                        .by = got.who});
    }
    const bool was_replaced = !events.empty() && guard.predecessor().has_value() &&
                              guard.predecessor()->identity == asked->record->identity;
    if (guard.predecessor().has_value() && !was_replaced) {
      events.push_back({.kind = Kind::kDied,
                        .time = got.time,
                        .slot = got.slot,
                        .who = PartyOf(*guard.predecessor()),
                        .by = got.who});
    }
    events.push_back(std::move(got));
  } else if (const auto* duplicate = std::get_if<Duplicate>(&verdict)) {
    const Holder& holder = duplicate->holder;
    HistoryEvent refused =
        EventOf(Kind::kRefused, holder.record.has_value() ? holder.record->slot : 0);
    refused.by = PartyOf(holder);
    if (refused.by->token == 0) refused.detail = holder.evidence;
    events.push_back(std::move(refused));
  } else {
    HistoryEvent unclear = EventOf(Kind::kUndetermined, 0);
    unclear.detail = std::string(std::get<Undetermined>(verdict).status.message());
    events.push_back(std::move(unclear));
  }
  return events;
}

Verdict Historian::Noted(Verdict verdict, const std::optional<Holder>& asked) noexcept {
  Note([&] { return EventsOf(verdict, asked); });
  return verdict;
}

void Historian::Noted(const HolderRecord& record, const Incident& incident) const noexcept {
  Note([&] {
    HistoryEvent event = EventOf(KindOf(incident.outcome), record);
    if (incident.holder.has_value()) event.by = PartyOf(*incident.holder);
    event.detail = DetailOf(incident);
    return std::vector{std::move(event)};
  });
}

void Historian::Released(const HolderRecord& record) const noexcept {
  Note([&]() -> std::vector<HistoryEvent> {
    // A child to which it was handed on has it still.
    const bool has_left_it = record.instance.has_value() && record.instance != record.identity &&
                             LivenessOf(*record.instance) == Liveness::kAlive;
    if (has_left_it) return {};
    return {EventOf(Kind::kReleased, record)};
  });
}

void NoteStop(const Scope& scope, const InstanceName& slot, const HolderRecord& holder) noexcept {
  try {
    const absl::StatusOr<ProcessDescription> own = DescribeSelf();
    if (!own.ok()) return;
    const HistoryEvent event{.kind = Kind::kStopAsked,
                             .time = absl::Now(),
                             .slot = slot.slot(),
                             .who = PartyOf(holder),
                             .by = HistoryParty{.pid = own->identity.pid,
                                                .user = own->user,
                                                .command = HistoryCommand(OwnArguments())}};
    (void)AppendToHistory(scope, slot, {&event, 1});  // as above
  } catch (const std::exception&) {                   // no memory: the history has a gap
  }
}

}  // namespace soleguard
