#include "support/claimant.h"

#include <stdexcept>
#include <utility>

namespace soleguard::testing {
namespace {

constexpr char kInLine[] = "in line";

std::string StartOf(const Claimant::Setup& setup) {
  if (!setup.gate.empty()) return "gate:" + setup.gate;
  return setup.at_barrier ? "barrier" : "now";
}

std::string LineOf(Program& program) {
  std::optional<std::string> line = program.ReadLine();
  if (!line.has_value()) throw std::runtime_error("the claimant ended: " + program.Errors());
  return *line;
}

}  // namespace

std::vector<std::string> Claimant::CommandOf(const Setup& setup) {
  return {Beside("claimant"),
          setup.scope,
          setup.name,
          setup.policy,
          absl::FormatDuration(setup.settle),
          absl::FormatDuration(setup.deadline),
          StartOf(setup),
          absl::FormatDuration(setup.wait),
          setup.replace.has_value() ? absl::FormatDuration(*setup.replace) : std::string(),
          std::to_string(setup.slot_count),
          setup.referee};
}

Claimant::Claimant(const Setup& setup)
    : program_([&setup]() -> Program::Setup {
        std::vector<std::string> argv = setup.launcher;
        for (std::string& word : CommandOf(setup)) argv.push_back(std::move(word));
        return {.argv = argv};
      }()) {}

void Claimant::WaitUntilAtGate() {
  if (const std::string line = LineOf(program_); line != "waits") {
    throw std::runtime_error("not expected: " + line);
  }
}

void Claimant::WaitUntilInLine() {
  if (const std::string line = LineOf(program_); line != kInLine) {
    throw std::runtime_error("not expected: " + line);
  }
}

const std::string& Claimant::verdict() {
  while (!verdict_.has_value() || verdict_ == kInLine) verdict_ = LineOf(program_);
  return *verdict_;
}

std::uint64_t Claimant::token() {
  if (!unique()) throw std::runtime_error("no token: " + verdict());
  return std::stoull(verdict().substr(verdict().find(' ') + 1));
}

std::string Claimant::Ask(const std::string& command) {
  (void)verdict();
  program_.WriteLine(command);
  return LineOf(program_);
}

}  // namespace soleguard::testing
