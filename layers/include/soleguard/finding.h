// What a diagnosis finds: of a machine, a scope, a layer or a policy.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "soleguard/event.h"

namespace soleguard {

enum class Event : int;  // soleguard/event.h

enum class Severity {
  kOk,       // looked at, and as it should be
  kNote,     // good to know; nothing has to be done
  kWarning,  // works, with less than it could
  kProblem,  // a start is refused, or a second instance may run
};
std::string_view ToString(Severity severity);  // "ok", "note", "warning", "problem"

// One thing that was found. All texts are escaped and on one line.
struct Finding {
  Severity severity = Severity::kNote;
  std::string layer;        // canonical text of a layer, or "scope", "machine", "holder", "policy"
  std::string what;         // what was seen, and where
  std::string consequence;  // what follows from it; empty: nothing
  std::string fix;          // what a person can do; empty: nothing has to be done
  // The event that this amounts to for a process that starts here and now. What follows from it is
  // computed from the policy (soleguard/analysis.h).
  std::optional<Event> event = std::nullopt;
  // The event has not happened, but may happen as things stand.
  bool threat = false;
};

}  // namespace soleguard
