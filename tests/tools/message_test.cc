// guardcheck send, run --forward and run --on-message.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>
#include <absl/time/time.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/send.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class MessageTest : public ::testing::Test {
 protected:
  // An executable file.
  std::string Script(const std::string& body) const {
    const std::string path = guardcheck_.directory() / "answer";
    std::ofstream(path) << "#!/bin/sh\n" << body << "\n";
    (void)chmod(path.c_str(), 0700);
    return path;
  }
  Guarded Start(const std::string& answers) const {
    Guarded holder = guardcheck_.Start({"--on-message", Script(answers)});
    holder.Settle();
    return holder;
  }
  Finished Send(const Words& words = {}, const std::string& directory = "/") const {
    return guardcheck_.Call(Words{"send", "x", "--timeout", "30s"} + words, {}, directory);
  }

  const Guardcheck guardcheck_;
};

TEST_F(MessageTest, AProgramAnswersWhatIsSent) {
  // It says what it got, as it got it.
  Guarded holder = Start("cat");
  const Finished sent = Send({"--", "open", "a file\xff"}, "/tmp");
  EXPECT_EQ(sent.code, 0) << sent.errors;
  const auto message = ParseObject(sent.output);
  EXPECT_THAT(Keys(message),
              ::testing::ElementsAre("schema", "name", "slot", "sender", "argv", "cwd", "payload",
                                     "activation_token", "startup_id"));
  EXPECT_EQ(message.at("name"), "x");
  EXPECT_EQ(message.at("argv").as_array().size(), 2U);
  EXPECT_EQ(message.at("argv").at(1), "a file\\xff");
  EXPECT_EQ(message.at("cwd"), "/tmp");
  EXPECT_EQ(message.at("sender").at("uid"), geteuid());
  EXPECT_TRUE(message.at("activation_token").is_null());
  EXPECT_TRUE(message.at("startup_id").is_null());
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(MessageTest, ItsEnvironmentIsTheCommandsAndStandardInputIsThePayload) {
  Guarded holder = Start("read -r line; echo \"$SOLEGUARD_NAME $SOLEGUARD_SLOT\"; echo \"$line\"");
  Program sender({.argv = guardcheck_.Argv({"send", "x", "--timeout", "30s", "--stdin"})});
  sender.WriteLine("hello");
  sender.CloseInput();
  EXPECT_EQ(sender.ReadLine(), "x 0");
  EXPECT_THAT(sender.ReadLine().value_or(""), HasSubstr("\"payload\":\"hello"));
  EXPECT_EQ(sender.Wait(), 0);
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(MessageTest, AnExitStatusIsAnAnswerThatIsNotOk) {
  Guarded holder = Start("echo busy; exit 3");
  const Finished sent = Send();
  EXPECT_EQ(sent.code, 1);
  EXPECT_EQ(sent.output, "");
  EXPECT_EQ(sent.errors, "busy\n");
  const Finished json = Send({"--json"});
  EXPECT_EQ(json.code, 1);
  EXPECT_EQ(ParseObject(json.output).at("ok"), false);
  EXPECT_EQ(ParseObject(json.output).at("delivered"), true);
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(MessageTest, ARefusedStartForwardsItsWordsAndEndsWithTheAnswer) {
  Guarded holder = Start("cat");
  (void)Send();
  const Finished forwarded = guardcheck_.CallRun({"viewer", "page.html"}, {"--forward=30s"});
  EXPECT_EQ(forwarded.code, 0) << forwarded.errors;
  const auto message = ParseObject(forwarded.output);
  EXPECT_EQ(message.at("argv").at(0), "viewer");
  EXPECT_EQ(message.at("argv").at(1), "page.html");
  EXPECT_EQ(forwarded.errors, "");
  EXPECT_EQ(holder.Exit(0), 0);
}

// Without them a desktop keeps the window of the instance behind that of the launcher.
TEST_F(MessageTest, WhatADesktopGaveTheRefusedStartForItsWindowIsHandedOver) {
  Guarded holder = Start("cat");
  (void)Send();
  const Finished forwarded =
      RunProgram({.argv = guardcheck_.Run({"viewer"}, {"--forward=30s"}),
                  .environment = {{"XDG_ACTIVATION_TOKEN", "t\xff"},
                                  {"DESKTOP_STARTUP_ID", "viewer-1_TIME2"}}});
  EXPECT_EQ(forwarded.code, 0) << forwarded.errors;
  const auto message = ParseObject(forwarded.output);
  EXPECT_EQ(message.at("activation_token"), "t\\xff");
  EXPECT_EQ(message.at("startup_id"), "viewer-1_TIME2");
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(MessageTest, WhatIsNotDeliveredIsARefusal) {
  Guarded holder = guardcheck_.Start();
  (void)holder.command();
  const Finished forwarded = guardcheck_.CallRun({"viewer"}, {"--forward"});
  EXPECT_EQ(forwarded.code, 75);
  EXPECT_EQ(forwarded.output, "");
  EXPECT_THAT(forwarded.errors, HasSubstr("takes no messages"));
  EXPECT_THAT(forwarded.errors, HasSubstr("x is already running"));
  const Finished sent = guardcheck_.Call({"send", "x"});
  EXPECT_EQ(sent.code, 75);
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(MessageTest, WithoutAHolderNothingIsDelivered) {
  EXPECT_EQ(guardcheck_.Call({"send", "x"}).code, 3);
  const Finished json = guardcheck_.Call({"send", "x", "--json"});
  EXPECT_EQ(json.code, 3);
  EXPECT_EQ(ParseObject(json.output).at("delivered"), false);
}

TEST_F(MessageTest, H15_AFrozenHolderAnswersNothingAndLives) {
  Guarded holder = Start("cat");
  (void)Send();
  holder.program().Signal(SIGSTOP);
  holder.program().WaitUntilStopped();
  const Finished sent = guardcheck_.Call({"send", "x", "--timeout", "200ms"});
  EXPECT_EQ(sent.code, 75);
  EXPECT_THAT(sent.errors, HasSubstr("not delivered to x: it did not answer in time"));
  const Finished forwarded = guardcheck_.CallRun({"viewer"}, {"--forward=200ms"});
  EXPECT_EQ(forwarded.code, 75);
  EXPECT_THAT(forwarded.errors, HasSubstr(absl::StrCat(holder.wrapper())));
  holder.program().Signal(SIGCONT);
  EXPECT_EQ(Send().code, 0);
  EXPECT_EQ(holder.Exit(0), 0);
}

// A program that hangs keeps neither signals from the command nor guardcheck from its end.
TEST_F(MessageTest, AProgramThatHangsIsEndedWithTheCommand) {
  const std::string started = guardcheck_.directory() / "started";
  ASSERT_EQ(mkfifo(started.c_str(), 0600), 0);
  Guarded holder = Start(absl::StrCat("echo here > ", started, "; exec sleep 100"));
  Program sender({.argv = guardcheck_.Argv({"send", "x", "--timeout", "60s"})});
  std::string line;
  std::getline(std::ifstream(started) >> std::ws, line);
  EXPECT_EQ(line, "here");
  holder.Settle();  // signals reach the command
  EXPECT_EQ(holder.Exit(5), 5);
  EXPECT_NE(sender.Wait(), 0);
}

// It has said all that it has to say, and lives on.
TEST_F(MessageTest, AProgramThatOnlyClosesItsOutputIsEndedWithTheCommand) {
  const std::string silent = guardcheck_.directory() / "silent";
  ASSERT_EQ(mkfifo(silent.c_str(), 0600), 0);
  Guarded holder = Start(absl::StrCat("exec >&-; echo here > ", silent, "; exec sleep 40"));
  Program sender({.argv = guardcheck_.Argv({"send", "x", "--timeout", "60s"})});
  std::string line;
  std::getline(std::ifstream(silent) >> std::ws, line);
  EXPECT_EQ(line, "here");
  const absl::Time begin = absl::Now();
  EXPECT_EQ(holder.Exit(5), 5);
  EXPECT_LT(absl::Now() - begin, absl::Seconds(30)) << "it was not waited for";
  EXPECT_NE(sender.Wait(), 0);
}

TEST_F(MessageTest, AStandardInputThatCannotBeReadIsNoEmptyPayload) {
  Guarded holder = Start("cat");
  (void)Send();
  const Finished sent =
      RunProgram({.argv = Words{"sh", "-c", "exec \"$@\" </tmp", "sh"} +
                          guardcheck_.Argv({"send", "x", "--timeout", "30s", "--stdin"})});
  EXPECT_EQ(sent.code, 64);
  EXPECT_EQ(sent.output, "");
  EXPECT_THAT(sent.errors, HasSubstr("send: --stdin: read standard input"));
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(MessageTest, TheTimeoutIsForStandardInputToo) {
  Guarded holder = Start("cat");
  (void)Send();
  // Its standard input stays open.
  Program sender({.argv = guardcheck_.Argv({"send", "x", "--timeout", "200ms", "--stdin"})});
  EXPECT_THAT(sender.ReadErrorLine().value_or(""),
              HasSubstr("not delivered to x: standard input did not end within 200ms"));
  EXPECT_EQ(sender.Wait(), 75);
  const Finished none = guardcheck_.Call({"send", "x", "--timeout", "0s"});
  EXPECT_EQ(none.code, 75);
  EXPECT_THAT(none.errors, HasSubstr("no time was left to connect"));
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(MessageTest, MisuseIsTold) {
  for (const auto& [program, said] :
       std::map<std::string, std::string>{{"cat", "expected a path"},
                                          {"/tmp", "cannot run /tmp: it is no regular file"},
                                          {"/nowhere/at/all", "cannot run /nowhere/at/all"}}) {
    const Finished run = guardcheck_.CallRun({"true"}, {"--on-message", program});
    EXPECT_EQ(run.code, 64);
    EXPECT_THAT(run.errors, HasSubstr(said));
  }
  EXPECT_EQ(guardcheck_.CallRun({"true"}, {"--exec", "--on-message", "/bin/cat"}).code, 64);
  const std::string large(70000, 'x');
  Guarded holder = Start("cat");
  const Finished sent = Send({"--", large});
  EXPECT_EQ(sent.code, 64);
  EXPECT_THAT(sent.errors, HasSubstr("more than 65536"));
  EXPECT_EQ(holder.Exit(0), 0);
}

}  // namespace
}  // namespace soleguard::testing
