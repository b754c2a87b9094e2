// guardcheck run --replace: a start that takes the place of the instance that runs.
#include <signal.h>

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/process.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class RunReplaceTest : public ::testing::Test {
 protected:
  // A command that ends when it is asked.
  Program StartPolite(const Words& options = {}) const {
    Program run({.argv = guardcheck_.Run({"sh", "-c", "echo ready; exec cat"}, options)});
    EXPECT_EQ(run.ReadLine(), "ready");
    return run;
  }

  const Guardcheck guardcheck_;
};

TEST_F(RunReplaceTest, B2_EndsTheInstanceAndStarts) {
  Program old = StartPolite();
  Guarded next = guardcheck_.Start({"--replace"});
  (void)next.command();
  EXPECT_EQ(old.Wait(), 128 + SIGTERM);
  EXPECT_EQ(next.Exit(7), 7);
  EXPECT_THAT(next.program().Errors(), HasSubstr("; replacing it\n"));
}

// The referee sees no moment in which both live, descendants included.
TEST_F(RunReplaceTest, C3_WhoDoesNotEndIsKilledWithAllThatItStarted) {
  Guarded old = guardcheck_.Start();
  const std::vector<ProcessIdentity> worker = old.AskForProcesses("stubborn");
  Guarded next = guardcheck_.Start({"--replace=50ms"});
  (void)next.command();
  EXPECT_EQ(old.Line(), "got TERM");
  EXPECT_EQ(old.program().Wait(), 128 + SIGKILL);
  EXPECT_EQ(LivenessOf(worker.at(0)), Liveness::kGone);
  EXPECT_EQ(next.Exit(0), 0);
}

TEST_F(RunReplaceTest, H15_AFrozenGuardIsKilledAfterTheGrace) {
  Guarded old = guardcheck_.Start();
  (void)old.command();
  old.program().Signal(SIGSTOP);
  old.program().WaitUntilStopped();
  Guarded next = guardcheck_.Start({"--replace=50ms"});
  (void)next.command();
  EXPECT_EQ(next.Exit(0), 0);
}

TEST_F(RunReplaceTest, AFreeNameIsTakenWithoutAWord) {
  const Finished run = guardcheck_.CallRun({"true"}, {"--replace"});
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(run.errors, "");
}

TEST_F(RunReplaceTest, TheWaitBoundsAllOfIt) {
  Guarded old = guardcheck_.Start();
  (void)old.command();
  const Finished refused =
      guardcheck_.CallRun({"true"}, {"--replace=60s", "--wait=50ms", "--json"});
  EXPECT_EQ(refused.code, 75) << refused.errors;
  EXPECT_THAT(std::string(ParseObject(refused.output).at("not_replaced").as_string()),
              HasSubstr("was asked to end and has not ended in time"));
  EXPECT_EQ(old.Line(), "got TERM");
  EXPECT_EQ(old.Exit(0), 0);
}

TEST_F(RunReplaceTest, FromWithinTheInstanceItIsRefused) {
  const Finished run = guardcheck_.CallRun(guardcheck_.Run({"true"}, {"--replace"}));
  EXPECT_EQ(run.code, 75);
  EXPECT_THAT(run.errors, AllOf(HasSubstr("x is already running, and was not replaced: "),
                                HasSubstr("is an ancestor of this process")));
}

TEST_F(RunReplaceTest, ItsGraceIsChecked) {
  for (const char* option : {"--replace=soon", "--replace=-1s", "--replace="}) {
    const Finished run = guardcheck_.CallRun({"true"}, {option});
    EXPECT_EQ(run.code, 64) << option;
    EXPECT_THAT(run.errors, HasSubstr("--replace"));
  }
}

}  // namespace
}  // namespace soleguard::testing
