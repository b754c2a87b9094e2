// guardcheck run --wait: starts that wait for their turn.
#include <signal.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/name.h"
#include "soleguard/queue.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

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
