// Sends a message to the holder of a name.
#pragma once

#include <string_view>

#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "soleguard/message.h"
#include "soleguard/options.h"
#include "soleguard/policy.h"

namespace soleguard {

// Hands a message to the holder of `name`, in the lowest slot that has one, and returns its answer.
// Only an answer shows that it was delivered. Blocks at most `timeout`; never signals anybody. Of
// two starts at the same time, the one that is refused may find the other before that takes
// messages. So a holder that takes none yet is waited for, unless its record says that it never
// will (Options::takes_messages), and so is one that is deciding, releasing or dying. NotFound:
// nobody has the name. Unavailable: a layer cannot tell, or the holder is still about to change.
// Other errors are those of Deliver (message.h). Thread-safe.
absl::StatusOr<Answer> Send(std::string_view name, const Policy& policy, const Options& options,
                            const Message& message, absl::Duration timeout);

}  // namespace soleguard
