// Text that fits a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace guardcheck {

// One line of text, without its newline, broken at blanks into lines of at most `width` columns. A
// line "  key  value" goes on below its value, another indented one a little further to the right.
// As they are stay the commands that a person copies ("  guardcheck ..."), the rows of a table
// (columns that begin at the margin), and words that are longer than a line: a path that is broken
// is no path. Wide characters count as one column.
std::string WrapLine(std::string_view line, std::size_t width);

}  // namespace guardcheck
