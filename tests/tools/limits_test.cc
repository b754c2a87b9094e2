// What ends a command, or keeps it from starting, beside the name: --max-runtime, --with-parent and
// --min-interval; and a name that comes from a place, --name-from.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/place_name.h"
#include "soleguard/process.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

class Limits : public ::testing::Test {
 protected:
  std::string History() const { return guardcheck_.Call({"history", "x"}).output; }

  const Guardcheck guardcheck_;
};

// ---- --max-runtime

TEST_F(Limits, ACommandThatRunsTooLongIsEndedWithAllThatItStarted) {
  Program run({.argv = guardcheck_.Run(
                   {"sh", "-c", "sleep 1000 & echo $!; echo $$; trap 'exit 5' TERM; wait"},
                   {"--max-runtime=2s"})});
  const ProcessIdentity child = *IdentityOf(std::stoi(run.ReadLine().value()));
  const ProcessIdentity command = *IdentityOf(std::stoi(run.ReadLine().value()));
  EXPECT_EQ(run.Wait(), 124);
  EXPECT_EQ(LivenessOf(child), Liveness::kGone);
  EXPECT_EQ(LivenessOf(command), Liveness::kGone);
  EXPECT_THAT(run.Errors(), HasSubstr("x: has run for 2s (--max-runtime); ending the command"));
  EXPECT_THAT(History(), HasSubstr("exit code 5: it was ended after 2s (--max-runtime)"));
  EXPECT_EQ(guardcheck_.Call({"status", "x"}).code, 3);
}

TEST_F(Limits, OneThatDoesNotHeedItIsKilledAfterTheGrace) {
  const Finished run =
      guardcheck_.CallRun({"sh", "-c", "trap '' TERM; while :; do sleep 1000; done"},
                          {"--max-runtime=100ms", "--grace=100ms"});
  EXPECT_EQ(run.code, 124);
}

TEST_F(Limits, OneThatEndsBeforeKeepsItsExitCode) {
  const Finished run = guardcheck_.CallRun({"sh", "-c", "exit 5"}, {"--max-runtime=1h"});
  EXPECT_EQ(run.code, 5);
  EXPECT_EQ(run.errors, "");
  EXPECT_THAT(History(), AllOf(HasSubstr("exit code 5"), Not(HasSubstr("max-runtime"))));
}

TEST_F(Limits, NobodyIsLeftToEndWhatIsExecuted) {
  for (const std::string option : {"--max-runtime=1h", "--with-parent"}) {
    const Finished run = guardcheck_.CallRun({"true"}, {"--exec", option});
    EXPECT_EQ(run.code, 64);
    EXPECT_THAT(run.errors, HasSubstr("exclude each other")) << option;
  }
}

// ---- --with-parent

class WithParent : public Limits {
 protected:
  // A parent that starts a guardcheck and waits for it. It says its pid, and then guardcheck's.
  Program Parent(const Words& run) const {
    return Program({.argv = Words{"sh", "-c", "echo $$; \"$@\" & echo $!; wait", "sh"} + run});
  }
  static ProcessIdentity ReadProcess(Program& parent) {
    return *IdentityOf(std::stoi(parent.ReadLine().value()));
  }
};

TEST_F(WithParent, TheCommandEndsWithTheProcessThatStartedIt) {
  Program parent =
      Parent(guardcheck_.Run({"sh", "-c", "echo $$; exec sleep 1000"}, {"--with-parent"}));
  (void)ReadProcess(parent);
  const ProcessIdentity run = ReadProcess(parent);
  const ProcessIdentity command = ReadProcess(parent);
  parent.Signal(SIGKILL);
  WaitUntilGone(command);
  WaitUntilGone(run);
  EXPECT_THAT(History(), HasSubstr("it was ended with the process that had started it"));
  EXPECT_EQ(guardcheck_.CallRun({"true"}).code, 0);
}

TEST_F(WithParent, SoDoesTheWaitForTheName) {
  Guarded holder = guardcheck_.Start();
  (void)holder.command();
  Program parent =
      Parent(guardcheck_.Run({"sh", "-c", "echo started"}, {"--with-parent", "--wait"}));
  (void)ReadProcess(parent);
  const ProcessIdentity run = ReadProcess(parent);
  EXPECT_THAT(parent.ReadErrorLine().value_or(""), HasSubstr("; waiting"));
  parent.Signal(SIGKILL);
  WaitUntilGone(run);
  EXPECT_THAT(parent.ReadErrorLine().value_or(""), HasSubstr("has ended; so nothing is started"));
  EXPECT_EQ(holder.Exit(0), 0);
  EXPECT_EQ(parent.Output(), "");
}

TEST_F(WithParent, AParentThatLivesDoesNothing) {
  const Finished run = guardcheck_.CallRun({"sh", "-c", "exit 5"}, {"--with-parent"});
  EXPECT_EQ(run.code, 5);
  EXPECT_EQ(run.errors, "");
}

// Process 1 of a container: who started it cannot be seen.
TEST_F(WithParent, AParentThatCannotBeSeenIsAnErrorOfTheCall) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to make a pid namespace";
  const Finished run = RunProgram({.argv = Words{"unshare", "-pf", "--mount-proc"} +
                                           guardcheck_.Run({"true"}, {"--with-parent"})});
  if (run.errors.find("unshare") != std::string::npos) GTEST_SKIP() << run.errors;
  EXPECT_EQ(run.code, 64);
  EXPECT_THAT(run.errors, HasSubstr("outside of its pid namespace"));
}

// ---- --min-interval

TEST_F(Limits, AStartThatComesTooSoonRunsNothing) {
  const Words options = {"--min-interval=1h"};
  const Finished first = guardcheck_.CallRun({"sh", "-c", "echo $PPID"}, options);
  EXPECT_EQ(first.code, 0) << first.errors;
  // A start that came too soon does not count: the second is held against the first as well.
  for (int i = 0; i < 2; ++i) {
    const Finished again = guardcheck_.CallRun({"echo", "started"}, options);
    EXPECT_EQ(again.code, 75);
    EXPECT_EQ(again.output, "");
    EXPECT_THAT(again.errors,
                ContainsRegex("guardcheck: x was started [0-9.]*m?s ago, pid [0-9]*: too soon for "
                              "--min-interval, which lets it start at "));
  }
  EXPECT_EQ(guardcheck_.CallRun({"echo"}, {"--min-interval=1h", "--refused-exit=0"}).code, 0);
  EXPECT_EQ(guardcheck_.CallRun({"echo"}, {"--min-interval=1h", "--quiet"}).errors, "");
  EXPECT_THAT(History(), HasSubstr("let the name go again, as it came too soon: not before "));
  EXPECT_EQ(guardcheck_.Call({"status", "x"}).code, 3);
}

TEST_F(Limits, TheVerdictSaysWhenItMayStart) {
  (void)guardcheck_.CallRun({"true"});
  const Finished again = guardcheck_.CallRun({"true"}, {"--min-interval=1h", "--json"});
  EXPECT_EQ(again.code, 75);
  const auto verdict = ParseObject(again.output);
  EXPECT_EQ(verdict.at("verdict").as_string(), "too_soon");
  EXPECT_LT(verdict.at("last_start").as_string(), verdict.at("next_start").as_string());
}

TEST_F(Limits, OneThatComesLateEnoughRuns) {
  EXPECT_EQ(guardcheck_.CallRun({"true"}, {"--min-interval=1h"}).code, 0);
  const Finished again = guardcheck_.CallRun({"echo", "started"}, {"--min-interval=1ns"});
  EXPECT_EQ(again.code, 0) << again.errors;
  EXPECT_EQ(again.output, "started\n");
}

TEST_F(Limits, EachSlotHasStartsOfItsOwn) {
  Guarded first = guardcheck_.Start({"--slots", "2", "--min-interval=1h"});
  (void)first.command();
  EXPECT_EQ(guardcheck_.CallRun({"true"}, {"--slots", "2", "--min-interval=1h"}).code, 0);
  EXPECT_EQ(guardcheck_.CallRun({"true"}, {"--slots", "2", "--min-interval=1h"}).code, 75);
  EXPECT_EQ(first.Exit(0), 0);
}

// Nobody knows, so it is not run: the storm that this is against would come otherwise.
TEST_F(Limits, WithoutAHistoryItIsNotRun) {
  const Finished run = RunProgram(
      {.argv = {Beside("guardcheck"), "run", "x", "--scope", guardcheck_.scope(), "--state-dir",
                "/dev/null/state", "--min-interval=1h", "--", "echo", "started"}});
  EXPECT_EQ(run.code, 69);
  EXPECT_EQ(run.output, "");
  EXPECT_THAT(run.errors, HasSubstr("--min-interval: cannot tell when it was started last: "));
}

// ---- --name-from

class NameFrom : public Limits {
 protected:
  std::string Place(const std::string& name) const {
    const std::string path = guardcheck_.directory() / name;
    fs::create_directories(path);
    return path;
  }
  // The name that a start in `directory` gets with these words.
  std::string NameOf(const std::string& directory, const std::string& place) const {
    const Finished run = guardcheck_.Call(
        {"run", "--name-from", place, "--", "sh", "-c", "echo \"$SOLEGUARD_NAME\""}, {}, directory);
    EXPECT_EQ(run.code, 0) << run.errors;
    return run.output;
  }
};

TEST_F(NameFrom, EveryWayToSayThePlaceGivesOneName) {
  const std::string place = Place("shop");
  const std::string name = NameOf("/", place);
  EXPECT_THAT(name, MatchesRegex("shop-[0-9a-f]{16}\n"));
  EXPECT_EQ(NameOf(place, "."), name);
  EXPECT_EQ(NameOf(guardcheck_.directory().path(), "shop/../shop/"), name);
  fs::create_directory_symlink(place, guardcheck_.directory() / "link");
  EXPECT_EQ(NameOf("/", guardcheck_.directory() / "link"), name);
  EXPECT_EQ(absl::StrCat(NameOfPlace(place)->text(), "\n"), name);
}

TEST_F(NameFrom, AnotherPlaceIsAnotherName) {
  EXPECT_NE(NameOf("/", Place("a/shop")), NameOf("/", Place("b/shop")));
}

TEST_F(NameFrom, WhateverItIsCalledItIsAName) {
  EXPECT_THAT(NameOf("/", "/"), MatchesRegex("root-[0-9a-f]{16}\n"));
  EXPECT_THAT(NameOf("/", Place("a b")), StartsWith("a b-"));
  EXPECT_THAT(NameOf("/", Place("-x")), StartsWith("_x-"));
  EXPECT_THAT(NameOf("/", Place("a\nb")), StartsWith("a_b-"));
  // Not cut in the middle of a character.
  std::string longest = "x";
  while (longest.size() < 250) longest += "é";
  EXPECT_THAT(NameOf("/", Place(longest)), StartsWith(longest.substr(0, 99) + "-"));
}

TEST_F(NameFrom, TheOtherCommandsTakeItToo) {
  const std::string place = Place("shop");
  Program run({.argv = guardcheck_.Argv(
                   {"run", "--name-from", place, "--", "sh", "-c", "echo $$; read x"})});
  const std::string pid = run.ReadLine().value();
  EXPECT_EQ(guardcheck_.Call({"status", "--name-from", ".", "--pid"}, {}, place).output,
            pid + "\n");
  // What is proposed has the name, so that it can be typed anywhere.
  const Finished refused = guardcheck_.Call({"run", "--name-from", place, "--", "true"});
  EXPECT_EQ(refused.code, 75);
  EXPECT_THAT(refused.errors, AllOf(ContainsRegex("guardcheck status shop-[0-9a-f]{16} "),
                                    Not(HasSubstr("--name-from"))));
  run.CloseInput();
  (void)run.Wait();
}

TEST_F(NameFrom, WhatIsNoPlaceIsAnErrorOfTheCall) {
  const std::string place = Place("shop");
  const Finished both = guardcheck_.Call({"status", "x", "--name-from", place});
  EXPECT_EQ(both.code, 64);
  EXPECT_THAT(both.errors, HasSubstr("--name-from: the name is said already: 'x'"));
  const Finished missing = guardcheck_.Call({"status", "--name-from", place + "/no"});
  EXPECT_EQ(missing.code, 64);
  EXPECT_THAT(missing.errors, HasSubstr("no name comes from '" + place + "/no': No such file"));
  const Finished file = guardcheck_.Call({"status", "--name-from", "/etc/passwd"});
  EXPECT_EQ(file.code, 64);
  EXPECT_THAT(file.errors, HasSubstr("Not a directory"));
  const Finished neither = guardcheck_.Call({"status"});
  EXPECT_EQ(neither.code, 64);
  EXPECT_THAT(neither.errors, HasSubstr("NAME is required"));
}

}  // namespace
}  // namespace soleguard::testing
