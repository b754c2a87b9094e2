#include "option.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include <absl/strings/ascii.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_replace.h>

#include "shown.h"

namespace guardcheck {
namespace {

// As people write them.
std::optional<absl::Duration> UnitNamed(const std::string& word) {
  static const std::array<std::pair<std::string_view, absl::Duration>, 26> kUnits = {{
      {"", absl::Seconds(1)},          {"ns", absl::Nanoseconds(1)},
      {"us", absl::Microseconds(1)},   {"ms", absl::Milliseconds(1)},
      {"msec", absl::Milliseconds(1)}, {"millis", absl::Milliseconds(1)},
      {"s", absl::Seconds(1)},         {"sec", absl::Seconds(1)},
      {"secs", absl::Seconds(1)},      {"second", absl::Seconds(1)},
      {"seconds", absl::Seconds(1)},   {"m", absl::Minutes(1)},
      {"min", absl::Minutes(1)},       {"mins", absl::Minutes(1)},
      {"minute", absl::Minutes(1)},    {"minutes", absl::Minutes(1)},
      {"h", absl::Hours(1)},           {"hr", absl::Hours(1)},
      {"hrs", absl::Hours(1)},         {"hour", absl::Hours(1)},
      {"hours", absl::Hours(1)},       {"d", absl::Hours(24)},
      {"day", absl::Hours(24)},        {"days", absl::Hours(24)},
      {"w", absl::Hours(7 * 24)},      {"week", absl::Hours(7 * 24)},
  }};
  const auto* found = std::find_if(kUnits.begin(), kUnits.end(),
                                   [&](const auto& unit) { return unit.first == word; });
  return found != kUnits.end() ? std::optional(found->second) : std::nullopt;
}

// Takes the bytes from the beginning of `text` that are as `is_of` says.
std::string Take(std::string_view& text, bool (*is_of)(char)) {
  const auto* const end = std::find_if_not(text.begin(), text.end(), is_of);
  std::string taken(text.begin(), end);
  text.remove_prefix(taken.size());
  return taken;
}

// " (did you mean X?)", or nothing where nothing is meant.
std::string Asked(const std::string& meant) {
  return meant.empty() ? "" : absl::StrCat(" (did you mean ", Escape(meant).text(), "?)");
}

}  // namespace

absl::Status Expected(const std::string& what, const std::string& found) {
  return absl::InvalidArgumentError(
      absl::StrCat("expected ", what, ", found '", Escape(found).text(), "'"));
}

std::string DurationMeant(const std::string& text) {
  absl::Duration parsed;
  if (absl::ParseDuration(text, &parsed)) return parsed < absl::ZeroDuration() ? "" : text;
  absl::Duration meant;
  for (std::string_view rest = text; !rest.empty();) {
    const auto blank = [](char c) { return c == ' '; };
    double number = 0;
    if (!absl::SimpleAtod(Take(rest, [](char c) { return absl::ascii_isdigit(c) || c == '.'; }),
                          &number)) {
      return "";
    }
    (void)Take(rest, blank);
    const std::optional<absl::Duration> unit =
        UnitNamed(absl::AsciiStrToLower(Take(rest, [](char c) { return absl::ascii_isalpha(c); })));
    if (!unit.has_value()) return "";
    meant += number * *unit;
    (void)Take(rest, blank);
  }
  return meant > absl::ZeroDuration() ? absl::FormatDuration(meant) : "";
}

std::string AbsolutePath(const std::string& path) {
  const char* home = std::getenv("HOME");  // NOLINT(concurrency-mt-unsafe): one thread so far
  if (path.starts_with("~/") && home != nullptr) return absl::StrCat(home, path.substr(1));
  std::error_code removed;  // the working directory: then nothing better is known
  const std::filesystem::path absolute = std::filesystem::absolute(path, removed);
  return removed ? path : absolute.lexically_normal().string();
}

std::string Option::ValueMeantBy(const std::string& word) const {
  if (is_flag()) return word == "true" || word == "false" ? word : "";
  if (bare.empty()) return "";
  return word == bare ? word : DurationMeant(word);  // all that may be left out are durations
}

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

Reader IntoAbsolutePath(std::string& target) {
  return [&target](const std::string& text) {
    if (!text.starts_with('/')) {
      const absl::Status expected = Expected("the absolute path of a file", text);
      return absl::InvalidArgumentError(
          absl::StrCat(expected.message(), Asked(AbsolutePath(text))));
    }
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
      const absl::Status expected = Expected("a duration such as 500ms, 30s or 2m", text);
      return absl::InvalidArgumentError(
          absl::StrCat(expected.message(), Asked(DurationMeant(text))));
    }
    // In effect for ever; more would overflow the clock that it is added to.
    target = std::min(parsed, absl::Hours(100 * 365 * 24));
    return absl::OkStatus();
  };
}

}  // namespace guardcheck
