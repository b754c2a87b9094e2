// Check: the answer of a start that is not made.
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <iostream>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "soleguard/inspect.h"
#include "soleguard/layer.h"
#include "soleguard/options.h"
#include "soleguard/process.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/kinds.h"
#include "support/referee.h"
#include "support/repeater.h"
#include "support/shared.h"
#include "support/start.h"
#include "support/temp_dir.h"
#include "support/test_scope.h"

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
    for (const std::string& policy : testing::EachAnd(
             {testing::AllExclusive(), testing::AnyExclusive(), testing::TwoExclusive()})) {
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
  for (const std::string& policy : testing::ExclusiveKinds()) {
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

// Beside two that look as fast as they can.
class ManyLooksTest : public CheckTest, public ::testing::WithParamInterface<const char*> {
 protected:
  // The instance is a command that nobody runs: those who look are no copies of it.
  Options OptionsWith(absl::Duration settle, absl::Duration deadline) const {
    Options with = options(settle);
    with.deadline = deadline;
    with.subject = {.argv = {"sleep", path()}, .working_directory = "/"};
    return with;
  }
  const Policy policy_ = *Policy::Parse(GetParam());
  // A look at the process table takes milliseconds.
  const int wanted_ = absl::StrContains(GetParam(), "scan") ? Looks() / 5 : Looks();

  testing::Repeater inspections_{[this] {
    (void)Inspect("x", policy_, OptionsWith(absl::ZeroDuration(), absl::ZeroDuration()));
  }};
  testing::Repeater checks_{[this] {
    (void)Check("x", policy_, OptionsWith(absl::ZeroDuration(), absl::ZeroDuration()));
  }};

  bool GoesOn() const {
    return (inspections_.times() < wanted_ || checks_.times() < wanted_) && inspections_.Lives() &&
           checks_.Lives();
  }
  void ExpectLooked() {
    EXPECT_TRUE(inspections_.End());
    EXPECT_TRUE(checks_.End());
    EXPECT_GE(inspections_.times(), wanted_);
    EXPECT_GE(checks_.times(), wanted_);
  }
};

INSTANTIATE_TEST_SUITE_P(Policies, ManyLooksTest,
                         ::testing::Values("default", "all(file, mutex, port, scan)"),
                         [](const auto& tested) { return testing::TestNameOf(tested.param); });

// Starts that give nobody time to get out of the way: a lock that a looker
// took, however shortly, would refuse one of them.
TEST_P(ManyLooksTest, DisturbNoStart) {
  const Options hasty = OptionsWith(absl::ZeroDuration(), absl::ZeroDuration());
  int starts = 0;
  for (; starts == 0 || GoesOn(); ++starts) {
    const Verdict verdict = Guard::Acquire("x", policy_, hasty);
    const auto* unique = std::get_if<Unique>(&verdict);
    ASSERT_NE(unique, nullptr) << "start " << starts << ": " << testing::Say(verdict);
    EXPECT_TRUE(unique->guard.Verify().ok());
  }
  ExpectLooked();
  std::cout << starts << " starts, " << inspections_.times() << " inspections, " << checks_.times()
            << " checks\n";
}

// Starts that meet each other: each gets the name, or is refused by one of the others, never by one
// that looks; and whom the lookers saw is not what decides.
TEST_P(ManyLooksTest, AreNeverWhoRefusesAStartAmongSeveral) {
  struct Counts : testing::Referee {
    std::atomic<int> refused = 0;
    std::atomic<int> wrong = 0;
    std::array<std::atomic<pid_t>, 4> starters = {};
  };
  const testing::Shared<Counts> counts;
  const testing::Answer wrong;
  const Options patient = OptionsWith(absl::Minutes(1), absl::Minutes(1));
  const auto start = [&] {
    const Verdict verdict = Guard::Acquire("x", policy_, patient);
    if (testing::IsUnique(verdict)) {
      counts->Enter();
      counts->Leave();
      return;
    }
    const std::string said = testing::Say(verdict);
    const bool by_another =
        std::any_of(counts->starters.begin(), counts->starters.end(), [&said](const auto& pid) {
          return said == absl::StrCat("duplicate ", pid.load(), " established");
        });
    if (by_another) {
      ++counts->refused;
    } else {
      ++counts->wrong;
      wrong.Set(said);
    }
  };
  std::deque<testing::Repeater> starters;
  for (std::atomic<pid_t>& pid : counts->starters) {
    starters.emplace_back([&] {
      pid = getpid();
      start();
    });
  }
  const auto started = [&] { return counts->entered + counts->refused; };
  const auto all_live = [&] {
    return std::all_of(starters.begin(), starters.end(),
                       [](const auto& one) { return one.Lives(); });
  };
  while ((GoesOn() || started() < wanted_) && all_live() && counts->wrong == 0) {
    std::this_thread::yield();
  }
  for (testing::Repeater& starter : starters) EXPECT_TRUE(starter.End());
  ExpectLooked();
  EXPECT_EQ(counts->wrong, 0) << wrong.said();
  EXPECT_EQ(counts->overlaps, 0);
  EXPECT_GT(counts->entered, 0);
  std::cout << counts->entered << " starts, " << counts->refused << " refused by another, "
            << inspections_.times() << " inspections, " << checks_.times() << " checks\n";
}

}  // namespace
}  // namespace soleguard
