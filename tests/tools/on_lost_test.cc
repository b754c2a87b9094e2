// guardcheck run: what is said and done when the claim is taken away under a running command.
#include <signal.h>

#include <filesystem>
#include <optional>
#include <string>
#include <thread>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/process.h"
#include "support/system_v.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

// A running instance whose claim is watched. What strikes it earlier is found by the first look.
class OnLostTest : public ::testing::Test {
 protected:
  void TearDown() override {
    (void)RemoveSemaphore(guardcheck_.scope(), "x");
    (void)RemoveSegment(guardcheck_.scope(), "x");
  }
  Guarded Start(const Words& options = {}) const {
    Guarded run = guardcheck_.Start(options);
    run.Settle();
    return run;
  }
  // Out of the scope, so that nobody takes it for the directory of a name.
  void MoveNameAway() const {
    fs::rename(guardcheck_.Object("x"), guardcheck_.directory() / "moved");
  }
  static bool IsThere(const std::string& path) { return fs::exists(path); }
  static void WaitUntilThere(const std::string& path) {
    while (!IsThere(path)) std::this_thread::yield();
  }
  // What is said next, but for the command's own answer to SIGCONT, which may come at any time.
  static std::string LineOf(Guarded& run) {
    std::string line = run.Line();
    while (line == "got CONT") line = run.Line();
    return line;
  }
  // Another instance, which has no referee: two of them at once is what is tested.
  Guarded StartAnother(const std::string& policy) const {
    return Guarded({.argv = guardcheck_.Run({Beside("instance")}, {"--policy", policy})});
  }

  const Guardcheck guardcheck_{};
};

TEST_F(OnLostTest, H04_WhatIsRepairedIsOneLineAndTheCommandRunsOn) {
  Guarded run = Start();
  ASSERT_TRUE(fs::remove(guardcheck_.Object("x", "lock")));
  WaitUntilThere(guardcheck_.Object("x", "lock"));
  EXPECT_EQ(guardcheck_.CallRun({"true"}).code, 75);
  EXPECT_EQ(run.Exit(7), 7);
  const std::string errors = run.program().Errors();
  EXPECT_THAT(errors, AllOf(HasSubstr("guardcheck: x: repaired: layer file: "),
                            HasSubstr("lock was deleted or replaced; no other start could get "
                                      "through meanwhile\n")));
  EXPECT_EQ(errors.find('\n'), errors.size() - 1) << errors;
}

TEST_F(OnLostTest, H04_NoLayerAloneLosesItAndEachIsThereAgain) {
  Guarded run = Start();
  MoveNameAway();
  WaitUntilThere(guardcheck_.Object("x", "record.port"));
  ASSERT_TRUE(RemoveSemaphore(guardcheck_.scope(), "x"));
  while (guardcheck_.Call({"status", "x", "--policy", "mutex"}).code != 0) {
  }
  EXPECT_EQ(guardcheck_.CallRun({"true"}).code, 75);
  EXPECT_EQ(run.Exit(0), 0);
}

// The name is another's by now. Which of the two ends is for the user to say.
TEST_F(OnLostTest, WarnSaysThatItIsCompromisedAndTheCommandRunsOn) {
  Guarded run({.argv = Words{"sh", "-c", "exec \"$@\" 2>&1", "sh"} +
                       guardcheck_.InstanceWords({"--policy", "file"})});
  run.Settle();
  run.program().Signal(SIGSTOP);
  run.program().WaitUntilStopped();
  MoveNameAway();
  Guarded other = StartAnother("file");
  const pid_t winner = other.command();
  other.Settle();  // its record names the command
  ASSERT_EQ(kill(run.wrapper(), SIGCONT), 0);
  std::string said = LineOf(run);
  EXPECT_THAT(said, AllOf(HasSubstr("x: COMPROMISED: layer file: "),
                          HasSubstr(absl::StrCat("pid ", winner)),
                          HasSubstr("The command runs on (--on-lost=stop ends it)")));
  run.program().WriteLine("ping");
  EXPECT_EQ(LineOf(run), "pong");
  EXPECT_EQ(run.Exit(3), 3);
  EXPECT_EQ(other.Exit(0), 0);
}

TEST_F(OnLostTest, H12_H13_StopEndsTheCommandAndAllItsDescendantsAndIs76) {
  Guarded run = Start({"--policy", "file", "--on-lost", "stop", "--grace", "50ms"});
  const ProcessIdentity command = *IdentityOf(run.command());
  run.program().Signal(SIGSTOP);
  run.program().WaitUntilStopped();
  MoveNameAway();
  Guarded other = StartAnother("file");
  const pid_t winner = other.command();
  other.Settle();  // its record names the command
  ASSERT_EQ(kill(run.wrapper(), SIGCONT), 0);
  EXPECT_EQ(run.program().Wait(), 76);
  EXPECT_EQ(LivenessOf(command), Liveness::kGone);
  EXPECT_THAT(run.program().Errors(),
              AllOf(HasSubstr("x: COMPROMISED: layer file: "),
                    HasSubstr(absl::StrCat("pid ", winner)), HasSubstr("Ending the command")));
  EXPECT_EQ(other.Ask("ping"), "pong") << "the winner is not touched";
  EXPECT_EQ(other.Exit(0), 0);
}

// What does not end when it is asked is killed after the grace.
TEST_F(OnLostTest, StopKillsWhatDoesNotEndWhenItIsAsked) {
  Program run(
      {.argv = guardcheck_.Run({"sh", "-c", "trap '' TERM; echo ready; while :; do sleep 60; done"},
                               {"--policy", "file", "--on-lost=stop", "--grace=50ms"})});
  ASSERT_EQ(run.ReadLine(), "ready");
  run.Signal(SIGSTOP);
  run.WaitUntilStopped();
  MoveNameAway();
  Guarded other = StartAnother("file");
  (void)other.command();
  run.Signal(SIGCONT);
  EXPECT_EQ(run.Wait(), 76);
  EXPECT_EQ(other.Exit(0), 0);
}

// A terminal that was stopped, a collector that hangs: the pipe is full.
TEST_F(OnLostTest, H12_ALogThatNobodyReadsKeepsNeitherTheCommandNorTheName) {
  const std::string full_log =
      "import fcntl, os, sys\n"
      "r, w = os.pipe()\n"
      "os.set_blocking(w, False)\n"
      "try:\n"
      "    while True: os.write(w, b'.' * 4096)\n"
      "except BlockingIOError: os.set_blocking(w, True)\n"
      "os.dup2(w, 2)\n"
      "os.set_inheritable(r, True)\n"  // it has a reader, which does not read
      "os.execvp(sys.argv[1], sys.argv[1:])\n";
  Guarded run({.argv = Words{"python3", "-c", full_log} +
                       guardcheck_.InstanceWords(
                           {"--policy", "file", "--on-lost", "stop", "--grace", "50ms"})});
  run.Settle();
  run.program().Signal(SIGSTOP);
  run.program().WaitUntilStopped();
  MoveNameAway();
  Guarded other = StartAnother("file");
  (void)other.command();
  ASSERT_EQ(kill(run.wrapper(), SIGCONT), 0);
  EXPECT_EQ(run.program().Wait(), 76);
  EXPECT_EQ(other.Exit(0), 0);
}

TEST_F(OnLostTest, H22_StopIsNotForExec) {
  const Finished call = guardcheck_.CallRun({"true"}, {"--exec", "--on-lost=stop"});
  EXPECT_EQ(call.code, 64);
  EXPECT_EQ(guardcheck_.CallRun({"true"}, {"--on-lost=perhaps"}).code, 64);
}

}  // namespace
}  // namespace soleguard::testing
