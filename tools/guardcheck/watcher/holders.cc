#include "watcher/holders.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <absl/time/time.h>

#include "show/words.h"
#include "soleguard/process.h"

namespace guardcheck {
namespace {

using soleguard::Census;
using soleguard::HolderRecord;
using soleguard::ProcessIdentity;
using soleguard::UniqueFd;

// Whether no holder before the one with that index has its slot.
bool HasOwnSlot(const std::vector<HolderRecord>& holders, std::size_t index) {
  return std::none_of(
      holders.begin(), holders.begin() + static_cast<std::ptrdiff_t>(index),
      [&](const HolderRecord& before) { return before.slot == holders[index].slot; });
}

}  // namespace

void Holders::Tell(const Census& census, Voice& voice) {
  TellFirst(census, voice);
  TellOthers(census, voice);
  OpenEnds(census);
}

void Holders::TellFirst(const Census& census, Voice& voice) {
  First now;
  if (!census.holders.empty()) {
    now.holder = census.holders.front().running();
  } else if (!census.unknown.empty()) {
    now.evidence = Said(census.unknown.front().evidence);
  }
  if (std::exchange(has_told_, true) && now == told_) return;
  const First before = std::exchange(told_, std::move(now));
  const Shown name = voice.Name();
  if (told_.holder.has_value()) {
    voice.Emit({.kind = "holder",
                .text = Text(name, " is held by ", ProcessLine(*told_.holder)),
                .more = {{"process", ProcessJson(*told_.holder)},
                         {"token", census.holders.front().token}}});
  } else if (told_.evidence.has_value()) {
    voice.Emit({.kind = "holder_unknown",
                .text = Text(name, " is taken, and no record says by whom: ", *told_.evidence)});
  } else if (before.holder.has_value()) {
    voice.Emit({.kind = "holder_gone",
                .text = Text("the holder of ", name, ", pid ", before.holder->pid,
                             ", has ended; nobody holds the name")});
  } else {
    voice.Emit({.kind = "free", .text = Text("nobody holds ", name)});
  }
}

void Holders::TellOthers(const Census& census, Voice& voice) {
  const std::vector<ProcessIdentity> before = std::exchange(others_, {});
  for (std::size_t i = 1; i < census.holders.size(); ++i) {
    const ProcessIdentity& other = census.holders[i].running();
    others_.push_back(other);
    if (std::find(before.begin(), before.end(), other) != before.end()) continue;
    const std::uint32_t slot = census.holders[i].slot;
    const bool has_own_slot = HasOwnSlot(census.holders, i);
    voice.Emit({.kind = has_own_slot ? Shown("slot_holder") : "second_holder",
                .text = has_own_slot
                            ? Text("slot ", slot, " is held by ", ProcessLine(other))
                            : Text("a second holder: ", ProcessLine(other),
                                   ". Layers were lost, or the policy is not safe: guardcheck "
                                   "doctor ",
                                   voice.Where()),
                .more = {{"process", ProcessJson(other)}, {"slot", slot}}});
  }
}

void Holders::OpenEnds(const Census& census) {
  ends_.clear();
  has_missed_end_ = false;
  for (const HolderRecord& record : census.holders) {
    for (const ProcessIdentity* process : {&record.identity, &record.running()}) {
      absl::StatusOr<UniqueFd> end = soleguard::OpenPidfd(*process);
      if (end.ok()) ends_.push_back(*std::move(end));
      // The race: it ended after it was seen as the holder, and has no end to wait for any more.
      if (process == &record.identity && absl::IsNotFound(end.status())) has_missed_end_ = true;
    }
  }
}

bool Holders::HasEnded() const {
  return !ends_.empty() && soleguard::WaitForAny(ends_, absl::ZeroDuration());
}

}  // namespace guardcheck
