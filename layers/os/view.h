// What this process sees of the system need not be what others see: a user namespace numbers users
// anew, a mount namespace has other directories. Private to layers/.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

namespace soleguard::os {

// The calling process's effective user as the kernel numbers it outside of any user namespace.
struct OutsideUser {
  std::uint32_t uid = 0;
  // The kernel has said it. If not, it is what /proc/self/uid_map says, which is right where the
  // process's user namespace was made by a process outside of any.
  bool certain = true;
};
// FailedPrecondition: the process's user namespace does not map its own uid, so that its objects
// and those of strangers look alike. Outside of user namespaces it costs one stat(2); inside, the
// first call for each effective uid starts a helper process. Not the user of setfsuid(2): what that
// makes is refused for its owner. Thread-safe.
absl::StatusOr<OutsideUser> FindOutsideUser();

bool IsInUserNamespace();

// Whether `owner`, as this process sees it, is root: that of its user namespace or the system's,
// under whichever number he shows here. In a user namespace that does not map the system's root,
// other users that it does not map look like him.
bool IsRoot(std::uint32_t owner);

// Whether `path` is a directory, not a link to one, of the effective user, as this process sees it.
bool IsOwnDirectory(const std::string& path);

// Whether the process is in a container: it has other pid and ipc namespaces than the system. What
// the processes in it go by is process 1 of theirs.
bool IsInContainer();
// Whether the caller is known to be in the same user namespace as process 1.
bool SharesUsersWithProcess1();

// OK where the directory /run/lock or /tmp that this process sees is, as far as can be told, the
// one that the other processes of the system see; `parent` is the one of the two that the user
// scope has by what is seen here. FailedPrecondition says what shows that it is another one:
//  - process 1 sees another one, where the caller may look,
//  - something is mounted over it in this mount namespace alone, or over what it was in,
//  - it, or what it is in, does not belong to the system's root.
// Asks no filesystem but those of these directories. Found out once for each mount namespace and
// root directory: a later mount is not noticed. Thread-safe.
absl::Status CheckPlaceIsShared(const std::string& parent);

// `path`, which is absolute and normal, with the symbolic links in it followed, but for one at its
// end: what is opened there is never followed either. What does not exist or cannot be looked into
// stays as it is, and so does what lies on a filesystem that another machine or a program serves,
// which could hang.
std::string FollowLinks(const std::string& path);

}  // namespace soleguard::os
