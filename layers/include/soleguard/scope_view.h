// What a scope is to all processes that share it, and what the calling process can see of that: a
// sandbox may hide directories and renumber users.
#pragma once

#include <string>
#include <string_view>

#include <absl/status/status.h>

#include "soleguard/process.h"
#include "soleguard/scope.h"

namespace soleguard {

// What layers without a directory are keyed by: the same text in each process that shares the
// scope, whatever that process sees of the filesystem and however it writes the directory. For a
// user scope it is the text of the place that it has on a system with /run/lock. A pure function.
std::string IdentityOf(const Scope& scope);

// Whether `text`, the ToString of a scope in some process, can be this scope's: a user's scope may
// be named as a directory too. It is meant for what was found under this scope's identity.
bool IsCalled(const Scope& scope, std::string_view text);

// FailedPrecondition: the scope is the user's, and a user namespace hides from this process which
// user it is, so that no layer knows whom it would exclude. Outside user namespaces it costs one
// stat(2). Inside one, the first call for each effective uid starts a helper process, which the
// program's waits and signal handlers do not notice, and blocks until that has ended, at most two
// seconds. Thread-safe.
absl::Status CheckIdentified(const Scope& scope);

// CheckIdentified, and FailedPrecondition also where the scope is the user's and this process does
// not see the place in which the others have its directory: a sandbox has a /run or /tmp of its
// own. docs/guarantees.md says what shows that and what does not. It is determined once for each
// mount namespace and root directory that the process is in. Thread-safe.
absl::Status CheckPlace(const Scope& scope);

}  // namespace soleguard
