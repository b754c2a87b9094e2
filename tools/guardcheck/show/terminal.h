// Text for a person's terminal.
#pragma once

#include <cstdio>

#include <absl/time/time.h>

#include "shown.h"

namespace guardcheck {

bool IsTerminal(std::FILE* stream);

// Whether some KiB can be written to `stream` without blocking: waits for that as long as told.
bool AwaitRoom(std::FILE* stream, absl::Duration patience);

// Writes `text` to stdout or stderr. On a terminal its headings, the first line and each that is
// followed by indented ones, are bold; not where NO_COLOR is set (no-color.org) or TERM is dumb.
void Show(const Shown& text, std::FILE* stream);

}  // namespace guardcheck
