// guardcheck report and Guard::ReportConflict: the remote says that two instances run (a bot whose
// poll is "terminated by other getUpdates request"), and a person wants to know which.
#include "soleguard/conflict.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/test_scope.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kConflict[] = "Conflict: terminated by other getUpdates request";

class ConflictTest : public ::testing::Test {
 protected:
  // A bot that says who it is, and stays until its input ends. Scripts of one name are suspects
  // wherever they are: the bot of each test has its own.
  std::string WriteBot() const {
    const std::string directory = guardcheck_.directory().path();
    return WriteBot(directory.substr(directory.rfind('/') + 1) + ".py");
  }
  std::string WriteBot(const std::string& name) const {
    std::string path = guardcheck_.directory() / name;
    std::ofstream(path) << "import os, sys\n"
                           "print('bot', os.getpid(), flush=True)\n"
                           "sys.stdin.read()\n";
    return path;
  }
  static pid_t PidOf(Program& bot) { return std::stoi(bot.ReadLine().value_or("bot 0").substr(4)); }
  Finished Report(const Words& more = {}) const {
    return guardcheck_.Call(Words{"report", "x", "--conflict", kConflict} + more);
  }

  const Guardcheck guardcheck_{};
};

TEST_F(ConflictTest, E4_WithNobodyElseHereItSaysSoAndWhereToLookNext) {
  const std::string bot = WriteBot();
  Program run({.argv = guardcheck_.Run({"python3", bot})});
  const pid_t holder = PidOf(run);
  const Finished report = Report();
  EXPECT_EQ(report.code, 0) << report.output << report.errors;
  EXPECT_THAT(report.output,
              AllOf(StartsWith("No other instance of x is to be seen on this host.\n"),
                    HasSubstr(kConflict), HasSubstr(absl::StrCat("the holder: pid ", holder)),
                    HasSubstr("other host"), HasSubstr("revoke the key")));
  run.CloseInput();
  EXPECT_EQ(run.Wait(), 0);
}

TEST_F(ConflictTest, E4_ACopyThatNeverAskedIsNamedWithWhyNoLayerSawIt) {
  const std::string bot = WriteBot();
  Program run({.argv = guardcheck_.Run({"python3", bot})});
  const pid_t holder = PidOf(run);
  Program stray({.argv = {"python3", "-u", bot}});
  const pid_t second = PidOf(stray);
  Program other({.argv = {"python3", WriteBot("other.py")}});
  const pid_t innocent = PidOf(other);

  const Finished report = Report();
  EXPECT_EQ(report.code, 75) << report.output << report.errors;
  EXPECT_THAT(report.output, AllOf(StartsWith("Another instance of x may be running here.\n"),
                                   HasSubstr(absl::StrCat("  pid ", second, " (")),
                                   HasSubstr("runs the same script"), HasSubstr("never asked"),
                                   HasSubstr(absl::StrCat("kill ", second)),
                                   Not(HasSubstr(absl::StrCat("  pid ", holder, " ("))),
                                   Not(HasSubstr(absl::StrCat("  pid ", innocent, " (")))));

  const boost::json::object json = ParseObject(Report({"--json"}).output);
  EXPECT_THAT(Keys(json),
              ElementsAre("schema", "name", "scope", "policy", "complaint", "conclusion",
                          "holder_pid", "layers", "suspects", "hidden", "reason", "next"));
  EXPECT_EQ(json.at("complaint"), kConflict);
  EXPECT_EQ(json.at("conclusion"), "found");
  EXPECT_EQ(json.at("holder_pid"), holder);
  ASSERT_EQ(json.at("suspects").as_array().size(), 1U);
  EXPECT_THAT(Keys(json.at("suspects").at(0)),
              ElementsAre("pid", "likely", "why", "unseen", "user", "argv"));
  EXPECT_EQ(json.at("suspects").at(0).at("pid"), second);
  EXPECT_EQ(json.at("suspects").at(0).at("likely"), true);
  for (Program* each : {&run, &stray, &other}) {
    each->CloseInput();
    EXPECT_EQ(each->Wait(), 0) << "nobody has touched it";
  }
}

TEST_F(ConflictTest, TheSameProgramWithOtherArgumentsIsShownAndDoesNotCount) {
  const std::string bot = WriteBot();
  Program run({.argv = guardcheck_.Run({"python3", bot, "--pair", "XBTEUR"})});
  (void)PidOf(run);
  Program other({.argv = {"python3", bot, "--pair", "ETHEUR"}});
  const pid_t job = PidOf(other);
  const Finished report = Report();
  EXPECT_EQ(report.code, 0) << report.output;
  EXPECT_THAT(report.output, AllOf(HasSubstr("The same program, told to do something else"),
                                   HasSubstr(absl::StrCat("  pid ", job, " (")),
                                   HasSubstr("with other arguments")));
}

TEST_F(ConflictTest, H06_H32_OneInOtherNamespacesIsFoundAndEachBlindLayerIsNamed) {
  const Words elsewhere = {"unshare", "--net", "--ipc"};
  if (RunProgram({.argv = elsewhere + Words{"true"}}).code != 0) {
    GTEST_SKIP() << "needs the right to make namespaces";
  }
  const std::string bot = WriteBot();
  Program run({.argv = guardcheck_.Run({"python3", bot})});
  (void)PidOf(run);
  Program stray({.argv = elsewhere + Words{"python3", bot}});
  const pid_t second = PidOf(stray);
  const Finished report = Report();
  EXPECT_EQ(report.code, 75) << report.output;
  EXPECT_THAT(report.output, AllOf(HasSubstr(absl::StrCat("  pid ", second, " (")),
                                   HasSubstr("another network namespace: port does not see it"),
                                   HasSubstr("another ipc namespace: mutex does not see it"),
                                   Not(HasSubstr("another mount namespace"))));
}

TEST_F(ConflictTest, OneThatIsGuardedUnderAnotherNameIsSaidToBeSo) {
  const std::string bot = WriteBot();
  Program run({.argv = guardcheck_.Run({"python3", bot})});
  (void)PidOf(run);
  Program other({.argv = guardcheck_.Argv({"run", "y", "--", "python3", bot})});
  (void)PidOf(other);
  const Finished report = Report();
  EXPECT_EQ(report.code, 75) << report.output;
  EXPECT_THAT(report.output,
              AllOf(HasSubstr("is guarded, but not by this name"), HasSubstr("holds the name y")));
}

TEST_F(ConflictTest, H22_WhatNobodyCanCompareIsNotToldAndACommandHelps) {
  const Finished nobody = Report();
  EXPECT_EQ(nobody.code, 69);
  EXPECT_THAT(nobody.output, AllOf(StartsWith("Cannot tell whether another instance of x runs"),
                                   HasSubstr("say behind -- which command it is")));
  const std::string bot = WriteBot();
  Program stray({.argv = {"python3", bot}});
  const pid_t second = PidOf(stray);
  const Finished found = Report({"--", "python3", bot});
  EXPECT_EQ(found.code, 75);
  EXPECT_THAT(found.output, HasSubstr(absl::StrCat("  pid ", second, " (")));
  stray.CloseInput();
  EXPECT_EQ(stray.Wait(), 0);
  EXPECT_EQ(Report({"--", "python3", bot}).code, 0);
}

TEST_F(ConflictTest, WhatTheRemoteSaidCannotDriveATerminal) {
  const Finished report = guardcheck_.Call(
      {"report", "x", "--conflict", "a\x1b[2Jb\nc", "--", "sh", "-c", "none such"});
  EXPECT_THAT(report.output, HasSubstr("the conflict: a\\x1b[2Jb\\x0ac\n"));
}

// ---- the library, for a program that has a Guard

TEST(GuardConflict, E4_AClaimThatIsAnothersByNowIsFound) {
  const TestScope scope("all(file, mutex)");
  Verdict verdict = scope.Acquire();
  ASSERT_TRUE(IsUnique(verdict)) << Say(verdict);
  const Guard& guard = std::get<Unique>(verdict).guard;
  {
    const ConflictReport report = guard.ReportConflict(kConflict);
    EXPECT_EQ(report.conclusion, ConflictReport::Conclusion::kNoneHere);
    EXPECT_EQ(report.complaint, kConflict);
    ASSERT_EQ(report.layers.size(), 2U);
    for (const auto& layer : report.layers) {
      EXPECT_EQ(layer.own, absl::OkStatus()) << layer.layer;
      EXPECT_THAT(Say(layer.sighting), StartsWith("taken by ")) << layer.layer;
    }
  }
  std::filesystem::rename(scope.Object(), scope.directory() / "moved");
  Claimant::Setup only_file = scope.Another();
  only_file.policy = "file";
  Claimant other(only_file);
  ASSERT_TRUE(other.unique()) << other.verdict();
  const ConflictReport report = guard.ReportConflict(kConflict);
  EXPECT_EQ(report.conclusion, ConflictReport::Conclusion::kFound);
  ASSERT_TRUE(report.layers[0].own.has_value());
  EXPECT_TRUE(absl::IsDataLoss(*report.layers[0].own)) << *report.layers[0].own;
  ASSERT_FALSE(report.search.found.empty());
  EXPECT_EQ(report.search.found.front().process.pid, other.pid());
  EXPECT_THAT(report.search.found.front().why, ::testing::Contains(HasSubstr("has layer file")));
  EXPECT_THAT(report.next, ::testing::Contains(HasSubstr("is lost")));
}

TEST(GuardConflict, H33_AForkedChildHasNoClaimToReportOn) {
  const TestScope scope("file");
  Verdict verdict = scope.Acquire();
  ASSERT_TRUE(IsUnique(verdict)) << Say(verdict);
  const Guard& guard = std::get<Unique>(verdict).guard;
  EXPECT_EQ(InChild([&]() -> std::string {
              const ConflictReport report = guard.ReportConflict(kConflict);
              return report.layers.at(0).own.has_value() ? "as if it were its own" : "not its own";
            }),
            "not its own");
}

}  // namespace
}  // namespace soleguard::testing
