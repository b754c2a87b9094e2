// Shared memory that outlives its makers.
#pragma once

#include <cstddef>
#include <string>

#include <absl/status/status.h>

#include "os/kept_fd.h"
#include "os/ownership.h"
#include "os/path.h"

namespace soleguard::os {

// A segment of POSIX shared memory, as a file. A new one appears with its owner, group and mode in
// one step: nobody finds one that is half made. (shm_open(3) gives it the creator's own group.)
absl::Status KeepSegment(const std::string& name, const Ownership& ownership, Create create,
                         KeptFd& kept);
// Whether a start could have the segment, with `size` bytes: opens what is there, makes nothing.
absl::Status CheckSegment(const std::string& name, const Ownership& ownership, std::size_t size);
void RemoveSegment(const std::string& name);
// Where it stands.
std::string SegmentPath(const std::string& name);

}  // namespace soleguard::os
