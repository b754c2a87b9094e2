// What removes old files, and from where: the configuration of systemd-tmpfiles(8) and of others of
// its kind. Private to layers/.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "soleguard/finding.h"

namespace soleguard {

// A line of tmpfiles.d(5) by which content grows old.
struct CleaningRule {
  std::string directory;  // whose content
  std::string age;        // as it is written there: 10d
  std::string file;       // in which the line is
};

// Where lines of tmpfiles.d(5) stand, those that win first.
std::vector<std::string> CleaningDirectories();

// The rule by which `path` is removed one day, nullopt: none. Lines that exclude it are honoured;
// quotes and % specifiers in paths are not understood, so that such a line is passed over.
std::optional<CleaningRule> CleaningRuleFor(const std::string& path,
                                            const std::vector<std::string>& directories);

// What cleans the directory of `path` on this machine, if anything does. `locked`: its content is
// below a directory that holders lock by flock(2), which systemd-tmpfiles passes over.
std::vector<Finding> DiagnoseCleaners(const std::string& layer, const std::string& path,
                                      bool locked);

}  // namespace soleguard
