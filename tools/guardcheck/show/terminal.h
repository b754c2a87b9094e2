// Text for a person's terminal.
#pragma once

#include <cstdio>

#include <absl/time/time.h>

#include "shown.h"

namespace guardcheck {

bool IsTerminal(std::FILE* stream);

// Whether some KiB can be written to `stream` without blocking: waits for that as long as told.
bool AwaitRoom(std::FILE* stream, absl::Duration patience);

// Writes `text` to stdout or stderr. On a terminal its lines are wrapped to the width (wrap.h), and
// its headings, the first line and each that is followed by indented ones, are bold; not where
// NO_COLOR is set (no-color.org) or TERM is dumb. Elsewhere it stays as it is, for grep(1).
void Show(const Shown& text, std::FILE* stream);

}  // namespace guardcheck
