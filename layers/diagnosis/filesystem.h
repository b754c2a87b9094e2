// What a filesystem is worth for locks. Private to layers/.
#pragma once

#include <string>
#include <vector>

#include "os/mount.h"
#include "soleguard/finding.h"

namespace soleguard {

// What follows for `path` on it, which `layer` uses.
std::vector<Finding> DiagnoseFilesystem(const std::string& layer, const std::string& path,
                                        const os::Filesystem& filesystem);

}  // namespace soleguard
