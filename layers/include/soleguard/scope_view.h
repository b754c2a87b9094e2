// What a scope is to all processes that share it, and what the calling process can tell of that: a
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
// user it is the place of his scope on a system that has /run/lock, as a text. A pure function.
std::string IdentityOf(const Scope& scope);

// Whether `text`, the ToString of a scope in some process, can be this scope's: a user's scope may
// be named as a directory too. For what was found under this scope's identity.
bool IsCalled(const Scope& scope, std::string_view text);

// FailedPrecondition: the scope is the user's, and a user namespace hides from this process which
// user it is, so that no layer can tell whom it would exclude. Outside of user namespaces it costs
// one stat(2). In one, the first call for each effective uid starts a helper process, which the
// program's waits and handlers do not meet, and blocks until it has ended, at most for two seconds.
// Thread-safe.
absl::Status CheckIdentified(const Scope& scope);

// CheckIdentified, and FailedPrecondition also where the scope is the user's and this process does
// not see the place in which the others have its directory: a sandbox has a /run or /tmp of its
// own. What shows that and what does not is in docs/guarantees.md. It is found out once for each
// mount namespace and root directory that the process is in. Thread-safe.
absl::Status CheckPlace(const Scope& scope);

}  // namespace soleguard
