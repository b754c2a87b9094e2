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

absl::Status Expected(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("expected VAR=a,b,c: ", what));
}

}  // namespace

Option SlotsOption(std::uint32_t& slots) {
  return {
      .name = "--slots",
      .value = "N",
      .help = "up to N instances, each with another number from 0 in SOLEGUARD_SLOT",
      .read =
          [&slots](const std::string& text) {
            std::uint32_t number = 0;
            if (!absl::SimpleAtoi(text, &number) || number < 1 || number > soleguard::kMaxSlots) {
              return absl::InvalidArgumentError(
                  absl::StrCat("expected a number from 1 to ", soleguard::kMaxSlots));
            }
            slots = number;
            return absl::OkStatus();
          },
      .standard = "1"};
}

void RequireSlots(const soleguard::Policy& policy, std::uint32_t slots) {
  const absl::Status fits = soleguard::CheckSlots(policy, slots);
  if (!fits.ok()) throw UsageError(absl::StrCat("--slots: ", std::string(fits.message())));
}

Option SlotEnvironment::AsOption() {
  const auto read = [this](const std::string& text) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos) return Expected("there is no '='");
    Variable variable{.name = text.substr(0, equals),
                      .sources = absl::StrSplit(text.substr(equals + 1), ',')};
    if (!IsVariableName(variable.name)) {
      return Expected("what stands before '=' is no name of a variable");
    }
    if (variable.name.starts_with("SOLEGUARD_")) {
      return Expected(absl::StrCat(variable.name, " is guardcheck's own"));
    }
    std::set<std::string> seen;
    for (const std::string& source : variable.sources) {
      const std::string which = absl::StrCat("number ", seen.size() + 1, " behind ", variable.name);
      // Not shown: it may be a value that somebody wrote in the place of its variable.
      if (!IsVariableName(source)) return Expected(which + " is no name of a variable");
      if (!seen.insert(source).second) {
        return Expected(which + " stands there twice: two slots would have the same value");
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

void SlotEnvironment::Check(std::uint32_t slots) const {
  std::set<std::string> names;
  for (const auto& [name, sources] : variables_) {
    const std::string option = absl::StrCat("--slot-env ", name, ": ");
    if (!names.insert(name).second) throw UsageError(option + "it is said twice");
    if (sources.size() < slots) {
      throw UsageError(
          absl::StrCat(option, sources.size(), " variables cannot serve ", slots, " slots"));
    }
    for (std::size_t i = 0; i < sources.size(); ++i) {
      const char* value =
          std::getenv(sources[i].c_str());  // NOLINT(concurrency-mt-unsafe): one thread
      if (value != nullptr && *value != '\0') continue;
      throw UsageError(absl::StrCat(option, "variable number ", i + 1, " is ",
                                    value == nullptr ? "not set" : "empty"));
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
