// Fencing tokens: numbers that only grow, for one name in one scope. Private to layers/.
#pragma once

#include <cstdint>
#include <optional>

#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/record.h"
#include "soleguard/scope.h"

namespace soleguard {

// The next token: max(previous + 1, clock in microseconds), below a ceiling that is kept in the
// state directory and raised an hour ahead before a token beyond it is given out. So a token never
// repeats or goes back, over SIGKILL, deletion of the record, clock steps and power loss, as long
// as the state directory survives; where there is none (`durable` is false), as long as the clock
// does not go behind the last token and the record was not lost.
//
// `previous` is the last record of the name, if there is one. Call it only while holding the name:
// the ceiling has no lock of its own. Blocks for an fdatasync about once an hour and name.
Claim::Token NextToken(const Scope& scope, const InstanceName& name,
                       const std::optional<HolderRecord>& previous);

}  // namespace soleguard
