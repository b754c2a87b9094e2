#include "options.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <absl/status/statusor.h>
#include <absl/strings/str_split.h>

#include "participant.h"
#include <soleguard/policy.h>

namespace launch_storm {
namespace {

constexpr std::uint32_t kMostLaunches = 30000;

const std::map<std::string, Mode>& Modes() {
  static const std::map<std::string, Mode> modes = {
      {"library", Mode::kLibrary}, {"command", Mode::kCommand}, {"broken", Mode::kBroken}};
  return modes;
}

absl::Duration ReadDuration(const std::string& text, const std::string& option) {
  absl::Duration duration;
  if (!absl::ParseDuration(text, &duration) || duration < absl::ZeroDuration() ||
      duration > absl::Hours(1)) {
    throw UsageError(option +
                     ": expected a duration of at most an hour, such as 0, 500us or 2s, "
                     "found '" +
                     text + "'");
  }
  return duration;
}

// What makes no sense together, with the reason.
void CheckCombination(const Settings& settings) {
  if (settings.linger && settings.mode == Mode::kCommand) {
    throw UsageError("--linger needs --mode library: a refused command has ended");
  }
  if (settings.linger && settings.standby) {
    throw UsageError("--linger and --standby: a standby is never refused");
  }
  if (!settings.compare_flock) return;
  if (settings.mode != Mode::kCommand) throw UsageError("--compare-flock needs --mode command");
  if (settings.standby || settings.kill || settings.freeze || settings.unlink) {
    throw UsageError(
        "--compare-flock compares undisturbed storms: without --standby, --kill, --freeze and "
        "--unlink");
  }
}

// Found as execvp(3) does.
bool IsProgram(const std::string& program) {
  const auto is_one = [](const std::string& path) {
    return std::filesystem::is_regular_file(path) && access(path.c_str(), X_OK) == 0;
  };
  if (program.find('/') != std::string::npos) return is_one(program);
  const char* path = std::getenv("PATH");
  const std::vector<std::string> places = absl::StrSplit(path != nullptr ? path : "", ':');
  return std::any_of(places.begin(), places.end(), [&](const std::string& place) {
    return is_one((std::filesystem::path(place) / program).string());
  });
}

// What would be found out only by all the launches, or after them.
void CheckFiles(const Settings& settings) {
  if (settings.mode == Mode::kCommand && !IsProgram(settings.guardcheck)) {
    throw UsageError("--guardcheck: " + settings.guardcheck + " cannot be executed");
  }
  if (settings.json.empty()) return;
  // Neither made longer nor emptied by that.
  if (!std::ofstream(settings.json, std::ios::app)) {
    throw UsageError("--json: cannot write " + settings.json);
  }
}

// Lock files are usually on a tmpfs (/run/lock).
std::string DefaultDirectory() {
  return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : std::filesystem::temp_directory_path();
}

std::uint64_t RandomSeed() {
  std::random_device device;
  return device();  // 32 bits: short enough to be typed again
}

}  // namespace

const char* ToString(Mode mode) {
  switch (mode) {
    case Mode::kLibrary:
      return "library";
    case Mode::kCommand:
      return "command";
    case Mode::kFlock:
      return "flock";
    case Mode::kBroken:
      return "broken";
  }
  return "unknown";
}

std::optional<Settings> ParseOptions(int argc, char** argv) {
  Settings settings;
  settings.guardcheck = LAUNCH_STORM_GUARDCHECK;
  settings.directory = DefaultDirectory();
  settings.seed = RandomSeed();
  std::string mode = "library";
  std::string policy;
  std::string hold;
  std::string limit;

  CLI::App app(
      "Starts many processes at once, round after round, and has a referee that does not rely on "
      "soleguard see\nto it that never two run.",
      "launch_storm");
  app.add_option("--launches", settings.launches, "processes per round (default: 100)")
      ->check(CLI::Range(std::uint32_t{1}, kMostLaunches));
  app.add_option("--rounds", settings.rounds, "rounds (default: 10)")
      ->check(CLI::Range(std::uint32_t{1}, std::uint32_t{1000000}));
  app.add_option("--policy", policy, "policy (default: the library's)");
  app.add_option("--mode", mode,
                 "library: each process calls Guard::Acquire (default); command: each becomes "
                 "guardcheck run; broken: each believes that it is alone, to test the referee")
      ->check(CLI::IsMember(Modes()));
  app.add_option("--hold", hold,
                 "how long a winner runs, e.g. 0 or 5ms (default: until all others have their "
                 "verdict)");
  app.add_flag("--linger", settings.linger, "the refused stay alive until no winner is left");
  app.add_flag("--standby", settings.standby, "the refused wait to become the next holder");
  CLI::Option* kill =
      app.add_flag("--kill", settings.kill, "kill each winner (SIGKILL) at a random moment");
  CLI::Option* freeze =
      app.add_flag("--freeze", settings.freeze,
                   "stop the winner (SIGSTOP), then start the other half, then let it go on");
  kill->excludes(freeze);
  app.add_flag("--unlink", settings.unlink,
               "delete lock file, records and all in the name's directory, at random moments while "
               "held");
  app.add_flag("--compare-flock", settings.compare_flock,
               "in each round also a storm of `flock -n`, and the ratio of the medians");
  app.add_option("--seed", settings.seed, "of the random moments (default: a random one)");
  app.add_option("--limit", limit, "a round that takes longer is a violation (default: 1m)");
  app.add_option("--json", settings.json, "write the results to this file, as JSON");
  app.add_option("--guardcheck", settings.guardcheck, "the guardcheck to run");
  app.add_option("--directory", settings.directory,
                 "where each round makes its scope (default: /dev/shm)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) throw UsageError(error.what());
    (void)app.exit(error);
    return std::nullopt;
  }

  for (const CLI::Option* option : app.get_options()) {
    const std::vector<std::string>& texts = option->results();
    // A script's unset variable more often than a wish for the default.
    if (std::find(texts.begin(), texts.end(), "") != texts.end()) {
      throw UsageError(option->get_name() + ": the value is empty");
    }
  }
  settings.mode = Modes().at(mode);
  if (!hold.empty()) settings.hold = ReadDuration(hold, "--hold");
  if (!limit.empty()) settings.limit = ReadDuration(limit, "--limit");
  settings.policy = soleguard::Policy::Default().ToString();
  if (!policy.empty()) {
    const absl::StatusOr<soleguard::Policy> parsed = soleguard::Policy::Parse(policy);
    if (!parsed.ok()) throw UsageError("--policy: " + std::string(parsed.status().message()));
    settings.policy = parsed->ToString();
  }
  if (settings.standby && !settings.hold.has_value()) settings.hold = absl::ZeroDuration();
  CheckCombination(settings);
  CheckFiles(settings);
  return settings;
}

}  // namespace launch_storm
