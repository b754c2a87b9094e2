// guardcheck run for callers with wishes: a command that daemonises, other exit codes, the verdict
// for a program.
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/process.h"
#include "support/content.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class RunOptions : public ::testing::Test {
 protected:
  // The words of a shell that opens descriptor 5 for the verdict and becomes `words`.
  Words WithVerdict(const Words& words) const {
    return Words{"sh", "-c", "exec \"$@\" 5>\"$0\"", verdict_} + words;
  }
  boost::json::object Verdict() const { return ParseObject(ContentOf(verdict_)); }

  const Guardcheck guardcheck_;
  const std::string verdict_ = guardcheck_.directory() / "verdict";
};

// ---- --until=tree

// A command that leaves a daemon behind and ends with 5.
class Daemonising : public RunOptions {
 protected:
  // Its output: the pid of the command, then of the daemon, which reads from `fifo_` until its end.
  Words Command() const {
    return {"sh", "-c", "echo $$; setsid sh -c 'echo $$; exec cat \"$0\"' \"$0\" & exit 5", fifo_};
  }
  void SetUp() override { ASSERT_EQ(mkfifo(fifo_.c_str(), 0600), 0); }
  static ProcessIdentity ReadDaemon(Program& program) {
    return *IdentityOf(std::stoi(program.ReadLine().value()));
  }
  // Reads the command's pid, and blocks until it has ended.
  static void AwaitCommandsEnd(Program& program) {
    const auto command = IdentityOf(std::stoi(program.ReadLine().value()));
    if (command.ok()) WaitUntilGone(*command);
  }

  const std::string fifo_ = guardcheck_.directory() / "fifo";
};

TEST_F(Daemonising, H33_TheNameIsHeldUntilTheDaemonHasEnded) {
  Program run({.argv = guardcheck_.Run(Command(), {"--until=tree"})});
  AwaitCommandsEnd(run);
  const ProcessIdentity daemon = ReadDaemon(run);
  std::ofstream writer(fifo_);  // opens once the daemon has: the shell before it is done
  EXPECT_EQ(LivenessOf(daemon), Liveness::kAlive);
  EXPECT_EQ(guardcheck_.Call({"status", "x"}).code, 0);
  EXPECT_EQ(guardcheck_.CallRun({"true"}).code, 75);
  writer.close();
  EXPECT_EQ(run.Wait(), 5);  // the command's own
  EXPECT_EQ(LivenessOf(daemon), Liveness::kGone);
  EXPECT_EQ(guardcheck_.Call({"status", "x"}).code, 3);
}

TEST_F(Daemonising, H33_SignalsReachTheDaemonOnceTheCommandHasEnded) {
  Program run({.argv = guardcheck_.Run(Command(), {"--until=tree"})});
  AwaitCommandsEnd(run);
  const ProcessIdentity daemon = ReadDaemon(run);
  run.Signal(SIGTERM);
  EXPECT_EQ(run.Wait(), 5);
  EXPECT_EQ(LivenessOf(daemon), Liveness::kGone);
}

TEST_F(Daemonising, H11_ADaemonEndsWithItsKilledWrapper) {
  Program run({.argv = guardcheck_.Run(Command(), {"--until=tree"})});
  AwaitCommandsEnd(run);
  const ProcessIdentity daemon = ReadDaemon(run);
  run.Signal(SIGKILL);
  WaitUntilGone(daemon);
  EXPECT_EQ(guardcheck_.CallRun({"true"}).code, 0);
}

TEST_F(Daemonising, H33_WithoutItTheDaemonIsEndedWithTheCommand) {
  const Finished run = guardcheck_.CallRun(Command());
  EXPECT_EQ(run.code, 5);
  EXPECT_EQ(guardcheck_.Call({"status", "x"}).code, 3);
}

// Who runs, as each command and file says it, is the process that does the work.
class WhoRuns : public RunOptions {
 protected:
  // Blocks until that process is the one that `status` shows.
  void AwaitMain(const ProcessIdentity& process) const {
    const std::string shown = absl::StrCat("pid         ", process.pid, ",");
    while (guardcheck_.Call({"status", "x"}).output.find(shown) == std::string::npos) {
    }
  }
  void ExpectAllSay(const ProcessIdentity& process) const {
    const boost::json::value pid = process.pid;
    const auto of = [this](const Words& words) {
      return ParseObject(guardcheck_.Call(words + Words{"--json"}).output);
    };
    EXPECT_EQ(of({"status", "x"}).at("holder").at("process").at("pid"), pid);
    EXPECT_EQ(of({"list"}).at("running").at(0).at("holder").at("process").at("pid"), pid);
    EXPECT_EQ(of({"check", "x"}).at("holder").at("process").at("pid"), pid);
    EXPECT_EQ(of({"report", "x"}).at("holder_pid"), pid);
    EXPECT_EQ(ParseObject(guardcheck_.CallRun({"true"}, {"--json"}).output)
                  .at("holder")
                  .at("process")
                  .at("pid"),
              pid);
    EXPECT_THAT(guardcheck_.Call({"watch", "x", "--once", "--json"}).output,
                HasSubstr(absl::StrCat("\"holder\":", process.pid)));
    EXPECT_EQ(ContentOf(pid_file_), absl::StrCat(process.pid, "\n"));
    EXPECT_EQ(ParseObject(ContentOf(info_file_)).at("pid"), pid);
  }
  Guarded Start(const Words& options) const {
    return guardcheck_.Start(Words{"--pidfile", pid_file_, "--infofile", info_file_} + options);
  }

  const std::string pid_file_ = guardcheck_.directory() / "pid";
  const std::string info_file_ = guardcheck_.directory() / "info";
};

TEST_F(WhoRuns, H48_TheDaemonUnderUntilTree) {
  Guarded run = Start({"--until=tree"});
  run.Settle();
  ExpectAllSay(*IdentityOf(run.command()));
  const ProcessIdentity daemon = run.AskForProcesses("daemon").front();
  run.program().WriteLine("exit 0");
  AwaitMain(daemon);
  ExpectAllSay(daemon);
  const Finished stopped = guardcheck_.Call({"stop", "x", "--json"});
  EXPECT_EQ(stopped.code, 0);
  EXPECT_THAT(stopped.output, HasSubstr(absl::StrCat("\"pid\":", daemon.pid)));
  EXPECT_EQ(run.program().Wait(), 0);
  EXPECT_FALSE(std::filesystem::exists(pid_file_));
}

// It keeps the name, and it is what somebody would have to end.
TEST_F(WhoRuns, H48_WhatACrashedCommandLeftInTheGrace) {
  Guarded run = Start({"--grace", "1h"});
  run.Settle();
  const ProcessIdentity stubborn = run.AskForProcesses("stubborn").front();
  ASSERT_EQ(kill(run.command(), SIGABRT), 0);
  AwaitMain(stubborn);
  ExpectAllSay(stubborn);
  const Finished stopped = guardcheck_.Call({"stop", "x", "--timeout", "0s", "--force", "--json"});
  EXPECT_EQ(stopped.code, 0) << stopped.output;
  EXPECT_THAT(stopped.output, HasSubstr(absl::StrCat("\"pid\":", stubborn.pid)));
  EXPECT_EQ(LivenessOf(stubborn), Liveness::kGone);
}

// ---- --until=detach

class Detaching : public RunOptions {
 protected:
  ~Detaching() override {
    for (const ProcessIdentity& process : started_) (void)SendSignal(process, SIGKILL);
  }
  // Starts what is to live on: a daemon, and a child that stays in the command's session.
  void Leave(Guarded& run) {
    for (const char* kind : {"daemon", "worker"}) {
      started_.push_back(run.AskForProcesses(kind).front());
    }
  }
  void ExpectTheRestLivesAndTheNameIsFree() const {
    for (const ProcessIdentity& process : started_) {
      EXPECT_EQ(LivenessOf(process), Liveness::kAlive);
    }
    const Finished next = guardcheck_.CallRun({"true"}, {"--settle", "60s", "--deadline", "60s"});
    EXPECT_EQ(next.code, 0) << next.errors;
  }
  // Without the referee's lock, which what is left would keep.
  Guarded Start() const {
    return Guarded({.argv = guardcheck_.Run({Beside("instance")}, {"--until=detach"})});
  }

  std::vector<ProcessIdentity> started_;
};

TEST_F(Detaching, H33_WhatTheCommandStartedLivesOnWithoutTheName) {
  Guarded run = Start();
  run.Settle();
  Leave(run);
  EXPECT_EQ(guardcheck_.CallRun({"true"}).code, 75);
  EXPECT_EQ(run.Exit(5), 5);
  ExpectTheRestLivesAndTheNameIsFree();
  EXPECT_EQ(guardcheck_.Call({"status", "x"}).code, 3);
}

TEST_F(Detaching, H33_NeitherTheCommandNorWhatItStartedHasTheClaim) {
  Guarded run = Start();
  run.Settle();
  Leave(run);
  struct stat directory = {};
  ASSERT_EQ(stat(guardcheck_.Object("x").c_str(), &directory), 0);
  const FileIdentity file = {.device = directory.st_dev, .inode = directory.st_ino};
  EXPECT_TRUE(HasOpen(*IdentityOf(run.guardian()), file).value_or(false));
  EXPECT_FALSE(HasOpen(*IdentityOf(run.command()), file).value_or(true));
  for (const ProcessIdentity& process : started_) {
    EXPECT_FALSE(HasOpen(process, file).value_or(true));
  }
  EXPECT_EQ(run.Exit(0), 0);
}

TEST_F(Detaching, H11_AKilledWrapperTakesTheCommandAloneWithIt) {
  Guarded run = Start();
  run.Settle();
  Leave(run);
  const ProcessIdentity command = *IdentityOf(run.command());
  run.program().Signal(SIGKILL);
  WaitUntilGone(command);
  ExpectTheRestLivesAndTheNameIsFree();
}

TEST_F(Detaching, H11_AKilledGuardianTakesTheCommandAloneWithIt) {
  Guarded run = Start();
  run.Settle();
  Leave(run);
  const ProcessIdentity command = *IdentityOf(run.command());
  ASSERT_EQ(kill(run.guardian(), SIGKILL), 0);
  EXPECT_EQ(run.program().Wait(), 70);
  EXPECT_EQ(LivenessOf(command), Liveness::kGone);
  EXPECT_THAT(run.program().ReadErrorLine().value_or(""),
              HasSubstr("the command was ended with it"));
  ExpectTheRestLivesAndTheNameIsFree();
}

// Nobody has the claim then: the record refuses.
TEST_F(Detaching, H11_WhenBothAreKilledTheNameIsHeldWhileTheCommandLives) {
  Guarded run = Start();
  run.Settle();
  Leave(run);
  const ProcessIdentity command = *IdentityOf(run.command());
  const pid_t guardian = run.guardian();
  ASSERT_EQ(kill(guardian, SIGSTOP), 0);
  run.program().Signal(SIGSTOP);
  run.program().WaitUntilStopped();
  ASSERT_EQ(kill(guardian, SIGKILL), 0);
  run.program().Signal(SIGKILL);
  (void)run.program().Wait();
  EXPECT_EQ(guardcheck_.CallRun({"true"}, {"--settle", "10ms"}).code, 75);
  ASSERT_TRUE(SendSignal(command, SIGKILL).ok());
  WaitUntilGone(command);
  ExpectTheRestLivesAndTheNameIsFree();
}

// A shell that had children before it became guardcheck: a third process is between.
TEST_F(Detaching, H11_AKilledGuardianBelowAnotherProcessTakesTheCommandAloneWithIt) {
  const std::string script = "sleep 600 </dev/null >/dev/null 2>&1 & echo $!; exec \"$@\"";
  Guarded run({.argv = Words{"sh", "-c", script, "sh"} +
                       guardcheck_.Run({Beside("instance")}, {"--until=detach"})});
  const int helper = std::stoi(run.Line());
  run.Settle();
  Leave(run);
  const ProcessIdentity command = *IdentityOf(run.command());
  ASSERT_EQ(kill(run.guardian(), SIGKILL), 0);
  WaitUntilGone(command);
  EXPECT_EQ(run.program().Wait(), 70);
  ExpectTheRestLivesAndTheNameIsFree();
  EXPECT_EQ(kill(helper, SIGKILL), 0);
}

TEST_F(Detaching, H12_ALostClaimEndsTheCommandAlone) {
  Guarded run(
      {.argv = guardcheck_.Run({Beside("instance")}, {"--until=detach", "--policy", "file",
                                                      "--on-lost", "stop", "--grace", "50ms"})});
  run.Settle();
  Leave(run);
  const ProcessIdentity command = *IdentityOf(run.command());
  run.program().Signal(SIGSTOP);
  run.program().WaitUntilStopped();
  std::filesystem::rename(guardcheck_.Object("x"), guardcheck_.directory() / "moved");
  Guarded other({.argv = guardcheck_.Run({Beside("instance")}, {"--policy", "file"})});
  other.Settle();
  run.program().Signal(SIGCONT);
  EXPECT_EQ(run.program().Wait(), 76);
  EXPECT_EQ(LivenessOf(command), Liveness::kGone);
  EXPECT_EQ(other.Exit(0), 0);
  ExpectTheRestLivesAndTheNameIsFree();
}

TEST_F(Detaching, StopEndsTheCommandAlone) {
  Guarded run({.argv = guardcheck_.Run({"sh", "-c", "setsid sleep 600 & echo ready $!; wait"},
                                       {"--until=detach"})});
  started_ = {*IdentityOf(run.command())};  // what it says is the pid of the other
  EXPECT_EQ(guardcheck_.Call({"stop", "x"}).code, 0);
  EXPECT_EQ(run.program().Wait(), 128 + SIGTERM);
  ExpectTheRestLivesAndTheNameIsFree();
}

TEST_F(Detaching, WhatBecomesTheCommandCannotDoWithoutTheClaim) {
  const Finished run = guardcheck_.CallRun({"true"}, {"--exec", "--until=detach"});
  EXPECT_EQ(run.code, 64);
  EXPECT_THAT(run.errors, HasSubstr("--exec and --until=detach exclude each other"));
}

// ---- a log that nobody reads any more

// What the pipe of stderr leads to has ended before guardcheck starts.
Words WithoutALogReader(const Words& words) {
  return Words{"bash", "-c", "exec 2> >(exit 0); wait $!; \"$@\"; exit $?", "bash"} + words;
}

TEST_F(RunOptions, H27_ALogReaderThatIsGoneDoesNotKeepTheCommandFromStarting) {
  Guarded killed = guardcheck_.Start();
  killed.Settle();
  ASSERT_EQ(kill(killed.wrapper(), SIGKILL), 0);  // the next start speaks of it
  (void)killed.program().Wait();
  const Finished run =
      RunProgram({.argv = WithoutALogReader(guardcheck_.Run({"echo", "started"}, {"--wait"}))});
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(run.output, "started\n");
}

TEST_F(RunOptions, H22_ALogReaderThatIsGoneDoesNotChangeTheCodeOfARefusal) {
  Guarded holder = guardcheck_.Start();
  holder.Settle();
  EXPECT_EQ(RunProgram({.argv = WithoutALogReader(guardcheck_.Run({"true"}))}).code, 75);
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(RunOptions, H22_AnAnswerThatCannotBeWrittenIsNoSuccess) {
  const Finished explained =
      RunProgram({.argv = Words{"sh", "-c", "exec \"$@\" >/dev/full", "sh", Beside("guardcheck"),
                                "explain", "default", "--json"}});
  EXPECT_EQ(explained.code, 70);
  EXPECT_EQ(explained.errors, "guardcheck: stdout could not be written\n");
}

TEST_F(RunOptions, TheCommandHasTheDispositionsOfFailedWritesThatGuardcheckBeganWith) {
  const std::map<int, std::string> signals = {{SIGPIPE, "PIPE"}, {SIGXFSZ, "XFSZ"}};
  for (const auto& [signal, name] : signals) {
    const Words command = {"sh", "-c", absl::StrCat("kill -", name, " $$; echo alive")};
    for (const Words& options : {Words{}, Words{"--exec"}}) {
      const Words run = guardcheck_.Run(command, options);
      EXPECT_EQ(RunProgram({.argv = run}).code, 128 + signal);
      EXPECT_EQ(RunProgram({.argv = Words{"env", "--ignore-signal=" + name} + run}).output,
                "alive\n");
    }
  }
}

// ---- --refused-exit and --verdict-fd

TEST_F(RunOptions, H22_ACallerWhoseCommandUses75ChoosesAnotherCodeForTheRefusal) {
  EXPECT_EQ(guardcheck_.CallRun({"sh", "-c", "exit 75"}, {"--refused-exit", "7"}).code, 75);
  Guarded holder = guardcheck_.Start();
  (void)holder.command();
  const Finished refused = guardcheck_.CallRun({"true"}, {"--refused-exit", "7"});
  EXPECT_EQ(refused.code, 7);
  EXPECT_THAT(refused.errors, HasSubstr("already running"));
  EXPECT_EQ(guardcheck_.CallRun({"true"}, {"--refused-exit", "0"}).code, 0);
  EXPECT_EQ(guardcheck_.CallRun({"true"}, {"--refused-exit", "256"}).code, 64);
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(RunOptions, H22_TheVerdictIsReadApartFromTheCommandsCode) {
  const Words options = {"--verdict-fd", "5"};
  const Finished unique =
      RunProgram({.argv = WithVerdict(guardcheck_.Run({"sh", "-c", "exit 75"}, options))});
  EXPECT_EQ(unique.code, 75);
  EXPECT_EQ(Verdict().at("verdict"), "unique");
  EXPECT_EQ(Verdict().at("name"), "x");
  EXPECT_GT(Verdict().at("record").at("token").to_number<std::uint64_t>(), 0U);

  Guarded holder = guardcheck_.Start();
  holder.Settle();
  EXPECT_EQ(RunProgram({.argv = WithVerdict(guardcheck_.Run({"true"}, options))}).code, 75);
  EXPECT_EQ(Verdict().at("verdict"), "duplicate");
  EXPECT_EQ(Verdict().at("holder").at("process").at("pid").as_int64(), holder.command());
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(RunOptions, TheCommandDoesNotInheritTheVerdictsDescriptor) {
  const Finished run = RunProgram(
      {.argv = WithVerdict(guardcheck_.Run({"sh", "-c", "echo said >&5"}, {"--verdict-fd", "5"}))});
  EXPECT_NE(run.code, 0);
  EXPECT_EQ(Verdict().at("verdict"), "unique");
}

TEST_F(RunOptions, ADescriptorThatIsNotOpenForWritingIsAUsageError) {
  for (const std::string fd : {"5", "-1", "one"}) {
    const Finished run =
        RunProgram({.argv = Words{"sh", "-c", "exec \"$@\" </dev/null 5>&-", "sh"} +
                            guardcheck_.Run({"echo", "started"}, {"--verdict-fd", fd})});
    EXPECT_EQ(run.code, 64) << fd;
    EXPECT_EQ(run.output, "");
    EXPECT_THAT(run.errors, StartsWith("guardcheck: --verdict-fd"));
  }
}

// Closed for the command, the next file that is opened would be its stdout.
TEST_F(RunOptions, H31_ADescriptorThatIsTheCommandsOwnIsAUsageError) {
  for (const std::string fd : {"0", "1", "2"}) {
    const Finished run = guardcheck_.CallRun({"echo", "started"}, {"--verdict-fd", fd});
    EXPECT_EQ(run.code, 64) << fd;
    EXPECT_EQ(run.output, "");
  }
}

TEST_F(RunOptions, AReaderOfTheVerdictThatIsGoneStopsNothing) {
  const Finished run = RunProgram(
      {.argv = Words{"bash", "-c", "exec 5> >(exit 0); wait $!; \"$@\"; exit $?", "bash"} +
               guardcheck_.Run({"sh", "-c", "exit 4"}, {"--verdict-fd", "5"})});
  EXPECT_EQ(run.code, 4);
  EXPECT_THAT(run.errors, HasSubstr("--verdict-fd: write the verdict"));
}

}  // namespace
}  // namespace soleguard::testing
