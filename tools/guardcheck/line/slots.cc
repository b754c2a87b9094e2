#include "line/slots.h"

#include <algorithm>
#include <cstdlib>
#include <set>
#include <string_view>
#include <utility>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "command.h"
#include <soleguard/guard.h>
#include <soleguard/inspect.h>
#include <soleguard/options.h>

namespace guardcheck {
namespace {

// As the shell has them (POSIX, "Name").
bool IsVariableName(std::string_view text) {
  const auto is_letter = [](char c) {
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  const auto fits = [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); };
  return !text.empty() && is_letter(text.front()) && std::all_of(text.begin(), text.end(), fits);
}

absl::Status ExpectedVariables(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("expected VAR=a,b,c: ", what));
}

// What stands in the place of such a name may be a key. It is never shown.
constexpr char kNamesNotValues[] =
    "; behind the '=' stand the names of variables that have the values, and not the values";

}  // namespace

Option SlotsOption(std::uint32_t& slot_count) {
  return {
      .name = "--slots",
      .value = "N",
      .help = "up to N instances, each with another number from 0 in SOLEGUARD_SLOT",
      .read =
          [&slot_count](const std::string& text) {
            std::uint32_t number = 0;
            if (!absl::SimpleAtoi(text, &number) || number < 1 || number > soleguard::kMaxSlots) {
              return Expected(absl::StrCat("a number from 1 to ", soleguard::kMaxSlots), text);
            }
            slot_count = number;
            return absl::OkStatus();
          },
      .standard = "1"};
}

void RequireSlots(const soleguard::Policy& policy, std::uint32_t slot_count) {
  const absl::Status fits = soleguard::CheckSlots(policy, slot_count);
  if (!fits.ok()) throw UsageError(absl::StrCat("--slots: ", std::string(fits.message())));
}

Option SlotEnvironment::AsOption() {
  const auto read = [this](const std::string& text) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos) return ExpectedVariables("there is no '='");
    Variable variable{.name = text.substr(0, equals),
                      .sources = absl::StrSplit(text.substr(equals + 1), ',')};
    if (!IsVariableName(variable.name)) {
      return ExpectedVariables("what stands before '=' is no name of a variable");
    }
    if (variable.name.starts_with("SOLEGUARD_")) {
      return ExpectedVariables(absl::StrCat(variable.name, " is guardcheck's own"));
    }
    std::set<std::string> seen;
    for (const std::string& source : variable.sources) {
      const std::string which = absl::StrCat("number ", seen.size() + 1, " behind ", variable.name);
      if (!IsVariableName(source)) {
        return ExpectedVariables(absl::StrCat(which, " is no name of a variable", kNamesNotValues));
      }
      if (!seen.insert(source).second) {
        return ExpectedVariables(which +
                                 " stands there twice: two slots would have the same value");
      }
    }
    variables_.push_back(std::move(variable));
    return absl::OkStatus();
  };
  return {.name = "--slot-env",
          .value = "VAR=a,b,c",
          .help =
              "in slot 0 the command finds in VAR what is in variable a, in slot 1 what is in "
              "b; it finds neither a nor b",
          .read = read,
          .repeats = true};
}

std::uint32_t SlotEnvironment::most() const {
  std::size_t most = soleguard::kMaxSlots;
  for (const Variable& variable : variables_) most = std::min(most, variable.sources.size());
  return static_cast<std::uint32_t>(most);
}

void SlotEnvironment::Check(std::uint32_t slot_count) const {
  std::set<std::string> names;
  for (const auto& [name, sources] : variables_) {
    const std::string option = absl::StrCat("--slot-env ", name, ": ");
    if (!names.insert(name).second) throw UsageError(option + "it is said twice");
    if (sources.size() < slot_count) {
      throw UsageError(absl::StrCat(option, sources.size(), " variables cannot serve ", slot_count,
                                    " slots: each slot needs one, separated by commas"));
    }
    for (std::size_t i = 0; i < sources.size(); ++i) {
      const char* value =
          std::getenv(sources[i].c_str());  // NOLINT(concurrency-mt-unsafe): one thread
      if (value != nullptr && *value != '\0') continue;
      throw UsageError(absl::StrCat(option, "variable number ", i + 1, " is ",
                                    value == nullptr ? "not set" : "empty", kNamesNotValues));
    }
  }
}

void SlotEnvironment::Apply(std::uint32_t slot) const {
  std::vector<std::pair<std::string, std::string>> values;
  for (const auto& [name, sources] : variables_) {
    values.emplace_back(name, std::getenv(sources[slot].c_str()));  // NOLINT(concurrency-mt-unsafe)
  }
  for (const auto& [name, sources] : variables_) {
    for (const std::string& source : sources) (void)unsetenv(source.c_str());
  }
  for (const auto& [name, value] : values) (void)setenv(name.c_str(), value.c_str(), 1);
}

}  // namespace guardcheck
