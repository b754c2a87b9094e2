// What a filesystem is worth for locks. Private to layers/.
#pragma once

#include <string>
#include <vector>

#include "os/machine.h"
#include "soleguard/diagnosis.h"

namespace soleguard {

// Whether its files are on another machine, where a lock call may block and lie.
bool IsNetworkFilesystem(const std::string& type);

// What follows for `path` on it, which `layer` uses.
std::vector<Finding> DiagnoseFilesystem(const std::string& layer, const std::string& path,
                                        const os::Filesystem& filesystem);

}  // namespace soleguard
