// Where others find what a claim keeps open. Private to layers/.
#pragma once

#include <absl/status/status.h>

#include "os/kept_fd.h"
#include "os/path.h"
#include "soleguard/vantage.h"

namespace soleguard {

// Whether what a claim keeps open is what others find at `entry`. DataLoss: it has no name any
// more, or they find something else there. Another code: that cannot be told, as this process does
// not see the files any more that it saw from `vantage`, or may not look.
absl::Status CheckPlace(const os::KeptFd& kept, const os::Entry& entry, const Vantage& vantage);

}  // namespace soleguard
