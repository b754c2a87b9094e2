// The version of soleguard.
#pragma once

#include <string_view>

namespace soleguard {

// "MAJOR.MINOR.PATCH" of the library that is linked.
std::string_view Version();

}  // namespace soleguard
