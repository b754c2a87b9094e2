// guardcheck run --slots: several instances under one name, each with a number and values of its
// own.
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// The keys of three accounts, as an operator has them.
const std::map<std::string, std::string> kKeys = {
    {"KEY_A", "secret-a"}, {"KEY_B", "secret-b"}, {"KEY_C", "secret-c"}};

class SlotsTest : public ::testing::Test {
 protected:
  // A bot that says which slot and key it got, and which of the others' keys it sees, and stays
  // until its input ends.
  Words BotWords(const Words& options) const {
    return guardcheck_.Run({"sh", "-c",
                            "echo \"slot $SOLEGUARD_SLOT key ${KEY-none} others "
                            "${KEY_A-}${KEY_B-}${KEY_C-}\"; read -r line"},
                           options);
  }
  Program Bot(const Words& options = {"--slots", "3", "--slot-env",
                                      "KEY=KEY_A,KEY_B,KEY_C"}) const {
    return Program({.argv = BotWords(options), .environment = kKeys});
  }
  Finished RefusedBot(const Words& options) const {
    return RunProgram({.argv = BotWords(options), .environment = kKeys});
  }
  static std::string LineOf(Program& bot) { return bot.ReadLine().value_or("nothing"); }

  const Guardcheck guardcheck_;
};

TEST_F(SlotsTest, C7_ThreeStartsGetThreeKeysAFourthIsRefusedAndADeadOnesKeyIsTheNextOnes) {
  std::vector<Program> bots;
  for (const std::string expected : {"slot 0 key secret-a others ", "slot 1 key secret-b others ",
                                     "slot 2 key secret-c others "}) {
    bots.push_back(Bot());
    EXPECT_EQ(LineOf(bots.back()), expected);
  }

  Program fourth = Bot();
  EXPECT_EQ(fourth.Wait(), 75);
  EXPECT_EQ(fourth.Output(), "");
  const std::string errors = fourth.Errors();
  EXPECT_THAT(errors, HasSubstr("x is already running in all 3 slots; this start was refused."));
  for (Program& bot : bots) {
    EXPECT_THAT(errors, HasSubstr(absl::StrCat(bot.pid())));
  }
  EXPECT_THAT(errors, Not(HasSubstr("secret")));

  bots[1].Signal(SIGKILL);
  EXPECT_EQ(bots[1].Wait(), 128 + SIGKILL);
  Program next = Bot({"--slots", "3", "--slot-env", "KEY=KEY_A,KEY_B,KEY_C", "--wait"});
  EXPECT_EQ(LineOf(next), "slot 1 key secret-b others ");
}

TEST_F(SlotsTest, WithoutSlotsItIsSlotZero) {
  Program plain = Bot({});
  EXPECT_EQ(LineOf(plain), "slot 0 key none others secret-asecret-bsecret-c");
  Program first = Bot({"--slots", "2"});
  EXPECT_EQ(LineOf(first), "slot 1 key none others secret-asecret-bsecret-c");
  EXPECT_EQ(RefusedBot({}).code, 75);
}

TEST_F(SlotsTest, SeveralVariablesAndASettingOfTheFile) {
  const std::string config = guardcheck_.directory() / "config.toml";
  std::ofstream(config)
      << "[names.x]\nslots = 2\nslot-env = [\"KEY=KEY_B,KEY_A\", \"KEY_C=KEY_C,PATH\"]\n";
  Program bot = Bot({"--config", config});
  EXPECT_EQ(LineOf(bot), "slot 0 key secret-b others secret-c");
}

TEST_F(SlotsTest, ARefusalShowsAllHoldersAsJson) {
  Program first = Bot();
  ASSERT_THAT(LineOf(first), HasSubstr("slot 0"));
  Program second = Bot();
  ASSERT_THAT(LineOf(second), HasSubstr("slot 1"));
  const Finished refused = RefusedBot({"--slots", "2", "--json"});
  EXPECT_EQ(refused.code, 75);
  const auto json = ParseObject(refused.output);
  EXPECT_EQ(json.at("holder").at("record").at("slot"), 0);
  EXPECT_EQ(json.at("holder").at("record").at("identity").at("pid"), first.pid());
  ASSERT_EQ(json.at("other_holders").as_array().size(), 1U);
  const auto& other = json.at("other_holders").as_array().front();
  EXPECT_EQ(other.at("record").at("slot"), 1);
  EXPECT_EQ(other.at("record").at("identity").at("pid"), second.pid());
}

TEST_F(SlotsTest, StatusListAndCheckShowTheSlots) {
  Program first = Bot();
  ASSERT_THAT(LineOf(first), HasSubstr("slot 0"));
  Program second = Bot();
  ASSERT_THAT(LineOf(second), HasSubstr("slot 1"));

  const Finished status = guardcheck_.Call({"status", "x"});
  EXPECT_EQ(status.code, 0);
  EXPECT_THAT(status.output, HasSubstr("x is running (established)."));
  EXPECT_THAT(status.output, HasSubstr("x (slot 1) is running (established)."));
  const auto json = ParseObject(guardcheck_.Call({"status", "x", "--json"}).output);
  std::vector<std::int64_t> pids;
  for (const auto& slot : json.at("slots").as_array()) {
    pids.push_back(slot.at("holder").at("record").at("identity").at("pid").as_int64());
  }
  EXPECT_THAT(pids, ElementsAre(first.pid(), second.pid()));

  EXPECT_THAT(guardcheck_.Call({"list"}).output, HasSubstr("x (slot 1)"));
  const auto running = ParseObject(guardcheck_.Call({"list", "--json"}).output).at("running");
  ASSERT_EQ(running.as_array().size(), 2U);
  EXPECT_EQ(running.as_array().back().at("slot"), 1);

  const Finished free = guardcheck_.Call({"check", "x", "--slots", "3"});
  EXPECT_EQ(free.code, 0);
  EXPECT_THAT(free.output, HasSubstr("x may start in slot 2."));
  EXPECT_EQ(guardcheck_.Call({"check", "x", "--slots", "2"}).code, 75);
}

// The plain name's holder has ended, and another slot's has not.
TEST_F(SlotsTest, StatusFindsAHolderOfAnotherSlotAlone) {
  {
    Program first = Bot();
    ASSERT_THAT(LineOf(first), HasSubstr("slot 0"));
    Program second = Bot();
    ASSERT_THAT(LineOf(second), HasSubstr("slot 1"));
    first.CloseInput();
    EXPECT_NE(first.Wait(), 75);
    const Finished status = guardcheck_.Call({"status", "x"});
    EXPECT_EQ(status.code, 0);
    EXPECT_THAT(status.output, ::testing::StartsWith("x (slot 1) is running (established)."));
    second.CloseInput();
    EXPECT_NE(second.Wait(), 75);
  }
  EXPECT_EQ(guardcheck_.Call({"status", "x"}).code, 3);
}

TEST_F(SlotsTest, StopEndsOneSlotsInstanceAndNoOther) {
  Program first = Bot();
  ASSERT_THAT(LineOf(first), HasSubstr("slot 0"));
  Program second = Bot();
  ASSERT_THAT(LineOf(second), HasSubstr("slot 1"));
  ASSERT_EQ(guardcheck_.Call({"stop", "x", "--slot", "1"}).code, 0);
  EXPECT_EQ(second.Wait(), 128 + SIGTERM);
  EXPECT_THAT(guardcheck_.Call({"status", "x"}).output,
              ::testing::StartsWith("x is running (established)."));
  ASSERT_EQ(guardcheck_.Call({"stop", "x"}).code, 0);
  EXPECT_EQ(first.Wait(), 128 + SIGTERM);
}

struct Misuse {
  Words options;
  std::string said;
};

// Before anything is taken, and without a word that may be a key.
TEST_F(SlotsTest, MisuseIsToldAndNothingIsTaken) {
  const std::vector<Misuse> misuses = {
      {{"--slots", "0"}, "--slots: expected a number from 1 to 1000"},
      {{"--slots", "many"}, "--slots: expected a number"},
      {{"--slots", "2", "--policy", "port(47777)"}, "port(47777) is one object"},
      {{"--slots", "3", "--slot-env", "KEY=KEY_A,KEY_B"}, "2 variables cannot serve 3 slots"},
      {{"--slots", "2", "--slot-env", "KEY=KEY_A,secretB"}, "variable number 2 is not set"},
      {{"--slots", "2", "--slot-env", "KEY=KEY_A,secret-b"}, "number 2 behind KEY is no name"},
      {{"--slots", "2", "--slot-env", "KEY=KEY_A,KEY_A"}, "stands there twice"},
      {{"--slots", "2", "--slot-env", "secret"}, "there is no '='"},
      {{"--slots", "2", "--slot-env", "secret-b=KEY_A,KEY_B"}, "no name of a variable"},
      {{"--slots", "2", "--slot-env", "SOLEGUARD_SLOT=KEY_A,KEY_B"}, "is guardcheck's own"},
      {{"--slots", "2", "--slot-env", "KEY=KEY_A,KEY_B", "--slot-env", "KEY=KEY_B,KEY_C"},
       "it is said twice"},
  };
  for (const Misuse& misuse : misuses) {
    const Finished run = RefusedBot(misuse.options);
    EXPECT_EQ(run.code, 64) << run.errors;
    EXPECT_THAT(run.errors, HasSubstr(misuse.said));
    EXPECT_THAT(run.errors, Not(HasSubstr("secret")));
    EXPECT_FALSE(std::filesystem::exists(guardcheck_.scope()));
  }
}

TEST_F(SlotsTest, ValuesAreInNoRecordAndInNoMessage) {
  Program first = Bot({"--slots", "1", "--slot-env", "KEY=KEY_A"});
  ASSERT_THAT(LineOf(first), HasSubstr("secret-a"));
  std::string said = RefusedBot({"--json"}).output + RefusedBot({}).errors;
  said += guardcheck_.Call({"status", "x"}).output + guardcheck_.Call({"list", "--json"}).output;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(guardcheck_.directory().path())) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path());
    said.append(std::istreambuf_iterator<char>(file), {});
  }
  EXPECT_THAT(said, HasSubstr("established"));
  EXPECT_THAT(said, Not(HasSubstr("secret")));
}

}  // namespace
}  // namespace soleguard::testing
