// Check: the answer of a start that is not made.
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/shared.h"
#include "support/temp_dir.h"

namespace soleguard {
namespace {

using Decision = Arbiter::Decision;
using testing::Claimant;
using ::testing::Contains;
using ::testing::HasSubstr;

class CheckTest : public ::testing::Test {
 protected:
  Options options(absl::Duration settle = absl::Milliseconds(20)) const {
    return {.scope = *Scope::Directory(path())->WithStateDirectory(path() + "/state"),
            .settle = settle};
  }
  Forecast Ask(const std::string& policy = "all(file, mutex, port)") const {
    return *Check("x", *Policy::Parse(policy), options());
  }
  Decision Start(const std::string& policy) const {
    const Verdict verdict = Guard::Acquire("x", *Policy::Parse(policy), options());
    if (std::holds_alternative<Unique>(verdict)) return Decision::kUnique;
    return std::holds_alternative<Duplicate>(verdict) ? Decision::kDuplicate
                                                      : Decision::kUndetermined;
  }
  void ExpectTheAnswerOfAStart(const std::string& situation) const {
    for (const char* policy : {"file", "mutex", "port", "all(file, mutex, port)",
                               "any(file, mutex, port)", "at_least(2, file, mutex, port)"}) {
      EXPECT_EQ(Ask(policy).decision, Start(policy)) << situation << ", " << policy;
    }
  }
  std::string path() const { return directory_ / "scope"; }

 private:
  const testing::TempDir directory_;
};

TEST_F(CheckTest, TakesNothingAndCreatesNothing) {
  EXPECT_EQ(Ask().decision, Decision::kUnique);
  EXPECT_FALSE(std::filesystem::exists(path()));
  EXPECT_EQ(Start("all(file, mutex, port)"), Decision::kUnique);
}

TEST_F(CheckTest, AnInvalidNameIsAnError) {
  EXPECT_TRUE(absl::IsInvalidArgument(Check("a/b", Policy::Default(), options()).status()));
}

TEST_F(CheckTest, SaysWhatAStartWouldFind) {
  ExpectTheAnswerOfAStart("never used");
  ExpectTheAnswerOfAStart("used");
  {
    Claimant holder({.scope = path(), .policy = "all(file, mutex, port)"});
    ASSERT_TRUE(holder.unique()) << holder.verdict();
    ExpectTheAnswerOfAStart("held");
    holder.program().Signal(SIGSTOP);
    holder.program().WaitUntilStopped();
    ExpectTheAnswerOfAStart("held and frozen");
    holder.program().Signal(SIGKILL);
  }
  ExpectTheAnswerOfAStart("free after a SIGKILL");
  for (const char* policy : {"file", "mutex", "port"}) {
    Claimant holder({.scope = path(), .policy = policy});
    ASSERT_TRUE(holder.unique()) << holder.verdict();
    ExpectTheAnswerOfAStart(std::string("held under ") + policy);
  }
  std::filesystem::remove_all(path() + "/names");
  std::filesystem::create_symlink("/", path() + "/names");  // planted
  ExpectTheAnswerOfAStart("the file layer cannot tell");
}

// A start stops at the first one; a person wants to know what each sees.
TEST_F(CheckTest, AsksTheLayersBehindTheOneThatDecides) {
  Claimant holder({.scope = path(), .policy = "file"});
  ASSERT_TRUE(holder.unique());
  const Forecast forecast = Ask();
  EXPECT_EQ(forecast.decision, Decision::kDuplicate);
  EXPECT_EQ(forecast.holder->record->identity, *IdentityOf(holder.pid()));
  const auto& layers = forecast.inspection.layers;
  ASSERT_EQ(layers.size(), 3U);
  EXPECT_TRUE(std::holds_alternative<Taken>(layers[0].sighting));
  EXPECT_TRUE(std::holds_alternative<Free>(layers[1].sighting));
  EXPECT_TRUE(std::holds_alternative<Free>(layers[2].sighting));
}

TEST_F(CheckTest, H27_WaitsForADyingHolderAsAStartDoes) {
  Claimant holder({.scope = path()});
  ASSERT_TRUE(holder.unique());
  ASSERT_EQ(holder.Ask("allocate"), "touched");
  holder.program().Signal(SIGKILL);
  EXPECT_EQ(Ask().decision, Decision::kUnique);
}

// It holds no lock that can be asked for without taking one.
TEST_F(CheckTest, H29_AForeignLockerIsFoundAndNamed) {
  ASSERT_EQ(Start("file"), Decision::kUnique);  // makes the lock file
  const testing::Child locker([this] {
    const int lock = open((path() + "/names/x/lock").c_str(), O_RDWR | O_CLOEXEC);
    return std::string(flock(lock, LOCK_EX | LOCK_NB) == 0 ? "locked" : "failed");
  });
  ASSERT_EQ(locker.answer(), "locked");
  const Forecast forecast = Ask();
  EXPECT_EQ(forecast.decision, Decision::kDuplicate);
  EXPECT_THAT(forecast.holder->processes, Contains(*IdentityOf(locker.pid())));
}

TEST_F(CheckTest, ACommandThatIsHandedOnNeedsTheDirectoryWhateverThePolicy) {
  Options handing_on = options();
  handing_on.hand_on = true;
  const Verdict verdict = Guard::Acquire("x", *Policy::Parse("port"), handing_on);
  ASSERT_TRUE(std::holds_alternative<Unique>(verdict));
  const auto forecast = Check("x", *Policy::Parse("mutex"), handing_on);
  ASSERT_TRUE(forecast.ok());
  EXPECT_EQ(forecast->decision, Decision::kDuplicate);
  EXPECT_EQ(forecast->inspection.layers.at(0).layer, "file");
  EXPECT_EQ(Check("x", *Policy::Parse("mutex"), options())->decision, Decision::kUnique);
}

// Of each kind; more under ctest --preset soak.
int Looks() {
  const char* looks = std::getenv("SOLEGUARD_TEST_LOOKS");
  return looks != nullptr ? std::stoi(looks) : 500;
}

// Starts that give nobody time to get out of the way: a lock that a looker
// took, however shortly, would refuse one of them.
TEST_F(CheckTest, ManyLooksDisturbNoStart) {
  const testing::Shared<std::atomic<int>> looks;
  const int count = Looks();
  const auto look = [&](auto&& once) {
    const pid_t looker = fork();
    if (looker != 0) return looker;
    for (int i = 0; i < count; ++i) {
      once();
      ++*looks;
    }
    _exit(0);
  };
  const Policy policy = Policy::Default();
  const Options hasty = {
      .scope = options().scope, .deadline = absl::ZeroDuration(), .settle = absl::ZeroDuration()};
  const std::vector<pid_t> lookers = {look([&] { (void)Inspect("x", policy, hasty); }),
                                      look([&] { (void)Check("x", policy, hasty); })};
  const auto wanted = count * static_cast<int>(lookers.size());
  int starts = 0;
  for (; *looks < wanted; ++starts) {
    const Verdict verdict = Guard::Acquire("x", policy, hasty);
    const auto* unique = std::get_if<Unique>(&verdict);
    ASSERT_NE(unique, nullptr) << "start " << starts << " beside look " << *looks;
    EXPECT_TRUE(unique->guard.Verify().ok());
  }
  for (const pid_t looker : lookers) EXPECT_EQ(waitpid(looker, nullptr, 0), looker);
  EXPECT_GT(starts, 0);
}

}  // namespace
}  // namespace soleguard
