// guardcheck: guards any command against running twice, and shows what is guarded.
#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "command.h"
#include "command_line.h"
#include "exit_code.h"
#include "supervise.h"

namespace guardcheck {

// One a line, which the empty comments see to.
std::span<const CommandKind> CommandKinds() {
  static const std::array kinds = {
      RunCommand(),         //
      CheckCommand(),       //
      StatusCommand(),      //
      ListCommand(),        //
      StopCommand(),        //
      SendCommand(),        //
      WatchCommand(),       //
      ExplainCommand(),     //
      DoctorCommand(),      //
      ReportCommand(),      //
      GcCommand(),          //
      ConfigCommand(),      //
      CompletionCommand(),  //
      ManualCommand(),      //
  };
  return kinds;
}

namespace {

int Main(std::vector<std::string> words) {
  try {
    const std::optional<Parsed> parsed = ParseCommandLine(std::move(words));
    return parsed.has_value() ? parsed->command->Run(parsed->call) : kYes;
  } catch (const UsageError& error) {
    (void)std::fprintf(stderr, "guardcheck: %s\n", error.what());
    return kUsage;
  }
}

}  // namespace
}  // namespace guardcheck

int main(int argc, char** argv) {
  try {
    const absl::Status occupied = guardcheck::OccupyStandardStreams();
    if (!occupied.ok()) throw std::runtime_error(std::string(occupied.message()));
    return guardcheck::Main({argv + std::min(1, argc), argv + argc});
  } catch (const std::exception& error) {
    (void)std::fprintf(stderr, "guardcheck: internal error: %s\n", error.what());
    return guardcheck::kInternal;
  }
}
