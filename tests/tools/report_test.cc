#include "report.h"

#include <string>
#include <vector>

#include <absl/time/time.h>
#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "soleguard/process.h"
#include "soleguard/text.h"
#include "support/program.h"

namespace guardcheck {
namespace {

using soleguard::Duplicate;
using soleguard::Holder;
using soleguard::HolderRecord;
using soleguard::LayerReport;
using soleguard::Standing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

using Words = std::vector<std::string>;

TEST(MaskSecrets, HidesTheNextWordOrWhatFollowsTheEqualsSign) {
  EXPECT_THAT(MaskSecrets({"bot", "--password", "hunter2", "--verbose"}),
              ElementsAre("bot", "--password", "***", "--verbose"));
  EXPECT_THAT(MaskSecrets({"bot", "--password=hunter2", "x"}),
              ElementsAre("bot", "--password=***", "x"));
  EXPECT_THAT(MaskSecrets({"bot", "-token", "hunter2"}), ElementsAre("bot", "-token", "***"));
  EXPECT_THAT(MaskSecrets({"bot", "--secret=a=b"}), ElementsAre("bot", "--secret=***"));
  EXPECT_THAT(MaskSecrets({"bot", "--api-key="}), ElementsAre("bot", "--api-key=***"));
}

TEST(MaskSecrets, KnowsEachOptionThatItPromises) {
  for (const char* option :
       {"--password", "--passwd", "--token", "--secret", "--api-key", "--apikey", "--access-key"}) {
    EXPECT_THAT(MaskSecrets({option, "hunter2"}), ElementsAre(option, "***"));
  }
}

// A secret that looks like an option is one all the same.
TEST(MaskSecrets, HidesWhateverFollows) {
  EXPECT_THAT(MaskSecrets({"--password", "--token", "visible"}),
              ElementsAre("--password", "***", "visible"));
  EXPECT_THAT(MaskSecrets({"--password", ""}), ElementsAre("--password", "***"));
  EXPECT_THAT(MaskSecrets({"bot", "--password"}), ElementsAre("bot", "--password"));
}

TEST(MaskSecrets, LeavesEverythingElse) {
  const Words words = {"bot", "password", "hunter2", "--passwords", "a",   "---token", "b",
                       "-",   "--",       "",        "=",           "--=c"};
  EXPECT_EQ(MaskSecrets(words), words);
  EXPECT_EQ(MaskSecrets({}), Words());
}

// What is shown can be typed: bash makes the same bytes of it.
TEST(ShellWord, IsReadBackByBash) {
  for (const std::string& word : Words{"plain",
                                       "/a/b.c-d_e",
                                       "--key=value",
                                       "",
                                       "two words",
                                       "it's",
                                       "$HOME",
                                       "`id`",
                                       "a\\b",
                                       "a'b\\c",
                                       "bad \xff byte",
                                       "\x1b[31mred",
                                       "line\nline",
                                       "tab\tit's",
                                       "größe",
                                       "*",
                                       "~",
                                       "#",
                                       "!x",
                                       "line\xe2\x80\xa8separator"}) {
    const soleguard::testing::Finished bash =
        soleguard::testing::RunProgram({.argv = {"bash", "-c", "printf %s " + ShellWord(word)}});
    EXPECT_EQ(bash.output, word) << ShellWord(word);
    EXPECT_EQ(bash.errors, "");
    EXPECT_EQ(ShellWord(word).find_first_of("\x1b\n\t\xff"), std::string::npos);
  }
  EXPECT_EQ(ShellWord("plain"), "plain");
}

constexpr char kHostile[] = "\x1b]0;owned\x07\xff\"\\\n";

// A record as a hostile neighbour would write it, of a process of another pid namespace: nothing of
// it can be read live, so all of it is shown.
Duplicate HostileDuplicate() {
  HolderRecord record;
  record.state = soleguard::RecordState::kEstablished;
  record.name = kHostile;
  record.scope = kHostile;
  record.identity = {.boot_id = soleguard::OwnIdentity()->boot_id,
                     .pid_namespace = 1,
                     .pid = 4711,
                     .start_ticks = 7};
  record.hostname = kHostile;
  record.user = kHostile;
  record.executable = kHostile;
  record.working_directory = kHostile;
  record.started = absl::FromUnixSeconds(0);
  record.policy = kHostile;
  record.layers = {kHostile};
  record.token = 12345;
  record.version = kHostile;
  Duplicate duplicate;
  duplicate.holder = {
      .standing = Standing::kEstablished, .record = record, .processes = {}, .evidence = "seen"};
  duplicate.layers = {
      {.layer = kHostile, .outcome = LayerReport::Outcome::kContested, .holder = duplicate.holder}};
  return duplicate;
}

TEST(Report, H34_ARefusalShowsNoControlCharacterAndNoBrokenText) {
  const std::string text = RefusalText("x", {}, HostileDuplicate());
  EXPECT_EQ(text.find_first_of("\x1b\x07\xff"), std::string::npos) << text;
  EXPECT_THAT(text, HasSubstr("\\x1b]0;owned\\x07\\xff\"\\\\\\x0a"));
  EXPECT_THAT(text, HasSubstr("4711"));
  EXPECT_THAT(text, HasSubstr("12345"));
  EXPECT_THAT(text, HasSubstr("1970-01-01 00:00:00 UTC"));
}

TEST(Report, H34_JsonIsValidAndLosesNoByte) {
  const std::string text = boost::json::serialize(RefusalJson("x", {}, HostileDuplicate()));
  boost::json::error_code error;
  const boost::json::value parsed = boost::json::parse(text, error);  // checks UTF-8 too
  ASSERT_FALSE(error) << error.message();
  const auto& record = parsed.at("holder").at("record");
  for (const char* key : {"name", "scope", "hostname", "user", "executable", "cwd", "policy"}) {
    const std::string shown(record.at(key).as_string());
    EXPECT_EQ(soleguard::UnescapeBytes(shown), kHostile) << key;
  }
}

TEST(Report, ARefusalByAHolderWithAnotherPolicySaysSo) {
  Duplicate duplicate = HostileDuplicate();
  Common common;
  common.policy = *soleguard::Policy::Parse("available");
  duplicate.holder.record->policy = "all(file, mutex, port)";
  EXPECT_THAT(RefusalText("x", common, duplicate),
              HasSubstr("\nIt was started under policy all(file, mutex, port), this start under "
                        "at_least(2, file, mutex, port).\nBoth must use the same"));
  EXPECT_EQ(RefusalJson("x", common, duplicate).at("same_policy"), false);

  common.policy = soleguard::Policy::Default();
  EXPECT_THAT(RefusalText("x", common, duplicate), Not(HasSubstr("It was started under")));
  EXPECT_EQ(RefusalJson("x", common, duplicate).at("same_policy"), true);

  duplicate.holder.standing = Standing::kUnknown;  // the record is an earlier holder's
  EXPECT_THAT(RefusalText("x", {}, duplicate), Not(HasSubstr("It was started under")));
  EXPECT_TRUE(RefusalJson("x", {}, duplicate).at("same_policy").is_null());
}

// The number belongs to somebody else here.
TEST(Report, DoesNotOfferToKillAPidOfAnotherNamespace) {
  EXPECT_THAT(RefusalText("x", {}, HostileDuplicate()), Not(HasSubstr("kill")));
}

// Without them the next command would look at another place, and say that nothing runs.
TEST(Report, NextStepsNameTheScopeAndThePolicy) {
  Common common;
  EXPECT_THAT(RefusalText("x", common, {}), HasSubstr("guardcheck status x\n"));
  common.options.scope = *soleguard::Scope::Directory("/run/my bots");
  common.policy = *soleguard::Policy::Parse("any(file, file(path=/run/lock/x.lock))");
  EXPECT_THAT(RefusalText("it's", common, {}),
              HasSubstr("guardcheck status 'it'\\''s' --scope '/run/my bots' --policy "
                        "'any(file, file(path=/run/lock/x.lock))'\n"));
}

TEST(Report, ARefusalWithoutAnyEvidenceOfTheHolderSaysSo) {
  EXPECT_THAT(RefusalText("x", {}, {}), HasSubstr("No record names a live process"));
}

}  // namespace
}  // namespace guardcheck
