#include "option.h"

#include <algorithm>

#include <absl/strings/ascii.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_replace.h>

#include "shown.h"

namespace guardcheck {
namespace {

absl::Status Expected(const std::string& what, const std::string& found) {
  return absl::InvalidArgumentError(
      absl::StrCat("expected ", what, ", found '", Escape(found).text(), "'"));
}

}  // namespace

std::string Option::variable() const {
  if (name == "--scope") return "SOLEGUARD_DIR";  // it was there first
  return absl::StrCat("SOLEGUARD_",
                      absl::AsciiStrToUpper(absl::StrReplaceAll(key(), {{"-", "_"}})));
}

std::vector<std::string> Option::Words(const std::string& text) const {
  const std::string& without_value = is_flag() ? "true" : bare;
  if (text == without_value) return {name};
  // Without the '=' a value that may be left out is another word, and one with a dash an option.
  if (is_flag() || !bare.empty() || text.starts_with('-')) return {absl::StrCat(name, "=", text)};
  return {name, text};
}

Reader Into(std::string& target) {
  return [&target](const std::string& text) {
    target = text;
    return absl::OkStatus();
  };
}

Reader Into(std::vector<std::string>& target) {
  return [&target](const std::string& text) {
    target.push_back(text);
    return absl::OkStatus();
  };
}

Reader Into(bool& target) {
  return [&target](const std::string& text) {
    if (text != "true" && text != "false") return Expected("true or false", text);
    target = text == "true";
    return absl::OkStatus();
  };
}

Reader Into(int& target, int smallest, int largest) {
  return [&target, smallest, largest](const std::string& text) {
    int number = 0;
    if (!absl::SimpleAtoi(text, &number) || number < smallest || number > largest) {
      return Expected(absl::StrCat("a number from ", smallest, " to ", largest), text);
    }
    target = number;
    return absl::OkStatus();
  };
}

Reader Into(absl::Duration& target) {
  return [&target](const std::string& text) {
    absl::Duration parsed;
    if (!absl::ParseDuration(text, &parsed) || parsed < absl::ZeroDuration()) {
      return Expected("a duration such as 500ms, 30s or 2m", text);
    }
    // In effect for ever; more would overflow the clock that it is added to.
    target = std::min(parsed, absl::Hours(100 * 365 * 24));
    return absl::OkStatus();
  };
}

}  // namespace guardcheck
