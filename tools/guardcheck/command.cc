#include "command.h"

#include <algorithm>

#include <absl/strings/str_cat.h>

#include "shown.h"

namespace guardcheck {
namespace {

// Escaped once, with the lines that guardcheck itself breaks.
std::string SaidInLines(std::string_view text) {
  std::string lines;
  while (true) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines += Said(text.substr(0, end)).text();
    if (end == text.size()) return lines;
    lines += '\n';
    text.remove_prefix(end + 1);
  }
}

}  // namespace

UsageError::UsageError(std::string_view what) : what_(SaidInLines(what)) {}

std::string CommandKind::synopsis() const {
  std::string text = absl::StrCat(std::string(operand), operand.empty() ? "" : " ", "[options]");
  const std::string words = absl::StrCat("-- ", std::string(behind_name), "...");
  if (behind == Behind::kCommand) absl::StrAppend(&text, " ", words);
  if (behind == Behind::kMayBeCommand) absl::StrAppend(&text, " [", words, "]");
  return text;
}

}  // namespace guardcheck
