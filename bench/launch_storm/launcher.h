// Starts processes with Boost.Process.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace launch_storm {

class Launcher {
 public:
  // Of this very program, with one argument list for all.
  explicit Launcher(std::vector<std::string> arguments);
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;
  ~Launcher();

  // The child's pid; the caller waits for it. Standard streams are this process's. Throws.
  int Start(const std::string& variable, const std::string& value);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace launch_storm
