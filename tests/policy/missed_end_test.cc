// Whoever waits for somebody's end is woken by it, whenever it comes: the end is put at each call
// by which the waiting process prepares its wait, where nothing but luck would put it.
#include <signal.h>
#include <sys/syscall.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <tuple>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>
#include <absl/time/time.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "soleguard/options.h"
#include "soleguard/send.h"
#include "soleguard/stop.h"
#include "support/child.h"
#include "support/dying.h"
#include "support/kinds.h"
#include "support/test_scope.h"
#include "support/traced.h"

namespace soleguard {
namespace {

using testing::CallByCall;
using testing::Child;
using testing::Dying;
using testing::Say;
using ::testing::StartsWith;
using testing::TestNameOf;
using testing::TestScope;
using testing::Traced;

// Longer than a busy machine takes, and shorter than any time after which it is looked again.
constexpr absl::Duration kWoken = absl::Seconds(20);
constexpr absl::Duration kPatience = absl::Seconds(120);

bool IsThe(const Traced::Call& call, long number) {
  return call.number == static_cast<std::uint64_t>(number);
}
// By ppoll(2): what only looks takes poll(2).
bool BeginsAWait(const Traced::Call& call) { return IsThe(call, SYS_ppoll); }
// By which a wait is prepared, or begins.
bool PreparesAWait(const Traced::Call& call, const std::string& object) {
  return IsThe(call, SYS_pidfd_open) || IsThe(call, SYS_inotify_add_watch) ||
         (IsThe(call, SYS_openat) && object.find("/names/") != std::string::npos) ||
         BeginsAWait(call);
}

// What waits, under a policy.
struct Waiter {
  std::string name;
  std::function<void(const Policy&, const Options&)> wait;

  friend void PrintTo(const Waiter& waiter, std::ostream* out) { *out << waiter.name; }
};
const std::vector<Waiter>& Waiters() {
  static const std::vector<Waiter> waiters = {
      {"Start",
       [](const Policy& policy, const Options& options) {
         Options patient = options;
         patient.wait = kPatience;
         (void)Guard::Acquire(TestScope::kName, policy, patient);
       }},
      {"Send",
       [](const Policy& policy, const Options& options) {
         (void)Send(TestScope::kName, policy, options, {.payload = "hello"}, kPatience);
       }},
      {"Stop",
       [](const Policy& policy, const Options& options) {
         (void)StopRunning(TestScope::kName, policy, options, {.timeout = kPatience});
       }},
  };
  return waiters;
}

class MissedEnd : public ::testing::TestWithParam<std::tuple<std::string, Waiter>> {
 protected:
  void SetUp() override {
    if (const std::string why = Traced::Unusable(); !why.empty()) GTEST_SKIP() << why;
  }
  // The holder dies, or is only gone then: it was killed before, and of the two ends that it has,
  // that of its FIFOs was before the wait.
  enum class Ends { kAtOnce, kAfterItsFifos };
  static void EndAtEachCall(Ends ends) {
    const auto& [policy, waiter] = GetParam();
    CallByCall calls(&PreparesAWait);
    for (bool over = false; !over;) {
      const TestScope scope(policy);
      Child holder([&scope]() -> std::string {
        (void)signal(SIGTERM, SIG_IGN);
        static Verdict* const verdict = new Verdict(scope.Acquire());
        return Say(*verdict);
      });
      ASSERT_THAT(holder.answer(), StartsWith("unique"));
      std::optional<Dying> held;
      if (ends == Ends::kAfterItsFifos) {
        held.emplace(holder.pid());
        if (!held->unusable().empty()) GTEST_SKIP() << held->unusable();
        for (const auto& entry : std::filesystem::directory_iterator(scope.Object())) {
          if (entry.is_fifo()) std::filesystem::remove(entry);
        }
      }
      Traced waiting([&] {
        waiter.wait(*Policy::Parse(policy), {.scope = scope.scope(), .deadline = kPatience});
      });
      ASSERT_TRUE(calls.RunToNext(waiting)) << "it did not wait";
      over = BeginsAWait(calls.call());
      SCOPED_TRACE(absl::StrCat("ended at ", ToString(calls.call(), calls.object())));
      held.reset();
      holder.Kill();
      const absl::Time ended = absl::Now();
      waiting.RunToEnd();
      EXPECT_LT(absl::Now() - ended, kWoken);
    }
    EXPECT_GE(calls.visited(), 5);
  }
};
INSTANTIATE_TEST_SUITE_P(
    Policy, MissedEnd,
    ::testing::Combine(::testing::ValuesIn(testing::EachAnd({testing::AllExclusive()})),
                       ::testing::ValuesIn(Waiters())),
    [](const auto& test) {
      return absl::StrCat(TestNameOf(std::get<0>(test.param)), "_", std::get<1>(test.param).name);
    });

TEST_P(MissedEnd, H50_OfAHolderAtAnyCallThatPreparesTheWait) { EndAtEachCall(Ends::kAtOnce); }

TEST_P(MissedEnd, H27_OfADyingHolderAtAnyCallThatPreparesTheWait) {
  EndAtEachCall(Ends::kAfterItsFifos);
}

}  // namespace
}  // namespace soleguard
