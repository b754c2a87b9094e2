// guardcheck run for callers with wishes: a command that daemonises, other exit codes, the verdict
// for a program.
#include <signal.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>
#include <string>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/process.h"
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
  boost::json::object Verdict() const {
    std::ifstream file(verdict_);
    std::ostringstream text;
    text << file.rdbuf();
    return ParseObject(text.str());
  }

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

TEST_F(RunOptions, TheCommandHasTheDispositionOfSigpipeThatGuardcheckBeganWith) {
  const Words command = {"sh", "-c", "kill -PIPE $$; echo alive"};
  for (const Words& options : {Words{}, Words{"--exec"}}) {
    const Words run = guardcheck_.Run(command, options);
    EXPECT_EQ(RunProgram({.argv = run}).code, 128 + SIGPIPE);
    EXPECT_EQ(RunProgram({.argv = Words{"env", "--ignore-signal=PIPE"} + run}).output, "alive\n");
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
