// What a start got, or would get.
#pragma once

#include <string>
#include <vector>

#include "command.h"
#include "show/holder.h"
#include "show/json.h"
#include "shown.h"
#include <soleguard/guard.h>
#include <soleguard/history.h>
#include <soleguard/inspect.h>

namespace guardcheck {

Shown RefusalText(const Call& call, const soleguard::Duplicate& duplicate,
                  const SlotLimits& limits = {});
// The same in one line.
Shown RefusalLine(const Call& call, const soleguard::Duplicate& duplicate);
Json RefusalJson(const std::string& name, const Common& common,
                 const soleguard::Duplicate& duplicate);

Shown UndeterminedText(const std::string& name, const soleguard::Undetermined& undetermined);
Json UndeterminedJson(const std::string& name, const Common& common,
                      const soleguard::Undetermined& undetermined);

// Of a start that has got the name too soon after the start `last`.
Json TooSoonJson(const std::string& name, const Common& common, const soleguard::HistoryEvent& last,
                 absl::Time next);

Json UniqueJson(const std::string& name, const Common& common, const soleguard::Guard& guard);

// Says in one line where two instances can run under `policy`, for all that explain can say; for
// a policy that is safe, nothing, after microseconds.
void MentionUnsafe(const soleguard::Policy& policy);

Shown CheckText(const Call& call, const soleguard::Forecast& forecast, const SlotLimits& limits);
Json CheckJson(const std::string& name, const Common& common, const soleguard::Forecast& forecast);

}  // namespace guardcheck
