// What programs that ran twice had, or wished for, row by row; the rows that have no room of their
// own elsewhere. (A: a lock file beside a PID file. B: a lock path that was relative. C: eight
// copies on one key. D: a lock judged by its age. E: a PID file for a Telegram bot.)
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <string>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
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
  (void)bot.command();
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
    EXPECT_TRUE(IsDuplicate(scope.Acquire()));
  }
  EXPECT_TRUE(IsUnique(scope.Acquire()));
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
        std::string("  executable  /"), std::string("  command     /"),
        std::string("  directory   /"), std::string("  user        "),
        std::string("  state       "), std::string("  cpu         "), std::string("  memory      "),
        std::string("  guardcheck stop x")}) {
    EXPECT_THAT(refused.errors, HasSubstr(row));
  }
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
