// Programs: the files that processes execute.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <absl/status/statusor.h>

#include "soleguard/process_identity.h"

namespace soleguard::os {

// A program's file, with what a copy of it shares.
struct ProgramFile {
  FileIdentity file;
  std::uint64_t size = 0;
};
// The regular file at `path`, links followed. The server of a network filesystem is not asked
// again. NotFound also for what is no regular file.
absl::StatusOr<ProgramFile> ProgramFileAt(const std::string& path);
// The path that execvp(3) would execute for `name` in `directory`, the environment's PATH included.
absl::StatusOr<std::string> FindProgram(const std::string& name, const std::string& directory);
// The first line of a script after "#!", at most what the kernel reads of it (256 bytes,
// BINPRM_BUF_SIZE, Linux 5.1). nullopt: no script, or the caller may not read it.
absl::StatusOr<std::optional<std::string>> InterpreterLine(const std::string& path);
// Whether two files have the same content.
absl::StatusOr<bool> SameContent(int a, int b);

}  // namespace soleguard::os
