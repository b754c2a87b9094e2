// A process that looks around with one layer. Its program is looker_main.cc.
#pragma once

#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/program.h"

namespace soleguard::testing {

class Looker {
 public:
  struct Setup {
    std::string scope;
    std::string name = "x";
    std::string settle = "0s";  // everything is old enough to count
    std::string layer = "scan";
    std::string subject_directory = "/";
    std::vector<std::string> subject = {};  // empty: the looker itself
    std::vector<std::string> launcher = {};
    std::map<std::string, std::string> environment = {};
  };
  explicit Looker(const Setup& setup)
      : program_({.argv = CommandLine(setup), .environment = setup.environment}) {
    if (Line() != "ready") throw std::runtime_error("the looker does not look");
  }

  std::string Ask(const std::string& command) {
    program_.WriteLine(command);
    return Line();
  }

  pid_t pid() const { return program_.pid(); }
  Program& program() { return program_; }

  // Its own, or that of a process that looks like it.
  static std::vector<std::string> CommandLine(const Setup& setup) {
    std::vector<std::string> argv = setup.launcher;
    for (const std::string& word : {Beside("looker"), setup.scope, setup.name, setup.settle,
                                    setup.layer, setup.subject_directory}) {
      argv.push_back(word);
    }
    argv.insert(argv.end(), setup.subject.begin(), setup.subject.end());
    return argv;
  }

 private:
  std::string Line() {
    std::optional<std::string> line = program_.ReadLine();
    if (!line.has_value()) throw std::runtime_error("the looker ended: " + program_.Errors());
    return *line;
  }

  Program program_;
};

}  // namespace soleguard::testing
