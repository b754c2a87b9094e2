// How values look in policy text. Private to policy/.
#pragma once

#include <string>
#include <string_view>

namespace soleguard {

// `value` as it is where it is a word, else in quotes.
std::string PrintPolicyValue(std::string_view value);

}  // namespace soleguard
