// guardcheck explain: what it says of a policy, for people and for programs.
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

Finished Explain(const std::string& policy, const Words& options = {}) {
  return RunProgram({.argv = Words{Beside("guardcheck"), "explain", policy} + options});
}

TEST(Explain, H22_Is0ForASafePolicyAnd69ForAnUnsafeOneAnd64ForNone) {
  for (const char* policy : {"default", "strict", "available", "file", "all(file, scan)"}) {
    EXPECT_EQ(Explain(policy).code, 0) << policy;
    EXPECT_EQ(Explain(policy, {"--json"}).code, 0) << policy;
  }
  for (const char* policy : {"any(file, port)", "scan", "all(file, veto=off)"}) {
    EXPECT_EQ(Explain(policy).code, 69) << policy;
    EXPECT_EQ(Explain(policy, {"--json"}).code, 69) << policy;
  }
  for (const char* policy : {"", "all(file", "any(strict)"}) {
    EXPECT_EQ(Explain(policy).code, 64) << policy;
    EXPECT_EQ(Explain(policy, {"--json"}).code, 64) << policy;
  }
}

TEST(Explain, SaysWhatASafePolicyNeedsAndSurvives) {
  const Finished explain = Explain("available");
  EXPECT_EQ(explain.errors, "");
  EXPECT_THAT(explain.output, StartsWith("Policy at_least(2, file, mutex, port)\n\nSAFE."));
  EXPECT_THAT(explain.output, HasSubstr("A start needs one of these sets\n"
                                        "  file, mutex\n  file, port\n  mutex, port\n"));
  EXPECT_THAT(explain.output, HasSubstr("a start:     1 broken layer\n"));
  EXPECT_THAT(explain.output,
              HasSubstr("exclusion:   2 destroyed claims, when every layer works for both\n"
                        "               0 destroyed claims, when only the fewest"));
  EXPECT_THAT(explain.output,
              HasSubstr("Single events after which nobody starts until they are mended\n"
                        "  scope-directory-squatted: another user made the scope's directory first"
                        "\n      unavailable: file, port\n"));
}

TEST(Explain, ShowsHowTwoGetInUnderAnUnsafePolicy) {
  EXPECT_THAT(Explain("any(file, port)").output,
              HasSubstr("UNSAFE. Two instances can run.\n"
                        "  A process for which only file works and one for which only port works\n"
                        "  share no layer that excludes: both can run.\n"));
  EXPECT_THAT(Explain("any(file, scan)").output,
              HasSubstr("scan meets the policy and excludes nobody"));
  EXPECT_THAT(Explain("all(file, port, veto=off)").output,
              HasSubstr("UNSAFE. Two instances can run.\n  veto=off: one layer's yes may outvote"));
  EXPECT_THAT(Explain("all(file, port)").output, Not(HasSubstr("veto")));
}

TEST(Explain, JsonHasTheKeysOfTheReference) {
  const boost::json::object json = ParseObject(Explain("any(file, port)", {"--json"}).output);
  EXPECT_THAT(Keys(json),
              ElementsAre("schema", "policy", "safety", "veto", "exclusive", "minimal_sets",
                          "minimal_sets_complete", "counter_example", "layers_to_break",
                          "claims_to_destroy", "claims_to_destroy_at_worst", "events", "cautions"));
  EXPECT_EQ(json.at("policy"), "any(file, port)");
  EXPECT_EQ(json.at("safety"), "unsafe");
  EXPECT_EQ(json.at("veto"), true);
  EXPECT_EQ(boost::json::serialize(json.at("exclusive")), R"(["file","port"])");
  EXPECT_EQ(boost::json::serialize(json.at("minimal_sets")), R"([["file"],["port"]])");
  EXPECT_EQ(boost::json::serialize(json.at("counter_example")), R"([["file"],["port"]])");
  EXPECT_EQ(json.at("layers_to_break"), 2);
  EXPECT_EQ(json.at("claims_to_destroy"), 2);
  EXPECT_EQ(json.at("claims_to_destroy_at_worst"), 0);
  const boost::json::value& event = json.at("events").at(0);
  EXPECT_THAT(Keys(event), ElementsAre("event", "what", "blinds", "unavailable", "consequence"));

  const boost::json::object safe = ParseObject(Explain("default", {"--json"}).output);
  EXPECT_EQ(safe.at("safety"), "safe");
  EXPECT_TRUE(safe.at("counter_example").is_null());
}

TEST(Explain, H34_ForeignBytesOfAPolicyAreEscaped) {
  const std::string policy = "file(path=/\xff)";
  EXPECT_THAT(Explain(policy).output, HasSubstr("file(path=/\\xff)"));
  const boost::json::object json = ParseObject(Explain(policy, {"--json"}).output);
  EXPECT_EQ(json.at("policy"), "file(path=/\\xff)");
  EXPECT_THAT(Explain("all(\x1b)").errors, HasSubstr("  all(\\x1b)\n      ^\n"));
}

TEST(Explain, MarksTheColumnOfAnError) {
  const Finished foo = Explain("all(file, foo)");
  EXPECT_EQ(foo.output, "");
  EXPECT_THAT(foo.errors, StartsWith("guardcheck: POLICY: column 11: expected a layer"));
  EXPECT_THAT(foo.errors, HasSubstr("\n  all(file, foo)\n            ^\n"));
  EXPECT_THAT(Explain("all(file").errors, HasSubstr("\n  all(file\n          ^\n"));
  // Escapes before it take more columns than bytes, letters of UTF-8 fewer.
  EXPECT_THAT(Explain("all(file(path=/\xff), foo)").errors,
              HasSubstr("\n  all(file(path=/\\xff), foo)\n                        ^\n"));
  EXPECT_THAT(Explain("all(file(path=/ö), foo)").errors,
              HasSubstr("\n  all(file(path=/ö), foo)\n                     ^\n"));
}

TEST(Explain, ALongTextIsCutAroundTheColumn) {
  const std::string errors =
      Explain("all(" + std::string(500, ' ') + "foo, " + std::string(500, 'x') + ")").errors;
  EXPECT_THAT(errors, HasSubstr("\n  ..." + std::string(35, ' ') + "foo, xxxxxxxxxx...\n  " +
                                std::string(38, ' ') + "^\n"));
}

TEST(Explain, OtherCommandsMarkTheColumnOfTheirPolicyToo) {
  const Guardcheck guardcheck;
  const Finished status = guardcheck.Call({"status", "x", "--policy", "all(file, foo)"});
  EXPECT_EQ(status.code, 64);
  EXPECT_THAT(status.errors, StartsWith("guardcheck: --policy: column 11: "));
  EXPECT_THAT(status.errors, HasSubstr("\n  all(file, foo)\n            ^\n"));
}

TEST(Explain, TakesNoCommand) {
  EXPECT_EQ(Explain("file", {"--", "true"}).code, 64);
  EXPECT_EQ(RunProgram({.argv = {Beside("guardcheck"), "explain"}}).code, 64);
}

}  // namespace
}  // namespace soleguard::testing
