// run --background: start exactly one, see that it comes up, say so; and --end-duplicates.
// FIELD_CASES C2, C6.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/process.h"
#include "support/content.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::AllOf;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

class InBackground : public ::testing::Test {
 protected:
  ~InBackground() override { (void)guardcheck_.Call({"stop", "x", "--force", "--timeout", "10s"}); }

  Finished Start(const Words& options, const std::string& script) const {
    return guardcheck_.CallRun({"sh", "-c", script},
                               Words{"--background", "--log", log_} + options);
  }
  std::string Log() const { return ContentOf(log_); }
  std::string Pid() const { return guardcheck_.Call({"status", "x", "--pid"}).output; }

  const Guardcheck guardcheck_;
  const std::string log_ = guardcheck_.directory() / "log";
};

TEST_F(InBackground, ItReturnsOnceTheCommandHasRunForAWhile) {
  const Finished start = Start({"--ready=100ms"}, "echo hello; echo there >&2; exec sleep 1000");
  EXPECT_EQ(start.code, 0) << start.errors;
  EXPECT_EQ(start.errors, "");
  EXPECT_EQ(start.output, absl::StrCat("x runs: pid ", Pid().substr(0, Pid().size() - 1),
                                       "; it writes to ", log_, "\n"));
  while (Log() != "hello\nthere\n") {  // a busy machine has not let it write yet
  }
}

TEST_F(InBackground, NothingOfTheCallersIsKept) {
  const std::string file = guardcheck_.directory() / "has-written";
  const Finished start = Start({"--ready", "test -e " + file},
                               "readlink /proc/self/fd/0; echo $(ps -o sid=,tty= -p $$); touch " +
                                   file + "; exec sleep 1000");
  EXPECT_EQ(start.code, 0) << start.errors;
  const std::vector<std::string> log = absl::StrSplit(Log(), absl::ByAnyChar(" \n"));
  ASSERT_THAT(log, SizeIs(Ge(3))) << Log();
  EXPECT_EQ(log[0], "/dev/null");
  EXPECT_NE(log[1], absl::StrCat(getsid(0)));  // another session
  EXPECT_EQ(log[2], "?");                      // without a terminal
}

TEST_F(InBackground, OneThatEndsBeforeIsShownWithWhatItWroteLast) {
  std::ofstream(log_) << "of yesterday\n";
  const Finished start = Start({"--ready=1h"}, "echo broken; exit 3");
  EXPECT_EQ(start.code, 3);
  EXPECT_EQ(start.output, "");
  EXPECT_EQ(start.errors,
            absl::StrCat("guardcheck: x has ended with exit code 3 before it was up.\n"
                         "\nThe last that it wrote to ",
                         log_, "\n  broken\n"));
}

// Nobody shall take it for one that runs.
TEST_F(InBackground, OneThatEndsWellBeforeIsNotUpEither) {
  EXPECT_EQ(Start({"--ready=1h"}, "exit 0").code, 3);
}

TEST_F(InBackground, ItIsUpWhenTheQuestionIsAnsweredWithYes) {
  const std::string file = guardcheck_.directory() / "is-up";
  const Finished start =
      Start({"--ready", "test -e " + file}, "echo begun; touch " + file + "; exec sleep 1000");
  EXPECT_EQ(start.code, 0) << start.errors;
  EXPECT_THAT(start.output, StartsWith("x runs: pid "));
}

TEST_F(InBackground, OneThatIsNotUpInTimeIsEnded) {
  const Finished start =
      Start({"--ready", "false", "--ready-within=1s"}, "echo waiting; sleep 1000 & wait");
  EXPECT_EQ(start.code, 124);
  EXPECT_THAT(start.errors,
              AllOf(StartsWith("guardcheck: x was not up within 1s, and was ended.\n"),
                    HasSubstr("\n  waiting\n")));
  EXPECT_EQ(guardcheck_.Call({"status", "x"}).code, 3);
}

TEST_F(InBackground, ItIsUpWhenItSaysSo) {
  const std::string script =
      "exec python3 -c '"
      "import os, socket, time\n"
      "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
      "s.connect(os.environ[\"NOTIFY_SOCKET\"].replace(\"@\", \"\\0\"))\n"
      "s.send(b\"STATUS=nearly\")\n"
      "s.send(b\"STATUS=now\\nREADY=1\")\n"
      "time.sleep(1000)'";
  const Finished start = Start({"--ready=notify"}, script);
  EXPECT_EQ(start.code, 0) << start.errors << Log();
  EXPECT_NE(Pid(), "");
}

TEST_F(InBackground, OneThatNeverSaysSoIsEnded) {
  EXPECT_EQ(Start({"--ready=notify", "--ready-within=200ms"}, "exec sleep 1000").code, 124);
}

TEST_F(InBackground, ARefusalIsSaidToTheCaller) {
  Guarded holder = guardcheck_.Start();
  (void)holder.command();
  const Finished start = Start({}, "exec sleep 1000");
  EXPECT_EQ(start.code, 75);
  EXPECT_THAT(start.errors,
              StartsWith("guardcheck: x is already running; this start was refused."));
  EXPECT_THAT(start.errors, Not(HasSubstr("The last that it wrote")));
  EXPECT_EQ(Log(), "");
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(InBackground, ACommandThatCannotRunIsSaidToTheCaller) {
  const Finished start = guardcheck_.CallRun({"/nonexistent"}, {"--background", "--log", log_});
  EXPECT_EQ(start.code, 127);
  EXPECT_THAT(start.errors, AllOf(StartsWith("guardcheck: x was not started.\n"),
                                  HasSubstr("cannot run /nonexistent")));
}

TEST_F(InBackground, ItWaitsForItsTurn) {
  Guarded holder = guardcheck_.Start();
  (void)holder.command();
  Program start({.argv = guardcheck_.Run({"sleep", "1000"}, {"--background", "--log", log_,
                                                             "--ready=10ms", "--wait"})});
  EXPECT_THAT(start.ReadErrorLine().value_or(""), HasSubstr("; waiting"));
  EXPECT_EQ(holder.Exit(0), 0);
  EXPECT_EQ(start.Wait(), 0);
}

// Ctrl-C, or a deploy script that is ended: nothing is left of a start that nobody waits for.
TEST_F(InBackground, WhoInterruptsTheStartEndsTheCommandToo) {
  const std::string fifo = guardcheck_.directory() / "fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  Program start({.argv = guardcheck_.Run({"sh", "-c", "echo $$ > \"$0\"; exec sleep 1000", fifo},
                                         {"--background", "--log", log_, "--ready=1h"})});
  std::ifstream opened(fifo);
  pid_t pid = 0;
  opened >> pid;
  const ProcessIdentity command = *IdentityOf(pid);
  start.Signal(SIGTERM);
  EXPECT_EQ(start.Wait(), 128 + SIGTERM);
  EXPECT_EQ(LivenessOf(command), Liveness::kGone);
  EXPECT_EQ(guardcheck_.Call({"status", "x"}).code, 3);
}

TEST_F(InBackground, TheAnswerAsJson) {
  const Finished up = Start({"--ready=10ms", "--json"}, "exec sleep 1000");
  EXPECT_EQ(up.code, 0);
  const auto answer = ParseObject(up.output);
  EXPECT_TRUE(answer.at("ready").as_bool());
  EXPECT_EQ(absl::StrCat(answer.at("pid").to_number<int>(), "\n"), Pid());
  EXPECT_TRUE(answer.at("exit_code").is_null());
}

TEST_F(InBackground, WhatCannotBeMeantIsAnErrorOfTheCall) {
  for (const Words& options : {Words{"--background"}, Words{"--background", "--log", "journal"},
                               Words{"--background", "--log", log_, "--exec"},
                               Words{"--background", "--log", log_, "--with-parent"},
                               Words{"--background", "--log", guardcheck_.directory() / "no/log"},
                               Words{"--background", "--log", log_, "--ready", "5 seconds"}}) {
    const Finished start = guardcheck_.CallRun({"true"}, options);
    EXPECT_EQ(start.code, 64) << ::testing::PrintToString(options);
    EXPECT_EQ(Log(), "");
  }
}

// ---- --end-duplicates

class EndDuplicates : public InBackground {
 protected:
  // No other test's.
  const Words command_ = {"/usr/bin/sleep", absl::StrCat("7", getpid())};
};

TEST_F(EndDuplicates, WhatNeverAskedIsEndedFirst) {
  Program copy({.argv = command_});
  const ProcessIdentity copied = *IdentityOf(copy.pid());
  // Until it has become the command.
  while (Describe(copied)->argv != command_) {
  }
  const Finished start = guardcheck_.CallRun(
      command_, {"--background", "--log", log_, "--ready=10ms", "--settle=0s", "--end-duplicates"});
  EXPECT_EQ(start.code, 0) << start.errors;
  EXPECT_EQ(copy.Wait(), 128 + SIGTERM);
  EXPECT_THAT(start.errors,
              HasSubstr(absl::StrCat("x: ended pid ", copy.pid(), ", which ran without a guard")));
}

TEST_F(EndDuplicates, AHolderIsNone) {
  Program holder({.argv = guardcheck_.Run(
                      {"sh", "-c", "echo ready; exec \"$@\"", "sh", command_[0], command_[1]})});
  EXPECT_EQ(holder.ReadLine(), "ready");
  const Finished start = guardcheck_.CallRun(command_, {"--settle=0s", "--end-duplicates"});
  EXPECT_EQ(start.code, 75) << start.errors;
  EXPECT_THAT(start.errors, Not(HasSubstr("ended pid")));
  EXPECT_EQ(guardcheck_.Call({"status", "x"}).code, 0);
}

}  // namespace
}  // namespace soleguard::testing
