// What is in a file.
#pragma once

#include <fstream>
#include <sstream>
#include <string>

namespace soleguard::testing {

// "" if there is none.
inline std::string ContentOf(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace soleguard::testing
