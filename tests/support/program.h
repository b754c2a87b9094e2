// Real processes for tests: started with Boost.Process, spoken to over pipes, signalled, waited
// for.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "soleguard/process.h"

namespace soleguard::testing {

// The path of the program `name` beside the test's own: built with it, wherever the build tree is.
std::string Beside(const std::string& name);

// A started program. Its standard input, output and error are pipes. Killed and waited for at the
// end.
class Program {
 public:
  struct Setup {
    std::vector<std::string> argv;                        // argv[0] is a path or found in PATH
    std::map<std::string, std::string> environment = {};  // added to this process's
    std::string directory = "/";                          // working directory
  };
  explicit Program(const Setup& setup);
  Program(Program&&) noexcept;
  Program& operator=(Program&&) noexcept;
  ~Program();

  pid_t pid() const;
  void Signal(int signal);
  void WriteLine(const std::string& line);
  void CloseInput();
  // The next line of its output, without the newline; nullopt at the end. Blocks.
  std::optional<std::string> ReadLine();
  // The same of its error output.
  std::optional<std::string> ReadErrorLine();
  // What is left of its output, and of its error output. Block until it and whoever inherited the
  // pipe have closed it.
  std::string Output();
  std::string Errors();
  // Its exit code, or 128 + signal. Blocks until it has ended; twice gives the same.
  int Wait();
  // Blocks until it was stopped by a signal.
  void WaitUntilStopped();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// Starts, reads everything, waits.
struct Finished {
  int code = 0;
  std::string output;
  std::string errors;
};
Finished RunProgram(const Program::Setup& setup);

}  // namespace soleguard::testing
