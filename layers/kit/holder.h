// Who has a layer, read from its record. Private to layers/.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kit/wake.h"
#include "soleguard/boot_time.h"
#include "soleguard/fd.h"
#include "soleguard/layer.h"
#include "soleguard/record.h"

namespace soleguard {

// Of one who finds a layer free, or has just taken it: the holder that `last`, the layer's record,
// says is established, and that lives all the same, whatever the kernel has freed (a program closed
// its descriptors, or its guards were killed). Then the layer is not to be had: a record that was
// released never says so, and one of a process that is gone, or is the caller, refuses nobody.
// nullopt: there is none. `where` is the record's place, for the evidence.
std::optional<Contested> Survivor(const std::optional<HolderRecord>& last, std::string_view where);

// The holder of a layer that the kernel says is taken, and whose last valid record is `record`.
// `evidence` says what was seen and where.
Holder JudgeHolder(std::optional<HolderRecord> record, std::string evidence);

// The same of a leased layer, which its server frees at `free_at` unless the lease is renewed.
Holder JudgeLeaseholder(std::optional<HolderRecord> record, BootTime free_at, std::string evidence);

// What tells a waiter that this holder decided, gave up or ended. Empty: nothing does.
std::vector<UniqueFd> WakeUps(const Holder& holder, Watch watch);

}  // namespace soleguard
