// What soleguard is for: a bot in Python that somebody has started by hand, and five launches of
// it at once. Under a policy of all four local layers, with the real interpreter.
#include <fstream>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::HasSubstr;

class FieldTest : public ::testing::Test {
 protected:
  // A script that says who it is, and stays until its input ends.
  std::string WriteScript(const std::string& name) const {
    std::string path = guardcheck_.directory() / name;
    std::ofstream(path) << "import os, sys\n"
                           "print('bot', os.getpid(), flush=True)\n"
                           "sys.stdin.read()\n";
    return path;
  }
  Words RunWords(const std::string& name, const std::string& settle, const Words& command) const {
    return guardcheck_.Argv(Words{"run", name, "--policy", "all(file, mutex, port, scan)",
                                  "--settle", settle, "--deadline", "60s", "--"} +
                            command);
  }
  // A start that is refused, or whose bot ends at once as it has no input. A bot that was started
  // by hand is old after 50 ms; the start itself waits for that.
  Finished Start(const std::string& name, const Words& command) const {
    return RunProgram({.argv = RunWords(name, "50ms", command)});
  }

  const Guardcheck guardcheck_{};
};

TEST_F(FieldTest, ACopyThatNeverAskedRefusesItsOwnNameAndNothingElse) {
  const std::string bot = WriteScript("bot.py");
  Program stray({.argv = {"python3", bot}});
  ASSERT_EQ(stray.ReadLine(), absl::StrCat("bot ", stray.pid()));

  const Finished refused = Start("x", {"python3", bot});
  EXPECT_EQ(refused.code, 75);
  EXPECT_EQ(refused.output, "");
  EXPECT_THAT(refused.errors, HasSubstr(absl::StrCat("pid         ", stray.pid(), " (")));
  EXPECT_THAT(refused.errors, HasSubstr("unguarded"));
  for (const char* layer :
       {"file        held", "mutex       held", "port        held", "scan        contested"}) {
    EXPECT_THAT(refused.errors, HasSubstr(layer));
  }

  // The refused start has kept nothing, and another spelling does not help.
  EXPECT_EQ(Start("x", {"true"}).code, 0);
  EXPECT_EQ(Start("x", {"python3", "-u", bot}).code, 75);

  const Finished other = Start("y", {"python3", WriteScript("other.py")});
  EXPECT_EQ(other.code, 0) << other.errors;
  const Finished another_job = Start("z", {"python3", bot, "--pair", "XBTEUR"});
  EXPECT_EQ(another_job.code, 0) << another_job.errors;

  stray.CloseInput();
  EXPECT_EQ(stray.Wait(), 0) << "nobody has touched it";
  EXPECT_EQ(Start("x", {"python3", bot}).code, 0);
}

TEST_F(FieldTest, H01_OfFiveAtOnceOneSurvivesAndTheOthersNameIt) {
  const std::string bot = WriteScript("bot.py");
  // All five are there and wait for a line; what they become has the same pid.
  const Words at_barrier = Words{"sh", "-c", "echo waits; read -r barrier; exec \"$@\"", "sh"} +
                           RunWords("x", "60s", {"python3", bot});
  std::vector<Program> starts;
  for (int i = 0; i < 5; ++i) {
    starts.emplace_back(Program::Setup{.argv = at_barrier});
    ASSERT_EQ(starts.back().ReadLine(), "waits");
  }
  for (Program& start : starts) start.WriteLine("go");

  // The survivor says that it runs, and stays; the output of the others ends.
  std::vector<Program*> survivors;
  std::vector<Program*> others;
  for (Program& start : starts) {
    (start.ReadLine().has_value() ? survivors : others).push_back(&start);
  }
  ASSERT_EQ(survivors.size(), 1U);
  for (Program* other : others) {
    EXPECT_EQ(other->Wait(), 75);
    EXPECT_THAT(other->Errors(), HasSubstr(absl::StrCat(survivors.front()->pid())));
  }
  survivors.front()->CloseInput();
  EXPECT_EQ(survivors.front()->Wait(), 0);
}

}  // namespace
}  // namespace soleguard::testing
