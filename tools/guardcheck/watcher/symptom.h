// What programs write to their logs when two of them run, and what a person can do about it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>

namespace re2 {
class RE2;
}

namespace guardcheck {

// Patterns that lines of a log are matched with. Bytes, not UTF-8: a log may hold anything.
class Symptoms {
 public:
  Symptoms();
  Symptoms(Symptoms&&) noexcept;
  ~Symptoms();

  // InvalidArgument says what is wrong with a pattern (RE2).
  absl::Status Add(const std::string& pattern);
  // The built-in ones: those that Explain knows.
  void AddKnown();
  bool empty() const { return patterns_.empty(); }

  // A pattern, how often it was met, and the last line that did.
  struct Count {
    std::string pattern;
    std::uint64_t total = 0;
    std::uint64_t unreported = 0;
    std::string last;  // at most kMaxShown bytes
  };
  // Whether some pattern matches.
  bool Look(std::string_view line);
  std::vector<Count>& counts() { return counts_; }
  const std::vector<Count>& counts() const { return counts_; }

  static constexpr std::size_t kMaxShown = 300;

 private:
  std::vector<std::unique_ptr<const re2::RE2>> patterns_;
  std::vector<Count> counts_;  // of each
};

// What a line that two programs on one account cause means; empty when it is not known.
std::string Explain(std::string_view line);

}  // namespace guardcheck
