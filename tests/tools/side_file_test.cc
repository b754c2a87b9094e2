// Files beside the lock for tools that expect them: a PID file, and what a person reads.
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "soleguard/process.h"
#include "support/child.h"
#include "support/test_scope.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class SideFileTest : public ::testing::Test {
 protected:
  std::string Content(const std::string& path) const {
    std::ifstream file(path);
    if (!file) return "no file";
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  void Write(const std::string& path, const std::string& text) const {
    std::ofstream(path) << text;
  }

  const Guardcheck guardcheck_;
  const std::string pid_file_ = guardcheck_.directory() / "bot.pid";
  const std::string info_file_ = guardcheck_.directory() / "bot.info";
};

TEST_F(SideFileTest, A5_E1_TheCommandsPidStandsAtAChosenPlaceWhileItRuns) {
  Guarded bot = guardcheck_.Start({"--pidfile", pid_file_});
  bot.Settle();
  EXPECT_EQ(Content(pid_file_), absl::StrCat(bot.command(), "\n"));
  EXPECT_EQ(bot.Exit(0), 0);
  EXPECT_EQ(Content(pid_file_), "no file");
}

TEST_F(SideFileTest, E1_TheEnvironmentAndTheConfigurationMayChooseThePlace) {
  const std::string config = guardcheck_.directory() / "soleguard.toml";
  Write(config, absl::StrCat("[names.x]\npidfile = '", pid_file_, "'\n"));
  const Words command = {"run", "x", "--config", config, "--", "cat"};
  EXPECT_NE(guardcheck_.Call(command + Words{pid_file_}).output, "");
  EXPECT_NE(
      guardcheck_.Call(command + Words{info_file_}, {{"SOLEGUARD_PIDFILE", info_file_}}).output,
      "");
}

TEST_F(SideFileTest, A5_D1_TheInfoFileSaysPidTimestampAndHost) {
  Guarded bot = guardcheck_.Start({"--infofile", info_file_});
  bot.Settle();
  const auto info = ParseObject(Content(info_file_));
  EXPECT_EQ(info.at("pid").as_int64(), bot.command());
  EXPECT_THAT(std::string(info.at("timestamp").as_string()), HasSubstr("T"));
  EXPECT_EQ(std::string(info.at("hostname").as_string()), HostName());
  EXPECT_EQ(std::string(info.at("name").as_string()), "x");
  EXPECT_EQ(bot.Exit(0), 0);
  EXPECT_EQ(Content(info_file_), "no file");
}

TEST_F(SideFileTest, A1_E2_AMissingStaleOrCorruptPidFileDecidesNothing) {
  for (const std::string& corrupt : {std::string("garbage"), std::string("1\n"), std::string(),
                                     std::string("\0\xff", 2), std::string("999999999999\n")}) {
    Write(pid_file_, corrupt);
    const Finished run = guardcheck_.CallRun({"cat", pid_file_}, {"--pidfile", pid_file_});
    EXPECT_EQ(run.code, 0) << run.errors;
    EXPECT_NE(run.output, corrupt);
  }
  // The field case: the PID file is damaged while its writer runs, and the second start believes
  // it.
  Guarded bot = guardcheck_.Start({"--pidfile", pid_file_});
  (void)bot.command();
  std::filesystem::remove(pid_file_);
  EXPECT_EQ(guardcheck_.CallRun({"true"}, {"--pidfile", pid_file_}).code, 75);
  Write(pid_file_, "garbage");
  EXPECT_EQ(guardcheck_.CallRun({"true"}, {"--pidfile", pid_file_}).code, 75);
  EXPECT_EQ(Content(pid_file_), "garbage");  // a refused start leaves it alone
  EXPECT_EQ(bot.Exit(0), 0);
}

TEST_F(SideFileTest, E3_IsRemovedOnlyWhileItIsStillMine) {
  Guarded bot = guardcheck_.Start({"--pidfile", pid_file_});
  bot.Settle();
  std::filesystem::remove(pid_file_);
  Write(pid_file_, "another program's\n");
  EXPECT_EQ(bot.Exit(0), 0);
  EXPECT_EQ(Content(pid_file_), "another program's\n");
}

TEST_F(SideFileTest, E3_ASecondReleaseAndAForkedChildRemoveNothing) {
  const TestScope scope("file");
  std::optional<Verdict> verdict(scope.Acquire());
  Guard& guard = std::get<Unique>(*verdict).guard;
  ASSERT_TRUE(guard.WriteSideFiles({.pid_file = pid_file_, .info_file = ""}).ok());
  EXPECT_EQ(Content(pid_file_), absl::StrCat(getpid(), "\n"));
  EXPECT_EQ(InChild([&] {
              guard.Release();
              verdict.reset();
              return Content(pid_file_);
            }),
            absl::StrCat(getpid(), "\n"));
  guard.Release();
  EXPECT_EQ(Content(pid_file_), "no file");
  Write(pid_file_, "the next one's\n");
  guard.Release();
  EXPECT_EQ(Content(pid_file_), "the next one's\n");
}

TEST_F(SideFileTest, B5_AfterASigkillItStaysAndTheNextStartOverwritesIt) {
  Guarded bot = guardcheck_.Start({"--pidfile", pid_file_});
  bot.Settle();
  const std::string left = Content(pid_file_);
  const pid_t command = bot.command();
  bot.program().Signal(SIGKILL);
  EXPECT_EQ(bot.program().Wait(), 128 + SIGKILL);
  Guarded next = guardcheck_.Start({"--pidfile", pid_file_});
  next.Settle();
  EXPECT_EQ(left, absl::StrCat(command, "\n"));
  EXPECT_EQ(Content(pid_file_), absl::StrCat(next.command(), "\n"));
  EXPECT_EQ(next.Exit(0), 0);
}

TEST_F(SideFileTest, WhatIsNoSuchFileIsNotOverwrittenAndNothingStarts) {
  const std::string large = guardcheck_.directory() / "data";
  Write(large, std::string(100'000, 'x'));
  for (const auto& [path, why] :
       {std::pair<std::string, std::string>{guardcheck_.directory().path(), "no regular file"},
        {large, "larger than 64 KiB"},
        {"bot.pid", "expected the absolute path of a file"},
        {guardcheck_.directory() / "missing/bot.pid", "No such file or directory"}}) {
    const Finished run = guardcheck_.CallRun({"echo", "started"}, {"--pidfile", path});
    EXPECT_EQ(run.code, 64);
    EXPECT_EQ(run.output, "");
    EXPECT_THAT(run.errors, AllOf(HasSubstr("--pidfile"), HasSubstr(why)));
  }
  EXPECT_EQ(Content(large).size(), 100'000U);
}

}  // namespace
}  // namespace soleguard::testing
