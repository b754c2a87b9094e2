// Standbys: processes that wait to become the next holder.
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <cctype>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <latch>
#include <memory>
#include <sstream>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "soleguard/name.h"
#include "soleguard/options.h"
#include "soleguard/queue.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/kinds.h"
#include "support/referee.h"
#include "support/shared.h"
#include "support/start.h"
#include "support/temp_dir.h"
#include "support/test_scope.h"

namespace soleguard {
namespace {

using testing::Claimant;
using ::testing::HasSubstr;

class StandbyTest : public ::testing::TestWithParam<std::string> {
 protected:
  Claimant Start(absl::Duration wait = absl::ZeroDuration(),
                 absl::Duration settle = absl::Seconds(1)) const {
    return Claimant({.scope = directory_.path(),
                     .policy = GetParam(),
                     .settle = settle,
                     .deadline = absl::Seconds(60),
                     .wait = wait});
  }
  Claimant Standby(absl::Duration wait = absl::InfiniteDuration()) const {
    Claimant standby = Start(wait);
    standby.WaitUntilInLine();
    return standby;
  }
  static void Kill(Claimant& claimant) { claimant.program().Signal(SIGKILL); }
  Options options() const {
    return {.scope = *Scope::Directory(directory_.path()), .settle = absl::Milliseconds(50)};
  }
  Verdict Acquire(const Options& options) const {
    return Guard::Acquire("x", *Policy::Parse(GetParam()), options);
  }

  const testing::TempDir directory_;
};

INSTANTIATE_TEST_SUITE_P(Policies, StandbyTest,
                         ::testing::ValuesIn(testing::EachAnd({testing::AllExclusive(),
                                                               testing::AnyExclusive(),
                                                               "all(file, scan)"})),
                         [](const auto& tested) {
                           std::string name;
                           for (const char c : tested.param) {
                             if (isalnum(c) != 0) name += c;
                           }
                           return name;
                         });

// A program that uses flock(1) has the name's directory, and no record says so.
TEST(StandbyBehindAStranger, ItsTimeEndsAtAnotherInstanceAsAPlainStartDoes) {
  const testing::TestScope scope("file");
  ASSERT_TRUE(testing::IsUnique(scope.Acquire()));  // makes the directory
  std::filesystem::remove(scope.Object("record"));
  const UniqueFd locker(open(scope.Object().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_TRUE(locker);
  ASSERT_EQ(flock(locker.get(), LOCK_EX), 0);
  const auto start = [&](absl::Duration wait) {
    return testing::InChild([&] {
      return testing::Say(Guard::Acquire(
          testing::TestScope::kName, *Policy::Parse("file"),
          {.scope = scope.scope(), .settle = absl::Milliseconds(100), .wait = wait}));
    });
  };
  const std::string plain = start(absl::ZeroDuration());
  ASSERT_THAT(plain, ::testing::StartsWith("duplicate"));
  // Whatever part of a settle time is left at the end.
  for (const int wait : {250, 310, 370, 430}) {
    EXPECT_EQ(start(absl::Milliseconds(wait)), plain) << wait;
  }
}

TEST_P(StandbyTest, AFreeNameIsTakenAtOnce) {
  Claimant standby = Start(absl::InfiniteDuration());
  EXPECT_TRUE(standby.unique()) << standby.verdict();
}

TEST_P(StandbyTest, H08_TakesOverWhenTheHolderIsKilled) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  Claimant standby = Standby();
  Kill(holder);
  EXPECT_TRUE(standby.unique()) << standby.verdict();
  EXPECT_EQ(standby.Ask("verify"), "ok");
}

TEST_P(StandbyTest, TakesOverWhenTheHolderReleasesAndLives) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique());
  Claimant standby = Standby();
  EXPECT_EQ(holder.Ask("release"), "released");
  EXPECT_TRUE(standby.unique()) << standby.verdict();
}

TEST_P(StandbyTest, AtItsDeadlineItIsRefusedByTheHolderThatRemains) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique());
  const std::string refused = absl::StrCat("duplicate ", holder.pid(), " established");
  Claimant head = Start(absl::Milliseconds(50));
  EXPECT_EQ(head.verdict(), refused);
  const Claimant patient = Standby();
  Claimant second = Start(absl::Milliseconds(50));  // never gets its turn
  EXPECT_EQ(second.verdict(), refused);
}

TEST_P(StandbyTest, FirstComeFirstServedAndOneIsKilledInLine) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique());
  std::vector<Claimant> line;
  for (int i = 0; i < 6; ++i) line.push_back(Standby());
  Kill(line[2]);
  Claimant* last = &holder;
  for (const std::size_t next : {0U, 1U, 3U, 4U, 5U}) {
    Kill(*last);
    last = &line[next];
    ASSERT_TRUE(last->unique()) << last->verdict();
  }
}

// Nobody overtakes the line, however often it tries.
TEST_P(StandbyTest, ANewcomerNeverGoesBeforeAStandby) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique());
  std::vector<Claimant> line;
  for (int i = 0; i < 5; ++i) line.push_back(Standby());
  std::atomic<bool> over = false;
  std::vector<std::string> wrong;
  std::thread newcomer([&] {
    Options trying = options();
    trying.settle = absl::Seconds(30);
    while (!over) {
      const Verdict verdict = Acquire(trying);
      if (std::holds_alternative<Duplicate>(verdict)) continue;
      wrong.emplace_back(std::holds_alternative<Unique>(verdict) ? "unique" : "undetermined");
    }
  });
  Claimant* last = &holder;
  for (Claimant& next : line) {
    Kill(*last);
    last = &next;
    EXPECT_TRUE(next.unique()) << next.verdict();
  }
  over = true;
  newcomer.join();
  EXPECT_THAT(wrong, ::testing::IsEmpty());
}

TEST_P(StandbyTest, H09_AFrozenHeadOfTheLineIsNamed) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique());
  Claimant head = Standby();
  head.program().Signal(SIGSTOP);
  head.program().WaitUntilStopped();
  EXPECT_EQ(holder.Ask("release"), "released");
  const Verdict verdict = Acquire(options());
  const auto* undetermined = std::get_if<Undetermined>(&verdict);
  ASSERT_NE(undetermined, nullptr);
  EXPECT_THAT(undetermined->status.ToString(), HasSubstr(absl::StrCat("pid ", head.pid())));
  head.program().Signal(SIGCONT);
  EXPECT_TRUE(head.unique()) << head.verdict();
}

// A program may start the one that takes over from it.
TEST_P(StandbyTest, AChildOfTheHolderTakesOverWhenItReleases) {
  std::optional<Verdict> own = Acquire(options());
  ASSERT_TRUE(testing::IsUnique(*own));
  Claimant child = Standby();
  own.reset();
  EXPECT_TRUE(child.unique()) << child.verdict();
}

TEST_P(StandbyTest, H23_AStopTokenEndsTheWaitAndLeavesNothing) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique());
  std::stop_source stop;
  Options waiting = options();
  waiting.wait = absl::InfiniteDuration();
  waiting.stop = stop.get_token();
  waiting.waiting = [&stop] { std::thread([&stop] { stop.request_stop(); }).detach(); };
  const Verdict verdict = Acquire(waiting);
  const auto* undetermined = std::get_if<Undetermined>(&verdict);
  ASSERT_NE(undetermined, nullptr);
  EXPECT_TRUE(absl::IsCancelled(undetermined->status)) << undetermined->status;
  const auto line = MakeQueue(waiting.scope, *InstanceName::Parse("x"))->WhoIsAhead();
  EXPECT_TRUE(line.ok() && !line->has_value());
  EXPECT_EQ(holder.Ask("verify"), "ok");
}

TEST_P(StandbyTest, H23_AStopTokenEndsTheWaitForAnotherThreadOfTheProcessToo) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique());
  std::stop_source first_ends;
  std::latch first_waits(1);
  std::thread first([&] {
    Options waiting = options();
    waiting.wait = absl::InfiniteDuration();
    waiting.stop = first_ends.get_token();
    waiting.waiting = [&] { first_waits.count_down(); };
    EXPECT_TRUE(std::holds_alternative<Undetermined>(Acquire(waiting)));
  });
  first_waits.wait();
  std::stop_source stop;
  stop.request_stop();  // before or while it waits: it is one wait
  Options second = options();
  second.wait = absl::InfiniteDuration();
  second.stop = stop.get_token();
  const Verdict verdict = Acquire(second);
  const auto* undetermined = std::get_if<Undetermined>(&verdict);
  EXPECT_TRUE(undetermined != nullptr && absl::IsCancelled(undetermined->status));
  first_ends.request_stop();
  first.join();
}

// --- what does not depend on the policy ---

// How often a process has given up or lost the processor.
long Switches(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  long sum = 0;
  for (std::string line; std::getline(status, line);) {
    if (line.find("_ctxt_switches:") == std::string::npos) continue;
    sum += std::stol(line.substr(line.find(':') + 1));
  }
  return sum;
}

class HandOverTest : public ::testing::Test {
 protected:
  Claimant Start(absl::Duration wait) const {
    return Claimant({.scope = directory_ / "scope",
                     .deadline = absl::Seconds(60),
                     .wait = wait,
                     .referee = referee_file_});
  }

 private:
  const testing::TempDir directory_;
  const std::string referee_file_ = directory_ / "referee";

 protected:
  const testing::Shared<testing::Referee> referee_{referee_file_};
};

TEST_F(HandOverTest, AHundredStandbysTakeOverInOrderAndDoNothingMeanwhile) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr std::size_t kStandbys = 20;
#else
  constexpr std::size_t kStandbys = 100;
#endif
  Claimant holder = Start(absl::ZeroDuration());
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  std::vector<Claimant> line;
  for (std::size_t i = 0; i < kStandbys; ++i) {
    line.push_back(Start(absl::InfiniteDuration()));
    line.back().WaitUntilInLine();
  }
  // Idle: nothing wakes any of them. (The wait is what is measured, nothing is synchronised by it.)
  const auto switches = [&line] {
    std::vector<long> all;
    for (const Claimant& standby : line) all.push_back(Switches(standby.pid()));
    return all;
  };
  std::vector<long> before = switches();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // the last one goes to sleep
  before = switches();
  std::this_thread::sleep_for(std::chrono::seconds(5));
  EXPECT_EQ(switches(), before);

  Claimant* last = &holder;
  std::uint64_t token = 0;
  int started = 1;
  for (Claimant& next : line) {
    ASSERT_EQ(referee_->verdicts, started) << "one behind the head of the line was told";
    last->program().Signal(SIGKILL);
    last = &next;
    ASSERT_TRUE(next.unique()) << next.verdict();
    EXPECT_GT(next.token(), token);
    token = next.token();
    ++started;
  }
  EXPECT_EQ(referee_->verdicts, started);
  EXPECT_EQ(referee_->entered, started);
  EXPECT_EQ(referee_->overlaps, 0);
  std::cout << started - 1 << " hand-overs, " << referee_->overlaps << " overlaps\n";
}

}  // namespace
}  // namespace soleguard
