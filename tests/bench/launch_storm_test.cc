// launch_storm: its referee sees what it has to see, small storms are clean, nothing is left.
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/process.h"
#include "support/program.h"
#include "support/temp_dir.h"

namespace soleguard::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace fs = std::filesystem;
namespace json = boost::json;

using Words = std::vector<std::string>;

const std::string kLaunchStorm = Beside("launch_storm");

// Few, as other tests run beside; the scopes of the rounds are made in `directory`.
Words StormIn(const TempDir& directory, const Words& options) {
  Words words = {kLaunchStorm,  "--launches",    "12", "--rounds", "2",
                 "--directory", directory.path()};
  words.insert(words.end(), options.begin(), options.end());
  return words;
}

json::value JsonIn(const std::string& path) {
  std::ifstream file(path);
  return json::parse(std::string{std::istreambuf_iterator<char>(file), {}});
}

Words EntriesOf(const std::string& directory) {
  Words names;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    names.push_back(entry.path().filename());
  }
  return names;
}

std::string Everything(const Finished& finished) { return finished.output + finished.errors; }

struct Storm {
  std::string name;
  Words options;
};
class LaunchStormMode : public ::testing::TestWithParam<Storm> {};

TEST_P(LaunchStormMode, SmallStormIsCleanAndLeavesNothing) {
  const TempDir directory;
  const Finished finished = RunProgram({.argv = StormIn(directory, GetParam().options)});
  EXPECT_EQ(finished.code, 0) << Everything(finished);
  EXPECT_THAT(finished.output, HasSubstr("violations"));
  EXPECT_THAT(EntriesOf(directory.path()), IsEmpty());
}

constexpr char kAll[] = "all(file, mutex, port, scan)";
INSTANTIATE_TEST_SUITE_P(
    Storms, LaunchStormMode,
    ::testing::Values(
        Storm{"Library", {}}, Storm{"LibraryAll", {"--policy", kAll}},
        Storm{"Command", {"--mode", "command", "--policy", kAll}},
        Storm{"AtLeast", {"--policy", "at_least(2, file, mutex, port)"}},
        Storm{"Any", {"--policy", "any(file, mutex, port)"}}, Storm{"NoHold", {"--hold", "0"}},
        Storm{"Linger", {"--linger", "--policy", kAll}},
        Storm{"LingerNoHold", {"--linger", "--hold", "0", "--policy", kAll}},
        Storm{"Kill", {"--kill"}}, Storm{"KillCommand", {"--kill", "--mode", "command"}},
        Storm{"Freeze", {"--freeze"}}, Storm{"FreezeCommand", {"--freeze", "--mode", "command"}},
        Storm{"Unlink", {"--unlink"}}, Storm{"UnlinkCommand", {"--unlink", "--mode", "command"}},
        Storm{"Standby", {"--standby"}},
        Storm{"StandbyCommand", {"--standby", "--mode", "command"}},
        Storm{"StandbyKill", {"--standby", "--kill"}},
        Storm{"CompareFlock", {"--mode", "command", "--compare-flock"}}),
    [](const auto& storm) { return storm.param.name; });

TEST(LaunchStorm, SeesThatABrokenGuardLetsAllRun) {
  const TempDir directory;
  const std::string file = directory / "results.json";
  const Finished finished =
      RunProgram({.argv = StormIn(directory, {"--mode", "broken", "--json", file})});
  EXPECT_EQ(finished.code, 1) << Everything(finished);
  EXPECT_THAT(finished.errors, HasSubstr("began while"));
  // All 12 ran at the same time, and all but the first saw it.
  const json::object counts = JsonIn(file).at("storms").at(0).at("violations").as_object();
  EXPECT_EQ(counts.at("overlaps").to_number<int>(), 2 * 11);
  EXPECT_EQ(counts.at("second_winners").to_number<int>(), 2);
}

// The moment at which the broken guard lets several in is short here, and a killed one does not
// mark its end: the processes themselves have to see each other.
TEST(LaunchStorm, SeesOverlapsOfWinnersThatAreKilled) {
  const TempDir directory;
  const Finished finished =
      RunProgram({.argv = StormIn(directory, {"--mode", "broken", "--kill"})});
  EXPECT_EQ(finished.code, 1) << Everything(finished);
  EXPECT_THAT(finished.errors, HasSubstr("began while"));
}

TEST(LaunchStorm, WritesJson) {
  const TempDir directory;
  const std::string file = directory / "results.json";
  const Finished finished = RunProgram(
      {.argv = StormIn(directory, {"--seed", "7", "--hold", "2ms", "--unlink", "--json", file})});
  ASSERT_EQ(finished.code, 0) << Everything(finished);
  const json::value results = JsonIn(file);
  EXPECT_EQ(results.at("schema").to_number<int>(), 1);
  EXPECT_EQ(results.at("seed").to_number<int>(), 7);
  EXPECT_EQ(results.at("launches").to_number<int>(), 12);
  EXPECT_EQ(results.at("mode").as_string(), "library");
  EXPECT_EQ(results.at("policy").as_string(), "all(file, mutex, port)");
  EXPECT_EQ(results.at("hold_ms").to_number<double>(), 2);
  EXPECT_EQ(results.at("disturbances"), json::array{"unlink"});
  EXPECT_EQ(results.at("violations").to_number<int>(), 0);
  EXPECT_TRUE(results.at("ratio_to_flock").is_null());
  const json::array& storms = results.at("storms").as_array();
  ASSERT_EQ(storms.size(), 1U);
  EXPECT_GT(storms[0].at("verdict_ms").at("p99").to_number<double>(), 0);
  const json::array& rounds = storms[0].at("rounds").as_array();
  ASSERT_EQ(rounds.size(), 2U);
  EXPECT_EQ(rounds[0].at("winners").to_number<int>() + rounds[0].at("refused").to_number<int>(),
            12);
}

TEST(LaunchStorm, ComparesWithFlock) {
  const TempDir directory;
  const std::string file = directory / "results.json";
  const Finished finished = RunProgram(
      {.argv = StormIn(directory, {"--mode", "command", "--compare-flock", "--json", file})});
  ASSERT_EQ(finished.code, 0) << Everything(finished);
  const json::value results = JsonIn(file);
  EXPECT_GT(results.at("ratio_to_flock").to_number<double>(), 0);
  ASSERT_EQ(results.at("storms").as_array().size(), 2U);
  EXPECT_EQ(results.at("storms").at(1).at("name").as_string(), "flock -n");
}

TEST(LaunchStorm, EndsEverythingWhenInterrupted) {
  const TempDir directory;
  // More rounds than it has time for.
  Program storm({.argv = {kLaunchStorm, "--launches", "12", "--rounds", "1000000", "--mode",
                          "command", "--kill", "--directory", directory.path()}});
  ASSERT_TRUE(storm.ReadLine().has_value());  // it handles signals by then
  storm.Signal(SIGINT);
  EXPECT_THAT(storm.Errors(), HasSubstr("interrupted"));
  EXPECT_EQ(storm.Wait(), 130);
  EXPECT_THAT(EntriesOf(directory.path()), IsEmpty());
}

TEST(LaunchStorm, ItsManualPageHasEveryOption) {
  const std::string page = SOLEGUARD_TEST_DOCS "/man/launch_storm.1";
  const Finished lint = RunProgram({.argv = {"mandoc", "-T", "lint", "-W", "warning", page}});
  EXPECT_EQ(lint.code, 0) << lint.output;
  std::ifstream file(page);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const Finished help = RunProgram({.argv = {kLaunchStorm, "--help"}});
  std::istringstream lines(help.output);
  int options = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("  --")) continue;
    std::string option = line.substr(2, line.find(' ', 2) - 2);
    for (std::size_t dash = 0; (dash = option.find('-', dash)) != std::string::npos; dash += 2) {
      option.insert(dash, "\\");
    }
    EXPECT_THAT(text, HasSubstr(option));
    ++options;
  }
  EXPECT_GT(options, 10);
}

class LaunchStormUsage : public ::testing::TestWithParam<Words> {};

TEST_P(LaunchStormUsage, Is64) {
  Words words = {kLaunchStorm, "--rounds", "1"};
  if (GetParam().front() != "--launches") words.insert(words.end(), {"--launches", "2"});
  words.insert(words.end(), GetParam().begin(), GetParam().end());
  const Finished finished = RunProgram({.argv = words});
  EXPECT_EQ(finished.code, 64) << Everything(finished);
  EXPECT_THAT(finished.errors, HasSubstr("launch_storm: "));
}

INSTANTIATE_TEST_SUITE_P(
    Lines, LaunchStormUsage,
    ::testing::Values(Words{"--launches", "0"}, Words{"--launches", "many"}, Words{"--bogus"},
                      Words{"--mode", "both"}, Words{"--policy", "all(fiel)"},
                      Words{"--hold", "soon"}, Words{"--kill", "--freeze"},
                      Words{"--linger", "--standby"}, Words{"--linger", "--mode", "command"},
                      Words{"--compare-flock"}, Words{"--mode", "0"}, Words{"--policy", ""},
                      Words{"--hold", ""}, Words{"--limit", ""}, Words{"--json", ""},
                      Words{"--directory", ""}, Words{"--json", "/nonexistent/results.json"},
                      Words{"--mode", "command", "--guardcheck", "/nonexistent/guardcheck"},
                      Words{"--mode", "command", "--guardcheck", "/tmp"},
                      Words{"--mode", "command", "--compare-flock", "--kill"}));

}  // namespace
}  // namespace soleguard::testing
