// Words in the text of a shell command: the checkout may lie anywhere.
#pragma once

#include <string>

namespace soleguard::testing {

// `word` as one word of sh(1), whatever is in it.
inline std::string Quoted(const std::string& word) {
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

}  // namespace soleguard::testing
