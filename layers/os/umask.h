// A mode that is right from the birth of a file.
#pragma once

#include <functional>

namespace soleguard::os {

// Calls `make`, which makes a file and returns what open(2) does, without a umask: the mode of what
// a group shares is right from its birth, and a process that is killed leaves nothing that only it
// may use. In a thread of its own, which has a umask of its own (unshare(2), CLONE_FS): that of the
// process is all threads'. Where there can be none, `make` is called as it is. Keeps errno.
int WithoutUmask(const std::function<int()>& make);

}  // namespace soleguard::os
