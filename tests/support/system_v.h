// What the mutex layer leaves in the ipc namespace: it outlives the directory of a test.
#pragma once

#include <string>

namespace soleguard::testing {

// Removes the semaphores and segments of all names that `directory`, as a scope or as the parent of
// scopes, has had.
void RemoveMutexObjects(const std::string& directory);

}  // namespace soleguard::testing
