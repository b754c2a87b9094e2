// What runs as an instance.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "soleguard/process_identity.h"

namespace soleguard {

// What runs as the instance, for a layer that looks for processes like it: a command that the
// caller is going to execute, as execvp(3) would, in a working directory. An empty argv stands for
// the calling process itself.
struct Subject {
  std::vector<std::string> argv;
  std::string working_directory;
  // A process that runs, instead of a command: processes like it are looked for.
  std::optional<ProcessIdentity> process = std::nullopt;
  // The caller only looks, and does not know what runs as the instance: the records say it.
  bool unknown = false;
};

}  // namespace soleguard
