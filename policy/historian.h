// Notes in the history of a name what becomes of one start and of its Guard. Private to policy/.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "soleguard/guard.h"
#include "soleguard/history.h"
#include "soleguard/holder.h"
#include "soleguard/incident.h"
#include "soleguard/name.h"
#include "soleguard/options.h"
#include "soleguard/process.h"
#include "soleguard/record.h"
#include "soleguard/scope.h"

namespace soleguard {

// What cannot be noted is left out: nobody waits for it for long, nothing is decided by it, and for
// want of memory nothing happens. Options::on_event is told all the same. Once the start is decided
// it is thread-safe.
class Historian {
 public:
  Historian(const Options& options, const InstanceName& name, const ProcessDescription& own);

  // The start begins to wait.
  void Waits() noexcept;
  // Notes the verdict, and gives it back. `asked`: the holder that a replacer has asked to end.
  Verdict Noted(Verdict verdict, const std::optional<Holder>& asked = std::nullopt) noexcept;

  // Of the Guard, whose record says this.
  void Noted(const HolderRecord& record, const Incident& incident) const noexcept;
  void Released(const HolderRecord& record) const noexcept;

 private:
  using Clock = std::chrono::steady_clock;

  std::vector<HistoryEvent> EventsOf(const Verdict& verdict,
                                     const std::optional<Holder>& asked) const;
  HistoryEvent EventOf(HistoryEvent::Kind kind, std::uint32_t slot) const;
  HistoryEvent EventOf(HistoryEvent::Kind kind, const HolderRecord& record) const;
  // `make` gives the events.
  template <typename Make>
  void Note(Make make) const noexcept;

  const Scope scope_;
  const InstanceName name_;
  const std::function<void(const HistoryEvent&)> on_event_;
  HistoryParty own_;
  std::optional<Clock::time_point> waits_since_;
};

// Notes that the caller has asked this holder to end.
void NoteStop(const Scope& scope, const InstanceName& slot, const HolderRecord& holder) noexcept;

}  // namespace soleguard
