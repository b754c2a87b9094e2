#include "soleguard/nearest.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>

namespace soleguard {
namespace {

std::string Lower(std::string_view text) {
  return absl::AsciiStrToLower(absl::string_view(text.data(), text.size()));
}

// How many of so many bytes may be wrong.
std::size_t MostSlips(std::size_t bytes) { return bytes / 3; }

// The optimal string alignment distance: Levenshtein's, where a swap of neighbours is one slip. Row
// i of its table has the distances of the first i bytes of `a` to each beginning of `b`; a row
// needs the two before it.
std::size_t Distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  std::vector<std::size_t> last(row.size());
  std::vector<std::size_t> before_last(row.size());
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::swap(before_last, last);
    std::swap(last, row);
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
      const bool is_swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (is_swap) row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
  }
  return row.back();
}

// nullopt: more than a slip of the fingers.
std::optional<std::size_t> Slips(std::string_view typed, std::string_view meant) {
  const auto [shorter, longer] = std::minmax({typed.size(), meant.size()});
  // So `typed`, of any length, costs no more than `meant` is long.
  if (longer - shorter > MostSlips(longer)) return std::nullopt;
  const std::size_t distance = Distance(Lower(typed), Lower(meant));
  return distance <= MostSlips(longer) ? std::optional(distance) : std::nullopt;
}

}  // namespace

bool IsLike(std::string_view typed, std::string_view meant) {
  return Slips(typed, meant).has_value();
}

std::optional<std::string> Nearest(std::string_view typed, const std::vector<std::string>& known) {
  std::optional<std::string> nearest;
  std::size_t fewest = 0;
  for (const std::string& word : known) {
    const std::optional<std::size_t> slips = Slips(typed, word);
    if (!slips.has_value() || (nearest.has_value() && *slips >= fewest)) continue;
    nearest = word;
    fewest = *slips;
  }
  return nearest;
}

std::string DidYouMean(std::string_view typed, const std::vector<std::string>& known) {
  const std::optional<std::string> nearest = Nearest(typed, known);
  return nearest.has_value() ? absl::StrCat(" (did you mean ", *nearest, "?)") : "";
}

}  // namespace soleguard
