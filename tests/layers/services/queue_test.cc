// The waiting line, with real processes.
#include "soleguard/queue.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "os/lock.h"
#include "soleguard/name.h"
#include "soleguard/process.h"
#include "support/child.h"
#include "support/temp_dir.h"
#include "support/traced.h"

namespace soleguard {
namespace {

using ::testing::AllOf;
using testing::Child;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Traced;

class QueueTest : public ::testing::Test {
 protected:
  std::unique_ptr<Queue> Make() const {
    return MakeQueue(*Scope::Directory(directory_ / "scope"), *InstanceName::Parse("x"));
  }
  // Joins the line, in a child, until that ends.
  std::string Join(Queue::Line line) const {
    static std::unique_ptr<Queue> queue;
    queue = Make();
    return queue->Join(line).ToString();
  }
  // A process that joins the line and stays in it.
  Child Joined() const {
    return Child([this] { return Join(Queue::Line::kStandbys); });
  }
  static bool SomebodyIsAheadOf(Queue& queue) {
    const auto ahead = queue.WhoIsAhead();
    EXPECT_TRUE(ahead.ok()) << ahead.status();
    return ahead.ok() && ahead->has_value();
  }
  // Until whoever is ahead has left.
  static bool Woken(Queue& queue) {
    const auto ahead = queue.WhoIsAhead();
    return ahead.ok() && ahead->has_value() && WaitForAny((*ahead)->wake, absl::Seconds(30));
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(directory_ / "scope/names/x")) {
      files.push_back(entry.path().filename());
    }
    std::sort(files.begin(), files.end());
    return files;
  }

  const testing::TempDir directory_;
};

TEST_F(QueueTest, NobodyIsAheadInAnEmptyLineAndLookingCreatesNothing) {
  const auto queue = Make();
  EXPECT_FALSE(SomebodyIsAheadOf(*queue));
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
  EXPECT_TRUE(queue->Join(Queue::Line::kStandbys).ok());
  EXPECT_TRUE(queue->Join(Queue::Line::kStandbys).ok());  // once more does nothing
  EXPECT_FALSE(SomebodyIsAheadOf(*queue));
}

TEST_F(QueueTest, TheNextOneIsWokenWhenWhoIsAheadLeaves) {
  const auto first = Make();
  const auto second = Make();
  ASSERT_TRUE(first->Join(Queue::Line::kStandbys).ok());
  ASSERT_TRUE(second->Join(Queue::Line::kStandbys).ok());
  const auto ahead = second->WhoIsAhead();
  ASSERT_TRUE(ahead.ok() && ahead->has_value());
  EXPECT_FALSE(WaitForAny((*ahead)->wake, absl::Nanoseconds(1)));
  first->Leave();
  EXPECT_TRUE(WaitForAny((*ahead)->wake, absl::Seconds(30)));
  EXPECT_FALSE(SomebodyIsAheadOf(*second));
  second->Leave();
  EXPECT_THAT(Files(), ElementsAre("queue"));
}

TEST_F(QueueTest, ANewcomerWaitsForTheHeadAndAStandbyForTheOneBeforeIt) {
  const auto newcomer = Make();
  const auto head = Make();
  const auto middle = Make();
  const auto last = Make();
  for (Queue* queue : {head.get(), middle.get(), last.get()})
    ASSERT_TRUE(queue->Join(Queue::Line::kStandbys).ok());
  const auto before_last = last->WhoIsAhead();
  const auto before_newcomer = newcomer->WhoIsAhead();
  middle->Leave();
  EXPECT_TRUE(WaitForAny((*before_last)->wake, absl::Seconds(30)));
  EXPECT_FALSE(WaitForAny((*before_newcomer)->wake, absl::Nanoseconds(1)));
  EXPECT_TRUE(SomebodyIsAheadOf(*last)) << "the head";
  head->Leave();
  EXPECT_TRUE(WaitForAny((*before_newcomer)->wake, absl::Seconds(30)));
  EXPECT_TRUE(SomebodyIsAheadOf(*newcomer)) << "the last one is the head now";
}

TEST_F(QueueTest, WhoJoinsTakesNoPlaceThatOneInTheMiddleHasLeft) {
  const auto first = Make();
  const auto middle = Make();
  const auto last = Make();
  for (Queue* queue : {first.get(), middle.get(), last.get()})
    ASSERT_TRUE(queue->Join(Queue::Line::kStandbys).ok());
  middle->Leave();
  ASSERT_TRUE(middle->Join(Queue::Line::kStandbys).ok());
  first->Leave();
  EXPECT_FALSE(SomebodyIsAheadOf(*last));
  EXPECT_TRUE(SomebodyIsAheadOf(*middle));
}

TEST_F(QueueTest, WhoJoinsOnceMoreKeepsItsPlace) {
  const auto first = Make();
  const auto second = Make();
  ASSERT_TRUE(first->Join(Queue::Line::kStandbys).ok());
  ASSERT_TRUE(second->Join(Queue::Line::kStandbys).ok());
  EXPECT_TRUE(first->Join(Queue::Line::kStandbys).ok());
  EXPECT_FALSE(SomebodyIsAheadOf(*first));
  EXPECT_TRUE(SomebodyIsAheadOf(*second));
}

// The one that leaves is stopped at each of its system calls.
TEST_F(QueueTest, WhoIsWokenFindsThePlaceFree) {
  if (const std::string why = Traced::Unusable(); !why.empty()) GTEST_SKIP() << why;
  std::unique_ptr<Queue> first;  // the child's
  Traced leaving(
      [&] {
        first = Make();
        (void)first->Join(Queue::Line::kStandbys);
      },
      [&] { first->Leave(); });
  const auto second = Make();
  ASSERT_TRUE(second->Join(Queue::Line::kStandbys).ok());
  const auto ahead = second->WhoIsAhead();
  ASSERT_TRUE(ahead.ok() && ahead->has_value());
  const auto woken = [&] { return WaitForAny((*ahead)->wake, absl::ZeroDuration()); };
  ASSERT_FALSE(woken());
  while (leaving.Next().has_value() && !woken()) {
  }
  EXPECT_TRUE(woken());
  EXPECT_FALSE(SomebodyIsAheadOf(*second));
}

TEST_F(QueueTest, H08_AKilledProcessLosesItsPlaceAndWhatItLeftIsRemoved) {
  Child killed = Joined();
  ASSERT_EQ(killed.answer(), "OK");
  const auto queue = Make();
  ASSERT_TRUE(queue->Join(Queue::Line::kStandbys).ok());
  const auto ahead = queue->WhoIsAhead();
  ASSERT_TRUE(ahead.ok() && ahead->has_value());
  killed.Kill();
  EXPECT_TRUE(WaitForAny((*ahead)->wake, absl::Seconds(30)));
  EXPECT_FALSE(SomebodyIsAheadOf(*queue));
  EXPECT_THAT(Files(), ElementsAre("queue", "queue.1000001"));
}

TEST_F(QueueTest, H02_WhoeverStandsAheadIsNamed) {
  const Child ahead = Joined();
  ASSERT_EQ(ahead.answer(), "OK");
  const auto queue = Make();
  ASSERT_TRUE(queue->Join(Queue::Line::kStandbys).ok());
  EXPECT_TRUE(SomebodyIsAheadOf(*queue));
  // Who only watches that place, as each newcomer does, is not at it.
  const Child newcomer([this] {
    static std::unique_ptr<Queue> looked;
    static absl::StatusOr<std::optional<Queue::Ahead>> head;
    looked = Make();
    head = looked->WhoIsAhead();
    return head.status().ToString();
  });
  ASSERT_EQ(newcomer.answer(), "OK");
  EXPECT_THAT(queue->Suspects(), ElementsAre(*IdentityOf(ahead.pid())));
}

TEST_F(QueueTest, H02_EachWhoWaitsIsNamedInTheOrderOfTheLine) {
  const auto waiters = [this] {
    return *WaitersOf(*Scope::Directory(directory_ / "scope"), *InstanceName::Parse("x"));
  };
  EXPECT_THAT(waiters(), IsEmpty());
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path())) << "looking creates nothing";
  std::vector<std::unique_ptr<Child>> standbys;
  for (int i = 0; i < 3; ++i) {
    standbys.push_back(std::make_unique<Child>([this] { return Join(Queue::Line::kStandbys); }));
    ASSERT_EQ(standbys.back()->answer(), "OK");
  }
  const Child replacer([this] { return Join(Queue::Line::kReplacers); });
  ASSERT_EQ(replacer.answer(), "OK");
  standbys[1]->Kill();

  const auto is = [](Queue::Line line, const Child& child) {
    return AllOf(Field(&Waiter::line, line),
                 Field(&Waiter::processes, ElementsAre(*IdentityOf(child.pid()))));
  };
  EXPECT_THAT(waiters(), ElementsAre(is(Queue::Line::kReplacers, replacer),
                                     is(Queue::Line::kStandbys, *standbys[0]),
                                     is(Queue::Line::kStandbys, *standbys[2])));
}

TEST_F(QueueTest, H10_AForkedChildNeitherKeepsNorGivesUpItsParentsPlace) {
  const auto queue = Make();
  ASSERT_TRUE(queue->Join(Queue::Line::kStandbys).ok());
  const Child child([&] {
    queue->Leave();
    return std::string("left");
  });
  const auto newcomer = Make();
  EXPECT_TRUE(SomebodyIsAheadOf(*newcomer));
  queue->Leave();
  EXPECT_FALSE(SomebodyIsAheadOf(*newcomer));
}

// Runs `body` in a child that has its parent's descriptors, which a fork would have closed.
template <typename Body>
pid_t RawClone(Body body) {
  const auto child = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0));
  if (child == 0) {
    body();
    _exit(0);
  }
  return child;
}

TEST_F(QueueTest, H28_AChildOfARawCloneDoesNotGiveUpItsParentsPlace) {
  const auto queue = Make();
  ASSERT_TRUE(queue->Join(Queue::Line::kStandbys).ok());
  const pid_t child = RawClone([&] { queue->Leave(); });
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  const auto newcomer = Make();
  const auto ahead = newcomer->WhoIsAhead();
  ASSERT_TRUE(ahead.ok() && ahead->has_value());
  EXPECT_FALSE(WaitForAny((*ahead)->wake, absl::Nanoseconds(1)));
  EXPECT_THAT(Files(), ElementsAre("queue", "queue.1000000"));
  queue->Leave();
  EXPECT_TRUE(WaitForAny((*ahead)->wake, absl::Seconds(30)));
  EXPECT_FALSE(SomebodyIsAheadOf(*newcomer));
}

TEST_F(QueueTest, H28_APlaceThatWasLeftIsFreeThoughAChildOfARawCloneLives) {
  const auto queue = Make();
  ASSERT_TRUE(queue->Join(Queue::Line::kStandbys).ok());
  const pid_t child = RawClone([] {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (true) pause();
  });
  queue->Leave();
  EXPECT_FALSE(SomebodyIsAheadOf(*Make()));
  EXPECT_EQ(kill(child, SIGKILL), 0);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
}

TEST_F(QueueTest, H01_OfManyThatJoinAtOnceEachHasAPlaceOfItsOwn) {
  constexpr int kProcesses = 32;
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < kProcesses; ++i) {
    children.push_back(std::make_unique<Child>([this] {
      static std::unique_ptr<Queue> queue;
      queue = Make();
      return queue->Join(Queue::Line::kStandbys).ToString();
    }));
  }
  const auto newcomer = Make();
  for (int i = 0; i < kProcesses; ++i) {
    const auto ahead = newcomer->WhoIsAhead();
    ASSERT_TRUE(ahead.ok() && ahead->has_value()) << i;
    const std::vector<ProcessIdentity> head = newcomer->Suspects();
    ASSERT_EQ(head.size(), 1U);
    EXPECT_EQ(head[0], *IdentityOf(children[static_cast<std::size_t>(i)]->pid()));
    children[static_cast<std::size_t>(i)]->Kill();
  }
  EXPECT_FALSE(SomebodyIsAheadOf(*newcomer));
}

TEST_F(QueueTest, H14_AForeignLockOnTheFileIsAnErrorAndNoEndlessSearch) {
  const auto queue = Make();
  ASSERT_TRUE(queue->Join(Queue::Line::kStandbys).ok());
  queue->Leave();
  const std::string path = directory_ / "scope/names/x/queue";
  const UniqueFd foreign(open(path.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(*os::TryOfdLock(foreign.get()));
  EXPECT_THAT(queue->Join(Queue::Line::kStandbys).ToString(), HasSubstr(path));
}

TEST_F(QueueTest, AReplacerStandsBeforeAllStandbysAndBehindEarlierReplacers) {
  const auto standby = Make();
  const auto second_standby = Make();
  const auto replacer = Make();
  const auto second = Make();
  ASSERT_TRUE(standby->Join(Queue::Line::kStandbys).ok());
  ASSERT_TRUE(second_standby->Join(Queue::Line::kStandbys).ok());
  EXPECT_FALSE(SomebodyIsAheadOf(*standby));
  ASSERT_TRUE(replacer->Join(Queue::Line::kReplacers).ok());
  ASSERT_TRUE(second->Join(Queue::Line::kReplacers).ok());
  EXPECT_FALSE(SomebodyIsAheadOf(*replacer));
  EXPECT_TRUE(SomebodyIsAheadOf(*second));
  const auto ahead = standby->WhoIsAhead();
  ASSERT_TRUE(ahead.ok() && ahead->has_value());
  EXPECT_FALSE(WaitForAny((*ahead)->wake, absl::Nanoseconds(1)));
  replacer->Leave();
  EXPECT_FALSE(SomebodyIsAheadOf(*second));
  second->Leave();
  EXPECT_TRUE(WaitForAny((*ahead)->wake, absl::Seconds(30)));
  EXPECT_FALSE(SomebodyIsAheadOf(*standby));
  EXPECT_TRUE(SomebodyIsAheadOf(*second_standby));
}

// A standby looks on as replacers come: what these wait at is not its to remove.
TEST_F(QueueTest, AReplacerIsWokenThoughAStandbyWaitsForAnotherByNow) {
  const auto standby = Make();
  const auto first = Make();
  const auto second = Make();
  ASSERT_TRUE(standby->Join(Queue::Line::kStandbys).ok());
  ASSERT_TRUE(first->Join(Queue::Line::kReplacers).ok());
  EXPECT_TRUE(SomebodyIsAheadOf(*standby)) << "the first";
  ASSERT_TRUE(second->Join(Queue::Line::kReplacers).ok());
  EXPECT_TRUE(SomebodyIsAheadOf(*standby)) << "the second";
  EXPECT_THAT(Files(), ElementsAre("queue", "queue.0", "queue.1", "queue.1000000"));
  const auto ahead = second->WhoIsAhead();
  ASSERT_TRUE(ahead.ok() && ahead->has_value());
  ASSERT_THAT((*ahead)->wake, ::testing::SizeIs(1));
  first->Leave();
  EXPECT_TRUE(WaitForAny((*ahead)->wake, absl::Seconds(30)));
}

TEST_F(QueueTest, ANewcomerWaitsForAReplacerThoughAStandbyCameFirst) {
  const auto standby = Make();
  const auto replacer = Make();
  const auto newcomer = Make();
  ASSERT_TRUE(standby->Join(Queue::Line::kStandbys).ok());
  ASSERT_TRUE(replacer->Join(Queue::Line::kReplacers).ok());
  const auto ahead = newcomer->WhoIsAhead();
  ASSERT_TRUE(ahead.ok() && ahead->has_value());
  standby->Leave();
  EXPECT_FALSE(WaitForAny((*ahead)->wake, absl::Nanoseconds(1)));
  replacer->Leave();
  EXPECT_TRUE(WaitForAny((*ahead)->wake, absl::Seconds(30)));
}

}  // namespace
}  // namespace soleguard
