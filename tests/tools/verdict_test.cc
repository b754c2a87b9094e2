#include "show/verdict.h"

#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/time/time.h>
#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "show/words.h"
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

// setproctitle(3) leaves zeros behind the title; one empty word may be an argument.
TEST(CommandLine, LeavesOutWhatAProcessWithATitleHasLeft) {
  const auto line = [](Words words) { return CommandLine(words).text(); };
  Words title = {"worker: idle"};
  title.resize(29);
  EXPECT_EQ(line(title), "'worker: idle'");
  EXPECT_EQ(line({"bot", "", ""}), "bot");
  EXPECT_EQ(line({"bot", ""}), "bot ''");
  EXPECT_EQ(line({"bot", "", "", "x"}), "bot '' '' x");
  EXPECT_EQ(line(Words(28)), "");
}

TEST(MaskSecrets, KnowsVariablesAndNamesThatEndSo) {
  EXPECT_THAT(MaskSecrets({"env", "API_KEY=a", "DB_PASSWORD=b", "PATH=/bin", "bot"}),
              ElementsAre("env", "API_KEY=***", "DB_PASSWORD=***", "PATH=/bin", "bot"));
  EXPECT_THAT(MaskSecrets({"bot", "--bot-token", "a", "--Client-Secret=b"}),
              ElementsAre("bot", "--bot-token", "***", "--Client-Secret=***"));
  const Words words = {"bot", "--token-file", "a", "--untoken=b", "MONKEY=c", "x=--token=d"};
  EXPECT_EQ(MaskSecrets(words), words);
}

TEST(CommandLine, OfALongOneTheBeginningIsShownAndItsLength) {
  const Words many(5000, "word");
  const std::string text = CommandLine(many).text();
  EXPECT_LT(text.size(), 1100u);
  EXPECT_THAT(text, testing::StartsWith("word word "));
  EXPECT_THAT(text, testing::EndsWith("… (25,000 bytes, 5,000 words)"));
  // Within a word, and not within a letter.
  const std::string word = CommandLine({"x" + std::string(3000, 'a')}).text();
  EXPECT_THAT(word, testing::EndsWith("a… (3,002 bytes, 1 word)"));
  std::string letters;
  for (int i = 0; i < 1000; ++i) letters += "ö";
  for (const char* before : {"", "x"}) {
    EXPECT_THAT(CommandLine({before + letters}).text(), Not(HasSubstr("\\x")));
  }
  EXPECT_THAT(CommandLine(Words(10, "word")).text(), Not(HasSubstr("…")));
}

TEST(Json, NumbersAreWrittenAsAPersonWritesThem) {
  EXPECT_EQ(Line(Json::Object({{"a", 15.6}, {"b", 0.0}, {"c", 1e9}, {"d", -0.25}, {"e", 7}})),
            R"({"a":15.6,"b":0.0,"c":1000000000.0,"d":-0.25,"e":7})");
  EXPECT_EQ(Line(Json::Array()), "[]");
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
    const soleguard::testing::Finished bash = soleguard::testing::RunProgram(
        {.argv = {"bash", "-c", "printf %s " + ShellWord(word).text()}});
    EXPECT_EQ(bash.output, word) << ShellWord(word).text();
    EXPECT_EQ(bash.errors, "");
    EXPECT_EQ(ShellWord(word).text().find_first_of("\x1b\n\t\xff"), std::string::npos);
  }
  EXPECT_EQ(ShellWord("plain").text(), "plain");
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

// What a person or a program is shown is escaped once: the compiler sees to it.
template <typename Text>
constexpr bool kIsTaken = std::is_convertible_v<Text, Shown> || std::is_convertible_v<Text, Json> ||
                          std::is_convertible_v<Text, Part>;
static_assert(kIsTaken<Shown>);
static_assert(kIsTaken<decltype(("a literal"))>);
static_assert(!kIsTaken<std::string> && !kIsTaken<std::string_view> && !kIsTaken<const char*>);
static_assert(!kIsTaken<char (&)[7]>);  // a buffer

TEST(Shown, IsEscapedOnceWhereverItComesFrom) {
  EXPECT_EQ(Escape("b\xff\n\\").text(), "b\\xff\\x0a\\\\");
  // The library has escaped it already. What it forgot makes no terminal and no JSON break.
  const Shown once = Escape(kHostile);
  EXPECT_EQ(Said(once.text()), once);
  EXPECT_EQ(Said(std::string("\x1b[31m\xff")).text(), "\\x1b[31m\\xff");
  EXPECT_EQ(Text("name ", once, " of ", 2), Said(absl::StrCat("name ", once.text(), " of 2")));
  EXPECT_EQ(Line(Json::Object({{"text", once}})),
            boost::json::serialize(boost::json::value{{"text", once.text()}}));
}

TEST(Report, H34_ARefusalShowsNoControlCharacterAndNoBrokenText) {
  const std::string text = RefusalText({.operand = "x"}, HostileDuplicate()).text();
  EXPECT_EQ(text.find_first_of("\x1b\x07\xff"), std::string::npos) << text;
  EXPECT_THAT(text, HasSubstr("\\x1b]0;owned\\x07\\xff\"\\\\\\x0a"));
  EXPECT_THAT(text, HasSubstr("4711"));
  EXPECT_THAT(text, HasSubstr("12345"));
  EXPECT_THAT(text, HasSubstr("1970-01-01 00:00:00 UTC"));
}

TEST(Report, H34_JsonIsValidAndLosesNoByte) {
  const std::string text = Line(RefusalJson("x", {}, HostileDuplicate()));
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
  EXPECT_THAT(RefusalText({.common = common, .operand = "x"}, duplicate).text(),
              HasSubstr("\nIt was started under policy all(file, mutex, port), this start under "
                        "at_least(2, file, mutex, port).\nBoth must use the same"));
  EXPECT_EQ(RefusalJson("x", common, duplicate).value().at("same_policy"), false);

  common.policy = soleguard::Policy::Default();
  EXPECT_THAT(RefusalText({.common = common, .operand = "x"}, duplicate).text(),
              Not(HasSubstr("It was started under")));
  EXPECT_EQ(RefusalJson("x", common, duplicate).value().at("same_policy"), true);

  duplicate.holder.standing = Standing::kUnknown;  // the record is an earlier holder's
  EXPECT_THAT(RefusalText({.operand = "x"}, duplicate).text(),
              Not(HasSubstr("It was started under")));
  EXPECT_TRUE(RefusalJson("x", {}, duplicate).value().at("same_policy").is_null());
}

// The number belongs to somebody else here.
TEST(Report, DoesNotOfferToKillAPidOfAnotherNamespace) {
  EXPECT_THAT(RefusalText({.operand = "x"}, HostileDuplicate()).text(), Not(HasSubstr("kill")));
}

// Without them the next command would look at another place, and say that nothing runs.
TEST(Report, NextStepsNameTheScopeAndThePolicy) {
  Common common;
  EXPECT_THAT(RefusalText({.common = common, .operand = "x"}, {}).text(),
              HasSubstr("guardcheck status x\n"));
  common.options.scope = *soleguard::Scope::Directory("/run/my bots");
  common.policy = *soleguard::Policy::Parse("any(file, file(path=/run/lock/x.lock))");
  EXPECT_THAT(RefusalText({.common = common, .operand = "it's"}, {}).text(),
              HasSubstr("guardcheck status 'it'\\''s' --scope '/run/my bots' --policy "
                        "'any(file, file(path=/run/lock/x.lock))'\n"));
}

TEST(Report, ARefusalWithoutAnyEvidenceOfTheHolderSaysSo) {
  EXPECT_THAT(RefusalText({.operand = "x"}, {}).text(),
              HasSubstr("No record names a live process"));
}

}  // namespace
}  // namespace guardcheck
