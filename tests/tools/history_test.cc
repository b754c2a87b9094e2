// guardcheck history, and what run and watch tell of a name's events. With real processes.
#include "soleguard/history.h"

#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>
#include <absl/time/time.h>
#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/name.h"
#include "soleguard/scope.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

namespace json = boost::json;

class HistoryTool : public ::testing::Test {
 protected:
  Scope scope() const {
    return *Scope::Directory(guardcheck_.scope())->WithStateDirectory(guardcheck_.state());
  }
  json::object Json(const Words& options = {}) const {
    const Finished said = guardcheck_.Call(Words{"history", "x", "--json"} + options);
    EXPECT_EQ(said.code, 0) << said.errors;
    return ParseObject(said.output);
  }
  std::string Text(const Words& options = {}) const {
    const Finished said = guardcheck_.Call(Words{"history", "x"} + options);
    EXPECT_EQ(said.code, 0) << said.errors;
    return said.output;
  }
  static std::vector<std::string> Ends(const json::object& history) {
    std::vector<std::string> ends;
    for (const json::value& holder : history.at("holders").as_array()) {
      ends.emplace_back(holder.at("ended").as_string());
    }
    return ends;
  }
  // A command that ends when it is asked to.
  static Words Polite() { return {"sh", "-c", "echo ready; exec sleep 1000"}; }
  // A hook that writes each event into a FIFO or file, and the words that name it.
  Words HookInto(const std::string& file) const {
    return {"--on-event", "sh", "--on-event=-c", "--on-event", "cat > \"$0\"", "--on-event", file};
  }

  const Guardcheck guardcheck_{};
};

TEST_F(HistoryTool, ANameOfWhichNothingWasNotedHasAnEmptyHistory) {
  EXPECT_EQ(Text(), "x: 0 holders, 0 refused starts.\n");
  const json::object history = Json();
  EXPECT_THAT(history.at("holders").as_array(), SizeIs(0));
  EXPECT_EQ(history.at("counts").at("refused"), 0);
  EXPECT_FALSE(std::filesystem::exists(guardcheck_.state()));
}

TEST_F(HistoryTool, H22_WhoHeldItHowThatEndedAndWhoWasRefused) {
  EXPECT_EQ(guardcheck_.CallRun({"sh", "-c", "exit 3"}).code, 3);
  Guarded holder = guardcheck_.Start();
  const pid_t command = holder.command();
  holder.Settle();
  Program refused({.argv = guardcheck_.Run({"echo", "--token", "secret", "back\\slash"})});
  EXPECT_EQ(refused.Wait(), 75);

  const json::object history = Json();
  EXPECT_THAT(Ends(history), ElementsAre("exited", "runs"));
  const json::object first = history.at("holders").as_array().at(0).as_object();
  EXPECT_EQ(first.at("exit_code"), 3);
  EXPECT_EQ(first.at("command"), "sh -c exit 3");
  EXPECT_FALSE(first.at("until").is_null());
  EXPECT_EQ(history.at("holders").as_array().at(1).at("pid"), holder.wrapper());
  EXPECT_TRUE(history.at("holders").as_array().at(1).at("until").is_null());
  EXPECT_EQ(history.at("counts").at("refused"), 1);
  const json::object event = history.at("events").as_array().back().as_object();
  EXPECT_EQ(event.at("event"), "refused");
  EXPECT_EQ(event.at("pid"), refused.pid());
  EXPECT_EQ(event.at("command"), "echo --token *** back\\\\slash");
  EXPECT_EQ(event.at("by").at("pid"), holder.wrapper());
  EXPECT_EQ(event.at("by").at("instance"), command);
  EXPECT_EQ(history.at("unreadable"), 0);

  const std::string text = Text();
  EXPECT_THAT(text, AllOf(HasSubstr("x: 2 holders, 1 refused start.\n"),
                          HasSubstr("sh -c exit 3): exit code 3\n"), HasSubstr(": runs\n"),
                          HasSubstr(absl::StrCat("pid ", refused.pid(), " (")),
                          ContainsRegex(absl::StrCat("was refused by pid ", holder.wrapper(),
                                                     " \\(.*: .*/instance ")),
                          Not(HasSubstr("secret"))));
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(HistoryTool, H08_H16_AHolderThatDiedWasReplacedOrWasStopped) {
  Guarded killed = guardcheck_.Start();
  killed.Settle();
  killed.program().Signal(SIGKILL);
  (void)killed.program().Wait();
  Program replaced({.argv = guardcheck_.Run(Polite())});
  ASSERT_EQ(replaced.ReadLine(), "ready");
  Program stopped({.argv = guardcheck_.Run(Polite(), {"--replace=60s"})});
  ASSERT_EQ(stopped.ReadLine(), "ready");
  EXPECT_EQ(guardcheck_.Call({"stop", "x"}).code, 0);
  EXPECT_EQ(stopped.Wait(), 128 + SIGTERM);
  const json::object history = Json();
  EXPECT_THAT(Ends(history), ElementsAre("died", "replaced", "stopped"));
  const json::array& holders = history.at("holders").as_array();
  EXPECT_EQ(holders.at(1).at("by").at("pid"), stopped.pid());
  EXPECT_EQ(holders.at(2).at("exit_code"), 128 + SIGTERM);
  EXPECT_THAT(std::string(holders.at(2).at("by").at("command").as_string()),
              HasSubstr("guardcheck stop"));
  EXPECT_THAT(Text(), AllOf(HasSubstr(": died\n"),
                            HasSubstr(absl::StrCat("replaced by pid ", stopped.pid())),
                            HasSubstr("stopped by pid ")));
}

TEST_F(HistoryTool, H12_AHolderThatWasEndedForItsLostClaimIsSaidToBe) {
  Guarded holder = guardcheck_.Start({"--policy", "file", "--on-lost=stop"});
  holder.Settle();
  holder.program().Signal(SIGSTOP);
  holder.program().WaitUntilStopped();
  std::filesystem::rename(guardcheck_.Object("x"), guardcheck_.directory() / "moved");
  Guarded other({.argv = guardcheck_.Run({Beside("instance")}, {"--policy", "file"})});
  other.Settle();
  ASSERT_EQ(kill(holder.wrapper(), SIGCONT), 0);
  EXPECT_EQ(holder.program().Wait(), 76);
  const json::object history = Json({"--policy", "file"});
  EXPECT_GE(history.at("counts").at("compromised").to_number<int>(), 1);
  EXPECT_THAT(Ends(history), ElementsAre("exited", "runs"));
  EXPECT_THAT(Text({"--policy", "file"}), AllOf(HasSubstr("because the claim was lost"),
                                                HasSubstr("has lost its claim: file: ")));
  EXPECT_EQ(other.Exit(0), 0);
}

TEST_F(HistoryTool, LimitAndSinceLeaveOutWhatIsOlderAndCountsStay) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(guardcheck_.CallRun({"true"}).code, 0);
  EXPECT_THAT(Json({"--limit", "2"}).at("holders").as_array(), SizeIs(2));
  EXPECT_EQ(Json({"--limit", "2"}).at("counts").at("held"), 3);
  EXPECT_THAT(Text({"--limit", "1"}), HasSubstr("Who held it (the last 1 of 3)\n"));
  EXPECT_THAT(Json({"--since", "1h"}).at("holders").as_array(), SizeIs(3));
  EXPECT_THAT(Json({"--since", "0s"}).at("holders").as_array(), SizeIs(0));
  EXPECT_EQ(guardcheck_.Call({"history", "x", "--limit", "-1"}).code, 64);
}

TEST_F(HistoryTool, C7_ASlotIsSaid) {
  Guarded first = guardcheck_.Start({"--slots", "2"});
  first.Settle();
  EXPECT_EQ(guardcheck_.CallRun({"true"}, {"--slots", "2"}).code, 0);
  EXPECT_EQ(Json().at("holders").as_array().at(1).at("slot"), 1);
  EXPECT_THAT(Text(), HasSubstr(", slot 1: exit code 0\n"));
  EXPECT_EQ(first.Exit(0), 0);
}

TEST_F(HistoryTool, H26_LinesThatCannotBeReadAreSaid) {
  EXPECT_EQ(guardcheck_.CallRun({"true"}).code, 0);
  std::ofstream(*HistoryPath(scope(), *InstanceName::Parse("x")), std::ios::app) << "torn\n";
  EXPECT_EQ(Json().at("unreadable"), 1);
  EXPECT_THAT(Text(), HasSubstr("\n1 line of "));
}

TEST_F(HistoryTool, WhereThereCanBeNoHistoryItSaysWhy) {
  const Finished said =
      RunProgram({.argv = {Beside("guardcheck"), "history", "x", "--scope", "system"}});
  EXPECT_EQ(said.code, 69);
  EXPECT_THAT(said.errors, HasSubstr("no history is kept: several users may have a name"));
}

// The hook of a run.

TEST_F(HistoryTool, C8_TheHookOfARunGetsWhatHappensToIt) {
  const std::string file = guardcheck_.directory() / "events";
  ASSERT_EQ(mkfifo(file.c_str(), 0600), 0);
  Program run({.argv = guardcheck_.Run({"sh", "-c", "exit 4"}, HookInto(file))});
  std::ifstream events(file);  // the end of it is that of the hook
  std::vector<std::string> told;
  for (std::string line; std::getline(events, line);) {
    const json::object event = ParseObject(line);
    told.emplace_back(event.at("event").as_string());
    EXPECT_EQ(event.at("name"), "x");
    EXPECT_EQ(event.at("pid"), run.pid());
    if (told.back() == "exited") {
      EXPECT_EQ(event.at("exit_code"), 4);
    }
  }
  EXPECT_THAT(told, ElementsAre("held", "released", "exited"));
  EXPECT_EQ(run.Wait(), 4);
}

TEST_F(HistoryTool, C8_TheHookOfARefusedRunIsToldOfTheRefusal) {
  Guarded holder = guardcheck_.Start();
  holder.Settle();
  const std::string file = guardcheck_.directory() / "events";
  ASSERT_EQ(mkfifo(file.c_str(), 0600), 0);
  Program run({.argv = guardcheck_.Run({"true"}, HookInto(file))});
  std::ifstream events(file);
  std::string line;
  ASSERT_TRUE(std::getline(events, line));
  const json::object event = ParseObject(line);
  EXPECT_EQ(event.at("event"), "refused");
  EXPECT_EQ(event.at("by").at("pid"), holder.wrapper());
  EXPECT_THAT(std::string(event.at("text").as_string()), HasSubstr("was refused by pid "));
  EXPECT_EQ(run.Wait(), 75);
  EXPECT_EQ(holder.Exit(0), 0);
}

// A hook that hangs is no part of what is guarded: it holds up neither the command's end nor the
// next start, and is not taken for a copy of the command although its maker's words were the same.
TEST_F(HistoryTool, C8_AHookThatHangsHoldsNobodyUp) {
  const std::string policy = absl::StrCat("all(file, scan(cmdline=\"", guardcheck_.scope(), "\"))");
  const Words hanging = {"--policy",   policy,  "--settle",   "0s",
                         "--on-event", "sleep", "--on-event", "1000"};
  for (int i = 0; i < 2; ++i) {
    Program run({.argv = guardcheck_.Run({"true"}, hanging)});
    EXPECT_EQ(run.Wait(), 0) << run.Errors();
  }
}

TEST_F(HistoryTool, H22_AHookThatCannotBeStartedIsAUsageErrorAndNothingIsStarted) {
  const Finished run = guardcheck_.CallRun({"touch", guardcheck_.directory() / "ran"},
                                           {"--on-event", "/nonexistent/alert"});
  EXPECT_EQ(run.code, 64);
  EXPECT_THAT(run.errors, HasSubstr("--on-event: start /nonexistent/alert"));
  EXPECT_FALSE(std::filesystem::exists(guardcheck_.directory() / "ran"));
  EXPECT_EQ(Json().at("counts").at("held"), 0);
}

// The command has none of it: neither the descriptor nor an end that waits for the command.
TEST_F(HistoryTool, H40_TheCommandInheritsNothingOfTheHook) {
  const Words command = {"sh", "-c", "ls /proc/self/fd | wc -l"};
  const Finished without = guardcheck_.CallRun(command);
  const Finished with = guardcheck_.CallRun(command, {"--on-event", "cat"});
  EXPECT_EQ(with.output, without.output);
}

// Watching.

// The next event of that kind.
json::object Await(Program& watch, const std::string& kind) {
  const std::string wanted = absl::StrCat("\"event\":\"", kind, "\"");
  while (const auto line = watch.ReadLine()) {
    if (absl::StrContains(*line, wanted)) return ParseObject(*line);
  }
  ADD_FAILURE() << "no " << kind << "; standard error: " << watch.Errors();
  return {};
}

class HistoryWatched : public HistoryTool {
 protected:
  Program Watch(const Words& options = {}) const {
    return Program({.argv = guardcheck_.Argv(
                        Words{"watch", "x", "--interval", "1h", "--settle", "0", "--json"} +
                        options + Words{"--", "none such"})});
  }
};

// It began before there was any history, and no interval has to pass.
TEST_F(HistoryWatched, C8_WhatOtherProcessesNoteIsToldAtOnce) {
  const std::string metrics = guardcheck_.directory() / "x.prom";
  Program watch = Watch({"--metrics", metrics});
  (void)Await(watch, "free");
  Guarded holder = guardcheck_.Start();
  holder.Settle();
  EXPECT_EQ(Await(watch, "held").at("pid"), holder.wrapper());
  Program refused({.argv = guardcheck_.Run({"true"})});
  EXPECT_EQ(refused.Wait(), 75);
  const json::object event = Await(watch, "refused");
  EXPECT_EQ(event.at("pid"), refused.pid());
  EXPECT_EQ(event.at("by").at("pid"), holder.wrapper());
  EXPECT_EQ(event.at("command"), "true");
  EXPECT_EQ(holder.Exit(5), 5);
  EXPECT_EQ(Await(watch, "exited").at("exit_code"), 5);
  watch.Signal(SIGTERM);
  EXPECT_EQ(watch.Wait(), 0);
  std::ifstream file(metrics);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  EXPECT_THAT(text, AllOf(HasSubstr("# TYPE soleguard_events_total counter\n"),
                          HasSubstr(",event=\"refused\"} 1\n"), HasSubstr(",event=\"died\"} 0\n")));
}

TEST_F(HistoryWatched, C8_ARotationHidesNothing) {
  Program watch = Watch();
  (void)Await(watch, "free");
  const InstanceName name = *InstanceName::Parse("x");
  std::size_t written = 0;
  for (std::int64_t pid = 1; written < 2 * kHistoryGeneration; ++pid) {
    HistoryEvent event{.kind = HistoryEvent::Kind::kRefused, .time = absl::Now()};
    event.who = {.pid = pid, .user = "somebody", .command = std::string(250, 'c')};
    ASSERT_TRUE(AppendToHistory(scope(), name, {&event, 1}).ok());
    ASSERT_EQ(Await(watch, "refused").at("pid"), pid);
    written += 300;
  }
  watch.Signal(SIGTERM);
  EXPECT_EQ(watch.Wait(), 0);
}

TEST_F(HistoryWatched, H20_WhatSomebodyHasPlantedIsNotFollowed) {
  const std::string path = *HistoryPath(scope(), *InstanceName::Parse("x"));
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::filesystem::create_symlink("/etc/passwd", path);
  Program watch = Watch();
  EXPECT_THAT(std::string(Await(watch, "history_trouble").at("text").as_string()),
              HasSubstr("is a symbolic link"));
  watch.Signal(SIGTERM);
  EXPECT_EQ(watch.Wait(), 0);
}

// Removing.

TEST_F(HistoryTool, H42_GcRemovesTheHistoryOfANameThatIsAskedForAndElseAnOldOne) {
  EXPECT_EQ(guardcheck_.CallRun({"true"}).code, 0);
  EXPECT_THAT(guardcheck_.Call({"gc"}).output, Not(HasSubstr("history")));
  EXPECT_EQ(Json().at("counts").at("held"), 1);
  // Nothing else is left of it, and the history is found all the same.
  const Finished gc = guardcheck_.Call({"gc", "x", "--json"});
  EXPECT_EQ(gc.code, 0) << gc.errors;
  EXPECT_EQ(ParseObject(gc.output).at("histories"), json::array({"x"}));
  EXPECT_EQ(Json().at("counts").at("held"), 0);

  HistoryEvent event{.kind = HistoryEvent::Kind::kReleased,
                     .time = absl::Now() - absl::Hours(24 * 31)};
  ASSERT_TRUE(AppendToHistory(scope(), *InstanceName::Parse("old"), {&event, 1}).ok());
  EXPECT_THAT(guardcheck_.Call({"gc"}).output, HasSubstr("removed the history of old\n"));
}

TEST_F(HistoryTool, H42_GcKeepsTheHistoryOfAHolder) {
  Guarded holder = guardcheck_.Start();
  holder.Settle();
  EXPECT_THAT(guardcheck_.Call({"gc", "x"}).output,
              AllOf(HasSubstr("kept x"), Not(HasSubstr("history"))));
  EXPECT_EQ(Json().at("counts").at("held"), 1);
  EXPECT_EQ(holder.Exit(0), 0);
}

}  // namespace
}  // namespace soleguard::testing
