// When the command of a name was started before.
#pragma once

#include <optional>

#include <absl/status/statusor.h>

#include <soleguard/history.h>
#include <soleguard/record.h>
#include <soleguard/scope.h>

namespace guardcheck {

// The last start of the slot before the one that `own` is of, as the name's history has it; not one
// that let the name go again because it came too soon. nullopt: the history has none. An error: it
// cannot be read.
absl::StatusOr<std::optional<soleguard::HistoryEvent>> LastStart(
    const soleguard::Scope& scope, const soleguard::HolderRecord& own);

}  // namespace guardcheck
