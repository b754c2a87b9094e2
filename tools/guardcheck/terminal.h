// Text for a person's terminal.
#pragma once

#include <cstdio>
#include <string>

namespace guardcheck {

bool IsTerminal(std::FILE* stream);

// Writes `text` to stdout or stderr. On a terminal its headings, the first line and each that is
// followed by indented ones, are bold; not where NO_COLOR is set (no-color.org) or TERM is dumb.
void Show(const std::string& text, std::FILE* stream);

}  // namespace guardcheck
