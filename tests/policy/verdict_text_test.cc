// What a verdict says to a person.
#include "soleguard/verdict_text.h"

#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "support/child.h"
#include "support/test_scope.h"

namespace soleguard {
namespace {

using ::testing::AllOf;
using testing::Child;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using testing::TestScope;

class VerdictText : public ::testing::Test {
 protected:
  // Holds the name, from that working directory.
  Child Running(const std::string& directory = "/") const {
    return Child([this, directory]() -> std::string {
      std::filesystem::current_path(directory);
      static const Verdict verdict = scope_.Acquire();
      return testing::Say(verdict);
    });
  }
  // The words before the values, of the lines of a process.
  static std::vector<std::string> KeysOf(const soleguard::Holder& holder) {
    std::vector<std::string> keys;
    const std::vector<ProcessFacts> processes = FactsOf(holder);
    for (const Fact& fact : processes.at(0).facts) keys.push_back(fact.key);
    return keys;
  }

  const TestScope scope_{"all(file, mutex)"};
};

TEST_F(VerdictText, ADuplicateSaysWhoHasTheNameAndWhatTheLayersSay) {
  const Child holder = Running();
  const std::string text = ToString(scope_.Acquire());
  EXPECT_THAT(text, StartsWith("x is already running; this start was refused.\n\nWho holds it\n"));
  for (const std::string& line :
       {absl::StrCat("  pid         ", holder.pid(), "\n"),
        absl::StrCat(" (uid ", geteuid(), ")\n"), std::string("  directory   /\n"),
        std::string("  started     20"), std::string("  executable  /"),
        std::string("\nWhat the layers say\n  file        contested: "),
        std::string("; the holder is established\n")}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

// The caller's terminal gets it.
TEST_F(VerdictText, H34_ForeignBytesAreEscaped) {
  const std::string directory = scope_.directory() / "a\n\x1b[31m";
  std::filesystem::create_directory(directory);
  const Child holder = Running(directory);
  EXPECT_THAT(ToString(scope_.Acquire()), HasSubstr("/a\\x0a\\x1b[31m\n"));
  const std::string undetermined =
      ToString(Undetermined{.status = absl::UnavailableError("a\n\x1b[31m"), .layers = {}});
  EXPECT_THAT(undetermined, HasSubstr("  a\\x0a\\x1b[31m\n"));
}

TEST_F(VerdictText, ArgumentsAreLeftOut) {
  const Child holder = Running();
  const auto verdict = scope_.Acquire();
  const std::vector<ProcessFacts> facts = FactsOf(std::get<Duplicate>(verdict).holder);
  ASSERT_TRUE(facts.at(0).process.has_value());
  // gtest_filter and the like: those of this test.
  for (std::size_t i = 1; i < facts[0].process->argv.size(); ++i) {
    EXPECT_THAT(ToString(verdict), Not(HasSubstr(facts[0].process->argv[i])));
  }
}

TEST_F(VerdictText, OfAHolderThatHasEndedItSaysWhatItsRecordSaid) {
  Child holder = Running();
  const auto verdict = scope_.Acquire();
  holder.Kill();
  const soleguard::Holder& gone = std::get<Duplicate>(verdict).holder;
  EXPECT_EQ(KeysOf(gone),
            (std::vector<std::string>{"pid", "started", "user", "executable", "directory", "state",
                                      "token", "policy", "host"}));
  EXPECT_THAT(ToString(verdict), HasSubstr("  state       has ended\n"));
}

TEST_F(VerdictText, ItSaysWhyTheHolderWasNotWaitedForOrReplaced) {
  const Child holder = Running();
  Verdict verdict = scope_.Acquire();
  Duplicate& duplicate = std::get<Duplicate>(verdict);
  duplicate.not_awaited = absl::FailedPreconditionError("it is an ancestor");
  EXPECT_THAT(ToString(verdict),
              StartsWith("x is already running, and is not waited for: it is an ancestor.\n"));
  duplicate.not_replaced = absl::FailedPreconditionError("nobody may signal it");
  EXPECT_THAT(ToString(verdict),
              StartsWith("x is already running, and was not replaced: nobody may signal it.\n"));
}

TEST_F(VerdictText, WithoutARecordItShowsWhoMayBeIt) {
  const Child stranger([] { return "lives"; });
  const soleguard::Holder holder{.standing = Standing::kUnknown,
                                 .record = {},
                                 .processes = {*IdentityOf(stranger.pid())},
                                 .evidence = "it is locked"};
  EXPECT_THAT(ToString(Duplicate{.holder = holder, .layers = {}}),
              AllOf(StartsWith("Another instance is already running; "),
                    HasSubstr(absl::StrCat("  pid         ", stranger.pid(),
                                           " (has the lock; no record names it)\n"))));
  EXPECT_THAT(ToString(Duplicate{.holder = {.evidence = "it is locked"}, .layers = {}}),
              HasSubstr("Who holds it\n  it is locked; the holder is unknown\n"));
}

TEST_F(VerdictText, TheOthersSayWhichTheyAre) {
  EXPECT_EQ(ToString(scope_.Acquire()), "This process is the only instance of x.\n");
  const std::string text = ToString(Guard::Acquire("a/b"));
  EXPECT_THAT(text, StartsWith("It could not be determined whether another instance runs, so this "
                               "start was refused.\n  "));
}

}  // namespace
}  // namespace soleguard
