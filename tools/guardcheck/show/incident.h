// What is said of a claim that something happened to.
#pragma once

#include <string>

#include "shown.h"
#include <soleguard/incident.h>

namespace guardcheck {

// One line, without a newline: what was lost, what became of it, and what to do next.
Shown IncidentText(const std::string& name, const soleguard::Incident& incident);

}  // namespace guardcheck
