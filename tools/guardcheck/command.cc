#include "command.h"

#include <absl/strings/str_cat.h>

namespace guardcheck {

std::string CommandKind::synopsis() const {
  std::string text = absl::StrCat(std::string(operand), operand.empty() ? "" : " ", "[options]");
  const std::string words = absl::StrCat("-- ", std::string(behind_name), "...");
  if (behind == Behind::kCommand) absl::StrAppend(&text, " ", words);
  if (behind == Behind::kMayBeCommand) absl::StrAppend(&text, " [", words, "]");
  return text;
}

}  // namespace guardcheck
