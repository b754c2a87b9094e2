// What people type wrongly, and what they are told: what failed, on what, and what to type instead.
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_replace.h>
#include <absl/strings/str_split.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/program.h"
#include "support/temp_dir.h"
#include "tools/guardcheck.h"
#include "tools/terminal.h"

namespace soleguard::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// In `words` and `told`, HERE is the working directory, which has some files.
struct Mistake {
  std::string what;
  Words words;  // behind "guardcheck"
  int code = 64;
  Words told;  // in what is printed, in whatever order
  Words untold = {};
};
void PrintTo(const Mistake& mistake, std::ostream* out) {
  *out << "guardcheck " << absl::StrJoin(mistake.words, " ");
}

class Place {
 public:
  Place() {
    Write("bot.py", "print('ran')\n", 0644);
    Write("job.sh", "#!/bin/sh\necho ran\n", 0755);
    Write("plain.sh", "echo ran\n", 0644);
    Write("python.py", "#!/nonexistent/python\n", 0755);
    Write("windows.sh", "#!/bin/sh\r\necho ran\r\n", 0755);
    Write("denied.py", absl::StrCat("#!", here(), "/bot.py\n"), 0755);
    std::filesystem::create_directory(directory_ / "folder");
  }

  const std::string& here() const { return directory_.path(); }
  std::string Placed(const std::string& text) const {
    return absl::StrReplaceAll(text, {{"HERE", here()}});
  }
  std::map<std::string, std::string> environment() const {
    return {{"SOLEGUARD_DIR", here() + "/scope"},
            {"SOLEGUARD_STATE_DIR", here() + "/state"},
            {"SOLEGUARD_CONFIG", "/dev/null"},
            {"HOME", "/home/somebody"}};
  }
  Finished Call(const Words& words) const {
    Words argv = {Beside("guardcheck")};
    for (const std::string& word : words) argv.push_back(Placed(word));
    return RunProgram({.argv = argv, .environment = environment(), .directory = here()});
  }

 private:
  void Write(const std::string& name, const std::string& text, mode_t mode) const {
    const std::string path = directory_ / name;
    std::ofstream(path) << text;
    (void)chmod(path.c_str(), mode);
  }

  TempDir directory_;
};

class MistakeTest : public ::testing::TestWithParam<Mistake> {};

TEST_P(MistakeTest, IsAnsweredWithWhatToDo) {
  const Mistake& mistake = GetParam();
  const Place place;
  const Finished call = place.Call(mistake.words);
  const std::string said = call.output + call.errors;
  EXPECT_EQ(call.code, mistake.code) << said;
  for (const std::string& told : mistake.told) EXPECT_THAT(said, HasSubstr(place.Placed(told)));
  for (const std::string& text : mistake.untold) EXPECT_THAT(said, Not(HasSubstr(text)));
  // Nothing of what was typed reaches the terminal as it is.
  EXPECT_TRUE(std::none_of(said.begin(), said.end(), [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == '\x7f';
  })) << said;
  if (mistake.code != 64) return;
  EXPECT_THAT(call.errors, StartsWith("guardcheck: "));
  EXPECT_EQ(call.output, "");
}

constexpr char kHostile[] = "\x1b]0;owned\x07";
const std::string kLongName(300, 'a');

// Typed by people who did not know guardcheck, in the order in which they did.
INSTANTIATE_TEST_SUITE_P(
    Collected, MistakeTest,
    ::testing::Values(
        Mistake{"01_CommandMistyped", {"rnu", "bot", "--", "true"}, 64, {"'rnu'", "mean run?"}},
        Mistake{"02_NoCommand", {"run", "bot"}, 64, {"guardcheck run bot -- ./job"}},
        Mistake{"03_NoDashes", {"run", "bot", "true"}, 64, {"guardcheck run bot -- true"}},
        Mistake{"04_NoDashesAndOptions",
                {"run", "bot", "ls", "-la"},
                64,
                {"'ls'", "guardcheck run bot -- ls -la"}},
        Mistake{"05_NoName",
                {"run", "--", "true"},
                64,
                {"NAME is required", "guardcheck run bot -- true"}},
        Mistake{
            "06_NothingBehindDashes", {"run", "bot", "--"}, 64, {"guardcheck run bot -- ./job"}},
        Mistake{
            "07_WaitWithABlank", {"run", "bot", "--wait", "3s", "--", "true"}, 64, {"--wait=3s"}},
        Mistake{"08_ReplaceWithABlank",
                {"run", "bot", "--replace", "3s", "--", "true"},
                64,
                {"--replace=3s"}},
        Mistake{"09_NoUnit", {"run", "bot", "--wait=3", "--", "true"}, 64, {"--wait", "mean 3s?"}},
        Mistake{"10_UnitInWords",
                {"run", "bot", "--wait=3sec", "--", "true"},
                64,
                {"--wait", "'3sec'", "mean 3s?"}},
        Mistake{"11_Negative",
                {"run", "bot", "--wait=-3s", "--", "true"},
                64,
                {"--wait", "'-3s'", "500ms, 30s or 2m"},
                {"did you mean"}},
        Mistake{"12_GraceWithoutUnit",
                {"run", "bot", "--grace", "5", "--", "true"},
                64,
                {"--grace", "'5'", "mean 5s?"}},
        Mistake{"13_LayersWithoutAGroup",
                {"run", "bot", "--policy", "file,mutex", "--", "true"},
                64,
                {"--policy: column 5", "all(file, mutex)", "\n  file,mutex\n      ^\n"}},
        Mistake{"14_LayerMistyped",
                {"run", "bot", "--policy", "all(file,mutx)", "--", "true"},
                64,
                {"--policy: column 10", "mean mutex?"}},
        Mistake{"15_UnsafePolicy",
                {"run", "bot", "--policy", "scan", "--", "true"},
                0,
                {"policy scan is UNSAFE", "guardcheck explain scan"}},
        Mistake{"16_ParenthesisMissing",
                {"run", "bot", "--policy", "all(file, mutex", "--", "true"},
                64,
                {"column 16: expected ',' or ')', found the end"}},
        Mistake{"17_OptionMistyped",
                {"run", "bot", "--polcy", "strict", "--", "true"},
                64,
                {"'--polcy'", "mean --policy?"}},
        Mistake{"18_RelativeScope",
                {"run", "bot", "--scope", "relative/dir", "--", "true"},
                64,
                {"--scope", "'relative/dir'", "mean HERE/relative/dir?"}},
        Mistake{"19_ScopeHere",
                {"run", "bot", "--scope", "./x", "--", "true"},
                64,
                {"--scope", "mean HERE/x?"}},
        Mistake{"20_ScopeThatIsNotThere",
                {"run", "bot", "--scope", "/nonexistent/dir", "--", "true"},
                69,
                {"cannot tell whether bot is running",
                 "\n  file, mutex, port unavailable: cannot create /nonexistent/dir: "}},
        Mistake{"21_ScopeThatIsNoDirectory",
                {"check", "bot", "--scope", "HERE/bot.py", "--policy", "available"},
                69,
                {"Cannot tell whether bot may start", "\n  file, mutex, port cannot tell: "}},
        Mistake{"22_EmptyName", {"run", "", "--", "true"}, 64, {"NAME", "empty", "variable"}},
        Mistake{"23_NameWithASlash", {"run", "a/b", "--", "true"}, 64, {"byte 2", "call it a_b"}},
        Mistake{"24_NameIsALockFile",
                {"run", "/tmp/bot.lock", "--", "true"},
                64,
                {"no path", "call it bot.lock", "--scope DIR"}},
        Mistake{"25_DotDot", {"run", "..", "--", "true"}, 64, {"NAME", "'..'"}, {"call it"}},
        Mistake{"26_NameLikeAnOption",
                {"run", "-bot", "--", "true"},
                64,
                {"'-bot'", "a NAME does not begin with '-'"}},
        Mistake{"27_LongName", {"run", kLongName, "--", "true"}, 64, {"at most 255 bytes", "300"}},
        Mistake{"28_NameOfTwoLines", {"run", "a\nb", "--", "true"}, 64, {"byte 2", "'\\x0a'"}},
        Mistake{"29_NoSuchProgram",
                {"run", "bot", "--", "nosuchcmd"},
                127,
                {"cannot run nosuchcmd: No such file", "No directory of PATH has"}},
        Mistake{"30_NoSuchFile",
                {"run", "bot", "--", "./nosuchfile"},
                127,
                {"cannot run ./nosuchfile: No such file", "from here, HERE"}},
        Mistake{"31_NotExecutable",
                {"run", "bot", "--", "./bot.py", "1"},
                126,
                {"cannot run ./bot.py: Permission denied", "chmod +x ./bot.py",
                 "-- python3 ./bot.py 1"}},
        Mistake{"32_ADirectory",
                {"run", "bot", "--", "./folder"},
                126,
                {"cannot run ./folder: Permission denied", "It is a directory"}},
        Mistake{"33_OneQuotedString",
                {"run", "bot", "--", "./job.sh 1"},
                127,
                {"cannot run ./job.sh 1: No such file", "a word each: -- ./job.sh 1"}},
        Mistake{
            "34_NoSlots", {"run", "bot", "--slots", "0", "--", "true"}, 64, {"1 to 1000", "'0'"}},
        Mistake{"35_SlotsAreNoNumber",
                {"run", "bot", "--slots", "x", "--", "true"},
                64,
                {"--slots: expected a number from 1 to 1000, found 'x'"}},
        Mistake{"36_TooFewVariables",
                {"run", "bot", "--slots", "3", "--slot-env", "KEY=A,B", "--", "true"},
                64,
                {"2 variables cannot serve 3 slots", "each slot needs one"}},
        Mistake{"37_VariableIsNotSet",
                {"run", "bot", "--slots", "2", "--slot-env", "KEY=UNSET_A,UNSET_B", "--", "true"},
                64,
                {"--slot-env KEY: variable number 1 is not set"}},
        Mistake{"38_ValueForAVariable",
                {"run", "bot", "--slot-env", "API_KEY=abc123", "--", "true"},
                64,
                {"--slot-env API_KEY: variable number 1", "the names of variables"},
                {"abc123"}},
        Mistake{"39_RelativePidFile",
                {"run", "bot", "--pidfile", "rel.pid", "--", "true"},
                64,
                {"--pidfile: expected the absolute path", "'rel.pid'", "mean HERE/rel.pid?"},
                {"--infofile"}},
        Mistake{"40_PidFileInNoDirectory",
                {"run", "bot", "--pidfile", "/nodir/x.pid", "--", "true"},
                64,
                {"--pidfile: cannot open /nodir: No such file"},
                {"--infofile"}},
        Mistake{"41_UntilNever",
                {"run", "bot", "--until", "never", "--", "true"},
                64,
                {"--until: expected child, tree or detach, found 'never'"}},
        Mistake{"42_HookWithoutASlash",
                {"run", "bot", "--on-message", "nosuch", "--", "true"},
                64,
                {"--on-message: expected a path", "'nosuch'", "mean ./nosuch?"}},
        Mistake{"43_HookInThisDirectory",
                {"run", "bot", "--on-message", "job.sh", "--", "true"},
                64,
                {"mean ./job.sh?"}},
        Mistake{"44_VerdictOnStandardOutput",
                {"run", "bot", "--verdict-fd", "1", "--", "true"},
                64,
                {"--verdict-fd: expected a number from 3", "'1'"}},
        Mistake{"45_VerdictToNobody",
                {"run", "bot", "--verdict-fd", "77", "--", "true"},
                64,
                {"--verdict-fd: descriptor 77 is not open", "77>FILE"}},
        Mistake{"46_ExitCodeTooLarge",
                {"run", "bot", "--refused-exit", "300", "--", "true"},
                64,
                {"--refused-exit: expected a number from 0 to 255, found '300'"}},
        Mistake{"47_ExecAndOnLost",
                {"run", "bot", "--exec", "--on-lost=stop", "--", "true"},
                64,
                {"--exec and --on-lost=stop exclude each other"}},
        Mistake{"48_StopWhom",
                {"stop"},
                64,
                {"NAME is required", "guardcheck stop bot", "guardcheck list"}},
        Mistake{"49_StopNobody",
                {"stop", "nobody"},
                0,
                {"nobody was not running.\n", "Nothing is recorded under this name in scope HERE"}},
        Mistake{"50_StatusOfNobody",
                {"status", "nobody"},
                3,
                {"nobody is not running.\n", "Nothing is recorded under this name"}},
        Mistake{"51_SendWithoutDashes",
                {"send", "nobody", "hi"},
                64,
                {"words stand behind --", "guardcheck send nobody -- hi"}},
        Mistake{"52_SendToNobody",
                {"send", "nobody", "--", "hi"},
                3,
                {"not delivered to nobody: nobody has the name", "Nothing is recorded"}},
        Mistake{"53_TimeoutWithoutUnit",
                {"stop", "nobody", "--timeout", "3"},
                64,
                {"--timeout", "mean 3s?"}},
        Mistake{"54_ExplainWhat",
                {"explain"},
                64,
                {"POLICY is required", "guardcheck explain default"}},
        Mistake{"55_ExplainNoPolicy",
                {"explain", "bogus"},
                64,
                {"POLICY: column 1", "'bogus'", "layers built: file", "named policies: default"}},
        Mistake{"56_CompletionOfWhat", {"completion"}, 64, {"guardcheck completion bash"}},
        Mistake{"57_CompletionOfCsh",
                {"completion", "csh"},
                64,
                {"completion: expected bash, zsh or fish, found 'csh'"}},
        Mistake{"58_NoSuchConfig",
                {"config", "nobody", "--config", "/nonexistent.toml"},
                64,
                {"cannot open /nonexistent.toml: No such file"}},
        Mistake{"59_WatchNobody",
                {"watch", "nobody", "--once"},
                69,
                {"nobody holds nobody", "a command behind --"}},
        Mistake{"60_WatchTooOften",
                {"watch", "nobody", "--interval", "1ms"},
                64,
                {"--interval: expected at least 100ms, found '1ms'"}},
        Mistake{"61_ReportNobody", {"report", "nobody"}, 69, {"say behind -- which command it is"}},
        Mistake{"62_CheckWhom", {"check"}, 64, {"NAME is required", "guardcheck check bot"}},
        Mistake{
            "63_ListOfOne", {"list", "extra"}, 64, {"'extra' is not expected: it takes no NAME"}},
        Mistake{"64_JsonAndReplace", {"run", "bot", "--json", "--replace", "--", "true"}, 0, {}},
        Mistake{"65_TheCommandsOwnCode", {"run", "bot", "--", "bash", "-c", "exit 3"}, 3, {}},
        Mistake{
            "66_TheCommandsOwnSignal", {"run", "bot", "--", "bash", "-c", "kill -9 $$"}, 137, {}},
        Mistake{
            "67_AScopeOfOnesOwn", {"run", "bot", "--scope", "HERE/own", "--", "/bin/true"}, 0, {}}),
    [](const auto& given) { return given.param.what; });

// A word that takes a value is never a name: it would run under that name for ever, and be the one
// that --replace ends.
INSTANTIATE_TEST_SUITE_P(
    ValueOrName, MistakeTest,
    ::testing::Values(
        Mistake{"WaitAndNoName",
                {"run", "--wait", "3s", "--", "true"},
                64,
                {"--wait takes its value behind a '=': --wait=3s\n", "guardcheck run 3s --wait"}},
        Mistake{"WaitAndAName", {"run", "--wait", "3s", "bot", "--", "true"}, 64, {"--wait=3s"}},
        Mistake{"ReplaceAndNoName", {"run", "--replace", "5s", "--", "true"}, 64, {"--replace=5s"}},
        Mistake{"ForwardBehindTheName",
                {"run", "bot", "--forward", "30s", "--", "x"},
                64,
                {"--forward=30s"},
                {"guardcheck run 30s"}},
        Mistake{"ForwardAndNoName", {"run", "--forward", "2m", "--", "x"}, 64, {"--forward=2m"}},
        Mistake{"SeveralOptions",
                {"run", "--grace", "1s", "--wait", "--replace", "5s", "--", "x"},
                64,
                {"--replace=5s"}},
        Mistake{"NoUnit", {"run", "--wait", "3", "--", "true"}, 64, {"--wait=3s"}},
        Mistake{"UnitInWords", {"run", "--wait", "2mins", "--", "true"}, 64, {"--wait=2m"}},
        Mistake{"Days", {"run", "--wait", "1d", "--", "true"}, 64, {"--wait=24h"}},
        Mistake{"InOneWord", {"run", "--wait", "1h 30 min", "--", "true"}, 64, {"--wait=1h30m"}},
        Mistake{"InCapitals", {"run", "--wait", "30S", "--", "true"}, 64, {"--wait=30s"}},
        Mistake{"Zero", {"run", "--wait", "0", "--", "true"}, 64, {"--wait=0"}},
        Mistake{"Forever", {"run", "--wait", "forever", "--", "true"}, 64, {"--wait=forever"}},
        Mistake{"AFlag", {"run", "--exec", "false", "--", "true"}, 64, {"--exec=false"}},
        // What reads as no duration, or stands in front of the option, is the name.
        Mistake{"ANameBehindWait", {"run", "--wait", "bot", "--", "true"}, 0, {}},
        Mistake{"ANameWithADigit", {"run", "--wait", "3proxy", "--", "true"}, 0, {}},
        Mistake{"AVersionForAName", {"run", "--wait", "1.2.3", "--", "true"}, 0, {}},
        Mistake{"ADurationForAName", {"run", "3s", "--wait", "--", "true"}, 0, {}},
        Mistake{"ADurationForANameBehindAValue", {"run", "--wait=1s", "3s", "--", "true"}, 0, {}},
        Mistake{"ForeverIsNoGrace", {"run", "--replace", "forever", "--", "true"}, 0, {}}),
    [](const auto& given) { return given.param.what; });

INSTANTIATE_TEST_SUITE_P(
    Words, MistakeTest,
    ::testing::Values(
        Mistake{"HelpOfACommandThatIsNotThere", {"help", "rnu"}, 64, {"'rnu'", "mean run?"}},
        Mistake{"ACommandForgotten",
                {"bot", "--", "./job.sh"},
                64,
                {"no command 'bot'", "guardcheck run bot -- ./job.sh"}},
        Mistake{"ACommandInCapitals", {"STATUS", "bot"}, 64, {"mean status?"}},
        Mistake{"AnOptionOfOneDash", {"run", "bot", "-wait", "--", "true"}, 64, {"mean --wait?"}},
        Mistake{"AnOptionWithItsValue",
                {"run", "bot", "--wiat=3s", "--", "true"},
                64,
                {"'--wiat'", "mean --wait?"}},
        Mistake{
            "TheNameIsTheCommand", {"run", "true", "true"}, 64, {"guardcheck run true -- true"}},
        Mistake{
            "AFlagAndNoDashes", {"run", "bot", "--exec", "true"}, 64, {"run bot --exec -- true"}},
        Mistake{"TwoNames",
                {"stop", "bot", "feeder"},
                64,
                {"'feeder'", "it takes one NAME", "the command stands behind --"}},
        Mistake{"TwoNamesOfStatus", {"status", "bot", "feeder"}, 64, {": it takes one NAME\n"}},
        Mistake{"ASecretBehindAForgottenDash",
                {"run", "bot", "mysql", "--password", "hunter2"},
                64,
                {"guardcheck run bot -- mysql --password '***'"},
                {"hunter2"}},
        Mistake{"AKeyForAVariableAndNoDashes",
                {"run", "bot", "--slot-env", "API_KEY=hunter2", "true"},
                64,
                {"guardcheck run bot --slot-env API_KEY=... -- true"},
                {"hunter2"}},
        Mistake{"AKeyForAVariableAndNoCommand",
                {"run", "bot", "--slot-env=API_KEY=hunter2"},
                64,
                {"guardcheck run bot --slot-env=... -- ./job"},
                {"hunter2"}},
        Mistake{"AKeyBehindAMistypedOption",
                {"run", "bot", "--solt-env=API_KEY=hunter2", "--", "true"},
                64,
                {"mean --slot-env?"},
                {"hunter2"}},
        Mistake{"NoValue", {"run", "bot", "--grace", "--", "true"}, 64, {"--grace"}},
        Mistake{"UserMistyped", {"status", "bot", "--scope", "usr"}, 64, {"'usr'", "mean user?"}},
        Mistake{"AScopeAtHome",
                {"status", "bot", "--scope", "~/locks"},
                64,
                {"mean /home/somebody/locks?"}},
        Mistake{"ARelativeStateDirectory",
                {"status", "bot", "--state-dir", "state"},
                64,
                {"--state-dir", "mean HERE/state?"}},
        Mistake{"ARelativeInfoFile",
                {"run", "bot", "--infofile", "x.json", "--", "true"},
                64,
                {"--infofile: expected the absolute path", "mean HERE/x.json?"},
                {"--pidfile"}},
        Mistake{"AKeyForAVariable",
                {"run", "bot", "--slot-env", "API_KEY=abc-123", "--", "true"},
                64,
                {"number 1 behind API_KEY is no name", "the names of variables"},
                {"abc-123"}},
        Mistake{
            "TheNameOfAFolder", {"run", "./bots/trading/", "--", "true"}, 64, {"call it trading"}},
        Mistake{"AnUnsafePolicyIsSaidByCheck",
                {"check", "bot", "--policy", "any(file, port)"},
                0,
                {"bot may start", "policy any(file, port) is UNSAFE",
                 "guardcheck explain 'any(file, port)'"}},
        Mistake{"ASafePolicyIsNotSpokenOf",
                {"run", "bot", "--policy", "all(file, any(mutex, port))", "--", "true"},
                0,
                {},
                {"guardcheck"}}),
    [](const auto& given) { return given.param.what; });

// Bytes that would drive a terminal.
INSTANTIATE_TEST_SUITE_P(
    Hostile, MistakeTest,
    ::testing::Values(
        Mistake{"Command", {kHostile}, 64, {"\\x1b"}},
        Mistake{"CommandWithDashes", {kHostile, "--", kHostile}, 64, {"\\x1b"}},
        Mistake{"Option", {"run", "bot", std::string("--") + kHostile}, 64, {"\\x1b"}},
        Mistake{"Flag", {"run", "bot", std::string("--exec=") + kHostile, "--", "true"}, 64, {}},
        Mistake{"Word", {"run", "bot", kHostile}, 64, {"\\x1b"}},
        Mistake{"Name", {"run", kHostile, "--", "true"}, 64, {"\\x1b"}},
        Mistake{"Until", {"run", "bot", "--until", kHostile, "--", "true"}, 64, {"\\x1b"}},
        Mistake{"OnLost", {"run", "bot", "--on-lost", kHostile, "--", "true"}, 64, {"\\x1b"}},
        Mistake{"OnMessage", {"run", "bot", "--on-message", kHostile, "--", "true"}, 64, {"\\x1b"}},
        Mistake{"Slots", {"run", "bot", "--slots", kHostile, "--", "true"}, 64, {"\\x1b"}},
        Mistake{"Scope", {"run", "bot", "--scope", kHostile, "--", "true"}, 64, {"\\x1b"}},
        Mistake{"PidFile", {"run", "bot", "--pidfile", kHostile, "--", "true"}, 64, {"\\x1b"}},
        Mistake{"Shell", {"completion", kHostile}, 64, {"\\x1b"}},
        Mistake{"Policy", {"explain", kHostile}, 64, {"\\x1b"}},
        Mistake{"TheGuardedCommand", {"run", "bot", "--", kHostile}, 127, {"\\x1b"}}),
    [](const auto& given) { return given.param.what; });

// Commands that cannot run: what is wrong, and how it is written.
INSTANTIATE_TEST_SUITE_P(
    CannotRun, MistakeTest,
    ::testing::Values(
        Mistake{
            "AnInterpreterThatIsNotThere",
            {"run", "bot", "--", "./python.py", "1"},
            127,
            {"interpreter /nonexistent/python, which does not exist", "-- python3 ./python.py 1"}},
        Mistake{"AScriptOfWindows",
                {"run", "bot", "--", "./windows.sh"},
                127,
                {"end as on Windows", "sed -i 's/\\r$//' ./windows.sh"}},
        Mistake{"AnInterpreterThatMayNotBeExecuted",
                {"run", "bot", "--", "./denied.py"},
                126,
                {"interpreter HERE/bot.py, which may not be executed"}},
        Mistake{"AShellScriptThatIsNotExecutable",
                {"run", "bot", "--", "./plain.sh"},
                126,
                {"chmod +x ./plain.sh", "-- bash ./plain.sh"}},
        Mistake{"ABuiltin", {"run", "bot", "--", "cd", "/tmp"}, 127, {"-- sh -c 'cd /tmp'"}},
        Mistake{"AKeyword",
                {"run", "bot", "--", "if", "true;", "then", "ls;", "fi"},
                127,
                {"-- sh -c 'if true; then ls; fi'"}},
        Mistake{
            "ABuiltinOfBash", {"run", "bot", "--", "source", "x"}, 127, {"-- bash -c 'source x'"}},
        Mistake{"AnExport", {"run", "bot", "--", "export", "A=1"}, 127, {"-- sh -c 'export A=1'"}},
        Mistake{"AVariable",
                {"run", "bot", "--", "API_KEY=hunter2", "./job.sh", "1"},
                127,
                {"cannot run API_KEY=...", "-- env API_KEY=... ./job.sh 1"},
                {"hunter2"}},
        Mistake{"AQuotedStringForAShell",
                {"run", "bot", "--", "./job.sh >log"},
                127,
                {"-- sh -c './job.sh >log'"}},
        Mistake{"AQuotedStringAndMore",
                {"run", "bot", "--", "./job.sh --fast", "1"},
                127,
                {"-- ./job.sh --fast 1"}},
        Mistake{"ASecretInAQuotedString",
                {"run", "bot", "--", "./job.sh --password hunter2"},
                127,
                {"./job.sh --password"},
                {"hunter2"}},
        Mistake{"InThisDirectory",
                {"run", "bot", "--", "job.sh", "1"},
                127,
                {"not in PATH", "-- ./job.sh 1\n"},
                {"chmod"}},
        Mistake{"InThisDirectoryAndNotExecutable",
                {"run", "bot", "--", "bot.py"},
                127,
                {"-- ./bot.py", "chmod +x bot.py", "-- python3 ./bot.py"}},
        Mistake{"AnEmptyCommand", {"run", "bot", "--", ""}, 127, {"The command is empty"}},
        Mistake{"BelowAFile", {"run", "bot", "--", "./job.sh/x"}, 127, {"Not a directory"}},
        // and the same of a command that takes the place of guardcheck
        Mistake{
            "ExecInThisDirectory", {"run", "bot", "--exec", "--", "job.sh"}, 127, {"-- ./job.sh"}},
        Mistake{"ExecNotExecutable",
                {"run", "bot", "--exec", "--", "./bot.py"},
                126,
                {"chmod +x ./bot.py"}},
        Mistake{"ExecABuiltin",
                {"run", "bot", "--exec", "--", "cd", "/tmp"},
                127,
                {"-- sh -c 'cd /tmp'"}}),
    [](const auto& given) { return given.param.what; });

// ---- help

TEST(Help, IsACommandToo) {
  const Place place;
  for (const auto& [help, option] : std::vector<std::pair<Words, Words>>{
           {{"help"}, {"--help"}}, {{"help", "run"}, {"run", "--help"}}}) {
    const Finished asked = place.Call(help);
    EXPECT_EQ(asked.code, 0);
    EXPECT_EQ(asked.output, place.Call(option).output);
    EXPECT_NE(asked.output, "");
  }
}

// What is suggested works when it is typed.
TEST(Suggested, ADurationForANameRunsUnderThatName) {
  const Place place;
  const Words command = {"sh", "-c", "echo $SOLEGUARD_NAME"};
  EXPECT_EQ(place.Call(Words{"run", "3s", "--wait", "--"} + command).output, "3s\n");
}

// ---- names that nobody has

TEST(UnknownName, NamesThatLookLikeItAreShown) {
  const Guardcheck guardcheck;
  ASSERT_EQ(guardcheck.CallRun({"true"}).code, 0);  // x, which is not like the others
  Program bot({.argv = guardcheck.Argv({"run", "trading_bot", "--", "cat"})});
  bot.WriteLine("runs");
  ASSERT_EQ(bot.ReadLine(), "runs");
  const std::string like = "Names that look like it: trading_bot\n";
  const std::string nothing =
      absl::StrCat("Nothing is recorded under this name in scope ", guardcheck.scope(), ".\n");

  const Finished stop = guardcheck.Call({"stop", "traiding_bot"});
  EXPECT_EQ(stop.code, 0);
  EXPECT_EQ(stop.output, "traiding_bot was not running.\n" + nothing + like);
  const Finished status = guardcheck.Call({"status", "trading_bto"});
  EXPECT_EQ(status.code, 3);
  EXPECT_THAT(status.output, HasSubstr(nothing + like));
  const Finished send = guardcheck.Call({"send", "Trading_Bot", "--", "hi"});
  EXPECT_EQ(send.code, 3);
  EXPECT_THAT(send.errors, HasSubstr(nothing + like));

  // Nothing looks like it: what runs is shown. x does not.
  const Finished other = guardcheck.Call({"stop", "feeder"});
  EXPECT_EQ(other.output, "feeder was not running.\n" + nothing + "What runs there: trading_bot\n");
  // It has run, so it is no slip; nor is anything added for a program.
  EXPECT_EQ(guardcheck.Call({"stop", "x"}).output, "x was not running.\n");
  EXPECT_THAT(guardcheck.Call({"status", "feeder", "--json"}).output, Not(HasSubstr("trading")));
  EXPECT_THAT(guardcheck.Call({"send", "feeder", "--json", "--", "hi"}).errors,
              Not(HasSubstr("trading")));
  bot.CloseInput();
  EXPECT_EQ(bot.Wait(), 0);
}

// A look leaves nothing behind that would make the mistyped name a known one.
TEST(UnknownName, StaysUnknownWhenItIsAskedFor) {
  const Guardcheck guardcheck;
  const std::string once = guardcheck.Call({"stop", "bto"}).output;
  EXPECT_THAT(once, HasSubstr("Nothing is recorded"));
  EXPECT_EQ(guardcheck.Call({"stop", "bto"}).output, once);
}

// ---- reasons

// One thing is missing, and each layer says so: a person reads it once.
TEST(Reasons, OneThatSeveralLayersGiveIsShownOnce) {
  const Guardcheck guardcheck;
  std::ofstream(guardcheck.scope()) << "not a directory";
  const auto times = [](const std::string& text, const std::string& what) {
    int found = 0;
    for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) {
      ++found;
    }
    return found;
  };
  const std::string run = guardcheck.CallRun({"true"}).errors;
  const std::string status = guardcheck.Call({"status", "x"}).output;
  const std::string check = guardcheck.Call({"check", "x"}).output;
  for (const std::string& text : {run, status, check}) {
    EXPECT_EQ(times(text, guardcheck.scope()), 1) << text;
    EXPECT_THAT(text, HasSubstr("  file, mutex, port "));
  }
  EXPECT_THAT(run, HasSubstr("too few layers can tell for policy all(file, mutex, port)\n"));
  // A program reads all of it.
  const boost::json::object json = ParseObject(guardcheck.CallRun({"true"}, {"--json"}).output);
  EXPECT_EQ(times(std::string(json.at("reason").as_string()), guardcheck.scope()), 3);
  EXPECT_EQ(json.at("layers").as_array().size(), 3U);
}

// ---- terminals

TEST(Width, OnATerminalNoLineOfAReasonIsWiderThanIt) {
  const Guardcheck guardcheck;
  const std::string scope = guardcheck.directory() / "a_scope_with_a_long_name";
  std::ofstream(scope) << "not a directory";
  const Words check = {Beside("guardcheck"), "check", "x", "--scope", scope};
  for (const std::size_t columns : {60U, 80U}) {
    Terminal terminal(
        Words{"sh", "-c", absl::StrCat("stty cols ", columns, "; \"$@\"; echo the end"), "sh"} +
        check);
    std::string shown = terminal.ReadUntil("the end");
    shown = absl::StrReplaceAll(shown, {{"\033[1m", ""}, {"\033[0m", ""}, {"\r", ""}});
    EXPECT_THAT(shown, HasSubstr("\n  file, mutex, port cannot tell:"));
    for (const absl::string_view line : absl::StrSplit(shown, '\n')) {
      EXPECT_LE(line.size(), columns) << line;
    }
    EXPECT_EQ(terminal.Wait(), 0);
  }
  // Elsewhere a reason stays in its line, for grep.
  EXPECT_THAT(RunProgram({.argv = check}).output,
              ContainsRegex("file, mutex, port cannot tell: [^\n]* is a regular file; [^\n]*\n"));
}

}  // namespace
}  // namespace soleguard::testing
