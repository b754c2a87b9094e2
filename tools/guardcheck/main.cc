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
#include "exit_code.h"
#include "guardian/supervise.h"
#include "line/command_line.h"

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
      BeatCommand(),        //
      WatchCommand(),       //
      HistoryCommand(),     //
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
    const int code = parsed.has_value() ? parsed->command->Run(parsed->call) : kYes;
    // A full disk: an answer that is cut short must not look like one.
    const bool whole = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
    if (!whole) (void)std::fprintf(stderr, "guardcheck: stdout could not be written\n");
    return whole || code != kYes ? code : kInternal;
  } catch (const UsageError& error) {
    (void)std::fprintf(stderr, "guardcheck: %s\n", error.what());
    return kUsage;
  }
}

}  // namespace
}  // namespace guardcheck

int main(int argc, char** argv) {
  guardcheck::RememberArguments(argc, argv);
  try {
    const absl::Status occupied = guardcheck::OccupyStandardStreams();
    if (!occupied.ok()) throw std::runtime_error(std::string(occupied.message()));
    return guardcheck::Main({argv + std::min(1, argc), argv + argc});
  } catch (const std::exception& error) {
    (void)std::fprintf(stderr, "guardcheck: internal error: %s\n", error.what());
    return guardcheck::kInternal;
  }
}
