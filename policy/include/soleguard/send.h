// Sending a message to the holder of a name.
#pragma once

#include <string_view>

#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "soleguard/message.h"
#include "soleguard/options.h"
#include "soleguard/policy.h"

namespace soleguard {

// Hands a message to the holder of `name`, of the lowest slot that has one, and returns its answer.
// Only an answer says that it was delivered. Blocks, at most `timeout`; never signals anybody. Of
// two starts at the same time the one that is refused finds the other before that takes messages:
// so a holder that takes none yet is waited for, unless its record says that it never will
// (Options::takes_messages), and one that is deciding, releasing or dying, too. NotFound: nobody
// has the name. Unavailable: a layer cannot tell, or the holder is still about to change. Else as
// Deliver (message.h). Thread-safe.
absl::StatusOr<Answer> Send(std::string_view name, const Policy& policy, const Options& options,
                            const Message& message, absl::Duration timeout);

}  // namespace soleguard
