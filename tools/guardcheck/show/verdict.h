// What a start got, or would get.
#pragma once

#include <string>
#include <vector>

#include "command.h"
#include "show/holder.h"
#include "show/json.h"
#include "shown.h"
#include <soleguard/guard.h>
#include <soleguard/inspect.h>

namespace guardcheck {

Shown RefusalText(const Call& call, const soleguard::Duplicate& duplicate,
                  const SlotLimits& limits = {});
Json RefusalJson(const std::string& name, const Common& common,
                 const soleguard::Duplicate& duplicate);

Shown UndeterminedText(const std::string& name, const soleguard::Undetermined& undetermined);
Json UndeterminedJson(const std::string& name, const Common& common,
                      const soleguard::Undetermined& undetermined);

Json UniqueJson(const std::string& name, const Common& common, const soleguard::Guard& guard);

Shown CheckText(const Call& call, const soleguard::Forecast& forecast, const SlotLimits& limits);
Json CheckJson(const std::string& name, const Common& common, const soleguard::Forecast& forecast);

}  // namespace guardcheck
