// guardcheck run: exit codes, what reaches the command, and what a refused start says.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_replace.h>
#include <absl/strings/str_split.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/process.h"
#include "soleguard/text.h"
#include "support/content.h"
#include "support/quoted.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

// ---- exit codes

TEST(ExitCode, H22_TheCommandsOwnIsPassedOn) {
  const Guardcheck guardcheck;
  for (const int code : {0, 1, 2, 3, 64, 69, 70, 75, 126, 127, 128, 200, 254, 255}) {
    const Finished run = guardcheck.CallRun({"sh", "-c", absl::StrCat("exit ", code)});
    EXPECT_EQ(run.code, code);
    EXPECT_EQ(run.errors, "");
  }
}

TEST(ExitCode, H22_ASignalsNumberIsAddedTo128) {
  const Guardcheck guardcheck;
  for (const int signal : {SIGTERM, SIGKILL, SIGINT, SIGHUP, SIGUSR1, SIGPIPE, SIGRTMAX}) {
    const Finished run = guardcheck.CallRun({"sh", "-c", absl::StrCat("kill -", signal, " $$")});
    EXPECT_EQ(run.code, 128 + signal);
  }
}

TEST(ExitCode, H22_126WhatCannotBeExecutedAnd127WhatIsMissing) {
  const Guardcheck guardcheck;
  const std::string data = guardcheck.directory() / "data";
  std::ofstream(data) << "no program";
  for (const Words& options : {Words{}, Words{"--exec"}}) {
    const Finished missing = guardcheck.CallRun({"soleguard-no-such-program"}, options);
    EXPECT_EQ(missing.code, 127);
    EXPECT_THAT(missing.errors, HasSubstr("soleguard-no-such-program"));
    EXPECT_EQ(guardcheck.CallRun({"/no/such/program"}, options).code, 127);
    EXPECT_EQ(guardcheck.CallRun({data + "/below-a-file"}, options).code, 127);
    EXPECT_EQ(guardcheck.CallRun({""}, options).code, 127);
    EXPECT_EQ(guardcheck.CallRun({data}, options).code, 126);  // not executable
    EXPECT_EQ(guardcheck.CallRun({"/"}, options).code, 126);
  }
  // Nothing of all that kept the name.
  EXPECT_EQ(guardcheck.CallRun({"true"}).code, 0);
  EXPECT_EQ(guardcheck.CallRun({"true"}).errors, "");
}

// As for a shell, env(1) and flock(1).
TEST(ExitCode, AScriptWithoutAnInterpreterLineIsTheShells) {
  const Guardcheck guardcheck;
  const std::string script = guardcheck.directory() / "script";
  std::ofstream(script) << "echo \"$0 $1 $SOLEGUARD_NAME\"; exit 9\n";
  ASSERT_EQ(chmod(script.c_str(), 0700), 0);
  for (const Words& options : {Words{}, Words{"--exec"}}) {
    const Finished run = guardcheck.CallRun({script, "two words"}, options);
    EXPECT_EQ(run.code, 9) << run.errors;
    EXPECT_EQ(run.output, script + " two words x\n");
  }
}

struct UsageCase {
  std::string what;
  Words words;
  std::string message;
};
void PrintTo(const UsageCase& usage, std::ostream* out) { *out << usage.what; }
class UsageTest : public ::testing::TestWithParam<UsageCase> {};

TEST_P(UsageTest, H22_Is64AndStartsNothing) {
  const TempDir directory;
  const std::string ran = directory / "ran";
  Words argv = Words{Beside("guardcheck")} + GetParam().words;
  for (std::string& word : argv) {
    if (word == "COMMAND") word = "touch";
    if (word == "ARGUMENT") word = ran;
    if (word == "SCOPE") word = directory / "scope";
  }
  const Finished call = RunProgram({.argv = argv});
  EXPECT_EQ(call.code, 64);
  EXPECT_THAT(call.errors, HasSubstr(GetParam().message));
  EXPECT_EQ(call.output, "");
  EXPECT_FALSE(std::filesystem::exists(ran));
  EXPECT_FALSE(std::filesystem::exists(directory / "scope"));
}

INSTANTIATE_TEST_SUITE_P(
    ExitCode, UsageTest,
    ::testing::Values(
        UsageCase{"NoSubcommand", {}, "subcommand"},
        UsageCase{"UnknownSubcommand", {"start", "x"}, "start"},
        UsageCase{"NoName", {"run", "--scope", "SCOPE", "--", "COMMAND", "ARGUMENT"}, "NAME"},
        UsageCase{"NoDashes",
                  {"run", "--scope", "SCOPE", "x", "COMMAND", "ARGUMENT"},
                  "the command stands behind --"},
        UsageCase{"NoCommand", {"run", "--scope", "SCOPE", "x"}, "--"},
        UsageCase{"EmptyCommand", {"run", "--scope", "SCOPE", "x", "--"}, "--"},
        UsageCase{"NameWithASlash",
                  {"run", "--scope", "SCOPE", "a/b", "--", "COMMAND", "ARGUMENT"},
                  "byte 2"},
        UsageCase{
            "EmptyName", {"run", "--scope", "SCOPE", "", "--", "COMMAND", "ARGUMENT"}, "NAME"},
        UsageCase{"NameWithAControlCharacter", {"status", "--scope", "SCOPE", "a\nb"}, "byte 2"},
        UsageCase{"DotDot", {"status", "--scope", "SCOPE", ".."}, "NAME"},
        UsageCase{"NameOf256Bytes", {"status", "--scope", "SCOPE", std::string(256, 'n')}, "255"},
        UsageCase{
            "BadPolicy",
            {"run", "--scope", "SCOPE", "x", "--policy", "all(file", "--", "COMMAND", "ARGUMENT"},
            "--policy: column 9"},
        UsageCase{"UnknownLayer",
                  {"status", "--scope", "SCOPE", "x", "--policy", "all(file, nonsense)"},
                  "column 11"},
        UsageCase{"UnknownOption",
                  {"run", "--scope", "SCOPE", "x", "--forse", "--", "COMMAND", "ARGUMENT"},
                  "--forse"},
        UsageCase{"OptionWithoutItsValue", {"status", "x", "--scope"}, "--scope"},
        UsageCase{
            "OptionTwice", {"status", "x", "--scope", "SCOPE", "--scope", "SCOPE"}, "--scope"},
        UsageCase{"RelativeScope", {"status", "x", "--scope", "var/lock"}, "absolute"},
        UsageCase{"RelativeStateDirectory",
                  {"status", "x", "--scope", "SCOPE", "--state-dir", "state"},
                  "--state-dir"},
        UsageCase{"BadDuration",
                  {"run", "--scope", "SCOPE", "x", "--grace", "5", "--", "COMMAND", "ARGUMENT"},
                  "--grace"},
        UsageCase{"NegativeDuration",
                  {"run", "--scope", "SCOPE", "x", "--settle", "-5s", "--", "COMMAND", "ARGUMENT"},
                  "--settle"},
        // An unset variable of a script; the default would be another scope.
        UsageCase{
            "EmptyScope", {"run", "x", "--scope", "", "--", "COMMAND", "ARGUMENT"}, "--scope"},
        UsageCase{"EmptyPolicy",
                  {"run", "x", "--scope", "SCOPE", "--policy", "", "--", "COMMAND", "ARGUMENT"},
                  "--policy"},
        UsageCase{"CommandForStatus", {"status", "x", "--scope", "SCOPE", "--", "true"}, "--"},
        UsageCase{"CommandForList", {"list", "--scope", "SCOPE", "--", "true"}, "--"}),
    [](const auto& given) { return given.param.what; });

TEST(ExitCode, HelpAndVersionAre0) {
  for (const Words& words : {Words{"--help"}, Words{"run", "--help"}, Words{"--version"}}) {
    const Finished call = RunProgram({.argv = Words{Beside("guardcheck")} + words});
    EXPECT_EQ(call.code, 0);
    EXPECT_NE(call.output, "");
  }
}

TEST(ExitCode, H22_69WhenTheScopeCannotBeUsed) {
  const Guardcheck guardcheck;
  std::ofstream(guardcheck.scope()) << "not a directory";
  const std::string ran = guardcheck.directory() / "ran";
  const Finished run = guardcheck.CallRun({"touch", ran});
  EXPECT_EQ(run.code, 69);
  EXPECT_THAT(run.errors, HasSubstr("cannot tell whether x is running"));
  EXPECT_THAT(run.errors, HasSubstr("file, mutex, port unavailable"));
  EXPECT_THAT(run.errors, HasSubstr(guardcheck.scope()));
  EXPECT_FALSE(std::filesystem::exists(ran));
  EXPECT_EQ(guardcheck.Call({"status", "x"}).code, 69);
  EXPECT_EQ(guardcheck.Call({"list"}).code, 69);

  const boost::json::object json = ParseObject(guardcheck.CallRun({"true"}, {"--json"}).output);
  EXPECT_THAT(Keys(json),
              ElementsAre("schema", "name", "scope", "policy", "verdict", "reason", "layers"));
  EXPECT_EQ(json.at("verdict"), "undetermined");
  EXPECT_THAT(Keys(json.at("layers").at(0)), ElementsAre("layer", "outcome", "reason"));
}

// ---- what reaches the command

TEST(Run, StandardInputOutputAndErrorAreTheCommandsAlone) {
  const Guardcheck guardcheck;
  Program program({.argv = guardcheck.Run({"sh", "-c", "cat; echo error >&2"})});
  program.WriteLine("through");
  program.CloseInput();
  EXPECT_EQ(program.Output(), "through\n");
  EXPECT_EQ(program.Errors(), "error\n");
  EXPECT_EQ(program.Wait(), 0);
}

TEST(Run, NothingIsAddedToStandardOutputUnderJsonEither) {
  const Guardcheck guardcheck;
  const Finished run = guardcheck.CallRun({"echo", "mine"}, {"--json"});
  EXPECT_EQ(run.output, "mine\n");
  EXPECT_EQ(run.errors, "");
}

TEST(Run, ArgumentsReachTheCommandUnchanged) {
  const Guardcheck guardcheck;
  EXPECT_EQ(
      guardcheck.CallRun({"printf", "<%s>", "--policy", "--", "-x", "", "a b", "\xff*"}).output,
      "<--policy><--><-x><><a b><\xff*>");
}

TEST(Run, WorkingDirectoryAndEnvironmentReachTheCommand) {
  const Guardcheck guardcheck;
  const Finished run = RunProgram({.argv = guardcheck.Run({"sh", "-c", "pwd; echo \"$PROBE\""}),
                                   .environment = {{"PROBE", "a value"}},
                                   .directory = guardcheck.directory().path()});
  EXPECT_EQ(run.output, guardcheck.directory().path() + "\na value\n");
}

TEST(Run, InheritedDescriptorsReachTheCommand) {
  const Guardcheck guardcheck;
  const std::string three = guardcheck.directory() / "three";
  const std::string nine = guardcheck.directory() / "nine";
  for (const Words& options : {Words{}, Words{"--exec"}}) {
    // As systemd hands on sockets: from 3, with LISTEN_FDS.
    std::string line = "exec 3>\"$1\" 9>\"$2\"; shift 2; export LISTEN_FDS=1; exec \"$@\"";
    const Words command = {"sh", "-c", "echo three $LISTEN_FDS >&3; echo nine >&9"};
    const Finished run = RunProgram(
        {.argv = Words{"sh", "-c", line, "sh", three, nine} + guardcheck.Run(command, options)});
    EXPECT_EQ(run.code, 0) << run.errors;
    EXPECT_EQ(ContentOf(three), "three 1\n");
    EXPECT_EQ(ContentOf(nine), "nine\n");
  }
}

// A program that was started without standard streams has its first files at their numbers. The
// command's output must not go into the lock file, nor a message into the record.
TEST(Run, H31_H40_ClosedStandardStreamsDoNotBecomeTheClaims) {
  const Guardcheck guardcheck;
  const std::array<std::string, 3> redirections = {" <&-", " >&-", " 2>&-"};
  for (const Words& options : {Words{}, Words{"--exec"}}) {
    for (unsigned closed = 1; closed < 8; ++closed) {
      std::string line = "exec \"$@\"";
      std::string open;  // what the command finds
      for (unsigned fd = 0; fd < 3; ++fd) {
        if ((closed >> fd & 1U) != 0) {
          line += redirections.at(fd);
        } else {
          open += std::to_string(fd) + "\n";
        }
      }
      const std::string probe = guardcheck.directory() / "probe";
      const Words command = {
          "sh", "-c",
          "for fd in 0 1 2; do test -e /proc/self/fd/$fd && echo $fd >>\"$0\"; done; "
          "echo output; echo error >&2; cat; touch \"$0\"",
          probe};
      (void)RunProgram({.argv = Words{"sh", "-c", line, "sh"} + guardcheck.Run(command, options)});
      EXPECT_TRUE(std::filesystem::exists(probe)) << line;
      EXPECT_EQ(ContentOf(probe), open) << line;  // closed for the command too
      EXPECT_THAT(ContentOf(guardcheck.Object("x", "lock")), MatchesRegex("[0-9]+ *\n"));
      EXPECT_EQ(guardcheck.CallRun({"true"}).code, 0);
      EXPECT_EQ(guardcheck.Call({"status", "x"}).code, 3);
      std::filesystem::remove(probe);
    }
  }
}

TEST(Run, ExportsNameAndToken) {
  const Guardcheck guardcheck;
  const Words command = {"sh", "-c", "echo \"$SOLEGUARD_NAME $SOLEGUARD_TOKEN\""};
  const Finished first = guardcheck.CallRun(command);
  const Finished second = guardcheck.CallRun(command, {"--exec"});
  ASSERT_THAT(first.output, MatchesRegex("x [0-9]+\n"));
  ASSERT_THAT(second.output, MatchesRegex("x [0-9]+\n"));
  EXPECT_LT(std::stoull(first.output.substr(2)), std::stoull(second.output.substr(2)));
}

TEST(Run, NameAndTokenOfTheEnvironmentAreNoSettings) {
  const Guardcheck guardcheck;
  const Finished run = guardcheck.Call({"run", "x", "--", "printenv", "SOLEGUARD_NAME"},
                                       {{"SOLEGUARD_NAME", "other"}, {"SOLEGUARD_TOKEN", "1"}});
  EXPECT_EQ(run.output, "x\n");
  EXPECT_EQ(guardcheck.Call({"run", "--", "true"}, {{"SOLEGUARD_NAME", "other"}}).code, 64);
  const Finished token = guardcheck.Call({"run", "x", "--", "printenv", "SOLEGUARD_TOKEN"},
                                         {{"SOLEGUARD_TOKEN", "1"}});
  EXPECT_NE(token.output, "1\n");
}

// ---- settings

TEST(Settings, OfTheEnvironmentAreUsed) {
  const TempDir directory;
  const std::map<std::string, std::string> environment = {
      {"SOLEGUARD_DIR", directory / "scope"},
      {"SOLEGUARD_STATE_DIR", directory / "state"},
      {"SOLEGUARD_POLICY", absl::StrCat("any(file, file(path=", directory / "plain", "))")}};
  const Finished run = RunProgram(
      {.argv = {Beside("guardcheck"), "run", "x", "--", "true"}, .environment = environment});
  EXPECT_EQ(run.code, 0) << run.errors;
  EXPECT_TRUE(std::filesystem::exists(directory / "scope/names/x/lock"));
  EXPECT_FALSE(std::filesystem::is_empty(directory / "state"));
  EXPECT_TRUE(std::filesystem::exists(directory / "plain"));
}

TEST(Settings, OfTheCommandLineWin) {
  const Guardcheck guardcheck;
  const std::string elsewhere = guardcheck.directory() / "elsewhere";
  const Finished run = guardcheck.Call({"run", "x", "--policy", "file", "--", "true"},
                                       {{"SOLEGUARD_DIR", elsewhere},
                                        {"SOLEGUARD_STATE_DIR", elsewhere},
                                        {"SOLEGUARD_POLICY", "nonsense("}});
  EXPECT_EQ(run.code, 0) << run.errors;
  EXPECT_TRUE(std::filesystem::exists(guardcheck.Object("x", "lock")));
  EXPECT_FALSE(std::filesystem::exists(elsewhere));
}

TEST(Settings, ABadValueOfTheEnvironmentIsAUsageErrorThatNamesTheVariable) {
  const TempDir directory;
  for (const auto& [variable, value] :
       std::map<std::string, std::string>{{"SOLEGUARD_DIR", "relative"},
                                          {"SOLEGUARD_STATE_DIR", "relative"},
                                          {"SOLEGUARD_POLICY", "all(file"}}) {
    std::map<std::string, std::string> environment = {{"SOLEGUARD_DIR", directory / "scope"},
                                                      {"SOLEGUARD_STATE_DIR", directory / "state"}};
    environment[variable] = value;
    const Finished run = RunProgram(
        {.argv = {Beside("guardcheck"), "run", "x", "--", "true"}, .environment = environment});
    EXPECT_EQ(run.code, 64);
    EXPECT_THAT(run.errors, HasSubstr(variable));
  }
}

// ---- one instance

TEST(Run, H01_OfFiftyStartsFromABarrierOneRuns) {
  const Guardcheck guardcheck;
  const std::string ledger = guardcheck.directory() / "ledger";
  // Each waits for the end of its input. The one that runs stays until all others were refused.
  const Words argv =
      Words{"sh", "-c", "read -r barrier; exec \"$@\"", "sh"} +
      guardcheck.Run({"sh", "-c", "echo $$ >>\"$0\"; echo running; read -r end", ledger});
  std::vector<Program> starts;
  for (int i = 0; i < 50; ++i) starts.emplace_back(Program::Setup{.argv = argv});
  for (Program& start : starts) start.WriteLine("go");

  // The one that runs says so and stays; the output of the others ends.
  int running = 0;
  for (Program& start : starts) {
    if (start.ReadLine().has_value()) {
      ++running;
    } else {
      EXPECT_EQ(start.Wait(), 75);
    }
  }
  EXPECT_EQ(running, 1);
  for (Program& start : starts) start.CloseInput();
  for (Program& start : starts) (void)start.Wait();
  EXPECT_THAT(ContentOf(ledger), MatchesRegex("[0-9]+\n"));
}

TEST(Run, OneNameInsideAnotherIsTwoInstances) {
  const Guardcheck guardcheck;
  const Finished run =
      guardcheck.Call(Words{"run", "a", "--"} + guardcheck.Argv({"run", "b", "--", "sh", "-c",
                                                                 "echo $SOLEGUARD_NAME; exit 5"}));
  EXPECT_EQ(run.output, "b\n");
  EXPECT_EQ(run.code, 5);
  EXPECT_EQ(run.errors, "");
}

TEST(Run, TheSameNameInsideItselfIsRefused) {
  const Guardcheck guardcheck;
  const Finished run = guardcheck.CallRun(guardcheck.Run({"echo", "inner"}));
  EXPECT_EQ(run.code, 75);
  EXPECT_EQ(run.output, "");
  EXPECT_THAT(run.errors, HasSubstr("x is already running"));
}

TEST(Run, H04_WithTheLockFileDeletedASecondStartIsStillRefused) {
  const Guardcheck guardcheck;
  Guarded first = guardcheck.Start();
  (void)first.command();
  for (const char* file : {"lock", "record", "wake.file"}) {
    std::filesystem::remove(guardcheck.Object("x", file));
    const Finished second = guardcheck.CallRun({"true"}, {"--settle", "1ms"});
    EXPECT_EQ(second.code, 75) << file;
    // Without a record, by what the kernel shows.
    EXPECT_THAT(second.errors, HasSubstr(absl::StrCat(first.wrapper()))) << file;
  }
  EXPECT_EQ(first.Exit(0), 0);
}

// ---- policies

// The mutex is guardcheck's own and would be free once it is killed; the command inherits the lock
// on the name's directory.
TEST(RunPolicy, H11_WhateverThePolicyTheNamesDirectoryIsLockedToo) {
  for (const char* policy : {"mutex", "port", "any(mutex, port)"}) {
    const Guardcheck guardcheck;
    Guarded first = guardcheck.Start({"--policy", policy});
    (void)first.command();
    EXPECT_EQ(guardcheck.CallRun({"true"}, {"--policy", policy}).code, 75) << policy;
    EXPECT_EQ(guardcheck.CallRun({"true"}, {"--policy", "file"}).code, 75) << policy;
    EXPECT_EQ(first.Exit(0), 0);
    EXPECT_EQ(guardcheck.CallRun({"true"}, {"--policy", policy}).code, 0) << policy;
  }
}

// ---- run --exec

TEST(RunExec, BecomesTheCommandWhichHoldsTheNameUntilItEnds) {
  const Guardcheck guardcheck;
  Guarded exec = guardcheck.Start({"--exec"});
  EXPECT_EQ(exec.command(), exec.wrapper());
  const Finished second = guardcheck.CallRun({"true"});
  EXPECT_EQ(second.code, 75);
  EXPECT_THAT(second.errors, HasSubstr(absl::StrCat("pid         ", exec.wrapper(), "\n")));
  EXPECT_THAT(second.errors, HasSubstr(Beside("instance")));
  EXPECT_EQ(guardcheck.Call({"status", "x"}).code, 0);
  EXPECT_EQ(exec.Exit(9), 9);
  const Finished next = guardcheck.CallRun({"true"});
  EXPECT_EQ(next.code, 0);
  EXPECT_EQ(next.errors, "") << "it could not say that it ended: that is no crash";
}

TEST(RunExec, ASignalIsTheCommandsOwn) {
  const Guardcheck guardcheck;
  Guarded exec = guardcheck.Start({"--exec"});
  (void)exec.command();
  exec.program().Signal(SIGTERM);
  EXPECT_EQ(exec.Line(), "got TERM");
  exec.program().Signal(SIGKILL);
  EXPECT_EQ(exec.program().Wait(), 128 + SIGKILL);
  EXPECT_EQ(guardcheck.CallRun({"true"}).code, 0);
}

TEST(RunExec, AMissingCommandFreesTheName) {
  const Guardcheck guardcheck;
  EXPECT_EQ(guardcheck.CallRun({"/no/such/program"}, {"--exec"}).code, 127);
  EXPECT_EQ(guardcheck.Call({"status", "x"}).code, 3);
  const Finished next = guardcheck.CallRun({"true"});
  EXPECT_EQ(next.code, 0);
  EXPECT_EQ(next.errors, "");  // nobody died
}

// ---- what a refused start says

class RefusalTest : public ::testing::Test {
 protected:
  // A holder with `arguments`, in `directory`.
  static Program::Setup Holder(const Guardcheck& guardcheck, const Words& arguments) {
    return {.argv = guardcheck.Run(Words{"bash", "-c", "echo ready $$; read -r line; exit 0"} +
                                   arguments),
            .directory = guardcheck.directory().path()};
  }
  // The value of "  key  value" in a text.
  static std::string Value(const std::string& text, const std::string& key) {
    for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
      if (line.starts_with("  " + key + " ")) {
        const std::size_t begin = line.find_first_not_of(' ', key.size() + 2);
        return begin == std::string::npos ? "" : line.substr(begin);
      }
    }
    return "no " + key + " in: " + text;
  }
};

TEST_F(RefusalTest, NamesTheHolderWithAllThatAPersonNeeds) {
  const Guardcheck guardcheck;
  Guarded holder(Holder(guardcheck, {"bot", "--password", "hunter2", "--api-key=hunter3"}));
  holder.command();

  // From another working directory, as by cron: the place is the same.
  const Finished second = guardcheck.Call({"run", "x", "--", "true"}, {}, "/usr");
  EXPECT_EQ(second.code, 75);
  EXPECT_EQ(second.output, "");
  const std::string& said = second.errors;
  EXPECT_THAT(said, StartsWith("guardcheck: x is already running; this start was refused.\n"));
  EXPECT_THAT(Value(said, "started"),
              MatchesRegex("[0-9-]+ [0-9]+:[0-9]+:[0-9]+ UTC \\([0-9hms]+ ago\\)"));
  EXPECT_EQ(Value(said, "user"), absl::StrCat(UserName(geteuid()), " (uid ", geteuid(), ")"));
  EXPECT_THAT(Value(said, "directory"), guardcheck.directory().path());
  EXPECT_THAT(Value(said, "state"), MatchesRegex("[SR] \\(.*\\)"));
  EXPECT_THAT(Value(said, "cpu"), MatchesRegex("[0-9]+\\.[0-9] %"));
  EXPECT_THAT(Value(said, "memory"), MatchesRegex("[0-9]+\\.[0-9] MiB"));
  EXPECT_THAT(Value(said, "token"), MatchesRegex("[0-9]+"));
  EXPECT_THAT(Value(said, "policy"), HasSubstr("file"));
  EXPECT_THAT(Value(said, "file"), StartsWith("contested: "));  // each layer's evidence
  EXPECT_THAT(Value(said, "file"), HasSubstr(guardcheck.Object("x")));
  EXPECT_THAT(Value(said, "file"), HasSubstr("the holder is established"));
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(RefusalTest, NamesTheCommandAndTheWrapper) {
  const Guardcheck guardcheck;
  Guarded holder = guardcheck.Start();
  holder.Settle();  // the record names the command
  const std::string said = guardcheck.CallRun({"true"}).errors;
  EXPECT_EQ(Value(said, "pid"),
            absl::StrCat(holder.command(), ", guarded by guardcheck, pid ", holder.wrapper()));
  EXPECT_THAT(Value(said, "executable"), Beside("instance"));
  // Quoted where a shell needs it.
  EXPECT_THAT(Value(said, "command"),
              AnyOf(StartsWith(Beside("instance")), StartsWith(Quoted(Beside("instance")))));
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(RefusalTest, MasksSecrets) {
  const Guardcheck guardcheck;
  Guarded holder(Holder(guardcheck, {"bot", "--password", "hunter2", "--api-key=hunter3"}));
  holder.command();
  for (const Words& words : {Words{"run", "x", "--", "true"},
                             {"run", "x", "--json", "--", "true"},
                             {"status", "x"},
                             {"status", "x", "--json"},
                             {"list"},
                             {"list", "--json"}}) {
    const Finished call = guardcheck.Call(words);
    EXPECT_THAT(call.output + call.errors, HasSubstr("--password"));
    EXPECT_THAT(call.output + call.errors, Not(HasSubstr("hunter")));
  }
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(RefusalTest, H34_HostileArgumentsAreEscapedAndJsonStaysValid) {
  const Guardcheck guardcheck;
  const std::string hostile = "\x1b]0;owned\x07 \xff\xfe\n\"{";
  Guarded holder(Holder(guardcheck, {"bot", hostile}));
  holder.command();
  for (const Words& words : {Words{"run", "x", "--", "true"}, {"status", "x"}, {"list"}}) {
    const Finished call = guardcheck.Call(words);
    const std::string said = call.output + call.errors;
    EXPECT_EQ(said.find_first_of("\x1b\x07\xff\xfe"), std::string::npos) << said;
    EXPECT_THAT(said, HasSubstr("\\x1b]0;owned\\x07"));
  }
  const Finished json = guardcheck.CallRun({"true"}, {"--json"});
  EXPECT_EQ(json.code, 75);
  EXPECT_EQ(json.errors, "");
  const boost::json::object object = ParseObject(json.output);
  const boost::json::array& argv = object.at("holder").at("process").at("argv").as_array();
  EXPECT_EQ(UnescapeBytes(std::string(argv.back().as_string())), hostile);
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(RefusalTest, JsonHasTheKeysOfTheReference) {
  const Guardcheck guardcheck;
  Guarded holder = guardcheck.Start();
  holder.Settle();
  const Finished second = guardcheck.CallRun({"true"}, {"--json"});
  EXPECT_EQ(second.code, 75);
  const boost::json::object json = ParseObject(second.output);
  EXPECT_THAT(Keys(json), ElementsAre("schema", "name", "scope", "policy", "verdict", "holder",
                                      "other_holders", "same_policy", "layers"));
  EXPECT_EQ(json.at("schema"), 1);
  EXPECT_EQ(json.at("name"), "x");
  EXPECT_EQ(json.at("scope").as_string(), guardcheck.scope());
  EXPECT_EQ(json.at("verdict"), "duplicate");
  EXPECT_THAT(Keys(json.at("layers").at(0)), ElementsAre("layer", "outcome", "evidence"));

  const boost::json::value& said = json.at("holder");
  EXPECT_THAT(Keys(said), ElementsAre("standing", "evidence", "record", "process", "suspects"));
  EXPECT_EQ(said.at("standing"), "established");
  EXPECT_THAT(
      Keys(said.at("record")),
      ElementsAre("state", "name", "slot", "scope", "identity", "hostname", "user", "executable",
                  "cwd", "started", "policy", "layers", "token", "version", "schema", "instance"));
  EXPECT_THAT(Keys(said.at("record").at("identity")),
              ElementsAre("pid", "start_ticks", "pid_namespace", "boot_id"));
  EXPECT_EQ(said.at("record").at("identity").at("pid"), holder.wrapper());
  EXPECT_THAT(Keys(said.at("process")),
              ElementsAre("pid", "start_ticks", "pid_namespace", "boot_id", "liveness",
                          "parent_pid", "executable", "argv", "cwd", "uid", "user", "state",
                          "cpu_percent", "memory_bytes", "started"));
  EXPECT_EQ(said.at("process").at("pid"), holder.command());
  EXPECT_EQ(said.at("process").at("liveness"), "alive");
  EXPECT_EQ(holder.Exit(0), 0);
}

// The lines behind "What you can do" that are commands work as they stand.
TEST_F(RefusalTest, NextStepsAreCommandsThatWork) {
  const Guardcheck guardcheck;
  const std::string name = "it's \xff";
  Guarded holder({.argv = guardcheck.Argv({"run", name, "--", Beside("instance")})});
  holder.Settle();
  const Finished second = guardcheck.Call({"run", name, "--", "true"});
  ASSERT_EQ(second.code, 75);
  const std::size_t steps = second.errors.find("What you can do\n");
  ASSERT_NE(steps, std::string::npos);
  EXPECT_THAT(second.errors, Not(HasSubstr("rm ")));

  Words commands;
  for (const std::string& line :
       std::vector<std::string>(absl::StrSplit(second.errors.substr(steps), '\n'))) {
    if (line.starts_with("  ") && line[2] != ' ') commands.push_back(line.substr(2));
  }
  ASSERT_EQ(commands.size(), 3u);
  const std::string bin = Quoted(std::filesystem::path(Beside("guardcheck")).parent_path());
  const Finished status =
      RunProgram({.argv = {"bash", "-c", "PATH=" + bin + ":$PATH; " + commands[0]}});
  EXPECT_EQ(status.code, 0) << commands[0] << status.errors;
  EXPECT_THAT(status.output, HasSubstr(absl::StrCat(holder.command())));

  // The instance reports the request and goes on: who is asked, and no more, is what this is about.
  const Finished stop = RunProgram(
      {.argv = {"bash", "-c", "PATH=" + bin + ":$PATH; " + commands[1] + " --timeout 0s"}});
  EXPECT_EQ(stop.code, 75) << commands[1] << stop.errors;
  EXPECT_EQ(holder.Line(), "got TERM");

  const Finished replace =
      RunProgram({.argv = {"bash", "-c",
                           "PATH=" + bin + ":$PATH; " +
                               absl::StrReplaceAll(commands[2], {{"--replace", "--replace=0s"}})}});
  EXPECT_EQ(replace.code, 0) << commands[2] << replace.errors;
  EXPECT_EQ(holder.program().Wait(), 128 + SIGKILL);
}

// ---- after a holder that died

TEST(Predecessor, IsMentionedAfterASigkillAndTheTokenIsLarger) {
  const Guardcheck guardcheck;
  const Words command = {"sh", "-c", "echo $SOLEGUARD_TOKEN; read -r line"};
  Program first({.argv = guardcheck.Run(command)});
  const std::uint64_t token = std::stoull(first.ReadLine().value());
  const pid_t pid = first.pid();
  first.Signal(SIGKILL);
  (void)first.Wait();

  const Finished next =
      guardcheck.CallRun({"printenv", "SOLEGUARD_TOKEN"}, {"--settle", "60s", "--deadline", "60s"});
  EXPECT_EQ(next.code, 0);
  EXPECT_GT(std::stoull(next.output), token);
  // What it left is only known if its record named the command before it was killed.
  EXPECT_THAT(next.errors,
              MatchesRegex(absl::StrCat("guardcheck: x: follows a holder that died: pid ", pid,
                                        ", started .*, token ", token, "\\.( .*)?\n")));
  // Once only.
  EXPECT_EQ(guardcheck.CallRun({"true"}).errors, "");
}

TEST(Predecessor, IsNotMentionedAfterACleanEnd) {
  const Guardcheck guardcheck;
  for (const char* end :
       {"exit 0", "exit 7", "kill -TERM $$", "kill -KILL $$", "sleep 0.01 & exit"}) {
    EXPECT_EQ(guardcheck.CallRun({"sh", "-c", end}).errors, "") << end;
  }
  EXPECT_EQ(guardcheck.CallRun({"true"}).errors, "");
}

}  // namespace
}  // namespace soleguard::testing
