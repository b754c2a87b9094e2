// guardcheck watch: a health monitor that finds what runs beside the holder or without a guard,
// ends it if told to, and never ends anybody else. With real bots.
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <sstream>
#include <string>
#include <utility>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/process.h"
#include "support/claimant.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr int kStoppedInOrder = 7;  // of polling_bot.py

class WatchTest : public ::testing::Test {
 protected:
  WatchTest() {
    if (mkfifo(events().c_str(), 0600) != 0) throw std::runtime_error("mkfifo");
  }
  std::string events() const { return guardcheck_.directory() / "events"; }
  std::string log() const { return guardcheck_.directory() / "bot.log"; }
  // The interpreter itself: what is called python3 may be a script that looks for one, at each
  // start.
  static const std::string& Python() {
    static const std::string path = [] {
      const Finished said =
          RunProgram({.argv = {"python3", "-c", "import sys; print(sys.executable, end='')"}});
      return said.code == 0 ? said.output : "python3";
    }();
    return path;
  }
  // The bot with its two workers; each one of a test has the same command line.
  Words Bot() const {
    return {Python(), SOLEGUARD_TEST_BOT, guardcheck_.directory() / "ledger", events()};
  }
  // The pid of a bot that has just been started, once it and its workers poll. Reads until the bot
  // has closed the FIFO: whoever opens it next would meet that end of it.
  pid_t Ready() const {
    std::ifstream in(events());
    std::istringstream said(std::string(std::istreambuf_iterator<char>(in), {}));
    std::string ready;
    pid_t pid = 0;
    said >> ready >> pid;
    EXPECT_EQ(ready, "ready");
    return pid;
  }
  // One that somebody has started by hand, without a guard. Ended in order with the object: its
  // workers would outlive a SIGKILL.
  class StrayBot {
   public:
    // `ready` blocks until it polls, and says its pid.
    StrayBot(const Words& words, const std::function<pid_t()>& ready) : program_({.argv = words}) {
      EXPECT_EQ(ready(), pid());
    }
    StrayBot(const StrayBot&) = delete;
    StrayBot& operator=(const StrayBot&) = delete;
    ~StrayBot() {
      if (!waited_) program_.Signal(SIGTERM);
      (void)program_.Wait();
    }
    pid_t pid() const { return program_.pid(); }
    int Wait() {
      waited_ = true;
      return program_.Wait();
    }

   private:
    Program program_;
    bool waited_ = false;
  };
  StrayBot Stray() const {
    return StrayBot(Bot(), [this] { return Ready(); });
  }
  struct GuardedBot {
    Program wrapper;
    pid_t pid;
  };
  GuardedBot RunGuarded(const std::string& name = "x") const {
    Program wrapper(
        {.argv = guardcheck_.Argv(Words{"run", name, "--policy", "file", "--"} + Bot())});
    const pid_t pid = Ready();
    return {.wrapper = std::move(wrapper), .pid = pid};
  }
  // Everything is old enough to count.
  Words WatchWords(const Words& options = {}, const Words& command = {}) const {
    Words words = Words{"watch", "x", "--policy", "file", "--settle", "0"} + options;
    if (!command.empty()) words = words + Words{"--"} + command;
    return words;
  }
  Finished Watch(const Words& options = {}, const Words& command = {}) const {
    return guardcheck_.Call(WatchWords(options, command));
  }
  static bool Lives(pid_t pid) {
    const auto identity = IdentityOf(pid);
    return identity.ok() && LivenessOf(*identity) == Liveness::kAlive;
  }

  const Guardcheck guardcheck_{};
};

// The next line of the output that has `word`, or the end.
std::string LineWith(Program& program, const std::string& word) {
  while (const std::optional<std::string> line = program.ReadLine()) {
    if (absl::StrContains(*line, word)) return *line;
  }
  return "the end; standard error: " + program.Errors();
}

TEST_F(WatchTest, C4_ACopyBesideTheHolderIsFoundAndOnlyToldOf) {
  GuardedBot bot = RunGuarded();
  EXPECT_EQ(Watch({"--once"}).code, 0);
  StrayBot stray = Stray();
  const Finished watch = Watch({"--once"});
  EXPECT_EQ(watch.code, 75);
  EXPECT_EQ(watch.errors, "");
  EXPECT_THAT(watch.output, AllOf(HasSubstr(absl::StrCat("x is held by pid ", bot.pid)),
                                  HasSubstr(absl::StrCat("without a guard: pid ", stray.pid())),
                                  HasSubstr("and 2 workers"), HasSubstr("to end it: kill")));
  EXPECT_TRUE(Lives(stray.pid()));
  EXPECT_TRUE(Lives(bot.pid));
}

TEST_F(WatchTest, C4_AutoKillEndsTheCopyInOrderAndKeepsTheHolder) {
  GuardedBot bot = RunGuarded();
  StrayBot stray = Stray();
  const Finished watch = Watch({"--once", "--auto-kill"});
  EXPECT_EQ(watch.code, 0) << watch.output;
  EXPECT_THAT(watch.output,
              HasSubstr(absl::StrCat("pid ", stray.pid(), " has ended after SIGTERM")));
  EXPECT_EQ(stray.Wait(), kStoppedInOrder);
  EXPECT_TRUE(Lives(bot.pid));
  EXPECT_EQ(Watch({"--once"}).code, 0);
}

TEST_F(WatchTest, C4_WithoutAHolderTheOneThatStartedFirstIsKept) {
  StrayBot first = Stray();
  StrayBot second = Stray();
  StrayBot third = Stray();
  const Finished watch = Watch({"--once", "--auto-kill"}, Bot());
  EXPECT_EQ(watch.code, 75) << "one runs without a guard";
  EXPECT_THAT(watch.output, AllOf(HasSubstr("nobody holds x"),
                                  HasSubstr("kept: nobody holds the name, and it started first")));
  EXPECT_EQ(second.Wait(), kStoppedInOrder);
  EXPECT_EQ(third.Wait(), kStoppedInOrder);
  EXPECT_TRUE(Lives(first.pid()));
}

TEST_F(WatchTest, C4_KeepOldestKeepsACopyAndNeverEndsTheHolder) {
  StrayBot first = Stray();
  GuardedBot bot = RunGuarded();
  StrayBot last = Stray();
  const Finished watch = Watch({"--once", "--auto-kill", "--keep", "oldest"});
  EXPECT_EQ(watch.code, 75);
  EXPECT_THAT(watch.output, AllOf(HasSubstr("kept: it started first"),
                                  HasSubstr("the watch ends no guarded process")));
  EXPECT_EQ(last.Wait(), kStoppedInOrder);
  EXPECT_TRUE(Lives(first.pid()));
  EXPECT_TRUE(Lives(bot.pid));
}

// Before a start: whoever never took the lock has to go, the oldest included.
TEST_F(WatchTest, C6_AStartUpCheckEndsAllWhoNeverAskedAndThenTheStartWorks) {
  StrayBot first = Stray();
  StrayBot second = Stray();
  const Finished watch = Watch({"--once", "--auto-kill", "--keep", "holder"}, Bot());
  EXPECT_EQ(watch.code, 0) << watch.output;
  EXPECT_EQ(first.Wait(), kStoppedInOrder);
  EXPECT_EQ(second.Wait(), kStoppedInOrder);
  const Words run = {"run", "x", "--policy", "all(file, scan)", "--settle", "10ms", "--"};
  Program started({.argv = guardcheck_.Argv(run + Bot())});
  EXPECT_TRUE(Lives(Ready()));
  // It is the holder, and so the next check leaves it alone.
  const Finished again = Watch({"--once", "--auto-kill", "--keep", "holder"}, Bot());
  EXPECT_EQ(again.code, 0) << again.output;
  EXPECT_EQ(StateOf(started.pid()), 'S');
}

TEST_F(WatchTest, C4_OneThatIgnoresSigtermIsKilledAfterTheGrace) {
  const Words command = {Beside("instance"), "--ignore-stops"};
  Program first({.argv = command});
  ASSERT_THAT(first.ReadLine().value_or(""), StartsWith("ready"));
  const Finished watch =
      Watch({"--once", "--auto-kill", "--keep", "holder", "--grace", "50ms"}, command);
  EXPECT_EQ(watch.code, 0) << watch.output;
  EXPECT_THAT(watch.output, HasSubstr("was killed: 50ms after SIGTERM it still ran"));
  EXPECT_EQ(first.Wait(), 128 + SIGKILL);
}

// Continuously: what comes is told of and ended; the watch itself ends at SIGTERM, at once, with 0.
TEST_F(WatchTest, C4_AWatchThatGoesOnEndsEachCopyThatComes) {
  GuardedBot bot = RunGuarded();
  Program watch(
      {.argv = guardcheck_.Argv(WatchWords({"--interval", "100ms", "--auto-kill", "--json"}))});
  EXPECT_THAT(LineWith(watch, "\"holder\""), HasSubstr(absl::StrCat("pid ", bot.pid)));
  for (int i = 0; i < 2; ++i) {
    // It would end the bot before that says that it polls.
    watch.Signal(SIGSTOP);
    watch.WaitUntilStopped();
    StrayBot stray = Stray();
    watch.Signal(SIGCONT);
    const boost::json::object found = ParseObject(LineWith(watch, "\"event\":\"unguarded\""));
    EXPECT_EQ(found.at("process").at("pid"), stray.pid());
    EXPECT_EQ(found.at("duplicates"), 1);
    EXPECT_EQ(found.at("kept"), false);
    EXPECT_EQ(stray.Wait(), kStoppedInOrder);
    const boost::json::object ended = ParseObject(LineWith(watch, "\"event\":\"ended\""));
    EXPECT_EQ(ended.at("unguarded"), 0);
  }
  watch.Signal(SIGTERM);
  EXPECT_EQ(watch.Wait(), 0);
  EXPECT_TRUE(Lives(bot.pid));
}

// No interval has to pass: the holder's end is an event, and what it ran is still known.
TEST_F(WatchTest, C8_TheEndOfTheHolderIsToldAtOnceAndACopyThatGoesOnIsKept) {
  GuardedBot bot = RunGuarded();
  StrayBot stray = Stray();
  Program watch({.argv = guardcheck_.Argv(WatchWords({"--interval", "1h"}))});
  EXPECT_THAT(LineWith(watch, "is held by"), HasSubstr(absl::StrCat("pid ", bot.pid)));
  EXPECT_THAT(LineWith(watch, "without a guard"), HasSubstr(absl::StrCat("pid ", stray.pid())));
  bot.wrapper.Signal(SIGTERM);
  EXPECT_EQ(bot.wrapper.Wait(), kStoppedInOrder);
  EXPECT_THAT(LineWith(watch, "nobody holds the name"), HasSubstr("has ended"));
  watch.Signal(SIGINT);
  EXPECT_EQ(watch.Wait(), 0);
}

TEST_F(WatchTest, H23_SigtermEndsItWhileItWaitsForACopyToEnd) {
  const Words command = {Beside("instance"), "--ignore-stops"};
  Program stray({.argv = command});
  ASSERT_THAT(stray.ReadLine().value_or(""), StartsWith("ready"));
  Program watch({.argv = guardcheck_.Argv(
                     WatchWords({"--auto-kill", "--keep", "holder", "--grace", "1h"}, command))});
  (void)LineWith(watch, "without a guard");
  watch.Signal(SIGTERM);
  EXPECT_EQ(watch.Wait(), 0);
  EXPECT_TRUE(Lives(stray.pid()));
}

// D4: a holder is not given up for its age, nor for its silence.
TEST_F(WatchTest, D4_AStoppedHolderIsStillTheHolder) {
  Guarded run = guardcheck_.Start();
  run.Settle();
  const pid_t pid = run.command();
  ASSERT_EQ(kill(pid, SIGSTOP), 0);
  const Finished watch = guardcheck_.Call({"watch", "x", "--once", "--auto-kill"});
  EXPECT_EQ(watch.code, 0) << watch.output;
  EXPECT_THAT(watch.output, HasSubstr(absl::StrCat("x is held by pid ", pid)));
  ASSERT_EQ(kill(pid, SIGCONT), 0);
}

// Whom it never touches.

TEST_F(WatchTest, H30_AnInstanceOfAnotherNameIsNeverTouched) {
  GuardedBot other = RunGuarded("y");
  const Finished watch = Watch({"--once", "--auto-kill", "--keep", "holder"}, Bot());
  EXPECT_EQ(watch.code, 0) << watch.output;
  EXPECT_THAT(watch.output, Not(HasSubstr("without a guard")));
  EXPECT_TRUE(Lives(other.pid));
}

TEST_F(WatchTest, H16_WhoHasAskedForTheNameIsNeverTouched) {
  const std::string policy = absl::StrCat("all(file, scan(cmdline=\"", guardcheck_.scope(), "\"))");
  const Claimant::Setup setup{.scope = guardcheck_.scope(), .policy = policy};
  Claimant holder(setup);
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  Claimant refused(setup);
  ASSERT_TRUE(refused.duplicate()) << refused.verdict();  // it stays, and is registered
  const Finished watch = guardcheck_.Call({"watch", "x", "--policy", policy, "--settle", "0",
                                           "--once", "--auto-kill", "--keep", "holder"});
  EXPECT_EQ(watch.code, 0) << watch.output;
  EXPECT_TRUE(Lives(refused.pid()));
  EXPECT_TRUE(Lives(holder.pid()));
}

// The pattern is on the command lines of the watch, of another one and of the shell above it.
TEST_F(WatchTest, H18_ItselfItsLikeAndItsAncestorsAreNeverTouched) {
  const std::string policy = "all(file, scan(cmdline=\"" + guardcheck_.directory().path() + "\"))";
  const Words words = guardcheck_.Argv(
      {"watch", "x", "--policy", policy, "--settle", "0", "--auto-kill", "--keep", "holder"});
  Program other({.argv = words});
  EXPECT_THAT(LineWith(other, "nobody holds x"), Not(StartsWith("the end")));
  const Finished watch =
      RunProgram({.argv = Words{"sh", "-c", "\"$@\"; exit $?", "sh"} + words + Words{"--once"}});
  EXPECT_EQ(watch.code, 0) << watch.output << watch.errors;
  EXPECT_THAT(watch.output, Not(HasSubstr("without a guard")));
  EXPECT_TRUE(Lives(other.pid()));
}

TEST_F(WatchTest, C7_EachSlotMayHaveItsHolder) {
  const Words run = {"run", "x", "--policy", "file", "--slots", "2", "--"};
  Program first({.argv = guardcheck_.Argv(run + Bot())});
  const pid_t first_bot = Ready();
  Program second({.argv = guardcheck_.Argv(run + Bot())});
  const pid_t second_bot = Ready();
  const Finished watch = Watch({"--once", "--auto-kill", "--keep", "holder"}, Bot());
  EXPECT_EQ(watch.code, 0) << watch.output;
  EXPECT_THAT(watch.output, HasSubstr(absl::StrCat("slot 1 is held by pid ", second_bot)));
  EXPECT_TRUE(Lives(first_bot));
  EXPECT_TRUE(Lives(second_bot));
}

// What it answers.

// Its 0 would let the next command of a script start.
TEST_F(WatchTest, H22_ALookThatIsEndedBeforeItCanTellIs69) {
  StrayBot stray = Stray();  // too young to be told, for an hour
  Program watch({.argv = guardcheck_.Argv(Words{"watch", "x", "--policy", "file", "--settle", "1h",
                                                "--once", "--on-event", "sh", "--on-event=-c",
                                                "--on-event", "echo begun; cat >/dev/null", "--"} +
                                          Bot())});
  ASSERT_EQ(watch.ReadErrorLine(), "begun");
  watch.Signal(SIGTERM);
  EXPECT_EQ(watch.Wait(), 69);
  EXPECT_THAT(watch.Errors(), HasSubstr("ended by a signal before it could tell"));
}

TEST_F(WatchTest, H22_ALookThatIsEndedWhileItWaitsForACopySaysThatOneRuns) {
  const Words command = {Beside("instance"), "--ignore-stops"};
  Program stray({.argv = command});
  ASSERT_THAT(stray.ReadLine().value_or(""), StartsWith("ready"));
  Program watch({.argv = guardcheck_.Argv(WatchWords(
                     {"--once", "--auto-kill", "--keep", "holder", "--grace", "1h"}, command))});
  (void)LineWith(watch, "without a guard");
  watch.Signal(SIGTERM);
  EXPECT_EQ(watch.Wait(), 75);
}

// They are said for the watch that goes on.
TEST_F(WatchTest, ALogOfAFileOrAVariableIsNoneOfALook) {
  const std::string file = guardcheck_.directory() / "soleguard.toml";
  std::ofstream(file) << "log = '" << log() << "'\npattern = ['nonce']\n";
  const Words words = WatchWords({"--once", "--config", file}, Bot());
  const Finished of_file = guardcheck_.Call(words);
  EXPECT_EQ(of_file.code, 0) << of_file.errors;
  const Finished of_variable =
      guardcheck_.Call(WatchWords({"--once"}, Bot()), {{"SOLEGUARD_LOG", log()}});
  EXPECT_EQ(of_variable.code, 0) << of_variable.errors;
}

// The library has escaped the evidence already.
TEST_F(WatchTest, ForeignBytesAreEscapedOnce) {
  const std::string scope = guardcheck_.directory() / "back\\slash";
  const std::string escaped = "back\\\\slash";
  const auto words = [&scope](const std::string& command, const std::string& policy) {
    return Words{Beside("guardcheck"), command, "x", "--scope", scope, "--policy", policy};
  };
  Claimant holder({.scope = scope, .policy = "file"});
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  std::filesystem::resize_file(scope + "/names/x/record", 0);
  const Finished taken =
      RunProgram({.argv = words("watch", "file") + Words{"--once", "--json", "--settle", "10ms",
                                                         "--deadline", "10ms", "--", "none such"}});
  const std::string text(
      ParseObject(taken.output.substr(0, taken.output.find('\n'))).at("text").as_string());
  EXPECT_THAT(text, AllOf(HasSubstr("no record says by whom"), HasSubstr(escaped),
                          Not(HasSubstr("\\\\\\"))));

  const Words command = {Beside("instance"), "back\\slash"};
  Program copy({.argv = command});
  ASSERT_THAT(copy.ReadLine().value_or(""), StartsWith("ready"));
  const Finished seen =
      RunProgram({.argv = words("watch", "all(file, scan(cmdline=\"instance back.slash\"))") +
                          Words{"--once", "--json", "--settle", "0"}});
  const std::size_t at = seen.output.find("{\"schema\":1,\"event\":\"unguarded\"");
  ASSERT_NE(at, std::string::npos) << seen.output << seen.errors;
  const auto event = ParseObject(seen.output.substr(at, seen.output.find('\n', at) - at));
  EXPECT_THAT(std::string(event.at("evidence").as_string()), Not(HasSubstr("\\\\\\")));
}

TEST_F(WatchTest, H22_WhatCannotBeToldIs69) {
  const Finished watch = Watch({"--once"});
  EXPECT_EQ(watch.code, 69);
  EXPECT_THAT(watch.output, HasSubstr("it was not said what an instance looks like"));
  EXPECT_EQ(Watch({"--once"}, Bot()).code, 0) << "nobody runs";
}

TEST_F(WatchTest, H22_NobodyIsEndedWhileItCannotBeToldWhoHoldsTheName) {
  StrayBot stray = Stray();
  std::filesystem::create_directories(guardcheck_.scope());
  std::filesystem::create_symlink("/", guardcheck_.scope() + "/names");  // planted
  const Finished watch = Watch({"--once", "--auto-kill", "--keep", "holder"}, Bot());
  EXPECT_NE(watch.code, 0);
  EXPECT_THAT(watch.output, HasSubstr("cannot tell everything"));
  EXPECT_TRUE(Lives(stray.pid()));
}

TEST_F(WatchTest, H22_UsageErrorsAre64) {
  for (const auto& [options, said] : std::vector<std::pair<Words, std::string>>{
           {{"--log", log(), "--pattern", "(unclosed"}, "--pattern: expected a regular expression"},
           {{"--pattern", "x"}, "--pattern needs --log"},
           {{"--once", "--log", log()}, "leave out --once"},
           {{"--once", "--pattern", "x"}, "leave out --once"},
           {{"--interval", "10ms"}, "at least 100ms"},
           {{"--keep", "me"}, "expected holder or oldest"},
           {{"--on-event", "/nonexistent/alert"}, "/nonexistent/alert"}}) {
    const Finished watch = Watch(options);
    EXPECT_EQ(watch.code, 64) << said;
    EXPECT_THAT(watch.errors, HasSubstr(said));
  }
}

// C5: the log says what the matter is, and the watch ties it to what runs.

TEST_F(WatchTest, C5_ANonceErrorIsTiedToTheCopyThatCausesIt) {
  GuardedBot bot = RunGuarded();
  StrayBot stray = Stray();
  std::ofstream(log()) << "EAPI:Invalid nonce, long ago\n";
  Program watch(
      {.argv = guardcheck_.Argv(WatchWords({"--interval", "1h", "--log", log(), "--json"}))});
  (void)LineWith(watch, "\"unguarded\"");
  std::ofstream(log(), std::ios::app) << "order ok\nERROR EAPI:Invalid nonce \xff\n";
  const boost::json::object hit = ParseObject(LineWith(watch, "\"event\":\"log_hit\""));
  EXPECT_EQ(hit.at("total"), 1);
  EXPECT_EQ(hit.at("line"), "ERROR EAPI:Invalid nonce \\xff");
  EXPECT_THAT(std::string(hit.at("meaning").as_string()), HasSubstr("a second program signs"));
  EXPECT_THAT(std::string(hit.at("seen").as_string()),
              AllOf(HasSubstr(absl::StrCat("pid ", bot.pid, " with a guard")),
                    HasSubstr(absl::StrCat("pid ", stray.pid(), " without one"))));
  EXPECT_THAT(std::string(hit.at("next").as_string()),
              HasSubstr(absl::StrCat("guardcheck watch x --scope ", guardcheck_.scope(),
                                     " --policy file --once --auto-kill")));
  watch.Signal(SIGTERM);
  EXPECT_EQ(watch.Wait(), 0);
}

TEST_F(WatchTest, E4_WithoutACopyHereItSaysToLookElsewhere) {
  GuardedBot bot = RunGuarded();
  Program watch({.argv = guardcheck_.Argv(WatchWords({"--interval", "1h", "--log", log()}))});
  (void)LineWith(watch, "is held by");
  std::ofstream(log()) << "Conflict: terminated by other getUpdates request\n";  // it is made now
  EXPECT_THAT(LineWith(watch, "the log says"),
              AllOf(HasSubstr("another process polls with this bot token"),
                    HasSubstr("look on other hosts, in containers")));
  std::filesystem::rename(log(), log() + ".1");
  std::ofstream(log()) << "HTTP 409\n";
  EXPECT_THAT(LineWith(watch, "the log says"), HasSubstr("409 Conflict"));
  watch.Signal(SIGTERM);
  EXPECT_EQ(watch.Wait(), 0);
}

// C8: alerts.

TEST_F(WatchTest, C8_EventsGoToACommandAsJsonWithoutAShell) {
  StrayBot stray = Stray();
  const std::string file = guardcheck_.directory() / "alerts $(touch x); *";
  const Finished watch =
      guardcheck_.Call(WatchWords({"--once", "--on-event", "tee", "--on-event", file}, Bot()));
  EXPECT_EQ(watch.code, 75);
  std::ifstream in(file);
  std::string line;
  Words events;
  while (std::getline(in, line)) {
    const boost::json::object event = ParseObject(line);
    EXPECT_EQ(event.at("schema"), 1);
    EXPECT_EQ(event.at("name"), "x");
    events.emplace_back(event.at("event").as_string());
  }
  EXPECT_EQ(events, (Words{"free", "unguarded"}));
  EXPECT_FALSE(std::filesystem::exists(guardcheck_.directory() / "x"));
}

TEST_F(WatchTest, C8_ACommandThatHangsDoesNotHoldTheWatch) {
  Program watch({.argv = guardcheck_.Argv(WatchWords(
                     {"--interval", "1h", "--on-event", "sleep", "--on-event", "1000"}, Bot()))});
  (void)LineWith(watch, "nobody holds x");
  watch.Signal(SIGTERM);
  EXPECT_EQ(watch.Wait(), 0);
}

TEST_F(WatchTest, C8_ACallerThatIgnoresTheEndsOfChildrenChangesNothing) {
  const Finished watch =
      RunProgram({.argv = Words{"env", "--ignore-signal=CHLD"} +
                          guardcheck_.Argv(WatchWords({"--once", "--on-event", "grep", "--on-event",
                                                       "SigIgn", "--on-event", "/proc/self/status"},
                                                      Bot()))});
  EXPECT_EQ(watch.code, 0) << watch.errors;
  const std::size_t at = watch.errors.find("SigIgn:\t");
  ASSERT_NE(at, std::string::npos) << watch.errors;
  const std::uint64_t ignored = std::stoull(watch.errors.substr(at + 8), nullptr, 16);
  EXPECT_EQ(ignored & (std::uint64_t{1} << (SIGCHLD - 1)), 0U) << watch.errors;
}

TEST_F(WatchTest, C8_MetricsAreWrittenForPrometheus) {
  GuardedBot bot = RunGuarded();
  StrayBot stray = Stray();
  const std::string file = guardcheck_.directory() / "soleguard.prom";
  EXPECT_EQ(Watch({"--once", "--metrics", file}).code, 75);
  const auto text = [&] {
    std::ifstream in(file);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const std::string labels = absl::StrCat("{name=\"x\",scope=\"", guardcheck_.scope(), "\"} ");
  EXPECT_THAT(text(), AllOf(HasSubstr("# TYPE soleguard_up gauge\nsoleguard_up" + labels + "1\n"),
                            HasSubstr("soleguard_duplicates" + labels + "1\n"),
                            HasSubstr("soleguard_unguarded" + labels + "1\n"),
                            HasSubstr("soleguard_kills_total" + labels + "0\n"),
                            HasSubstr("soleguard_holder_started_seconds" + labels),
                            HasSubstr("soleguard_check_duration_seconds" + labels)));
  EXPECT_EQ(Watch({"--once", "--auto-kill", "--metrics", file}).code, 0);
  EXPECT_THAT(text(), AllOf(HasSubstr("soleguard_duplicates" + labels + "0\n"),
                            // A worker that its bot has ended first got no signal.
                            Not(HasSubstr("soleguard_kills_total" + labels + "0\n"))));
  EXPECT_FALSE(std::filesystem::exists(file + ".tmp"));
}

}  // namespace
}  // namespace soleguard::testing
