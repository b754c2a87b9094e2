// What can be seen of a machine, a scope and its layers before anything goes wrong: for a person
// who asks why a start is refused, or whether the next one can be relied on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "soleguard/event.h"
#include "soleguard/name.h"
#include "soleguard/process.h"
#include "soleguard/scope.h"

namespace soleguard {

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
  // The event that this is, for a process that starts here and now: what it is worth then is
  // computed from the policy (soleguard/analysis.h).
  std::optional<Event> event = std::nullopt;
  // The event has not happened: it may, as things stand.
  bool threat = false;
};

// What a scope's directory, its filesystem, the machine and the calling process show, whatever the
// layers. Takes no lock, creates nothing and writes nothing. May read a few hundred small files.
// Thread-safe.
std::vector<Finding> DiagnoseScope(const Scope& scope);

// Whether the caller and `holder`, another process that has the name, live in the same namespaces:
// what the one has, the other may not see. `holder` may be of another pid namespace.
std::vector<Finding> DiagnoseHolder(const ProcessIdentity& holder);

// Whether `name` runs in the user scope of `user` too, which is another scope than the caller's.
// For a caller under sudo(8): the same program, started without it, is not excluded.
std::vector<Finding> DiagnoseInvokingUser(std::uint32_t user, const InstanceName& name);

}  // namespace soleguard
