#include "command.h"

#include <absl/strings/str_cat.h>

namespace guardcheck {

std::string CommandKind::synopsis() const {
  std::string text = absl::StrCat(std::string(operand), operand.empty() ? "" : " ", "[options]");
  if (behind == Behind::kCommand) absl::StrAppend(&text, " -- COMMAND...");
  if (behind == Behind::kMayBeCommand) absl::StrAppend(&text, " [-- COMMAND...]");
  return text;
}

}  // namespace guardcheck
