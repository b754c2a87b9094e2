// A start that is frozen or killed at any of its system calls, under each layer. Every call in
// turn, so that none is forgotten when the code changes.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "support/child.h"
#include "support/kinds.h"
#include "support/start.h"
#include "support/test_scope.h"
#include "support/traced.h"

namespace soleguard {
namespace {

using testing::Answer;
using ::testing::AnyOf;
using testing::CallByCall;
using testing::Child;
using ::testing::HasSubstr;
using testing::Start;
using ::testing::StartsWith;
using testing::TestNameOf;
using testing::TestScope;
using testing::Traced;

// How many calls a start has at least: fewer would mean that nothing was tried.
constexpr int kPlausibleCalls = 20;

// How many this process had.
int CloseUnixSockets() {
  constexpr int kManyDescriptors = 64;
  int closed = 0;
  for (int fd = 0; fd < kManyDescriptors; ++fd) {
    int domain = 0;
    socklen_t size = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_UNIX) continue;
    close(fd);
    ++closed;
  }
  return closed;
}

// The parameter is the policy.
class InterruptedStart : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (const std::string why = Traced::Unusable(); !why.empty()) GTEST_SKIP() << why;
  }

  // What a traced child does: it starts, says what came out, and keeps what it got.
  void Acquire(std::optional<Verdict>& verdict, const Answer& answer) const {
    verdict.emplace(scope_.Acquire());
    answer.Set(testing::Say(*verdict));
  }

  // The process of `first` was killed just now, and may still be dying: that is waited for, and not
  // long.
  void ExpectTheNextStartIsUniqueAtOnce(const Answer& first) {
    const absl::Time before = absl::Now();
    // One that cannot be told would be waited for longer than the start may take.
    const Start next(scope_, /*settle=*/absl::Seconds(30));
    durations_.push_back(absl::Now() - before);
    ASSERT_TRUE(next.unique()) << next.said();
    EXPECT_GT(next.token(), std::max(last_token_, first.token()));
    last_token_ = next.token();
  }

  // Of half of them: a single one may have got no processor.
  void ExpectTheyTookLessThanASecond() {
    ASSERT_FALSE(durations_.empty());
    std::sort(durations_.begin(), durations_.end());
    EXPECT_LT(durations_[durations_.size() / 2], absl::Seconds(1));
    std::cout << durations_.size() << " starts, median " << durations_[durations_.size() / 2]
              << ", longest " << durations_.back() << "\n";
  }

  const TestScope scope_{GetParam()};

 private:
  std::vector<absl::Duration> durations_;
  std::uint64_t last_token_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Policy, InterruptedStart,
                         ::testing::ValuesIn(testing::EachAnd({"all(file, scan)",
                                                               testing::AllExclusive()})),
                         [](const auto& policy) { return TestNameOf(policy.param); });

TEST_P(InterruptedStart, H02_H09_FrozenAnywhereLeavesOneHolderAndIsNamed) {
  int passed = 0;   // starts that went past the frozen one
  int refused = 0;  // starts that it held up
  CallByCall calls;
  while (true) {
    const Answer answer;
    std::optional<Verdict> verdict;
    Traced frozen([&] { Acquire(verdict, answer); });
    if (!calls.RunToNext(frozen)) break;
    SCOPED_TRACE(absl::StrCat("frozen at ", ToString(calls.call(), calls.object())));

    // It waits for one that will not move: how long does not matter.
    const Start second(scope_, absl::Milliseconds(5));
    frozen.RunToEnd();
    if (second.unique()) {
      ++passed;
      EXPECT_EQ(answer.said(), absl::StrCat("duplicate ", second.pid(), " established"));
    } else {
      ++refused;
      EXPECT_THAT(second.said(), AnyOf(StartsWith(absl::StrCat("duplicate ", frozen.pid(), " ")),
                                       HasSubstr(absl::StrCat("pid ", frozen.pid()))));
      EXPECT_THAT(answer.said(), StartsWith("unique"));
    }
  }
  EXPECT_GT(passed, 5);
  EXPECT_GT(refused, 5);
}

TEST_P(InterruptedStart, H08_H09_KilledAnywhereLeavesTheNameFreeAtOnce) {
  CallByCall calls;
  for (bool over = false; !over;) {
    const Answer answer;
    std::optional<Verdict> verdict;
    Traced killed([&] { Acquire(verdict, answer); });
    over = !calls.RunToNext(killed);
    SCOPED_TRACE(absl::StrCat("killed at ", ToString(calls.call(), calls.object())));
    killed.Kill();
    ASSERT_NO_FATAL_FAILURE(ExpectTheNextStartIsUniqueAtOnce(answer));
  }
  EXPECT_GT(calls.visited(), kPlausibleCalls);
  ExpectTheyTookLessThanASecond();
}

TEST_P(InterruptedStart, H08_KilledAnywhereInItsReleaseLeavesTheNameFreeAtOnce) {
  CallByCall calls;
  for (bool over = false; !over;) {
    const Answer answer;
    std::optional<Verdict> verdict;
    Traced killed([&] { Acquire(verdict, answer); },
                  [&] { std::get<Unique>(*verdict).guard.Release(); });
    ASSERT_THAT(answer.said(), StartsWith("unique"));
    over = !calls.RunToNext(killed);
    SCOPED_TRACE(absl::StrCat("killed at ", ToString(calls.call(), calls.object())));
    killed.Kill();
    ASSERT_NO_FATAL_FAILURE(ExpectTheNextStartIsUniqueAtOnce(answer));
  }
  EXPECT_GT(calls.visited(), 5);
  ExpectTheyTookLessThanASecond();
}

// A holder acquires the name, does `then`, and says what that gave; it is killed at each system
// call of a start in turn.
void EndTheHolderAnywhereInAStart(const TestScope& scope, const std::function<int()>& then,
                                  const std::string& says) {
  CallByCall calls;
  for (bool over = false; !over;) {
    Child holder([&] {
      static std::optional<Verdict> verdict(scope.Acquire());
      return absl::StrCat(then(), " ", testing::Say(*verdict));
    });
    ASSERT_THAT(holder.answer(), StartsWith(says + " unique"));
    const Answer answer;
    std::optional<Verdict> verdict;
    Traced start([&] {
      verdict.emplace(scope.Acquire());
      answer.Set(testing::Say(*verdict));
    });
    over = !calls.RunToNext(start);
    SCOPED_TRACE(absl::StrCat("ended at ", ToString(calls.call(), calls.object())));
    holder.Kill();
    start.RunToEnd();
    ASSERT_THAT(answer.said(), AnyOf(StartsWith("unique"),
                                     absl::StrCat("duplicate ", holder.pid(), " established")));
  }
  EXPECT_GT(calls.visited(), kPlausibleCalls);
}

// What it was about to read of the holder is no more: neither the holder's claims nor the process.
TEST_P(InterruptedStart, H17_H27_AHolderThatEndsAnywhereInAStartIsNeverTakenForAStranger) {
  EndTheHolderAnywhereInAStart(
      scope_, [] { return 0; }, "0");
}

// The kernel closes a killed holder's companion before its port: a start in between has only the
// port to go by, and its holder ends at any moment of the look at it.
TEST(InterruptedStartOfPort, H17_H27_AHolderThatEndsAnywhereInALookAtItsPortIsNeverAStranger) {
  if (const std::string why = Traced::Unusable(); !why.empty()) GTEST_SKIP() << why;
  EndTheHolderAnywhereInAStart(TestScope("port"), &CloseUnixSockets, "1");
}

// A signal handler without SA_RESTART may run at any of them.
TEST_P(InterruptedStart, EachCallThatASignalCanInterruptIsMadeAgain) {
  constexpr std::array<std::uint64_t, 9> kInterruptible = {SYS_openat, SYS_flock,   SYS_fcntl,
                                                           SYS_read,   SYS_pread64, SYS_pwrite64,
                                                           SYS_semop,  SYS_sendto,  SYS_recvfrom};
  CallByCall calls([&](const Traced::Call& call, const std::string&) {
    const std::uint64_t command = call.arguments[1];
    if (call.number == SYS_fcntl && (command == F_GETFL || command == F_SETFD)) return false;
    return std::find(kInterruptible.begin(), kInterruptible.end(), call.number) !=
           kInterruptible.end();
  });
  while (true) {
    const Answer answer;
    std::optional<Verdict> verdict;
    Traced child([&] { Acquire(verdict, answer); });
    if (!calls.RunToNext(child)) break;
    SCOPED_TRACE(ToString(calls.call(), calls.object()));
    child.Fail(EINTR);
    child.RunToEnd();
    EXPECT_THAT(answer.said(), StartsWith("unique"));
  }
  EXPECT_GT(calls.visited(), 10);
}

}  // namespace
}  // namespace soleguard
