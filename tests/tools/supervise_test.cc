// guardcheck run: signals, job control, the guardian, and what a command leaves behind.
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/process.h"
#include "support/quoted.h"
#include "tools/guardcheck.h"
#include "tools/terminal.h"

namespace soleguard::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// ---- signals

TEST(Signals, H11_ThoseSentToGuardcheckReachTheCommandOnce) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start();
  run.Settle();
  const std::map<int, std::string> forwarded = {
      {SIGTERM, "TERM"}, {SIGINT, "INT"},   {SIGHUP, "HUP"},  {SIGQUIT, "QUIT"},
      {SIGUSR1, "USR1"}, {SIGUSR2, "USR2"}, {SIGCONT, "CONT"}};
  for (const auto& [signal, name] : forwarded) {
    run.program().Signal(signal);
    EXPECT_EQ(run.Line(), "got " + name);
    run.Settle();  // nothing else comes of it
  }
  EXPECT_EQ(run.Exit(3), 3);
}

TEST(Signals, H11_OneThatArrivesAtOnceIsNotLost) {
  const Guardcheck guardcheck;
  for (int i = 0; i < 50; ++i) {
    // Sends it from within the command: the guardian has hardly begun to watch.
    const Finished run =
        guardcheck.CallRun({"bash", "-c",
                            "guardian=$PPID; read -r _ _ _ wrapper _ </proc/$guardian/stat; "
                            "trap 'exit 7' TERM; kill -TERM $wrapper; sleep 60 & wait"});
    ASSERT_EQ(run.code, 7) << run.errors;
  }
}

// What the guardian has not read when it ends resets the connection for the wrapper: the status
// that was sent before must not be lost with it.
TEST(Signals, OnesThatNobodyIsThereForAnyMoreLoseNoStatus) {
  const Guardcheck guardcheck;
  for (int i = 0; i < 50; ++i) {
    const Finished run = guardcheck.CallRun(
        {"bash", "-c",
         "read -r _ _ _ wrapper _ </proc/$PPID/stat; trap '' USR1 USR2 HUP INT QUIT; "
         "kill -USR1 $wrapper; kill -USR2 $wrapper; kill -HUP $wrapper; kill -INT $wrapper; "
         "kill -QUIT $wrapper; exit 7"});
    ASSERT_EQ(run.code, 7) << run.errors;
  }
}

TEST(Signals, TermEndsTheCommandAndTheStatusSaysSo) {
  const Guardcheck guardcheck;
  Program run({.argv = guardcheck.Run({"sh", "-c", "echo ready; read -r line"})});
  EXPECT_EQ(run.ReadLine(), "ready");
  run.Signal(SIGTERM);
  EXPECT_EQ(run.Wait(), 128 + SIGTERM);
  EXPECT_EQ(guardcheck.CallRun({"true"}).errors, "");  // a clean end
}

TEST(Signals, OneThatWasIgnoredStaysIgnored) {
  const Guardcheck guardcheck;
  Guarded run({.argv = Words{"nohup"} + guardcheck.InstanceWords()});
  EXPECT_EQ(run.Ask(absl::StrCat("ignores ", SIGHUP)), "yes");
  EXPECT_EQ(run.Ask(absl::StrCat("ignores ", SIGTERM)), "no");
  run.program().Signal(SIGHUP);
  run.Settle();  // neither died of it nor heard of it
  EXPECT_EQ(run.Exit(3), 3);
}

TEST(Signals, OneThatWasBlockedIsStillBlockedInTheCommand) {
  const Guardcheck guardcheck;
  const Words argv = guardcheck.Run({"sh", "-c", "grep SigBlk /proc/self/status"});
  const std::string plain =
      RunProgram({.argv = {"sh", "-c", "grep SigBlk /proc/self/status"}}).output;
  EXPECT_EQ(RunProgram({.argv = argv}).output, plain);
}

// An ignored SIGCHLD, which some parents leave behind, makes the kernel reap children unseen.
TEST(Signals, AnIgnoredSigchldLosesNoStatus) {
  const Guardcheck guardcheck;
  const Finished run =
      RunProgram({.argv = Words{"bash", "-c", "trap '' CHLD; exec \"$@\"", "bash"} +
                          guardcheck.Run({"sh", "-c", "exit 9"})});
  EXPECT_EQ(run.code, 9) << run.errors;
}

// ---- a terminal

// A shell with job control, and guardcheck as its foreground job.
class JobTest : public ::testing::Test {
 protected:
  // Returns when the guardian has told the wrapper that the command runs.
  void Begin(const Words& arguments = {}) {
    std::string line;
    for (const std::string& word : guardcheck_.InstanceWords({}, arguments))
      line += Quoted(word) + " ";
    shell_.Type(line + "\n");
    command_ = std::stoi(shell_.ReadAfter("ready "));
    guardian_ = ParentOf(command_);
    wrapper_ = ParentOf(guardian_);
    Settle();
  }
  // See Guarded::Settle.
  void Settle() {
    for (int i = 0; i < 2; ++i) {
      ASSERT_EQ(kill(wrapper_, SIGUSR1), 0);
      (void)shell_.ReadUntil("got USR1");
    }
  }
  static pid_t ParentOf(pid_t pid) {
    return static_cast<pid_t>(Describe(*IdentityOf(pid))->parent_pid);
  }
  // Types a line for the command and waits for its answer.
  void Ask(const std::string& request, const std::string& answer) {
    shell_.Type(request + "\n");
    (void)shell_.ReadUntil(answer + "\r\n");
  }
  // Ends the command, and the job with it.
  void End() {
    shell_.Type("exit 7\n");
    shell_.Type("echo status=$?.\n");
    (void)shell_.ReadUntil("status=7.");
  }

  Guardcheck guardcheck_;
  Terminal shell_{{"env", "LC_ALL=C", "bash", "--norc", "--noprofile", "--noediting", "-i"}};
  pid_t wrapper_ = 0;
  pid_t guardian_ = 0;
  pid_t command_ = 0;
};

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

TEST_F(JobTest, H11_WhatTheTerminalSendsReachesTheCommandOnce) {
  Begin();
  for (const auto& [key, name] :
       std::map<std::string, std::string>{{"\x03", "got INT"}, {"\x1c", "got QUIT"}}) {
    for (int i = 0; i < 5; ++i) {
      shell_.Type(key);
      std::string shown = shell_.ReadUntil(name);
      // INT and QUIT are lower than USR1: a second one would be forwarded before it.
      ASSERT_EQ(kill(wrapper_, SIGUSR1), 0);
      shown += shell_.ReadUntil("got USR1");
      EXPECT_EQ(Count(shown, name), 1);
    }
  }
  End();
}

// The wrapper's process group is the command's, unless the command has left it.
TEST_F(JobTest, H11_ACommandInASessionOfItsOwnGetsTheTerminalsSignalsFromGuardcheck) {
  std::string line;
  for (const std::string& word : guardcheck_.Run({"setsid", Beside("instance")})) {
    line += Quoted(word) + " ";
  }
  shell_.Type(line + "\n");
  command_ = std::stoi(shell_.ReadAfter("ready "));
  guardian_ = ParentOf(command_);
  wrapper_ = ParentOf(guardian_);
  Settle();
  shell_.Type("\x03");
  (void)shell_.ReadUntil("got INT");
  ASSERT_EQ(kill(command_, SIGKILL), 0);
  shell_.Type("echo status=$?.\n");
  (void)shell_.ReadUntil("status=137.");
}

TEST_F(JobTest, CtrlZStopsTheWholeJobAndFgContinuesIt) {
  Begin();
  for (int i = 0; i < 5; ++i) {
    shell_.Type("\x1a");
    (void)shell_.ReadUntil("Stopped");
    EXPECT_EQ(StateOf(wrapper_), 'T');
    EXPECT_EQ(StateOf(command_), 'T');
    shell_.Type("fg\n");
    (void)shell_.ReadUntil("got CONT");
    Ask("ping", "pong");
    Settle();
    EXPECT_NE(StateOf(wrapper_), 'T');
  }
  End();
}

// A shell that had children before it became guardcheck: a third process is between.
TEST_F(JobTest, ACommandBelowAProcessInBetweenKeepsTheTerminal) {
  std::string line = "bash -c 'sleep 200 & exec \"$@\"' bash ";
  for (const std::string& word : guardcheck_.InstanceWords()) line += Quoted(word) + " ";
  shell_.Type(line + "\n");
  command_ = std::stoi(shell_.ReadAfter("ready "));
  guardian_ = ParentOf(command_);
  wrapper_ = ParentOf(ParentOf(guardian_));
  Settle();
  EXPECT_EQ(getsid(command_), shell_.pid());
  EXPECT_NE(getsid(guardian_), shell_.pid());
  EXPECT_NE(getsid(ParentOf(guardian_)), shell_.pid());
  shell_.Type("\x1a");
  (void)shell_.ReadUntil("Stopped");
  EXPECT_EQ(StateOf(command_), 'T');
  shell_.Type("fg\n");
  (void)shell_.ReadUntil("got CONT");
  Ask("ping", "pong");
  EXPECT_EQ(RunProgram({.argv = {"pkill", "-P", absl::StrCat(wrapper_), "-x", "sleep"}}).code, 0);
  End();
}

TEST_F(JobTest, AStoppedJobContinuesInTheBackground) {
  Begin();
  shell_.Type("\x1a");
  (void)shell_.ReadUntil("Stopped");
  shell_.Type("bg\n");
  (void)shell_.ReadUntil("got CONT");
  Settle();
  // It would stop again at a line that is typed now: reading is for the foreground.
  const ProcessIdentity wrapper = *IdentityOf(wrapper_);
  ASSERT_EQ(kill(command_, SIGKILL), 0);
  WaitUntilGone(wrapper);
  // The next prompt tells of it, and then it is no job any more: to ask for its status would race.
  shell_.Type("\n");
  (void)shell_.ReadUntil("Exit 137");
}

TEST_F(JobTest, OneThatReadsInTheBackgroundStopsAndFgContinuesIt) {
  std::string line;
  for (const std::string& word : guardcheck_.Run({"sh", "-c", "read -r l; echo has read $l."})) {
    line += Quoted(word) + " ";
  }
  shell_.Type(line + " &\n");
  shell_.Type("until jobs | grep -q Stopped; do :; done; echo it is $((1 + 1)).\n");
  (void)shell_.ReadUntil("it is 2.");
  shell_.Type("fg\n");
  shell_.Type("a line\n");
  (void)shell_.ReadUntil("has read a line.");
  shell_.Type("echo status=$?.\n");
  (void)shell_.ReadUntil("status=0.");
}

TEST_F(JobTest, KillingAStoppedCommandEndsTheJob) {
  Begin();
  shell_.Type("\x1a");
  (void)shell_.ReadUntil("Stopped");
  const ProcessIdentity wrapper = *IdentityOf(wrapper_);
  ASSERT_EQ(kill(command_, SIGKILL), 0);
  WaitUntilGone(wrapper);  // nobody has to type fg
  shell_.Type("wait; echo status=$?.\n");
  (void)shell_.ReadUntil("status=");
  EXPECT_EQ(guardcheck_.CallRun({"true"}, {"--settle", "60s"}).code, 0);
}

TEST_F(JobTest, ACommandThatIgnoresCtrlZKeepsTheJobRunning) {
  Begin({"--ignore-stops"});
  shell_.Type("\x1a");
  Ask("ping", "pong");
  Settle();
  EXPECT_NE(StateOf(wrapper_), 'T');
  End();
}

// ---- stops without a shell

class StopTest : public ::testing::Test {
 protected:
  // In a process group of its own, whose parent is in another one: the kernel ignores TSTP in an
  // orphaned group, and a test may be in one.
  StopTest()
      : run_({.argv = Words{Beside("instance"), "--own-group"} + guardcheck_.InstanceWords()}) {
    run_.Settle();
    command_ = *IdentityOf(run_.command());
  }

  Guardcheck guardcheck_;
  Guarded run_;
  ProcessIdentity command_;
};

TEST_F(StopTest, TstpStopsTheCommandThenGuardcheckAndContContinuesBoth) {
  for (int i = 0; i < 5; ++i) {
    run_.program().Signal(SIGTSTP);
    run_.program().WaitUntilStopped();
    EXPECT_EQ(StateOf(run_.command()), 'T');
    run_.program().Signal(SIGCONT);
    EXPECT_EQ(run_.Line(), "got CONT");
    run_.Settle();
  }
  EXPECT_EQ(run_.Exit(3), 3);
}

TEST_F(StopTest, StoppingAndContinuingTheCommandTakesGuardcheckAlong) {
  ASSERT_TRUE(SendSignal(command_, SIGTSTP).ok());
  run_.program().WaitUntilStopped();
  ASSERT_TRUE(SendSignal(command_, SIGCONT).ok());
  EXPECT_EQ(run_.Line(), "got CONT");  // once: the wrapper's own SIGCONT is no news
  run_.Settle();
  EXPECT_EQ(run_.Exit(3), 3);
}

// Of the terminal's to a process group in the background, one that was sent to guardcheck alone.
TEST_F(StopTest, TtinAndTtouStopTheCommandThenGuardcheckAndContContinuesBoth) {
  for (const int signal : {SIGTTIN, SIGTTOU}) {
    run_.program().Signal(signal);
    run_.program().WaitUntilStopped();
    EXPECT_EQ(StateOf(run_.command()), 'T');
    run_.program().Signal(SIGCONT);
    EXPECT_EQ(run_.Line(), "got CONT");
    run_.Settle();
  }
  EXPECT_EQ(run_.Exit(3), 3);
}

// A stop that is over before guardcheck could follow it must not leave guardcheck stopped.
TEST_F(StopTest, QuickStopsAndContinuesLeaveBothRunning) {
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(SendSignal(command_, SIGTSTP).ok());
    ASSERT_TRUE(SendSignal(command_, SIGCONT).ok());
    ASSERT_EQ(run_.Line(), "got CONT");
  }
  run_.Settle();
  EXPECT_EQ(run_.Exit(3), 3);
}

// Only who sent a SIGSTOP knows when to go on. Guardcheck stays able to pass a SIGCONT on.
TEST_F(StopTest, SigstopOfTheCommandDoesNotStopGuardcheck) {
  ASSERT_TRUE(SendSignal(command_, SIGSTOP).ok());
  // The kernel tells a process's stop to its parent only.
  while (StateOf(run_.command()) != 'T') (void)sched_yield();
  run_.program().Signal(SIGCONT);
  EXPECT_EQ(run_.Line(), "got CONT");
  run_.Settle();
  EXPECT_EQ(run_.Exit(3), 3);
}

// ---- the guardian

// A process tree of each kind that escapes from a process group or from its parent.
const Words kTrees = {"worker", "daemon", "session"};

std::vector<ProcessIdentity> Everything(Guarded& run) {
  std::vector<ProcessIdentity> processes = {*IdentityOf(run.command())};
  for (const std::string& tree : kTrees) {
    for (ProcessIdentity& process : run.AskForProcesses(tree)) {
      processes.push_back(std::move(process));
    }
  }
  return processes;
}

// Starts the next instance at once. Each process of the one before has the referee's lock.
void ExpectTheNextStartRuns(const Guardcheck& guardcheck) {
  Guarded next = guardcheck.Start();
  EXPECT_GT(next.command(), 0);  // else: overlap
  EXPECT_EQ(next.Exit(0), 0);
}

TEST(Guardian, H11_AKilledWrapperTakesEverythingWithIt) {
  for (int i = 0; i < 5; ++i) {
    const Guardcheck guardcheck;
    Guarded run = guardcheck.Start();
    const std::vector<ProcessIdentity> processes = Everything(run);
    ASSERT_EQ(processes.size(), 5u);
    run.program().Signal(SIGKILL);
    ExpectTheNextStartRuns(guardcheck);
    for (const ProcessIdentity& process : processes) {
      EXPECT_EQ(LivenessOf(process), Liveness::kGone);
    }
  }
}

TEST(Guardian, H11_AKilledWrapperTakesAStoppedCommandWithIt) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start();
  const ProcessIdentity command = *IdentityOf(run.command());
  (void)run.Ask("worker");
  ASSERT_TRUE(SendSignal(command, SIGSTOP).ok());
  run.program().Signal(SIGKILL);
  ExpectTheNextStartRuns(guardcheck);
  EXPECT_EQ(LivenessOf(command), Liveness::kGone);
}

TEST(Guardian, H11_AStoppedWrapperThatIsKilledTakesEverythingWithIt) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start();
  const std::vector<ProcessIdentity> processes = Everything(run);
  run.program().Signal(SIGSTOP);
  run.program().WaitUntilStopped();
  run.program().Signal(SIGKILL);
  ExpectTheNextStartRuns(guardcheck);
  for (const ProcessIdentity& process : processes) {
    EXPECT_EQ(LivenessOf(process), Liveness::kGone);
  }
}

TEST(Guardian, H11_AWrapperThatIsKilledWhileItStartsLeavesNothing) {
  for (int i = 0; i < 30; ++i) {
    const Guardcheck guardcheck;
    Guarded run = guardcheck.Start();
    if (i % 3 == 0) (void)run.command();  // else somewhere before
    run.program().Signal(SIGKILL);
    ExpectTheNextStartRuns(guardcheck);
    // The end of its output: nobody is left who could write to it.
    (void)run.program().Output();
  }
}

TEST(Guardian, H11_WhenItIsKilledTheWrapperEndsEverythingAndSaysSo) {
  for (int i = 0; i < 5; ++i) {
    const Guardcheck guardcheck;
    Guarded run = guardcheck.Start();
    const std::vector<ProcessIdentity> processes = Everything(run);
    ASSERT_EQ(kill(run.guardian(), SIGKILL), 0);
    EXPECT_EQ(run.program().Wait(), 70);
    for (const ProcessIdentity& process : processes) {
      EXPECT_EQ(LivenessOf(process), Liveness::kGone);
    }
    ExpectTheNextStartRuns(guardcheck);
    EXPECT_THAT(run.program().Errors(),
                AllOf(HasSubstr("the guardian process was killed"), HasSubstr("was ended")));
  }
}

TEST(Guardian, H11_WhenBothAreKilledTheNextStartIsRefusedWhileTheCommandLives) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start();
  run.Settle();  // the record names the command
  const ProcessIdentity command = *IdentityOf(run.command());
  const pid_t guardian = run.guardian();
  // Neither must see the other's end.
  ASSERT_EQ(kill(guardian, SIGSTOP), 0);
  run.program().Signal(SIGSTOP);
  run.program().WaitUntilStopped();
  ASSERT_EQ(kill(guardian, SIGKILL), 0);
  run.program().Signal(SIGKILL);
  (void)run.program().Wait();

  const Finished refused = guardcheck.CallRun({"true"}, {"--settle", "10ms"});
  EXPECT_EQ(refused.code, 75);
  EXPECT_THAT(refused.errors, HasSubstr(absl::StrCat("pid         ", command.pid)));
  EXPECT_THAT(refused.errors, HasSubstr(Beside("instance")));
  EXPECT_THAT(refused.errors, HasSubstr("guardcheck stop x "));
  const Finished json = guardcheck.CallRun({"true"}, {"--settle", "10ms", "--json"});
  const boost::json::value holder = ParseObject(json.output).at("holder");
  EXPECT_EQ(holder.at("standing"), "established");  // nobody is about to end it
  EXPECT_EQ(holder.at("process").at("pid"), command.pid);
  EXPECT_EQ(guardcheck.Call({"status", "x"}).code, 0);

  EXPECT_EQ(guardcheck.Call({"stop", "x", "--timeout", "10ms", "--force"}).code, 0);
  WaitUntilGone(command);
  ExpectTheNextStartRuns(guardcheck);
}

// kill -9 of the job, as a shell or an administrator may do it.
TEST(Guardian, H11_SurvivesAKillOfTheProcessGroupAndEndsWhatLeftIt) {
  const Guardcheck guardcheck;
  Guarded run({.argv = Words{"setsid"} + guardcheck.InstanceWords()});
  run.Settle();
  const std::vector<ProcessIdentity> processes = Everything(run);
  EXPECT_NE(getpgid(run.guardian()), getpgid(run.wrapper()));
  EXPECT_EQ(getpgid(run.command()), getpgid(run.wrapper()));
  ASSERT_EQ(kill(-getpgid(run.wrapper()), SIGKILL), 0);
  ExpectTheNextStartRuns(guardcheck);
  for (const ProcessIdentity& process : processes) {
    EXPECT_EQ(LivenessOf(process), Liveness::kGone);
  }
}

TEST(Guardian, H11_AKilledOuterWrapperTakesAnInnerOneWithIt) {
  const Guardcheck guardcheck;
  Guarded run({.argv = guardcheck.Argv({"run", "outer", "--"}) + guardcheck.InstanceWords()});
  const std::vector<ProcessIdentity> processes = Everything(run);
  run.program().Signal(SIGKILL);
  const Finished outer =
      guardcheck.Call({"run", "outer", "--settle", "60s", "--deadline", "60s", "--", "true"});
  EXPECT_EQ(outer.code, 0) << outer.errors;
  for (const ProcessIdentity& process : processes) {
    EXPECT_EQ(LivenessOf(process), Liveness::kGone);
  }
  ExpectTheNextStartRuns(guardcheck);
}

// A command that became another user may not be killed; it keeps the name for as long as it lives.
TEST(Guardian, H11_ACommandThatMayNotBeKilledKeepsTheName) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
  const Guardcheck guardcheck;
  const Words nobody = {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"};
  ASSERT_EQ(chmod(guardcheck.directory().path().c_str(), 01777), 0);
  // Its user may not kill it, its real uid being another's, too.
  const std::string become = guardcheck.directory() / "become";
  const Finished copied = RunProgram(
      {.argv = {"sh", "-c", "cp \"$(command -v setpriv)\" \"$0\" && chmod 4755 \"$0\"", become}});
  ASSERT_EQ(copied.code, 0) << copied.errors;
  if (RunProgram({.argv = nobody + Words{become, "--reuid=0", "id", "-u"}}).output != "0\n") {
    GTEST_SKIP() << "setuid programs do not work in " << guardcheck.directory().path();
  }
  const Words guarded = Words{become, "--reuid=0", Beside("instance")};
  Guarded run({.argv = nobody + guardcheck.Run(guarded)});
  const ProcessIdentity command = *IdentityOf(run.command());
  run.program().Signal(SIGKILL);
  (void)run.program().Wait();

  const Finished refused =
      RunProgram({.argv = nobody + guardcheck.Run({"true"}, {"--settle", "10ms"})});
  EXPECT_EQ(refused.code, 75) << refused.errors;
  EXPECT_EQ(LivenessOf(command), Liveness::kAlive);
  ASSERT_TRUE(SendSignal(command, SIGKILL).ok());
  const Finished next = RunProgram(
      {.argv = nobody + guardcheck.Run({"true"}, {"--settle", "60s", "--deadline", "60s"})});
  EXPECT_EQ(next.code, 0) << next.errors;
}

// ---- what a command leaves behind

TEST(LeftBehind, H33_IsAskedToEndFirst) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start({"--grace", "60s"});
  const std::string polite = run.Ask("polite");
  EXPECT_EQ(run.Exit(4), 4);
  EXPECT_EQ(run.Line(), "asked " + polite);
}

TEST(LeftBehind, H33_IsAskedToEndAlsoWhenItsParentEndsOfThat) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start({"--grace", "60s"});
  const std::string polite = run.Ask("family");
  EXPECT_EQ(run.Exit(4), 4);
  EXPECT_EQ(run.Line(), "asked " + polite);
}

TEST(LeftBehind, H33_IsKilledAfterTheGrace) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start({"--grace", "50ms"});
  const std::string polite = run.Ask("polite");
  const ProcessIdentity stubborn = run.AskForProcesses("stubborn").front();
  const std::vector<ProcessIdentity> daemon = run.AskForProcesses("daemon");
  EXPECT_EQ(run.Exit(5), 5);
  EXPECT_EQ(LivenessOf(stubborn), Liveness::kGone);
  EXPECT_EQ(LivenessOf(daemon.front()), Liveness::kGone);
  EXPECT_EQ(run.Line(), "asked " + polite);
  EXPECT_EQ(run.Line(), "the end");
}

TEST(LeftBehind, H33_ThatItIsEndedIsSaid) {
  const Guardcheck guardcheck;
  for (const char* grace : {"60s", "0"}) {
    Guarded run = guardcheck.Start({"--grace", grace});
    const ProcessIdentity daemon = run.AskForProcesses("daemon").front();
    const std::string command = absl::StrCat("pid ", daemon.pid, " (", Beside("instance"));
    EXPECT_EQ(run.Exit(0), 0);
    EXPECT_EQ(LivenessOf(daemon), Liveness::kGone);
    const std::string said = run.program().Errors();
    EXPECT_EQ(Count(said, "\n"), 1) << said;
    EXPECT_THAT(said, AllOf(HasSubstr("guardcheck: x: the command has ended"), HasSubstr(command),
                            HasSubstr("--until=tree"), HasSubstr("--until=detach")));
  }
}

TEST(LeftBehind, H33_ThatItIsEndedIsSaidToAProgramToo) {
  const Guardcheck guardcheck;
  const Finished run = guardcheck.CallRun(
      {"sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do setsid sleep 600 & done"}, {"--json"});
  const boost::json::object said = ParseObject(run.errors);
  EXPECT_THAT(Keys(said),
              ElementsAre("schema", "name", "scope", "policy", "slot", "left", "others"));
  EXPECT_EQ(said.at("name"), "x");
  EXPECT_EQ(said.at("left").as_array().size(), 8U);
  EXPECT_EQ(said.at("others"), 2);
  EXPECT_THAT(Keys(said.at("left").at(0)), ElementsAre("pid", "argv"));
}

// Who asks the command to end knows that all the rest ends.
TEST(LeftBehind, H33_NothingIsSaidWhenTheCommandWasAskedToEnd) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start();
  (void)run.AskForProcesses("daemon");
  run.program().Signal(SIGTERM);
  EXPECT_EQ(run.Line(), "got TERM");
  EXPECT_EQ(run.Exit(0), 0);
  EXPECT_EQ(run.program().Errors(), "");

  Program killed({.argv = guardcheck.Run({"sh", "-c", "setsid sleep 600 & echo $$; read -r end"})});
  ASSERT_EQ(kill(std::stoi(killed.ReadLine().value()), SIGKILL), 0);
  EXPECT_EQ(killed.Wait(), 128 + SIGKILL);
  EXPECT_EQ(killed.Errors(), "");
}

// The reader of a pipe sees its end when the command ends, and is not to lose what it has read.
TEST(LeftBehind, H33_AReaderOfItsOutputMayEndByItself) {
  const Guardcheck guardcheck;
  const std::string script =
      "exec > >(trap 'echo asked' TERM; while read -r line; do echo \"$line\"; done; echo end); "
      "echo said";
  for (int i = 0; i < 10; ++i) {
    const Finished run = guardcheck.CallRun({"bash", "-c", script}, {"--grace", "60s"});
    EXPECT_EQ(run.code, 0);
    EXPECT_THAT(run.output, HasSubstr("said\n"));
    EXPECT_THAT(run.output, HasSubstr("end\n"));
  }
}

TEST(LeftBehind, H33_IsKilledAtOnceWithoutAGrace) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start({"--grace", "0"});
  const ProcessIdentity stubborn = run.AskForProcesses("stubborn").front();
  EXPECT_EQ(run.Exit(5), 5);
  EXPECT_EQ(LivenessOf(stubborn), Liveness::kGone);
}

TEST(LeftBehind, H33_MayTakeAsLongAsAnEndlessGrace) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start({"--grace", "inf"});
  const ProcessIdentity stubborn = run.AskForProcesses("stubborn").front();
  run.program().WriteLine("exit 6");
  EXPECT_EQ(guardcheck.Call({"status", "x"}).code, 0);  // the name is held meanwhile
  EXPECT_EQ(LivenessOf(stubborn), Liveness::kAlive);
  ASSERT_TRUE(SendSignal(stubborn, SIGKILL).ok());
  EXPECT_EQ(run.program().Wait(), 6);
}

TEST(LeftBehind, H33_IsKilledWithTheWrapperDuringTheGrace) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start({"--grace", "1h"});
  const ProcessIdentity stubborn = run.AskForProcesses("stubborn").front();
  const ProcessIdentity command = *IdentityOf(run.command());
  run.program().WriteLine("exit 6");
  WaitUntilGone(command);
  run.program().Signal(SIGKILL);
  ExpectTheNextStartRuns(guardcheck);
  EXPECT_EQ(LivenessOf(stubborn), Liveness::kGone);
}

TEST(LeftBehind, ZombiesOfOrphansAreReapedWhileTheCommandRuns) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start();
  for (int i = 0; i < 5; ++i) {
    const ProcessIdentity orphan = run.AskForProcesses("orphan").front();
    EXPECT_EQ(Describe(orphan)->parent_pid, run.guardian());
    ASSERT_TRUE(SendSignal(orphan, SIGKILL).ok());
    WaitUntilGone(orphan);
    run.Settle();
    EXPECT_EQ(kill(static_cast<pid_t>(orphan.pid), 0), -1);  // not even a zombie
  }
  EXPECT_EQ(run.Exit(0), 0);
}

TEST(LeftBehind, ACommandThatIsKilledIsCleanedUpAfterToo) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start();
  const std::vector<ProcessIdentity> processes = Everything(run);
  ASSERT_TRUE(SendSignal(processes.front(), SIGKILL).ok());
  EXPECT_EQ(run.program().Wait(), 128 + SIGKILL);
  for (const ProcessIdentity& process : processes) {
    EXPECT_EQ(LivenessOf(process), Liveness::kGone);
  }
  EXPECT_EQ(guardcheck.CallRun({"true"}).errors, "");  // guardcheck itself ended in order
}

}  // namespace
}  // namespace soleguard::testing
