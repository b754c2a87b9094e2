// guardcheck stop.
#include <signal.h>
#include <unistd.h>

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/process.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class StopCommandTest : public ::testing::Test {
 protected:
  Finished Stop(const Words& options = {}) const {
    return guardcheck_.Call(Words{"stop", "x", "--settle", "50ms"} + options);
  }
  boost::json::object StopJson(const Words& options, int code) const {
    const Finished stop = Stop(Words{"--json"} + options);
    EXPECT_EQ(stop.code, code) << stop.output << stop.errors;
    return ParseObject(stop.output);
  }
  // A command that ends when it is asked.
  Program StartPolite(const Words& options = {}) const {
    Program run({.argv = guardcheck_.Run({"sh", "-c", "echo ready; exec cat"}, options)});
    EXPECT_EQ(run.ReadLine(), "ready");
    return run;
  }

  const Guardcheck guardcheck_;
};

TEST_F(StopCommandTest, B2_EndsTheInstanceAndSaysWhatItDid) {
  Program run = StartPolite();
  const Finished stop = Stop();
  EXPECT_EQ(stop.code, 0) << stop.output << stop.errors;
  EXPECT_THAT(stop.output, AllOf(HasSubstr("x is stopped; the name is free.\n"),
                                 HasSubstr(absl::StrCat("pid ", run.pid(),
                                                        " (holder): SIGTERM; "
                                                        "ended")),
                                 HasSubstr("(command): told by its guard; ended")));
  EXPECT_EQ(stop.errors, "");
  EXPECT_EQ(run.Wait(), 128 + SIGTERM);
  EXPECT_EQ(guardcheck_.Call({"status", "x"}).code, 3);
}

// As `systemctl stop` and init scripts: what shall not run does not.
TEST_F(StopCommandTest, B2_WhatDoesNotRunIsStopped) {
  const Finished stop = Stop();
  EXPECT_EQ(stop.code, 0) << stop.errors;
  EXPECT_THAT(stop.output, ::testing::StartsWith("x was not running.\n"));
  const boost::json::object json = StopJson({}, 0);
  EXPECT_EQ(json.at("outcome"), "not running");
  EXPECT_TRUE(json.at("holder").is_null());
}

TEST_F(StopCommandTest, C3_AsksThenForcesAndShowsTheFinalState) {
  Guarded run = guardcheck_.Start();
  const pid_t command = run.command();
  const std::vector<ProcessIdentity> worker = run.AskForProcesses("stubborn");
  const boost::json::object asked = StopJson({"--timeout", "50ms"}, 75);
  EXPECT_EQ(run.Line(), "got TERM");
  EXPECT_EQ(asked.at("outcome"), "runs");
  EXPECT_EQ(asked.at("holder").at("process").at("pid"), command);
  EXPECT_EQ(guardcheck_.Call({"status", "x"}).code, 0);

  const boost::json::object forced = StopJson({"--timeout", "50ms", "--force"}, 0);
  EXPECT_EQ(forced.at("outcome"), "stopped");
  const boost::json::value& holder = forced.at("processes").at(0);
  EXPECT_EQ(holder.at("pid"), run.wrapper());
  EXPECT_EQ(holder.at("reason"), "holder");
  EXPECT_EQ(holder.at("signals"), (boost::json::array{"SIGTERM", "SIGKILL"}));
  EXPECT_EQ(holder.at("liveness"), "gone");
  EXPECT_EQ(LivenessOf(worker.at(0)), Liveness::kGone) << "the guardian ended it";
  EXPECT_EQ(guardcheck_.Call({"status", "x"}).code, 3);
}

TEST_F(StopCommandTest, H08_H15_AFrozenInstanceIsNamedAndNotKilledUnasked) {
  Program run = StartPolite({"--exec"});
  run.Signal(SIGSTOP);
  run.WaitUntilStopped();
  const Finished stop = Stop({"--timeout", "50ms"});
  EXPECT_EQ(stop.code, 75);
  EXPECT_THAT(
      stop.output,
      AllOf(HasSubstr(absl::StrCat("x still runs: pid ", run.pid(), " is frozen (SIGSTOP)")),
            HasSubstr(absl::StrCat("pid ", run.pid(), " (holder): SIGTERM; runs, frozen")),
            HasSubstr("T (stopped)"), HasSubstr("guardcheck stop x")));
  EXPECT_EQ(StateOf(run.pid()), 'T');
  EXPECT_EQ(Stop({"--timeout", "50ms", "--force"}).code, 0);
  EXPECT_EQ(run.Wait(), 128 + SIGKILL);
}

TEST_F(StopCommandTest, H15_AFrozenGuardIsKilledByForceAndItsGuardianEndsTheRest) {
  Guarded run = guardcheck_.Start();
  const ProcessIdentity command = *IdentityOf(run.command());
  run.program().Signal(SIGSTOP);
  run.program().WaitUntilStopped();
  EXPECT_EQ(Stop({"--timeout", "50ms"}).code, 75);
  EXPECT_EQ(Stop({"--timeout", "50ms", "--force"}).code, 0);
  EXPECT_EQ(LivenessOf(command), Liveness::kGone);
}

TEST_F(StopCommandTest, E7_ARefusedStartSaysWhichPidAndHowToStopIt) {
  Program run = StartPolite();
  const Finished refused = guardcheck_.CallRun({"true"});
  EXPECT_EQ(refused.code, 75);
  EXPECT_THAT(refused.errors,
              AllOf(HasSubstr(absl::StrCat("guarded by guardcheck, pid ", run.pid())),
                    HasSubstr("guardcheck stop x")));
  EXPECT_THAT(refused.errors, ::testing::Not(HasSubstr("lock file")));
  EXPECT_EQ(Stop().code, 0);
  EXPECT_EQ(guardcheck_.CallRun({"true"}).code, 0);
}

TEST_F(StopCommandTest, C2_DuplicatesThatRunWithoutAGuardAreEndedIfAsked) {
  const Words command = {"sleep", absl::StrCat("61.", getpid())};  // nobody else's
  const Words policy = {"--policy", "all(file, scan)"};
  Program run({.argv = guardcheck_.Run({"sh", "-c", "echo ready; exec cat"})});
  ASSERT_EQ(run.ReadLine(), "ready");
  Program unguarded({.argv = {"sh", "-c", "echo ready; exec sleep " + command[1]}});
  ASSERT_EQ(unguarded.ReadLine(), "ready");
  const ProcessIdentity duplicate = *IdentityOf(unguarded.pid());
  while (Describe(duplicate)->argv != command) {  // it executes sleep by and by
  }
  const auto stop = [&](const Words& options) {
    return guardcheck_.Call(Words{"stop", "x", "--settle", "0s"} + policy + options + Words{"--"} +
                            command);
  };
  const Finished held = stop({});
  EXPECT_EQ(held.code, 75) << held.output;
  EXPECT_THAT(held.output, HasSubstr(absl::StrCat("pid ", duplicate.pid)));
  EXPECT_EQ(LivenessOf(duplicate), Liveness::kAlive);
  const Finished all = stop({"--duplicates"});
  EXPECT_EQ(all.code, 0) << all.output;
  EXPECT_THAT(all.output,
              HasSubstr(absl::StrCat("pid ", duplicate.pid, " (unguarded): SIGTERM; ended")));
  EXPECT_EQ(unguarded.Wait(), 128 + SIGTERM);
}

TEST_F(StopCommandTest, FromWithinTheInstanceItIsRefused) {
  const Finished run = guardcheck_.CallRun(guardcheck_.Argv({"stop", "x"}));
  EXPECT_EQ(run.code, 69);
  EXPECT_THAT(run.output, HasSubstr("is an ancestor of this process"));
}

TEST_F(StopCommandTest, UsageIsChecked) {
  for (const Words& options :
       {Words{"--timeout", "soon"}, Words{"--timeout", ""}, Words{"--duplicates"},
        Words{"--duplicates", "--policy", "all(file, scan)"}}) {
    EXPECT_EQ(Stop(options).code, 64) << options.front();
  }
  EXPECT_EQ(guardcheck_.Call({"stop", "a/b"}).code, 64);
}

TEST_F(StopCommandTest, TheJsonHasTheKeysThatArePromised) {
  Program run = StartPolite();
  const boost::json::object json = StopJson({}, 0);
  EXPECT_THAT(Keys(json), ElementsAre("schema", "name", "scope", "policy", "slot", "outcome",
                                      "processes", "holder"));
  EXPECT_THAT(Keys(json.at("processes").at(0)),
              ElementsAre("pid", "start_ticks", "pid_namespace", "boot_id", "reason", "signals",
                          "liveness", "frozen"));
}

TEST(StopSlots, B2_C7_AllInstancesOfANameAreEndedOrTheOneThatIsNamed) {
  const Guardcheck guardcheck;
  const Words command = {"sh", "-c", "echo $SOLEGUARD_SLOT; exec sleep 3600"};
  std::vector<Program> runs;
  for (int i = 0; i < 3; ++i) {
    runs.emplace_back(Program::Setup{.argv = guardcheck.Run(command, {"--slots", "3"})});
    ASSERT_EQ(runs.back().ReadLine(), std::to_string(i));
  }
  const Finished one = guardcheck.Call({"stop", "x", "--slot", "1"});
  EXPECT_EQ(one.code, 0);
  EXPECT_THAT(one.output, HasSubstr("x (slot 1) is stopped"));
  EXPECT_EQ(runs[1].Wait(), 128 + SIGTERM);

  const Finished all = guardcheck.Call({"stop", "x"});
  EXPECT_EQ(all.code, 0);
  EXPECT_THAT(all.output, HasSubstr("x is stopped"));
  EXPECT_THAT(all.output, HasSubstr("x (slot 2) is stopped"));
  EXPECT_EQ(runs[0].Wait(), 128 + SIGTERM);
  EXPECT_EQ(runs[2].Wait(), 128 + SIGTERM);
  EXPECT_EQ(guardcheck.Call({"status", "x"}).code, 3);
}

}  // namespace
}  // namespace soleguard::testing
