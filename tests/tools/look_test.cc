// guardcheck check, status and list: what they show, and that they disturb nobody.
#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/inspect.h"
#include "soleguard/text.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::AnyOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::StartsWith;

TEST(Look, CreatesNothingInAFreshScope) {
  const Guardcheck guardcheck;
  EXPECT_EQ(guardcheck.Call({"status", "x"}).code, 3);
  EXPECT_EQ(guardcheck.Call({"list"}).code, 0);
  EXPECT_EQ(guardcheck.Call({"check", "x"}).code, 0);
  EXPECT_TRUE(std::filesystem::is_empty(guardcheck.directory().path()));
  // Nor for another name in a scope that is in use.
  EXPECT_EQ(guardcheck.CallRun({"true"}).code, 0);
  EXPECT_EQ(guardcheck.Call({"status", "y"}).code, 3);
  EXPECT_FALSE(std::filesystem::exists(guardcheck.Object("y")));
}

TEST(Status, H22_Is0WhileItRunsAnd3Otherwise) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start();
  run.Settle();
  const Finished running = guardcheck.Call({"status", "x"});
  EXPECT_EQ(running.code, 0);
  EXPECT_EQ(running.errors, "");
  EXPECT_THAT(running.output, StartsWith("x is running (established).\n"));
  EXPECT_THAT(running.output, HasSubstr(absl::StrCat(run.command())));
  EXPECT_EQ(run.Exit(0), 0);
  const Finished over = guardcheck.Call({"status", "x"});
  EXPECT_EQ(over.code, 3);
  EXPECT_THAT(over.output, StartsWith("x is not running.\n"));
}

TEST(Status, JsonHasTheKeysOfTheReference) {
  const Guardcheck guardcheck;
  const Finished free = guardcheck.Call({"status", "x", "--json"});
  EXPECT_EQ(free.code, 3);
  boost::json::object json = ParseObject(free.output);
  EXPECT_THAT(Keys(json), ElementsAre("schema", "name", "scope", "policy", "running", "holder",
                                      "layers", "slots", "waiting"));
  EXPECT_EQ(json.at("running"), false);
  EXPECT_TRUE(json.at("holder").is_null());
  EXPECT_THAT(Keys(json.at("layers").at(0)), ElementsAre("layer", "sighting"));
  EXPECT_EQ(json.at("layers").at(0).at("sighting"), "free");

  Guarded run = guardcheck.Start();
  run.Settle();
  json = ParseObject(guardcheck.Call({"status", "x", "--json"}).output);
  EXPECT_EQ(json.at("running"), true);
  EXPECT_EQ(json.at("holder").at("standing"), "established");
  EXPECT_EQ(json.at("holder").at("process").at("pid"), run.command());
  EXPECT_THAT(Keys(json.at("layers").at(0)),
              ElementsAre("layer", "sighting", "standing", "evidence"));
  EXPECT_EQ(run.Exit(0), 0);
}

TEST(Check, H22_Is0WhenItMayStart75WhenItIsTakenAnd69WhenItCannotTell) {
  const Guardcheck guardcheck;
  const Finished free = guardcheck.Call({"check", "x"});
  EXPECT_EQ(free.code, 0);
  EXPECT_EQ(free.errors, "");
  EXPECT_THAT(free.output, StartsWith("x may start.\n"));

  Guarded run = guardcheck.Start();
  run.Settle();
  const Finished taken = guardcheck.Call({"check", "x"});
  EXPECT_EQ(taken.code, 75);
  EXPECT_THAT(taken.output, StartsWith("x is already running; a start would be refused.\n"));
  EXPECT_THAT(taken.output, HasSubstr(absl::StrCat("  pid         ", run.command())));
  EXPECT_EQ(run.Exit(0), 0);

  std::filesystem::remove_all(guardcheck.scope());
  std::filesystem::create_directories(guardcheck.scope());
  std::filesystem::create_symlink("/", guardcheck.scope() + "/names");  // planted
  const Finished blind = guardcheck.Call({"check", "x"});
  EXPECT_EQ(blind.code, 69);
  EXPECT_THAT(blind.output, StartsWith("Cannot tell whether x may start"));
}

TEST(Check, JsonHasTheKeysOfTheReference) {
  const Guardcheck guardcheck;
  boost::json::object json = ParseObject(guardcheck.Call({"check", "x", "--json"}).output);
  EXPECT_THAT(Keys(json),
              ElementsAre("schema", "name", "scope", "policy", "verdict", "slot", "layers"));
  EXPECT_EQ(json.at("verdict"), "unique");
  Guarded run = guardcheck.Start({"--policy", "file"});
  run.Settle();
  json = ParseObject(guardcheck.Call({"check", "x", "--json"}).output);
  EXPECT_THAT(Keys(json), ElementsAre("schema", "name", "scope", "policy", "verdict", "holder",
                                      "other_holders", "same_policy", "layers"));
  EXPECT_EQ(json.at("verdict"), "duplicate");
  EXPECT_EQ(json.at("same_policy"), false);
  EXPECT_EQ(json.at("holder").at("process").at("pid"), run.command());
  EXPECT_EQ(json.at("layers").at(0).at("sighting"), "taken");
  EXPECT_EQ(json.at("layers").at(1).at("sighting"), "free");  // asked all the same
  EXPECT_EQ(run.Exit(0), 0);
}

// The like of the command runs, and never asked.
TEST(Check, WithTheCommandItFindsAnInstanceWithoutAGuard) {
  const Guardcheck guardcheck;
  const Words command = {Beside("instance"), guardcheck.directory() / "an argument of its own"};
  const Words scan = {"check", "x", "--policy", "all(file, scan)", "--settle", "10ms", "--"};
  EXPECT_EQ(guardcheck.Call(scan + command).code, 0);
  Program stray({.argv = command});
  ASSERT_EQ(stray.ReadLine(), absl::StrCat("ready ", stray.pid()));
  const Finished taken = guardcheck.Call(scan + command);
  EXPECT_EQ(taken.code, 75);
  EXPECT_THAT(taken.output, HasSubstr(absl::StrCat(stray.pid(), " (runs without a guard")));
  EXPECT_THAT(taken.output, HasSubstr("file        free"));
  EXPECT_EQ(guardcheck.Call(scan + Words{"true"}).code, 0);
}

TEST(Check, WithoutTheCommandALayerThatLooksForItIsAUsageError) {
  const Guardcheck guardcheck;
  const Finished check = guardcheck.Call({"check", "x", "--policy", "all(file, scan)"});
  EXPECT_EQ(check.code, 64);
  EXPECT_THAT(check.errors, HasSubstr("say behind --"));
  // It is told what to look for.
  EXPECT_EQ(guardcheck.Call({"check", "x", "--policy", "all(file, scan(env=\"NO=BODY\"))"}).code,
            0);
}

TEST(Status, H22_CannotTellIsNeitherYesNorNo) {
  const Guardcheck guardcheck;
  std::filesystem::create_directories(guardcheck.scope());
  std::filesystem::create_symlink("/", guardcheck.scope() + "/names");  // planted
  const Finished text = guardcheck.Call({"status", "x"});
  EXPECT_EQ(text.code, 69);
  EXPECT_THAT(text.output, StartsWith("Cannot tell whether x is running.\n"));
  const Finished call = guardcheck.Call({"status", "x", "--json"});
  EXPECT_EQ(call.code, 69);
  const boost::json::object json = ParseObject(call.output);
  EXPECT_TRUE(json.at("running").is_null());
  EXPECT_EQ(json.at("layers").at(0).at("sighting"), "unavailable");
  EXPECT_THAT(Keys(json.at("layers").at(0)), ElementsAre("layer", "sighting", "reason"));
}

TEST(Look, H34_EveryNameWorks) {
  const Guardcheck guardcheck;
  const Words names = {"two words", "größe", "bad \xff byte",
                       "it's",      "a\\b",  std::string(255, 'n')};
  std::vector<Guarded> running;
  for (const std::string& name : names) {
    EXPECT_EQ(guardcheck.Call({"status", name}).code, 3);
    running.emplace_back(
        Program::Setup{.argv = guardcheck.Argv({"run", name, "--", Beside("instance")})});
    running.back().Settle();
    EXPECT_EQ(guardcheck.Call({"status", name}).code, 0);
    const Finished status = guardcheck.Call({"status", name, "--json"});
    EXPECT_EQ(UnescapeBytes(std::string(ParseObject(status.output).at("name").as_string())), name);
  }

  const boost::json::object list = ParseObject(guardcheck.Call({"list", "--json"}).output);
  EXPECT_THAT(Keys(list), ElementsAre("schema", "scope", "running"));
  Words listed;
  for (const boost::json::value& entry : list.at("running").as_array()) {
    EXPECT_THAT(Keys(entry), ElementsAre("name", "slot", "holder", "layers", "waiting"));
    listed.push_back(UnescapeBytes(std::string(entry.at("name").as_string())));
  }
  EXPECT_THAT(listed, ::testing::UnorderedElementsAreArray(names));
  const Finished text = guardcheck.Call({"list"});
  EXPECT_THAT(text.output, HasSubstr("bad \\xff byte"));
  for (Guarded& run : running) EXPECT_EQ(run.Exit(0), 0);
}

// Whoever says it: what the library has escaped is not escaped once more.
TEST(Look, H34_ForeignBytesAreEscapedOnce) {
  const Guardcheck guardcheck;
  const std::string name = "b\xff\\";
  Guarded run{Program::Setup{.argv = guardcheck.Argv({"run", name, "--", Beside("instance")})}};
  run.Settle();
  const std::string path = EscapeBytes(guardcheck.Object(name));
  const std::vector<Words> calls = {{"status", name, "--json"},
                                    {"check", name, "--json"},
                                    {"run", name, "--json", "--", "true"},
                                    {"list", "--json"},
                                    {"report", name, "--json"}};
  for (const Words& call : calls) {
    SCOPED_TRACE(call.front());
    // Each backslash is two in JSON.
    std::string in_json;
    for (const char c : path) in_json += c == '\\' ? "\\\\" : std::string(1, c);
    const Finished said = guardcheck.Call(call);
    EXPECT_THAT(said.output + said.errors, HasSubstr(in_json));
  }
  EXPECT_EQ(run.Exit(0), 0);
}

// All texts in a value of JSON, keys aside.
void CollectTexts(const boost::json::value& value, Words& texts) {
  if (const auto* text = value.if_string()) texts.emplace_back(*text);
  if (const auto* array = value.if_array()) {
    for (const boost::json::value& element : *array) CollectTexts(element, texts);
  }
  if (const auto* object = value.if_object()) {
    for (const auto& member : *object) CollectTexts(member.value(), texts);
  }
}

// Whatever is said: each odd word in it is there as EscapeBytes has it, and not as that has its
// own result.
void ExpectEscapedOnce(const std::string& text, const std::string& odd) {
  const std::string once = EscapeBytes(odd);
  for (std::size_t at = text.find("<q"); at != std::string::npos; at = text.find("<q", at + 1)) {
    EXPECT_EQ(text.substr(at, text.find("q>", at) + 2 - at), once) << text;
  }
  EXPECT_EQ(text.find_first_of("\x1b\x07\xff"), std::string::npos) << text;
}

void ExpectEscapedOnce(const Finished& said, const std::string& odd) {
  ExpectEscapedOnce(said.errors, odd);
  std::istringstream lines(said.output);
  for (std::string line; std::getline(lines, line);) {
    Words texts = {line};
    if (line.starts_with('{')) {
      texts.clear();
      CollectTexts(boost::json::parse(line), texts);
    }
    for (const std::string& text : texts) ExpectEscapedOnce(text, odd);
  }
}

// In names, arguments, paths and settings; where all is well, and where nothing can be told.
TEST(Look, H34_EveryOddByteIsEscapedOnceByEveryCommand) {
  // No byte of a name is a control character.
  for (const std::string& bytes : Words{"\xff\\\xe2\x80\xae\\xff", "\\\\x41\xc3"}) {
    const std::string odd = "<q" + bytes + "q>";
    SCOPED_TRACE(EscapeBytes(odd));
    const Guardcheck guardcheck;
    const std::string config = guardcheck.directory() / odd;
    std::ofstream(config) << "grace = \"3s\"\n";
    Guarded run{
        Program::Setup{.argv = guardcheck.Argv({"run", odd, "--", Beside("instance"), "--referee",
                                                guardcheck.directory() / odd})}};
    run.Settle();
    const std::vector<Words> calls = {{"run", odd, "--until", odd, "--", "true"},
                                      {"run", odd, "--config", config, "--", odd},
                                      {"run", odd, "--forward", "--", odd},
                                      {"run", odd, "--policy", odd, "--", odd},
                                      {"status", odd},
                                      {"check", odd},
                                      {"list"},
                                      {"send", odd, "--", odd},
                                      {"report", odd, "--conflict", odd},
                                      {"doctor", odd},
                                      {"gc", odd},
                                      {"watch", odd, "--once"},
                                      {"stop", odd, "--timeout", "0s"}};
    const auto call_all = [&] {
      for (const Words& call : calls) {
        SCOPED_TRACE(call.front());
        ExpectEscapedOnce(guardcheck.Call(call), odd);
        const auto behind = std::find(call.begin(), call.end(), "--");
        Words json(call.begin(), behind);
        json.emplace_back("--json");
        json.insert(json.end(), behind, call.end());
        ExpectEscapedOnce(guardcheck.Call(json), odd);
      }
    };
    call_all();
    for (const Words& options : {Words{}, {"--json"}}) {
      ExpectEscapedOnce(
          RunProgram(
              {.argv = Words{Beside("guardcheck"), "config", odd, "--config", config} + options}),
          odd);
    }
    EXPECT_EQ(run.Exit(0), 0);
    ExpectEscapedOnce(guardcheck.Call({"run", odd, "--pidfile", "/nowhere/" + odd, "--", "true"}),
                      odd);
    std::filesystem::remove_all(guardcheck.Object(odd));
    std::filesystem::create_symlink("/", guardcheck.Object(odd));  // planted
    call_all();
  }
}

TEST(Look, ALongCommandIsCutOnTheScreenAndWholeInJson) {
  const Guardcheck guardcheck;
  Words command = {"sh", "-c", "echo ready; read -r line", "sh"};
  for (int i = 0; i < 2000; ++i) command.push_back(std::string(53, 'a'));
  Program run({.argv = guardcheck.Run(command)});
  ASSERT_EQ(run.ReadLine(), "ready");
  for (const Words& call :
       {Words{"status", "x"}, {"check", "x"}, {"list"}, {"run", "x", "--", "true"}}) {
    const Finished said = guardcheck.Call(call);
    EXPECT_THAT(said.output + said.errors, HasSubstr("… (108,034 bytes, 2,004 words)\n"));
    EXPECT_LT(said.output.size() + said.errors.size(), 4000u);
  }
  const boost::json::object json = ParseObject(guardcheck.Call({"status", "x", "--json"}).output);
  EXPECT_EQ(json.at("holder").at("process").at("argv").as_array().size(), command.size());
  run.CloseInput();
  (void)run.Wait();
}

TEST(Look, ANumberInJsonLooksLikeOne) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start();
  run.Settle();
  EXPECT_THAT(guardcheck.Call({"status", "x", "--json"}).output,
              ::testing::ContainsRegex("\"cpu_percent\":[0-9]+\\.[0-9],"));
  EXPECT_EQ(run.Exit(0), 0);
}

TEST(List, ShowsWhatRunsAndNothingElse) {
  const Guardcheck guardcheck;
  EXPECT_EQ(guardcheck.Call({"list"}).output, "No guarded program is running in this scope.\n");
  EXPECT_EQ(guardcheck.Call({"run", "over", "--", "true"}).code, 0);
  Guarded run = guardcheck.Start();
  run.Settle();
  const Finished list = guardcheck.Call({"list"});
  EXPECT_EQ(list.code, 0);
  EXPECT_THAT(list.output, ::testing::MatchesRegex(
                               absl::StrCat("NAME +PID +STARTED .UTC. +USER +SEEN BY +COMMAND\nx +",
                                            run.command(), " .* file,mutex,port  .*\n")));
  EXPECT_EQ(run.Exit(0), 0);
  EXPECT_EQ(guardcheck.Call({"list"}).output, "No guarded program is running in this scope.\n");
}

// The layers tell on their own: one that lost sight of the holder is not named.
TEST(List, H04_SaysWhichLayersSeeTheHolder) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start({"--policy", "all(file, port)"});
  run.Settle();
  EXPECT_THAT(guardcheck.Call({"list"}).output, HasSubstr(" file,port  "));
  const boost::json::object json = ParseObject(guardcheck.Call({"list", "--json"}).output);
  const boost::json::value& layers = json.at("running").at(0).at("layers");
  EXPECT_EQ(layers.at(1).at("layer"), "mutex");
  EXPECT_EQ(layers.at(1).at("sighting"), "free");
  EXPECT_EQ(run.Exit(0), 0);
}

// One that cannot be told is no reason to hide the others, nor to say that all is well.
TEST(List, H22_ANameThatCannotBeToldIsSaid) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start();
  run.Settle();
  std::filesystem::create_symlink("/", guardcheck.Object("y"));
  const Finished list = guardcheck.Call({"list"});
  EXPECT_EQ(list.code, 69);
  EXPECT_THAT(list.output, HasSubstr(absl::StrCat("x ")));
  EXPECT_THAT(list.errors, HasSubstr("Cannot tell whether y is running."));
  EXPECT_EQ(run.Exit(0), 0);
}

// A start beside lookers is never refused, and a holder is never lost.
TEST(Look, DisturbsNoStart) {
  const Guardcheck guardcheck;
  struct Looks {
    Words words;
    std::map<int, int> calls = {};  // by exit code
    std::atomic<int> sum = 0;
  };
  std::array<Looks, 3> looks = {Looks{{"status", "x"}}, Looks{{"list"}}, Looks{{"check", "x"}}};
  std::atomic<bool> over = false;
  std::vector<std::thread> lookers;
  for (Looks& look : looks) {
    lookers.emplace_back([&guardcheck, &over, &look] {
      for (; !over; ++look.sum) ++look.calls[guardcheck.Call(look.words).code];
    });
  }
  constexpr int kEach = 50;
  const auto looked = [&looks] {
    return std::all_of(looks.begin(), looks.end(),
                       [](const auto& one) { return one.sum >= kEach; });
  };
  for (int i = 0; i < kEach || !looked(); ++i) {
    const Finished run = guardcheck.CallRun({"true"}, {"--settle", "0", "--deadline", "0"});
    EXPECT_EQ(run.code, 0) << run.errors;
    EXPECT_EQ(run.errors, "");
  }
  over = true;
  for (std::thread& looker : lookers) looker.join();
  // Each saw a moment before, in or after a run, and no looker got in the way of another.
  EXPECT_THAT(looks[0].calls, Each(Key(AnyOf(0, 3))));
  EXPECT_THAT(looks[1].calls, Each(Key(0)));
  EXPECT_THAT(looks[2].calls, Each(Key(AnyOf(0, 75))));
}

}  // namespace
}  // namespace soleguard::testing
