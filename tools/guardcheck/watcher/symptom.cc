#include "watcher/symptom.h"

#include <re2/re2.h>

#include <array>

#include <absl/strings/str_cat.h>

#include "shown.h"

namespace guardcheck {
namespace {

re2::RE2::Options PatternOptions() {
  re2::RE2::Options options(re2::RE2::Latin1);
  options.set_log_errors(false);
  constexpr std::int64_t kMemory = std::int64_t{4} << 20;
  options.set_max_mem(kMemory);
  return options;
}

struct Known {
  const char* pattern;
  const char* meaning;
};
constexpr std::array<Known, 3> kKnown = {
    {{"(?i)invalid nonce|nonce (?:is )?too (?:low|small)|InvalidNonce",
      "the exchange has seen a larger nonce with this API key: a second program signs requests "
      "with "
      "it, each with a counter of its own"},
     {"(?i)terminated by other getUpdates",
      "another process polls with this bot token: Telegram lets one of them read updates and ends "
      "the other's request"},
     {"(?i)(?:http|status|code|error)[^0-9]{0,12}409\\b|\\b409[: ]+conflict",
      "the server answers 409 Conflict: another process uses the same session or token"}}};

}  // namespace

Symptoms::Symptoms() = default;
Symptoms::Symptoms(Symptoms&&) noexcept = default;
Symptoms::~Symptoms() = default;

absl::Status Symptoms::Add(const std::string& pattern) {
  auto compiled = std::make_unique<const re2::RE2>(pattern, PatternOptions());
  if (!compiled->ok()) {
    return absl::InvalidArgumentError(absl::StrCat("expected a regular expression (RE2), found '",
                                                   Escape(pattern).text(),
                                                   "': ", Escape(compiled->error()).text()));
  }
  patterns_.push_back(std::move(compiled));
  counts_.push_back({.pattern = pattern, .last = ""});
  return absl::OkStatus();
}

void Symptoms::AddKnown() {
  for (const Known& known : kKnown) (void)Add(known.pattern);  // they are valid
}

bool Symptoms::Look(std::string_view line) {
  bool met = false;
  for (std::size_t i = 0; i < patterns_.size(); ++i) {
    if (!re2::RE2::PartialMatch(re2::StringPiece(line.data(), line.size()), *patterns_[i])) {
      continue;
    }
    met = true;
    ++counts_[i].total;
    ++counts_[i].unreported;
    counts_[i].last = std::string(line.substr(0, kMaxShown));
  }
  return met;
}

std::string Explain(std::string_view line) {
  static const auto& patterns = *new auto([] {
    std::array<std::unique_ptr<const re2::RE2>, kKnown.size()> compiled;
    for (std::size_t i = 0; i < kKnown.size(); ++i) {
      compiled[i] = std::make_unique<const re2::RE2>(kKnown[i].pattern, PatternOptions());
    }
    return compiled;
  }());
  for (std::size_t i = 0; i < kKnown.size(); ++i) {
    if (re2::RE2::PartialMatch(re2::StringPiece(line.data(), line.size()), *patterns[i])) {
      return kKnown[i].meaning;
    }
  }
  return "";
}

}  // namespace guardcheck
