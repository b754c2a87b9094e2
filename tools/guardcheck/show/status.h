// What is seen of the slots of a name.
#pragma once

#include <string>
#include <vector>

#include "command.h"
#include "show/json.h"
#include "show/waiters.h"
#include "shown.h"
#include <soleguard/guard.h>
#include <soleguard/inspect.h>
#include <soleguard/name.h>

namespace guardcheck {

// A slot of a name, and what was seen of it.
struct Listed {
  soleguard::InstanceName name;
  soleguard::Inspection inspection;
  Waiters waiters;  // of all slots, in that of slot 0
};
// Looks now.
Listed LookAt(const soleguard::InstanceName& slot, const Common& common);

// `slots`: those of the name that are known, at least one.
Shown StatusText(const std::string& name, const std::vector<Listed>& slots);
Json StatusJson(const std::string& name, const Common& common, const std::vector<Listed>& slots);

}  // namespace guardcheck
