// What guardcheck says of its own options: to shells, to man(1), and by --help.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_replace.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/quoted.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class CompletionTest : public ::testing::Test {
 protected:
  // The script of `shell`, in a file.
  std::string Script(const std::string& shell) const {
    const Finished made = RunProgram({.argv = {Beside("guardcheck"), "completion", shell}});
    EXPECT_EQ(made.code, 0);
    const std::string file = directory_ / shell;
    std::ofstream(file) << made.output;
    return file;
  }
  // What bash would offer for the last word.
  std::string InBash(const std::string& words) const {
    const Finished said =
        RunProgram({.argv = {"bash", "-c",
                             absl::StrCat("source \"$0\"; COMP_WORDS=(guardcheck ", words,
                                          "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _guardcheck; "
                                          "echo \"${COMPREPLY[@]}\""),
                             Script("bash")}});
    EXPECT_EQ(said.errors, "");
    return said.output;
  }

  // What --help lists: the commands, and the options of one.
  static Words Commands() {
    const Finished help = RunProgram({.argv = {Beside("guardcheck"), "--help"}});
    EXPECT_EQ(help.code, 0);
    const std::size_t list = help.output.find("Subcommands:\n");
    return FirstWords(help.output.substr(std::min(list, help.output.size())), "  ");
  }
  static Words OptionsOf(const std::string& command) {
    const Finished help = RunProgram({.argv = {Beside("guardcheck"), command, "--help"}});
    EXPECT_EQ(help.code, 0);
    return FirstWords(help.output, "  --");
  }
  // Of the lines that begin with `indent`. "--wait{forever} =DURATION" is "--wait".
  static Words FirstWords(const std::string& text, const std::string& indent) {
    Words words;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with(indent)) continue;
      line.erase(0, 2);
      words.push_back(line.substr(0, line.find_first_of(" {=,")));
    }
    return words;
  }

  // The part of a manual page from this heading to the next one.
  static std::string SectionOf(const std::string& page, const std::string& heading) {
    const std::size_t begin = page.find(heading);
    if (begin == std::string::npos) return "";
    return page.substr(begin, page.find("\n.S", begin) - begin);
  }
  // Not by one that only begins alike, such as --slot-env for --slot.
  static bool Documents(const std::string& section, const std::string& option) {
    const std::string entry = absl::StrCat("\n.B ", absl::StrReplaceAll(option, {{"-", "\\-"}}));
    for (std::size_t at = 0; (at = section.find(entry, at)) != std::string::npos; ++at) {
      const std::string rest = section.substr(at + entry.size(), 2);
      if (rest.empty() || rest[0] == ' ' || rest[0] == '\n' || rest == "\\f") return true;
    }
    return false;
  }

  // Instances of these names, and what a shell needs to find them and guardcheck.
  class Instances {
   public:
    explicit Instances(const Words& names) {
      for (const std::string& name : names) {
        running_.push_back(std::make_unique<Program>(Program::Setup{
            .argv = guardcheck_.Argv({"run", name, "--", "sh", "-c", "echo ready; exec cat"})}));
        EXPECT_EQ(running_.back()->ReadLine(), "ready");
      }
    }
    std::map<std::string, std::string> environment() const {
      const std::filesystem::path program(Beside("guardcheck"));
      return {{"PATH", absl::StrCat(program.parent_path().string(), ":", std::getenv("PATH"))},
              {"SOLEGUARD_DIR", guardcheck_.scope()},
              {"SOLEGUARD_STATE_DIR", guardcheck_.state()}};
    }

   private:
    const Guardcheck guardcheck_;
    std::vector<std::unique_ptr<Program>> running_;
  };

  const TempDir directory_;
};

TEST_F(CompletionTest, BashCompletesCommandsOptionsAndTheirValues) {
  EXPECT_EQ(InBash("sta"), "status\n");
  EXPECT_EQ(InBash("run --gr"), "--grace\n");
  EXPECT_EQ(InBash("run --until ''"), "child tree detach\n");
  EXPECT_EQ(InBash("run --until = t"), "tree\n");  // as bash splits --until=t
  EXPECT_EQ(InBash("run bot --policy st"), "strict\n");
  EXPECT_EQ(InBash("completion z"), "zsh\n");
  EXPECT_THAT(InBash("status --"), AllOf(HasSubstr("--scope"), Not(HasSubstr("--grace"))));
}

// Names of others that a shell would run, split, or take for a pattern.
const Words kHostile = {"x$(echo ran >&2)", "x`echo ran >&2`", "two words", "x*y", "x;y", "x'y"};

TEST_F(CompletionTest, BashOffersNamesWholeAndRunsNothingThatStandsInThem) {
  const Instances instances(kHostile);
  // What is offered stands for the name itself on a command line.
  const auto offered = [&](const std::string& current) {
    return RunProgram(
        {.argv =
             {"bash", "-c",
              "source \"$0\"; COMP_WORDS=(guardcheck status \"$1\"); COMP_CWORD=2; _guardcheck; "
              "for word in \"${COMPREPLY[@]}\"; do eval \"printf '%s\\n' $word\"; done | LC_ALL=C "
              "sort",
              Script("bash"), current},
         .environment = instances.environment()});
  };
  Words sorted = kHostile;
  std::sort(sorted.begin(), sorted.end());
  const Finished all = offered("");
  EXPECT_EQ(all.errors, "");
  EXPECT_EQ(all.output, absl::StrJoin(sorted, "\n") + "\n");
  EXPECT_EQ(offered("two").output, "two words\n");
  EXPECT_EQ(offered("two\\ w").output, "two words\n");
}

TEST_F(CompletionTest, FishAndZshOfferNamesWholeAndRunNothingThatStandsInThem) {
  const Instances instances(kHostile);
  const Finished fish = RunProgram(
      {.argv = {"fish", "--no-config", "-c",
                absl::StrCat("source ", Script("fish"), "; complete -C 'guardcheck status '")},
       .environment = instances.environment()});
  EXPECT_THAT(fish.errors, Not(HasSubstr("ran")));
  EXPECT_THAT(fish.output, AllOf(HasSubstr("x$(echo ran >&2)\n"), HasSubstr("two words\n")));
  // compadd works in a completion only.
  const Finished zsh = RunProgram(
      {.argv = {"zsh", "--no-rcs", "-c",
                "compadd() { print -rl -- \"${(@P)2}\" }; _arguments() { : }; _describe() { : }; "
                "words=(guardcheck status ''); CURRENT=3; source \"$1\"; _guardcheck_names",
                "zsh", Script("zsh")},
       .environment = instances.environment()});
  EXPECT_EQ(zsh.errors, "");
  EXPECT_THAT(zsh.output, AllOf(HasSubstr("x$(echo ran >&2)\n"), HasSubstr("two words\n")));
}

TEST_F(CompletionTest, BashKeepsItsOwnComplete) {
  const Finished kept = RunProgram({.argv = {"bash", "-c",
                                             "source \"$0\"; COMP_WORDS=(guardcheck sta); "
                                             "COMP_CWORD=1; _guardcheck; type -t complete",
                                             Script("bash")}});
  EXPECT_EQ(kept.output, "builtin\n");
}

TEST_F(CompletionTest, BashCompletesTheCommandBehindTheDashes) {
  EXPECT_THAT(InBash("run bot -- systemd-anal"), HasSubstr("systemd-analyze"));
}

TEST_F(CompletionTest, FishCompletesCommandsOptionsAndTheirValues) {
  const std::string script = Script("fish");
  const auto complete = [&](const std::string& line) {
    return RunProgram({.argv = {"fish", "--no-config", "-c",
                                absl::StrCat("source ", script, "; complete -C '", line, "'")}})
        .output;
  };
  EXPECT_THAT(complete("guardcheck sta"), HasSubstr("status\tis it running"));
  EXPECT_THAT(complete("guardcheck run --gra"), HasSubstr("--grace\t"));
  EXPECT_THAT(complete("guardcheck run --until "), AllOf(HasSubstr("child"), HasSubstr("tree")));
}

TEST_F(CompletionTest, ZshReadsItsScript) {
  const Finished read = RunProgram({.argv = {"zsh", "--no-rcs", "-n", Script("zsh")}});
  EXPECT_EQ(read.code, 0) << read.errors;
}

TEST_F(CompletionTest, AnotherShellIsAUsageError) {
  const Finished tcsh = RunProgram({.argv = {Beside("guardcheck"), "completion", "tcsh"}});
  EXPECT_EQ(tcsh.code, 64);
  EXPECT_THAT(tcsh.errors, HasSubstr("expected bash, zsh or fish"));
}

TEST_F(CompletionTest, TheManualPageIsWellFormedAndHasEveryCommandAndOption) {
  const std::string file = directory_ / "guardcheck.1";
  const Finished manual = RunProgram({.argv = {Beside("guardcheck"), "manual"}});
  std::ofstream(file) << manual.output;
  const Finished lint = RunProgram({.argv = {"mandoc", "-T", "lint", "-W", "warning", file}});
  EXPECT_EQ(lint.code, 0) << lint.output;
  const std::string common = SectionOf(manual.output, ".SH OPTIONS OF MOST COMMANDS\n");
  int options = 0;
  const Words commands = Commands();
  for (const std::string& command : commands) {
    const std::string own = SectionOf(manual.output, absl::StrCat(".SS ", command, "\n"));
    EXPECT_NE(own, "") << command;
    for (const std::string& option : OptionsOf(command)) {
      EXPECT_TRUE(Documents(own, option) || Documents(common, option)) << command << " " << option;
      ++options;
    }
  }
  EXPECT_GT(commands.size(), 10U);
  EXPECT_GT(options, 80);
  std::cout << commands.size() << " commands, " << options << " options\n";
}

TEST_F(CompletionTest, HelpShowsWhatACommandTakes) {
  const Finished help = RunProgram({.argv = {Beside("guardcheck"), "run", "--help"}});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.output, AllOf(HasSubstr("guardcheck run NAME [options] -- COMMAND..."),
                                 HasSubstr("(default: 5s) [SOLEGUARD_GRACE]")));
}

TEST_F(CompletionTest, TheHelpOfACommandIsTheSameBeforeAndBehindItsName) {
  const auto help = [](const Words& words) {
    return RunProgram({.argv = Words{Beside("guardcheck")} + words}).output;
  };
  EXPECT_EQ(help({"-h", "run"}), help({"run", "--help"}));
  EXPECT_THAT(help({"--help"}), HasSubstr("1 send: the holder answered no, 3 not running"));
  EXPECT_THAT(help({"manual"}), HasSubstr(".B 1\nsend: the holder answered that it could not\n"));
}

// What is wrong is named, and not what follows from it.
TEST_F(CompletionTest, AWordThatIsNotUnderstoodIsNamed) {
  for (const auto& [words, said] : std::vector<std::pair<Words, std::string>>{
           {{"--foo"}, "there is no option '--foo' before a command; guardcheck --help lists"},
           {{"--json", "status", "bot"}, "there is no option '--json' before a command"},
           {{"run", "-x", "--", "true"}, "run: '-x' is no option of it; the command stands behind"},
           {{"status", "--foo"}, "status: '--foo' is no option of it\n"},
           {{"status", "bot", "--policy"}, "--policy: "},
           {{"status", "bot", "strict", "more"},
            "status: 'strict' is not expected: it takes one NAME\n"},
           {{"status", "bot", "stop"}, "status: 'stop' is not expected: it takes one NAME\n"},
           {{"status"}, "NAME is required"},
           {{"run", "bot", "--wait", "3s", "--", "true"},
            "run: --wait takes its value behind a '=': --wait=3s\n"},
           {{"run", "--wait", "3s", "bot", "--", "true"},
            "run: --wait takes its value behind a '=': --wait=3s\n"},
           {{"run", "--wait", "bot", "true"}, "run: 'true' is not expected; the command stands"},
           {{"check", "bot", "--settle", "1s", "--settle", "2s"},
            "--settle: it is said 2 times\n"}}) {
    const Finished call = RunProgram({.argv = Words{Beside("guardcheck")} + words});
    EXPECT_EQ(call.code, 64) << said;
    EXPECT_THAT(call.errors, ::testing::StartsWith("guardcheck: " + said));
  }
}

// Colour, where a terminal is: of headings only.
TEST_F(CompletionTest, TextIsBoldOnATerminalOnlyAndNeverWithNoColor) {
  const std::string command = absl::StrCat(Quoted(Beside("guardcheck")), " explain file");
  const auto on_a_terminal = [&](const std::map<std::string, std::string>& environment) {
    return RunProgram(
               {.argv = {"script", "-qec", command, "/dev/null"}, .environment = environment})
        .output;
  };
  EXPECT_THAT(on_a_terminal({{"TERM", "xterm"}, {"NO_COLOR", ""}}), HasSubstr("\033[1m"));
  EXPECT_THAT(on_a_terminal({{"TERM", "xterm"}, {"NO_COLOR", "1"}}), Not(HasSubstr("\033[")));
  EXPECT_THAT(on_a_terminal({{"TERM", "dumb"}, {"NO_COLOR", ""}}), Not(HasSubstr("\033[")));
  EXPECT_THAT(
      RunProgram({.argv = {"sh", "-c", command}, .environment = {{"TERM", "xterm"}}}).output,
      Not(HasSubstr("\033[")));
}

}  // namespace
}  // namespace soleguard::testing
