// The beginning of a text that is too long.
#pragma once

#include <cstddef>
#include <string_view>

namespace soleguard {

// At most `limit` bytes, with no character of UTF-8 cut in two; bytes that are none may be cut
// anywhere. Thread-safe.
std::string_view FirstBytes(std::string_view text, std::size_t limit);

}  // namespace soleguard
