// What the mutex layer leaves in the ipc namespace: it outlives the directory of a test.
#pragma once

#include <string>

namespace soleguard::testing {

// The semaphore, as ipcrm(1) does it, or the segment with the record, of one name. False: there is
// none.
bool RemoveSemaphore(const std::string& scope, const std::string& name);
bool RemoveSegment(const std::string& scope, const std::string& name);

// Sets the semaphore free, as semctl(2) can: whoever has it is not asked.
bool FreeSemaphore(const std::string& scope, const std::string& name);

// Removes the semaphores and segments of all names that `directory`, as a scope or as the parent of
// scopes, has had.
void RemoveMutexObjects(const std::string& directory);

}  // namespace soleguard::testing
