// Helper processes, and waits where the system refuses them.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <string>

#include <absl/time/clock.h>
#include <absl/time/time.h>
#include <gtest/gtest.h>

#include "os/helper_linux.h"
#include "soleguard/fd.h"
#include "support/child.h"

namespace soleguard::os {
namespace {

using soleguard::testing::InChild;

// A system call that gives ENOSYS from here on, as in a container's sandbox or on an older kernel.
bool Deny(unsigned number) {
  std::array<sock_filter, 4> program = {{
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, number},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOSYS},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  }};
  const sock_fprog filter = {.len = program.size(), .filter = program.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// Writes a byte to the descriptor that the helper keeps, if it has no other.
void Answer(const void* argument) {
  const auto* ends = static_cast<const int*>(argument);
  const bool has_other = syscall(SYS_fcntl, ends[0], F_GETFD) >= 0;
  (void)syscall(SYS_write, ends[1], has_other ? "2" : "1", 1UL);
}

std::string Answered() {
  std::array<int, 2> ends = {-1, -1};
  if (pipe(ends.data()) != 0) return "no pipe";
  UniqueFd answer(ends[0]);
  UniqueFd other_end(ends[1]);
  const std::array<int, 2> numbers = {answer.get(), other_end.get()};
  const UniqueFd helper =
      StartHelper({.run = &Answer, .argument = numbers.data(), .descriptor = other_end.get()});
  if (!helper) return "not started";
  other_end.reset();
  char said = '-';
  if (read(answer.get(), &said, 1) != 1) return "no answer";
  if (!WaitForAny({&helper, 1}, absl::Seconds(60)) || !HasEnded(helper)) return "it does not end";
  sigset_t blocked;
  (void)pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
  if (sigismember(&blocked, SIGTERM) != 0) return "signals stay blocked";
  return {said};
}

TEST(HelperTest, KeepsOneDescriptorAndEnds) { EXPECT_EQ(InChild(&Answered), "1"); }

TEST(HelperTest, StartsWhereThereIsNoClone3) {
  EXPECT_EQ(InChild([] { return Deny(SYS_clone3) ? Answered() : "no filter"; }), "1");
}

TEST(HelperTest, ClosesTheOthersWhereThereIsNoCloseRange) {
  EXPECT_EQ(InChild([] { return Deny(SYS_close_range) ? Answered() : "no filter"; }), "1");
}

// ppoll(2) fails with EINVAL there: a loop would use up a processor.
TEST(WaitForAnyTest, LastsAsLongWithMoreDescriptorsThanTheLimit) {
  EXPECT_EQ(InChild([]() -> std::string {
              std::array<int, 2> ends = {-1, -1};
              if (pipe(ends.data()) != 0) return "no pipe";
              const UniqueFd end(ends[0]);
              const rlimit none = {.rlim_cur = 0, .rlim_max = 0};
              if (setrlimit(RLIMIT_NOFILE, &none) != 0) return "no limit";
              const absl::Time begin = absl::Now();
              if (WaitForAny({&end, 1}, absl::Milliseconds(300))) return "woken";
              return absl::Now() - begin >= absl::Milliseconds(299) ? "waited" : "came back early";
            }),
            "waited");
}

}  // namespace
}  // namespace soleguard::os
