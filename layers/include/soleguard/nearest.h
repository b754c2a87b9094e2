// What somebody meant who mistyped a word.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace soleguard {

// Whether `typed` can be `meant` with a slip of the fingers: with at most one byte too many, one
// missing, one wrong or two swapped for every three bytes. Upper and lower case are the same, so
// that a word is like itself in capitals.
bool IsLike(std::string_view typed, std::string_view meant);

// The one of `known` that is most like `typed`, the first one of several. nullopt: none is like it.
std::optional<std::string> Nearest(std::string_view typed, const std::vector<std::string>& known);

// " (did you mean mutex?)", or nothing where none is like it.
std::string DidYouMean(std::string_view typed, const std::vector<std::string>& known);

}  // namespace soleguard
