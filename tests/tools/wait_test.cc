// guardcheck run --wait: starts that wait for their turn.
#include <signal.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/name.h"
#include "soleguard/queue.h"
#include "support/quoted.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class WaitTest : public ::testing::Test {
 protected:
  bool SomebodyIsInLine() const {
    return MakeQueue(*Scope::Directory(guardcheck_.scope()), *InstanceName::Parse("x"))
        ->WhoIsAhead()
        ->has_value();
  }
  // Blocks until it says that it stands in line, and for whom it waits.
  static std::string WhomItWaitsFor(Program& start) {
    return start.ReadErrorLine().value_or("nobody");
  }

  const Guardcheck guardcheck_;
};

TEST_F(WaitTest, TakesOverWhenTheHolderEndsAndSaysWhomItWaitsFor) {
  Guarded holder = guardcheck_.Start();
  const pid_t held_by = holder.command();
  Guarded next = guardcheck_.Start({"--wait"});
  EXPECT_EQ(WhomItWaitsFor(next.program()),
            absl::StrCat("guardcheck: x is held by pid ", held_by, "; waiting"));
  EXPECT_EQ(holder.Exit(7), 7);
  (void)next.command();  // the referee saw no overlap
  EXPECT_FALSE(SomebodyIsInLine());
  EXPECT_EQ(next.Exit(0), 0);
}

TEST_F(WaitTest, H02_StatusAndListShowWhoWaitsAndInWhichPlace) {
  Guarded holder = guardcheck_.Start();
  (void)holder.command();
  EXPECT_THAT(guardcheck_.Call({"status", "x"}).output, Not(HasSubstr("Who waits")));
  Guarded first = guardcheck_.Start({"--wait"});
  (void)WhomItWaitsFor(first.program());
  Guarded second = guardcheck_.Start({"--wait"});
  (void)WhomItWaitsFor(second.program());

  const std::string status = guardcheck_.Call({"status", "x"}).output;
  EXPECT_THAT(status, HasSubstr(absl::StrCat("Who waits, the next one first\n  1  pid ",
                                             first.wrapper(), " (")));
  EXPECT_THAT(status, HasSubstr(absl::StrCat("\n  2  pid ", second.wrapper(), " (")));
  const std::string list = guardcheck_.Call({"list"}).output;
  EXPECT_THAT(list, ContainsRegex(absl::StrCat("\n  waits: 1 +", first.wrapper(), " ")));
  EXPECT_THAT(list, ContainsRegex(absl::StrCat("\n  waits: 2 +", second.wrapper(), " ")));

  const auto pids = [](const boost::json::value& waiting) {
    std::vector<std::int64_t> all;
    for (const auto& place : waiting.as_array()) {
      EXPECT_EQ(place.at("replaces"), false);
      all.push_back(place.at("processes").at(0).at("pid").as_int64());
    }
    return all;
  };
  const auto line = ElementsAre(first.wrapper(), second.wrapper());
  EXPECT_THAT(pids(ParseObject(guardcheck_.Call({"status", "x", "--json"}).output).at("waiting")),
              line);
  EXPECT_THAT(pids(ParseObject(guardcheck_.Call({"list", "--json"}).output)
                       .at("running")
                       .at(0)
                       .at("waiting")),
              line);
  EXPECT_EQ(holder.Exit(0), 0);
  EXPECT_EQ(first.Exit(0), 0);
  EXPECT_EQ(second.Exit(0), 0);
}

TEST_F(WaitTest, H11_TakesOverOnceNothingIsLeftOfAHolderWhoseWrapperWasKilled) {
  Guarded holder = guardcheck_.Start();
  (void)holder.command();
  Guarded next = guardcheck_.Start({"--wait"});
  (void)WhomItWaitsFor(next.program());
  holder.program().Signal(SIGKILL);
  (void)next.command();
  EXPECT_EQ(next.Exit(0), 0);
}

TEST_F(WaitTest, H23_ASignalEndsTheWaitAtOnceAndGivesThePlaceUp) {
  Guarded holder = guardcheck_.Start();
  (void)holder.command();
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    Program waiting({.argv = guardcheck_.InstanceWords({"--wait"})});
    (void)WhomItWaitsFor(waiting);
    waiting.Signal(signal);
    EXPECT_EQ(waiting.Wait(), 128 + signal);
    EXPECT_FALSE(SomebodyIsInLine());
  }
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(WaitTest, AtItsDeadlineItIsRefusedAndShowsTheHolder) {
  Guarded holder = guardcheck_.Start();
  (void)holder.command();
  const Finished text = guardcheck_.CallRun({"true"}, {"--wait=20ms"});
  EXPECT_EQ(text.code, 75);
  EXPECT_THAT(text.errors, HasSubstr(absl::StrCat("  pid         ", holder.command())));
  const Finished json = guardcheck_.CallRun({"true"}, {"--wait=20ms", "--json"});
  EXPECT_EQ(json.code, 75);
  EXPECT_EQ(ParseObject(json.output).at("verdict"), "duplicate");
  EXPECT_EQ(holder.Exit(0), 0);
}

// The name is free, and still not this one's: who is first in line may go on at any moment.
TEST_F(WaitTest, H09_AtItsDeadlineBehindAFrozenStandbyItCannotTell) {
  Guarded holder = guardcheck_.Start();
  (void)holder.command();
  Guarded head = guardcheck_.Start({"--wait"});
  (void)WhomItWaitsFor(head.program());
  head.program().Signal(SIGSTOP);
  head.program().WaitUntilStopped();
  EXPECT_EQ(holder.Exit(0), 0);
  const Finished behind = guardcheck_.CallRun({"echo", "started"}, {"--wait=50ms"});
  EXPECT_EQ(behind.code, 69);
  EXPECT_EQ(behind.output, "");
  EXPECT_THAT(behind.errors, HasSubstr(absl::StrCat("pid ", head.wrapper())));
  head.program().Signal(SIGCONT);
  EXPECT_EQ(head.Exit(0), 0);
}

// Below the holder the name does not become free as long as the start waits.
TEST_F(WaitTest, BelowTheHolderItIsRefusedAtOnce) {
  const Words nested = guardcheck_.Run({"echo", "started"}, {"--wait"});
  for (const Words& options :
       {Words{}, Words{"--wait"}, Words{"--until=tree"}, Words{"--policy=mutex"}}) {
    const Finished run = guardcheck_.CallRun(nested, options);
    EXPECT_EQ(run.code, 75);
    EXPECT_EQ(run.output, "");
    EXPECT_THAT(run.errors,
                AllOf(HasSubstr("x is already running, and is not waited for: pid "),
                      HasSubstr("is an ancestor of this start, so the name cannot become free")));
  }
  const Finished became = guardcheck_.CallRun(nested, {"--exec"});
  EXPECT_EQ(became.code, 75);
  EXPECT_THAT(became.errors, HasSubstr("is this very process, so the name cannot become free"));
  const Finished below =
      guardcheck_.CallRun(Words{"sh", "-c", "\"$@\"; exit $?", "sh"} + nested, {"--exec"});
  EXPECT_EQ(below.code, 75);
  EXPECT_THAT(below.errors, HasSubstr("is an ancestor of this start"));
  const Finished json = guardcheck_.CallRun(guardcheck_.Run({"true"}, {"--wait=1h", "--json"}));
  EXPECT_THAT(std::string(ParseObject(json.output).at("not_awaited").as_string()),
              HasSubstr("is an ancestor of this start"));
}

TEST_F(WaitTest, H33_BelowACommandThatDaemonisedItIsRefusedAtOnce) {
  const std::string code = guardcheck_.directory() / "code";
  const Finished run = guardcheck_.CallRun(
      Words{"setsid", "--fork", "sh", "-c", "\"$@\"; echo $? >" + Quoted(code), "sh"} +
          guardcheck_.Run({"true"}, {"--wait"}),
      {"--until=tree"});
  EXPECT_EQ(run.code, 0);
  std::ifstream file(code);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "75\n") << run.errors;
}

// Waiting for another name's holder, or for a slot that another one has, is not in vain.
TEST_F(WaitTest, BelowAnotherNameOrSlotItWaits) {
  Guarded holder = guardcheck_.Start();
  (void)holder.command();
  const Words slots = {"--slots=2"};
  Program below_a_slot({.argv = guardcheck_.Run(
                            guardcheck_.Run({"echo", "started"}, slots + Words{"--wait"}), slots)});
  (void)WhomItWaitsFor(below_a_slot);
  Program below_another(
      {.argv = guardcheck_.Argv(Words{"run", "y", "--"} +
                                guardcheck_.Run({"echo", "started"}, {"--wait"}))});
  (void)WhomItWaitsFor(below_another);
  EXPECT_EQ(holder.Exit(0), 0);
  EXPECT_EQ(below_a_slot.ReadLine(), "started");
  EXPECT_EQ(below_another.ReadLine(), "started");
}

TEST_F(WaitTest, BelowTheHoldersOfAllSlotsItIsRefused) {
  const Words third = guardcheck_.Run({"true"}, {"--slots=2", "--wait"});
  const Finished run = guardcheck_.CallRun(guardcheck_.Run(third, {"--slots=2"}), {"--slots=2"});
  EXPECT_EQ(run.code, 75);
  EXPECT_THAT(run.errors, HasSubstr("x is already running in all 2 slots, and is not waited for"));
}

TEST_F(WaitTest, AFreeNameIsTakenWithoutAWord) {
  const Finished run = guardcheck_.CallRun({"true"}, {"--wait"});
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(run.errors, "");
}

TEST_F(WaitTest, ItsDurationIsChecked) {
  for (const char* option : {"--wait=soon", "--wait=-1s", "--wait="}) {
    const Finished run = guardcheck_.CallRun({"true"}, {option});
    EXPECT_EQ(run.code, 64) << option;
    EXPECT_THAT(run.errors, HasSubstr("--wait"));
  }
}

}  // namespace
}  // namespace soleguard::testing
