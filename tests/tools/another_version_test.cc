// H55: a mixed upgrade. The holder's record is of a newer soleguard: each command sees it at once,
// and says so.
#include <signal.h>

#include <fstream>
#include <functional>
#include <string>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_replace.h>
#include <absl/time/clock.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/claimant.h"
#include "support/record_of_schema_1.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kNewer[] = "a newer soleguard (schema 3)";

class AnotherVersion : public ::testing::Test {
 protected:
  AnotherVersion() {
    EXPECT_TRUE(holder_.unique()) << holder_.verdict();
    Rewrite([](std::string json) {
      return absl::StrReplaceAll(json, {{"\"schema\":1", "\"schema\":3"},
                                        {"\"policy\":\"", "\"rule\":\""},
                                        {"\"hostname\":\"", "\"host\":\""},
                                        {"\"version\":\"", "\"version\":\"9."}});
    });
  }

  // As the holder would have written it.
  void Rewrite(const std::function<std::string(std::string)>& change) const {
    const std::string path = guardcheck_.Object("x", "record");
    std::ifstream file(path, std::ios::binary);
    const std::string area{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    const std::size_t begin = area.find('\n') + 1;
    const std::size_t end = area.find_last_not_of(" \n") + 1;
    std::fstream(path, std::ios::binary | std::ios::in | std::ios::out)
        << AreaOfSchema1(change(area.substr(begin, end - begin)), 99);
  }

  Finished Call(const Words& words) const {
    return guardcheck_.Call(words, {{"SOLEGUARD_POLICY", "file"}});
  }

  const Guardcheck guardcheck_;
  Claimant holder_{{.scope = guardcheck_.scope(), .policy = "file"}};
};

TEST_F(AnotherVersion, H55_AStartIsRefusedAsFastAsByAnyOther) {
  const absl::Time before = absl::Now();
  // One that cannot be told would be waited for as long.
  const Finished refused = Call({"run", "x", "--settle", "100s", "--", "true"});
  EXPECT_EQ(refused.code, 75) << refused.errors;
  EXPECT_LT(absl::Now() - before, absl::Seconds(50));
  EXPECT_THAT(refused.errors, HasSubstr(absl::StrCat(kNewer, ", version 9.")));
  EXPECT_THAT(refused.errors, HasSubstr(absl::StrCat(holder_.pid())));
  EXPECT_THAT(refused.errors, Not(HasSubstr("infinite")));
  EXPECT_THAT(refused.errors, Not(HasSubstr("was started under policy")));
  EXPECT_EQ(Call({"check", "x", "--settle", "100s"}).code, 75);
}

TEST_F(AnotherVersion, H55_StatusListAndDoctorSayIt) {
  const Finished status = Call({"status", "x"});
  EXPECT_EQ(status.code, 0) << status.errors;
  EXPECT_THAT(status.output, HasSubstr(kNewer));
  EXPECT_THAT(status.output, HasSubstr(absl::StrCat("pid         ", holder_.pid())));
  const auto json = ParseObject(Call({"status", "x", "--json"}).output);
  const auto& record = json.at("holder").as_object().at("record").as_object();
  EXPECT_EQ(record.at("schema"), 3);
  EXPECT_TRUE(record.at("started").is_null());
  const Finished list = Call({"list"});
  EXPECT_EQ(list.code, 0) << list.errors;
  EXPECT_THAT(list.output, HasSubstr(absl::StrCat(holder_.pid())));
  EXPECT_THAT(list.output, Not(HasSubstr("infinite")));
  EXPECT_THAT(Call({"doctor", "x"}).output, HasSubstr(kNewer));
}

TEST_F(AnotherVersion, H55_SendSaysItWhereItIsNotDelivered) {
  const Finished sent = Call({"send", "x", "--timeout", "200ms", "--", "hello"});
  EXPECT_EQ(sent.code, 75) << sent.errors;
  EXPECT_THAT(sent.errors, HasSubstr(kNewer));
  EXPECT_EQ(holder_.Ask("receive"), "receives");
  const Finished delivered = Call({"send", "x", "--", "hello"});
  EXPECT_EQ(delivered.code, 0) << delivered.errors;
}

TEST_F(AnotherVersion, H55_StopEndsItAndNobodyElse) {
  const Finished stopped = Call({"stop", "x"});
  EXPECT_EQ(stopped.code, 0) << stopped.errors;
  EXPECT_THAT(stopped.output,
              HasSubstr(absl::StrCat("pid ", holder_.pid(), " (holder, guarded by ", kNewer, ")")));
  EXPECT_EQ(holder_.program().Wait(), 128 + SIGTERM);
}

// The identity is checked there too: a stranger who has the pid by now is not signalled.
TEST_F(AnotherVersion, H55_H16_StopDoesNotHitAStranger) {
  Rewrite([](std::string json) {
    return absl::StrReplaceAll(json, {{"\"start_ticks\":", "\"start_ticks\":1"}});
  });
  const Finished stopped = Call({"stop", "x", "--timeout", "100ms"});
  EXPECT_NE(stopped.code, 0) << stopped.output;
  EXPECT_EQ(holder_.Ask("verify"), "ok");
}

TEST_F(AnotherVersion, H55_GcLeavesWhatIsANewerOnes) {
  const Finished kept = Call({"gc", "x"});
  EXPECT_EQ(kept.code, 0) << kept.errors;
  EXPECT_THAT(kept.output, HasSubstr("kept x: in use by pid"));
  EXPECT_THAT(kept.output, HasSubstr(kNewer));
  holder_.program().Signal(SIGKILL);
  (void)holder_.program().Wait();
  // Its layers are not known.
  EXPECT_THAT(Call({"gc", "x"}).output, HasSubstr("use its gc"));
  // It is in nobody's way.
  EXPECT_EQ(Call({"run", "x", "--", "true"}).code, 0);
  EXPECT_THAT(Call({"gc", "x"}).output, HasSubstr("removed x"));
}

}  // namespace
}  // namespace soleguard::testing
