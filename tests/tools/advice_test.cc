// "What you can do" of a refused start: commands that a shell takes as they stand, and that do what
// they say.
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/quoted.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// The commands of a refusal, by the word behind guardcheck.
class Advice {
 public:
  explicit Advice(const std::string& refusal) {
    const std::size_t begin = refusal.find("What you can do\n");
    if (begin == std::string::npos) return;
    for (const std::string& line :
         std::vector<std::string>(absl::StrSplit(refusal.substr(begin), '\n'))) {
      if (line.starts_with("  ") && !line.starts_with("   ")) commands_.push_back(line.substr(2));
    }
  }

  const Words& commands() const { return commands_; }
  // The one of that command of guardcheck; one that fails where it is not there.
  std::string Of(const std::string& command) const {
    for (const std::string& line : commands_) {
      if (line.starts_with("guardcheck " + command + " ")) return line;
    }
    return "false";
  }

 private:
  Words commands_;
};

// As somebody pastes it into a shell, which it replaces: nothing is left when the test ends.
Program::Setup Paste(const std::string& command,
                     const std::map<std::string, std::string>& environment = {}) {
  const std::string bin = std::filesystem::path(Beside("guardcheck")).parent_path();
  return {.argv = {"bash", "-c", "PATH=" + Quoted(bin) + ":$PATH\nexec " + command},
          .environment = environment};
}

// Ends on SIGTERM.
Words Sleeper(const Words& arguments = {}) {
  return Words{"sh", "-c", "echo ready; exec sleep 600", "sh"} + arguments;
}

// Each option stands in the replacement as it was given, and counts there.
TEST(Advice, H22_AReplacementKeepsEveryOptionOfTheStart) {
  const Guardcheck guardcheck;
  const std::string name = "it's \xff";
  const std::string config = guardcheck.directory() / "my config.toml";
  std::ofstream(config) << "refused-exit = 9\n";
  const std::string pid_file = guardcheck.directory() / "a pid";
  const std::string info_file = guardcheck.directory() / "info";
  Program holder({.argv = guardcheck.Argv(Words{"run", name, "--"} + Sleeper())});
  ASSERT_EQ(holder.ReadLine(), "ready");

  const Words options = {"--config",  config,      "--policy",       "all(file, port)",
                         "--pidfile", pid_file,    "--infofile",     info_file,
                         "--until",   "tree",      "--on-lost=stop", "--grace",
                         "7s",        "--settle",  "200ms",          "--deadline",
                         "30s",       "--wait=0s", "--forward=1s",   "--exec=false"};
  const Finished refused =
      guardcheck.Call(Words{"run", name} + options + Words{"--"} + Sleeper({"a b", "$HOME"}));
  ASSERT_EQ(refused.code, 9) << refused.errors;
  const Advice advice(refused.errors);
  const std::string replace = advice.Of("run");
  for (const char* option : {" --policy 'all(file, port)'", " --until tree", " --on-lost stop",
                             " --grace 7s", " --settle 200ms", " --deadline 30s", " --wait=0s",
                             " --forward=1s", " --exec=false", " --replace -- sh -c "}) {
    EXPECT_THAT(replace, HasSubstr(option));
  }
  EXPECT_THAT(replace, HasSubstr(" --state-dir " + guardcheck.state()));

  // Those that only look or stop have what they know of it.
  for (const char* command : {"status", "stop"}) {
    const std::string line = advice.Of(command);
    EXPECT_THAT(line, HasSubstr(" --config '" + config + "' --policy 'all(file, port)'"));
    EXPECT_THAT(line, HasSubstr(" --state-dir "));
    EXPECT_THAT(line, Not(HasSubstr("--pidfile")));
  }
  EXPECT_THAT(advice.Of("stop"), HasSubstr(" --settle 200ms --deadline 30s"));
  EXPECT_THAT(advice.Of("status"), Not(HasSubstr("--settle")));

  const Finished status = RunProgram(Paste(advice.Of("status")));
  EXPECT_EQ(status.code, 0) << status.output << status.errors;
  EXPECT_THAT(status.output, HasSubstr(absl::StrCat(holder.pid())));

  Program successor(Paste(replace));
  EXPECT_EQ(successor.ReadLine(), "ready") << replace;
  EXPECT_EQ(holder.Wait(), 128 + SIGTERM);
  EXPECT_TRUE(std::filesystem::exists(pid_file));
  EXPECT_TRUE(std::filesystem::exists(info_file));

  const Finished stop = RunProgram(Paste(advice.Of("stop")));
  EXPECT_EQ(stop.code, 0) << stop.output << stop.errors;
  EXPECT_EQ(RunProgram(Paste(advice.Of("status"))).code, 3);
}

// A descriptor is open in the call only, and JSON is not for the person who reads this.
TEST(Advice, LeavesOutWhatOnlyTheCallHas) {
  const Guardcheck guardcheck;
  Program holder({.argv = guardcheck.Run(Sleeper())});
  ASSERT_EQ(holder.ReadLine(), "ready");
  const Finished refused =
      RunProgram({.argv = Words{"bash", "-c", "exec \"$@\" 5>/dev/null", "bash"} +
                          guardcheck.Run({"true"}, {"--verdict-fd", "5"})});
  ASSERT_EQ(refused.code, 75);
  EXPECT_THAT(refused.errors, Not(HasSubstr("--verdict-fd")));
  const Finished replacement = RunProgram(Paste(Advice(refused.errors).Of("run")));
  EXPECT_EQ(replacement.code, 0) << replacement.errors;
  EXPECT_EQ(holder.Wait(), 128 + SIGTERM);
}

TEST(Advice, OfACheckStartsWhatWasAskedFor) {
  const Guardcheck guardcheck;
  Program holder({.argv = guardcheck.Run(Sleeper())});
  ASSERT_EQ(holder.ReadLine(), "ready");
  const Finished check = guardcheck.Call({"check", "x", "--settle=50ms", "--", "echo", "a  b"});
  ASSERT_EQ(check.code, 75);
  const std::string replace = Advice(check.output).Of("run");
  EXPECT_THAT(replace, HasSubstr(" --settle 50ms --replace -- echo 'a  b'"));
  EXPECT_EQ(RunProgram(Paste(replace)).output, "a  b\n");
  EXPECT_EQ(holder.Wait(), 128 + SIGTERM);
}

// A replacement needs one place: with slots the way is to end one, or to let one more run.
TEST(Advice, WithSlotsNothingIsProposedThatIsAUsageError) {
  const Guardcheck guardcheck;
  const std::map<std::string, std::string> keys = {{"KA", "1"}, {"KB", "2"}, {"KC", "3"}};
  const auto run = [&](const std::string& sources) {
    return guardcheck.Argv(Words{"run", "x", "--slots", "2", "--slot-env", "KEY=" + sources, "--"} +
                           Sleeper());
  };
  Program first({.argv = run("KA,KB"), .environment = keys});
  ASSERT_EQ(first.ReadLine(), "ready");
  Program second({.argv = run("KA,KB"), .environment = keys});
  ASSERT_EQ(second.ReadLine(), "ready");

  // Two variables cannot serve three slots.
  const Finished full = RunProgram({.argv = run("KA,KB"), .environment = keys});
  ASSERT_EQ(full.code, 75);
  EXPECT_THAT(full.errors, Not(HasSubstr("--replace")));
  EXPECT_EQ(Advice(full.errors).commands().size(), 2u) << full.errors;

  const Finished refused = RunProgram({.argv = run("KA,KB,KC"), .environment = keys});
  ASSERT_EQ(refused.code, 75);
  const Advice advice(refused.errors);
  EXPECT_THAT(refused.errors, Not(HasSubstr("--replace")));
  EXPECT_THAT(advice.Of("stop"), HasSubstr(" --slot 0"));
  EXPECT_THAT(advice.Of("run"), HasSubstr(" --slot-env KEY=KA,KB,KC --slots 3 -- "));

  Program third(Paste(advice.Of("run"), keys));
  EXPECT_EQ(third.ReadLine(), "ready") << advice.Of("run");
  const Finished stop = RunProgram(Paste(advice.Of("stop")));
  EXPECT_EQ(stop.code, 0) << stop.output << stop.errors;
  EXPECT_EQ(first.Wait(), 128 + SIGTERM);
  const boost::json::object left = ParseObject(guardcheck.Call({"status", "x", "--json"}).output);
  EXPECT_TRUE(left.at("slots").at(0).at("holder").is_null());
  EXPECT_FALSE(left.at("slots").at(1).at("holder").is_null()) << "only that slot was ended";
}

// They are masked, and a shell that does not know them starts nothing, instead of a command with
// three asterisks for a password.
TEST(Advice, SecretsAreTakenFromTheEnvironment) {
  const Guardcheck guardcheck;
  Program holder({.argv = guardcheck.Run(Sleeper())});
  ASSERT_EQ(holder.ReadLine(), "ready");
  const Words secrets = {"--password=hunter2", "--bot-token", "hunter3", "API_KEY=hunter4"};
  const Finished refused = guardcheck.CallRun(Words{"printf", "%s\n"} + secrets);
  ASSERT_EQ(refused.code, 75);
  EXPECT_THAT(refused.errors, Not(HasSubstr("hunter")));
  EXPECT_THAT(refused.errors,
              HasSubstr("secrets are not shown: put them in PASSWORD, BOT_TOKEN, API_KEY first"));
  const std::string replace = Advice(refused.errors).Of("run");

  EXPECT_NE(RunProgram(Paste(replace)).code, 0);
  EXPECT_EQ(guardcheck.Call({"status", "x"}).code, 0) << "the holder was not replaced";
  const Finished pasted = RunProgram(
      Paste(replace, {{"PASSWORD", "hunter2"}, {"BOT_TOKEN", "hunter3"}, {"API_KEY", "hunter4"}}));
  EXPECT_EQ(pasted.code, 0) << pasted.errors;
  EXPECT_EQ(pasted.output, "--password=hunter2\n--bot-token\nhunter3\nAPI_KEY=hunter4\n");
  EXPECT_EQ(holder.Wait(), 128 + SIGTERM);
}

// A part of a command line is another command.
TEST(Advice, ACommandThatIsTooLongIsToldInWords) {
  const Guardcheck guardcheck;
  Program holder({.argv = guardcheck.Run(Sleeper())});
  ASSERT_EQ(holder.ReadLine(), "ready");
  Words words = {"true"};
  for (int i = 0; i < 2000; ++i) words.push_back(std::string(50, 'a'));
  const Finished refused = guardcheck.CallRun(words);
  ASSERT_EQ(refused.code, 75);
  EXPECT_LT(refused.errors.size(), 5000u);
  EXPECT_THAT(Advice(refused.errors).commands(),
              ElementsAre(::testing::StartsWith("guardcheck status x"),
                          ::testing::StartsWith("guardcheck stop x"),
                          "the same call again, as guardcheck run --replace"));
}

// The scope and the policy of a variable are not known to the shell in which somebody pastes.
TEST(Advice, NamesWhatTheEnvironmentHasSaid) {
  const Guardcheck guardcheck;
  const std::map<std::string, std::string> environment = {{"SOLEGUARD_DIR", guardcheck.scope()},
                                                          {"SOLEGUARD_POLICY", "file"}};
  const Words run =
      Words{Beside("guardcheck"), "run", "x", "--state-dir", guardcheck.state(), "--"} + Sleeper();
  Program holder({.argv = run, .environment = environment});
  ASSERT_EQ(holder.ReadLine(), "ready");
  const Finished refused = RunProgram({.argv = run, .environment = environment});
  ASSERT_EQ(refused.code, 75);
  const Finished stop = RunProgram(Paste(Advice(refused.errors).Of("stop")));
  EXPECT_EQ(stop.code, 0) << stop.output << stop.errors;
  EXPECT_EQ(holder.Wait(), 128 + SIGTERM);
}

}  // namespace
}  // namespace soleguard::testing
