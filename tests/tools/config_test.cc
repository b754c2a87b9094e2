// Where the settings of guardcheck come from: the command line, the environment, files.
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <string>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/inspect.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class Config : public ::testing::Test {
 protected:
  void Write(const std::string& text) const { std::ofstream(file_) << text; }

  // What `guardcheck config NAME` says of a setting: "VALUE from ORIGIN".
  std::string InForce(const std::string& name, const std::string& key,
                      const std::map<std::string, std::string>& environment = {}) const {
    const Finished shown =
        RunProgram({.argv = {Beside("guardcheck"), "config", name, "--config", file_, "--json"},
                    .environment = environment});
    if (shown.code != 0) return shown.errors;
    const auto setting = ParseObject(shown.output).at("settings").at(key).as_object();
    const auto text = [](const boost::json::value& value) {
      return value.is_null() ? std::string("nobody") : std::string(value.as_string());
    };
    std::string values;
    for (const boost::json::value& value : setting.at("values").as_array()) {
      absl::StrAppend(&values, values.empty() ? "" : ",", text(value));
    }
    return absl::StrCat(values.empty() ? text(setting.at("default")) : values, " from ",
                        text(setting.at("origin")));
  }
  Finished Check(const std::map<std::string, std::string>& environment = {}) const {
    return guardcheck_.Call({"check", "bot", "--config", file_, "--json"}, environment);
  }

  const Guardcheck guardcheck_;
  const std::string file_ = guardcheck_.directory() / "soleguard.toml";
};

TEST_F(Config, D3_WhatIsSaidOfANameWinsOverWhatIsSaidOfAll) {
  Write(
      "grace = '7s'\n"
      "policy = 'strict'\n"
      "[names.bot]\n"
      "policy = 'all(file, port)'\n"
      "[names.'other.bot']\n"
      "grace = '9s'\n");
  EXPECT_EQ(InForce("bot", "policy"), absl::StrCat("all(file, port) from ", file_, ":4"));
  EXPECT_EQ(InForce("bot", "grace"), absl::StrCat("7s from ", file_, ":1"));
  EXPECT_EQ(InForce("other.bot", "grace"), absl::StrCat("9s from ", file_, ":6"));
  EXPECT_EQ(InForce("other.bot", "policy"), absl::StrCat("strict from ", file_, ":2"));
  EXPECT_EQ(InForce("bot", "settle"), "1s from nobody");
}

TEST_F(Config, D3_TheEnvironmentWinsOverFilesAndTheCommandLineOverBoth) {
  Write("policy = 'file'");
  const auto policy_of = [](const Finished& check) {
    return std::string(ParseObject(check.output).at("policy").as_string());
  };
  EXPECT_EQ(policy_of(Check()), "file");
  EXPECT_EQ(policy_of(Check({{"SOLEGUARD_POLICY", "mutex"}})), "mutex");
  const Finished check =
      guardcheck_.Call({"check", "bot", "--config", file_, "--json", "--policy", "port"},
                       {{"SOLEGUARD_POLICY", "mutex"}});
  EXPECT_EQ(policy_of(check), "port");
  EXPECT_EQ(InForce("bot", "policy", {{"SOLEGUARD_POLICY", "mutex"}}),
            "mutex from SOLEGUARD_POLICY");
}

TEST_F(Config, AFileCanGuardWithAPolicyAndInADirectoryOfItsOwn) {
  Write(absl::StrCat("[names.bot]\nscope = '", guardcheck_.directory() / "elsewhere",
                     "'\npolicy = 'file'\n"));
  const Finished run = RunProgram(
      {.argv = {Beside("guardcheck"), "run", "bot", "--config", file_, "--state-dir",
                guardcheck_.state(), "--", "ls", guardcheck_.directory() / "elsewhere/names/bot"}});
  EXPECT_EQ(run.code, 0) << run.errors;
  EXPECT_THAT(run.output, HasSubstr("lock"));
}

TEST_F(Config, AMistakeIsNamedWithItsLineAndStartsNothing) {
  const std::map<std::string, std::string> mistakes = {
      {"\npolicy = 'all(file'", ":2: policy: column 9: expected"},
      {"grace = 7.5", ":1: grace: expected a string"},
      {"grace = 'soon'", ":1: grace: expected a duration such as 500ms, 30s or 2m, found 'soon'"},
      {"graze = '7s'", ":1: there is no setting 'graze'; guardcheck config NAME lists them"},
      {"[names.other]\ngraze = '7s'", ":2: there is no setting 'graze'"},
      {"[names]\nbot = 3", ":2: expected a table [names.bot]"},
      {"[names.'a/b']", ":1: instance name, byte 2"},
      {"grace = ''", ":1: grace: the value is empty"},
      {"[names.bot]\nscope = []", ":2: scope: the value is empty"},
      {"grace = ['1s', '2s']", ":1: grace: it is said 2 times"},
      {"grace = ", ":1: "},
      {"\xff\xfe", ":1: "}};
  for (const auto& [text, message] : mistakes) {
    Write(text);
    const Finished run =
        guardcheck_.Call({"run", "bot", "--config", file_, "--", "echo", "started"});
    EXPECT_EQ(run.code, 64) << text;
    EXPECT_EQ(run.output, "");
    EXPECT_THAT(run.errors, StartsWith(absl::StrCat("guardcheck: ", file_, message)));
  }
}

TEST_F(Config, AFileThatOthersMayWriteIsRefused) {
  Write("grace = '7s'");
  ASSERT_EQ(chmod(file_.c_str(), 0666), 0);
  const Finished open = Check();
  EXPECT_EQ(open.code, 64);
  EXPECT_THAT(open.errors, HasSubstr("can be written by others; it can name commands: chmod go-w"));

  ASSERT_EQ(chmod(file_.c_str(), 0600), 0);
  EXPECT_EQ(Check().code, 0);
  if (getuid() != 0) GTEST_SKIP() << "only root can give a file away";
  ASSERT_EQ(chown(file_.c_str(), 12345, 12345), 0);
  EXPECT_THAT(Check().errors, HasSubstr("belongs to uid 12345"));
}

TEST_F(Config, AFileThatWasAskedForMustBeThere) {
  EXPECT_THAT(Check().errors, AllOf(HasSubstr("cannot open"), HasSubstr(file_)));
  ASSERT_EQ(mkfifo(file_.c_str(), 0600), 0);
  EXPECT_THAT(Check().errors, HasSubstr("is not a regular file"));
  EXPECT_EQ(Check().code, 64);
}

TEST_F(Config, IsReadableForAPersonToo) {
  Write("grace = '7s'");
  const Finished shown =
      RunProgram({.argv = {Beside("guardcheck"), "config", "bot", "--config", file_}});
  EXPECT_EQ(shown.code, 0);
  EXPECT_THAT(shown.output, AllOf(HasSubstr("grace"), HasSubstr("7s"), HasSubstr(file_ + ":1"),
                                  HasSubstr("settle"), HasSubstr("default")));
}

}  // namespace
}  // namespace soleguard::testing
