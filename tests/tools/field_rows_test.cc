// What programs that ran twice had, or wished for, row by row; the rows that have no room of their
// own elsewhere. (A: a lock file beside a PID file. B: a lock path that was relative. C: eight
// copies on one key. D: a lock judged by its age. E: a PID file for a Telegram bot.)
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <list>
#include <string>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "support/claimant.h"
#include "support/program.h"
#include "support/test_scope.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class FieldRows : public ::testing::Test {
 protected:
  const Guardcheck guardcheck_;
};

TEST_F(FieldRows, A2_B5_AfterAKillTheNextStartWorksAndSaysWhomItFollows) {
  Guarded bot = guardcheck_.Start();
  bot.Settle();  // the record names the command: of one that does not, what it left is not known
  const pid_t holder = bot.wrapper();
  bot.program().Signal(SIGKILL);
  EXPECT_EQ(bot.program().Wait(), 128 + SIGKILL);
  Guarded next = guardcheck_.Start();
  (void)next.command();  // the referee saw no overlap
  EXPECT_EQ(next.Exit(0), 0);
  EXPECT_THAT(next.program().Errors(),
              AllOf(HasSubstr(absl::StrCat("follows a holder that died: pid ", holder)),
                    HasSubstr("Nothing was left to clean up")));
}

TEST_F(FieldRows, A3_TheNameIsHeldForAScopeOfTheProgram) {
  const TestScope scope("file");
  {
    const Verdict verdict = scope.Acquire();
    ASSERT_TRUE(IsUnique(verdict));
    Claimant other(scope.Another());
    EXPECT_EQ(other.verdict(), absl::StrCat("duplicate ", getpid(), " established"));
  }
  Claimant next(scope.Another());
  EXPECT_TRUE(next.unique()) << next.verdict();
}

TEST_F(FieldRows, A4_IsItRunningAndWhatPid) {
  EXPECT_EQ(guardcheck_.Call({"status", "x"}).code, 3);
  Guarded bot = guardcheck_.Start();
  bot.Settle();
  const Finished status = guardcheck_.Call({"status", "x", "--json"});
  EXPECT_EQ(status.code, 0);
  EXPECT_EQ(ParseObject(status.output).at("holder").at("process").at("pid").as_int64(),
            bot.command());
  EXPECT_EQ(bot.Exit(0), 0);
}

TEST_F(FieldRows, B1_ANameIsTheSameInEachWorkingDirectory) {
  for (const char* const directory : {"one", "two"}) {
    std::filesystem::create_directory(guardcheck_.directory() / directory);
  }
  Program first({.argv = guardcheck_.Run({"sh", "-c", "echo ready; read line"}),
                 .directory = guardcheck_.directory() / "one"});
  EXPECT_EQ(first.ReadLine(), "ready");
  const Finished second =
      RunProgram({.argv = guardcheck_.Run({"true"}), .directory = guardcheck_.directory() / "two"});
  EXPECT_EQ(second.code, 75);
  EXPECT_THAT(second.errors, HasSubstr(guardcheck_.directory() / "one"));
  first.CloseInput();
  (void)first.Wait();
}

TEST_F(FieldRows, B3_E7_ARefusedStartTellsAllThatIsKnownOfTheHolderAndHowToStopIt) {
  Guarded bot = guardcheck_.Start();
  bot.Settle();
  const Finished refused = guardcheck_.CallRun({"true"});
  EXPECT_EQ(refused.code, 75);
  for (const std::string& row :
       {absl::StrCat("  pid         ", bot.command()), std::string("  started     20"),
        std::string("  executable  /"), std::string("  directory   /"),
        std::string("  user        "), std::string("  state       "), std::string("  cpu         "),
        std::string("  memory      "), std::string("  guardcheck stop x")}) {
    EXPECT_THAT(refused.errors, HasSubstr(row));
  }
  // Quoted where a shell needs it.
  EXPECT_THAT(refused.errors, AnyOf(HasSubstr("  command     /"), HasSubstr("  command     '/")));
  EXPECT_EQ(bot.Exit(0), 0);
}

TEST_F(FieldRows, B4_SigtermAndSigintEndItInOrder) {
  for (const int signal : {SIGTERM, SIGINT}) {
    Program bot({.argv = guardcheck_.Run(
                     {"sh", "-c", "trap 'echo bye; exit 7' TERM INT; echo ready; read line"})});
    EXPECT_EQ(bot.ReadLine(), "ready");
    bot.Signal(signal);
    EXPECT_EQ(bot.ReadLine(), "bye");
    EXPECT_EQ(bot.Wait(), 7);
    EXPECT_EQ(guardcheck_.Call({"status", "x"}).code, 3);
  }
}

TEST_F(FieldRows, C1_FourLocalLayersEachSeeTheHolder) {
  const Words strict = {"--policy", "strict"};
  Program bot({.argv = guardcheck_.Run({"sh", "-c", "echo ready; read line"}, strict)});
  EXPECT_EQ(bot.ReadLine(), "ready");
  EXPECT_THAT(guardcheck_.Call(Words{"list"} + strict).output, HasSubstr("file,mutex,port,scan"));
  EXPECT_EQ(guardcheck_.CallRun({"sh", "-c", "echo ready; read line"}, strict).code, 75);
  bot.CloseInput();
  (void)bot.Wait();
}

// A launcher: end what is left, start exactly one, see that it came up.
TEST_F(FieldRows, C2_CopiesAreEndedThenOneIsStartedAndSeenToBeUp) {
  const std::string bot = guardcheck_.directory() / "bot.sh";
  std::ofstream(bot) << "echo bot $$\nread -r line\n";
  const Words command = {"sh", bot};
  // A copy that was started by hand is old after 50 ms; what looks for it waits for that.
  const Words options = {"--policy", "all(file, scan)", "--settle", "50ms", "--deadline", "60s"};
  std::list<Program> copies;
  for (int i = 0; i < 2; ++i) {
    copies.emplace_back(Program::Setup{.argv = command});
    ASSERT_EQ(copies.back().ReadLine(), absl::StrCat("bot ", copies.back().pid()));
  }
  EXPECT_EQ(guardcheck_.CallRun(command, options).code, 75);

  const Finished stop =
      guardcheck_.Call(Words{"stop", "x", "--duplicates"} + options + Words{"--"} + command);
  ASSERT_EQ(stop.code, 0) << stop.output << stop.errors;
  for (Program& copy : copies) EXPECT_EQ(copy.Wait(), 128 + SIGTERM);

  const std::string verdict = guardcheck_.directory() / "verdict";
  ASSERT_EQ(mkfifo(verdict.c_str(), 0600), 0);
  Program run({.argv = Words{"sh", "-c", "exec \"$@\" 5>\"$0\"", verdict} +
                       guardcheck_.Run(command, options + Words{"--verdict-fd", "5"})});
  std::string line;
  ASSERT_TRUE(std::getline(std::ifstream(verdict), line));
  EXPECT_EQ(ParseObject(line).at("verdict"), "unique");

  const std::string up = run.ReadLine().value_or("nothing");
  const Finished status = guardcheck_.Call({"status", "x", "--json"});
  EXPECT_EQ(status.code, 0);
  ASSERT_THAT(up, ::testing::StartsWith("bot "));
  // The guard's own pid, until it has heard that the command began.
  EXPECT_THAT(ParseObject(status.output).at("holder").at("process").at("pid").as_int64(),
              ::testing::AnyOf(run.pid(), std::stoll(up.substr(4))));
  EXPECT_EQ(guardcheck_.CallRun(command, options).code, 75);
  run.CloseInput();
  (void)run.Wait();
}

TEST_F(FieldRows, D2_SeveralNamesRunSideBySide) {
  Guarded bot = guardcheck_.Start();
  (void)bot.command();
  EXPECT_EQ(guardcheck_.Call({"run", "another", "--", "true"}).code, 0);
  EXPECT_EQ(guardcheck_.Call({"run", "x.2", "--", "true"}).code, 0);
  EXPECT_EQ(guardcheck_.Call({"run", "x", "--", "true"}).code, 75);
  EXPECT_EQ(bot.Exit(0), 0);
}

TEST_F(FieldRows, D4_ALiveHolderKeepsTheNameHoweverLongAgoItBegan) {
  Guarded bot = guardcheck_.Start();
  (void)bot.command();
  const auto day_one = std::filesystem::file_time_type::clock::now() - std::chrono::hours(24 * 365);
  for (const auto& entry : std::filesystem::directory_iterator(guardcheck_.Object("x"))) {
    if (entry.is_regular_file()) std::filesystem::last_write_time(entry.path(), day_one);
  }
  EXPECT_EQ(guardcheck_.CallRun({"true"}).code, 75);
  EXPECT_EQ(bot.Exit(0), 0);
}

TEST_F(FieldRows, E5_AStartWaitsAsLongAsItIsToldTo) {
  Guarded bot = guardcheck_.Start();
  (void)bot.command();
  EXPECT_EQ(guardcheck_.CallRun({"true"}, {"--wait=50ms"}).code, 75);
  Guarded next = guardcheck_.Start({"--wait=10m"});
  EXPECT_THAT(next.program().ReadErrorLine().value_or(""), HasSubstr("waiting"));
  EXPECT_EQ(bot.Exit(0), 0);
  EXPECT_EQ(next.Exit(0), 0);
}

}  // namespace
}  // namespace soleguard::testing
