#include "show/policy_error.h"

#include <algorithm>
#include <cstddef>
#include <string_view>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/strip.h>

#include "shown.h"

namespace guardcheck {
namespace {

// How many columns of a terminal `bytes` take once they are escaped, wide characters aside.
std::size_t Width(std::string_view bytes) {
  const std::string shown = Escape(bytes).text();
  return static_cast<std::size_t>(std::count_if(shown.begin(), shown.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U;  // no continuation of UTF-8
  }));
}

}  // namespace

std::string PolicyError(const std::string& text, const absl::Status& status) {
  std::string error(status.message());
  absl::string_view rest = status.message();
  std::size_t column = 0;
  if (!absl::ConsumePrefix(&rest, "column ") ||
      !absl::SimpleAtoi(rest.substr(0, rest.find(':')), &column) || column < 1 ||
      column > text.size() + 1) {
    return error;
  }
  // Of a long text the part around the column: a line that wraps has no place for a caret.
  constexpr std::size_t kBefore = 35;
  constexpr std::size_t kAfter = 15;
  const std::string_view before = std::string_view(text).substr(0, column - 1);
  const std::size_t begin = before.size() > kBefore ? before.size() - kBefore : 0;
  const std::string_view shown =
      std::string_view(text).substr(begin, before.size() - begin + kAfter);
  const std::string mark = begin > 0 ? "..." : "";
  return absl::StrCat(error, "\n  ", mark, Escape(shown).text(),
                      begin + shown.size() < text.size() ? "...\n  " : "\n  ",
                      std::string(mark.size() + Width(before.substr(begin)), ' '), "^");
}

}  // namespace guardcheck
