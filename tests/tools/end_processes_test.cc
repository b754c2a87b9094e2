// Who is ended, and who never is.
#include "watcher/end_processes.h"

#include <signal.h>

#include <fstream>
#include <string>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include "soleguard/process.h"
#include "support/child.h"
#include "support/tick.h"

namespace guardcheck {
namespace {

using soleguard::IdentityOf;
using soleguard::ProcessIdentity;
using soleguard::UniqueFd;
using soleguard::testing::Child;
using Result = Ending::Result;

std::vector<Ending> End(const ProcessIdentity& process, absl::Duration grace,
                        const std::vector<ProcessIdentity>& meant,
                        const UniqueFd& interrupt = UniqueFd()) {
  return EndProcesses(
      {process}, grace, [&meant] { return meant; }, interrupt);
}

TEST(EndProcesses, C3_AsksFirst) {
  const Child child([] { return "runs"; });
  const ProcessIdentity process = *IdentityOf(child.pid());
  const std::vector<Ending> endings = End(process, absl::Minutes(1), {process});
  ASSERT_EQ(endings.size(), 1U);
  EXPECT_EQ(endings.front().result, Result::kEnded);
  EXPECT_EQ(LivenessOf(process), soleguard::Liveness::kGone);
}

TEST(EndProcesses, C3_KillsWhoDoesNotListen) {
  const Child child([] {
    (void)signal(SIGTERM, SIG_IGN);
    return "runs";
  });
  const ProcessIdentity process = *IdentityOf(child.pid());
  EXPECT_EQ(End(process, absl::Milliseconds(10), {process}).front().result, Result::kKilled);
  EXPECT_EQ(LivenessOf(process), soleguard::Liveness::kGone);
}

TEST(EndProcesses, H16_WhoIsNotMeantAnyMoreGetsNoSignal) {
  const Child child([] { return "runs"; });
  const ProcessIdentity process = *IdentityOf(child.pid());
  EXPECT_EQ(End(process, absl::ZeroDuration(), {}).front().result, Result::kSpared);
  EXPECT_EQ(LivenessOf(process), soleguard::Liveness::kAlive);
}

// It registers after SIGTERM, which it takes for advice.
TEST(EndProcesses, H16_WhoIsGuardedByThenIsNotKilled) {
  const Child child([] {
    (void)signal(SIGTERM, SIG_IGN);
    return "runs";
  });
  const ProcessIdentity process = *IdentityOf(child.pid());
  int asked = 0;
  const std::vector<Ending> endings = EndProcesses(
      {process}, absl::Milliseconds(10),
      [&] {
        return ++asked == 1 ? std::vector<ProcessIdentity>{process}
                            : std::vector<ProcessIdentity>{};
      },
      UniqueFd());
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(endings.front().result, Result::kSpared);
  EXPECT_EQ(LivenessOf(process), soleguard::Liveness::kAlive);
}

TEST(EndProcesses, H23_AnInterruptEndsTheWaitWithoutAKill) {
  const Child child([] {
    (void)signal(SIGTERM, SIG_IGN);
    return "runs";
  });
  const ProcessIdentity process = *IdentityOf(child.pid());
  const soleguard::WaitFlag interrupt;
  interrupt.Set();
  EXPECT_EQ(End(process, absl::Hours(1), {process}, interrupt.fd()).front().result,
            Result::kStayed);
  EXPECT_EQ(LivenessOf(process), soleguard::Liveness::kAlive);
}

// The copy ends, and a stranger gets its number, at the last moment before the signal.
TEST(EndProcesses, H16_AStrangerWithARecycledPidLives) {
  const std::string said = soleguard::testing::InNewPidNamespace([]() -> std::string {
    std::optional<Child> copy(std::in_place, [] { return "runs"; });
    const pid_t pid = copy->pid();
    const ProcessIdentity process = *IdentityOf(pid);
    std::optional<Child> stranger;
    bool may_choose = true;
    const std::vector<Ending> endings = EndProcesses(
        {process}, absl::ZeroDuration(),
        [&] {
          copy.reset();
          soleguard::testing::AwaitNextTick();
          std::ofstream last("/proc/sys/kernel/ns_last_pid");
          may_choose = static_cast<bool>(last << pid - 1 << std::flush);
          stranger.emplace([] { return "runs"; });
          return std::vector<ProcessIdentity>{process};
        },
        UniqueFd());
    if (!may_choose) return "skip: needs the right to set ns_last_pid";
    if (stranger->pid() != pid) return absl::StrCat("pid ", stranger->pid(), ", not ", pid);
    return absl::StrCat(endings.front().result == Result::kSpared ? "spared" : "signalled", ", ",
                        std::string(ToString(LivenessOf(*IdentityOf(pid)))));
  });
  if (absl::StartsWith(said, "skip:")) GTEST_SKIP() << said;
  EXPECT_EQ(said, "spared, alive");
}

}  // namespace
}  // namespace guardcheck
