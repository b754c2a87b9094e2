// What is said to root of other users' scopes, at which a call in root's own does not look.
#pragma once

#include <vector>

#include "command.h"
#include "show/json.h"
#include "shown.h"
#include <soleguard/other_users.h>

namespace guardcheck {

// Those that have the name of the call, or any name where it has none. Empty unless the call is
// root's and in root's user scope.
std::vector<soleguard::OtherUsersHolder> HoldersElsewhere(const Call& call);

// Who they are, and how to reach them; empty without any. `command`: of guardcheck, which does
// there what the call does here.
Shown ElsewhereText(const Call& call, const std::vector<soleguard::OtherUsersHolder>& holders,
                    std::string_view command);
// Before a start: that it runs beside them, and what to start instead. Empty without any.
Shown BesideText(const Call& call, const std::vector<soleguard::OtherUsersHolder>& holders);

// Adds them to what the call says, if there are any.
void SetElsewhere(Json& object, const std::vector<soleguard::OtherUsersHolder>& holders);

}  // namespace guardcheck
