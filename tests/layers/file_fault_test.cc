// A start on the file layer that is interrupted at any of its system calls: frozen there, killed
// there, or the call fails. Every call in turn, so that none is forgotten when the code changes.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "os/os.h"
#include "soleguard/guard.h"
#include "support/file_scope.h"
#include "support/shared.h"
#include "support/traced.h"

namespace soleguard {
namespace {

using ::testing::AnyOf;
using testing::FileScope;
using ::testing::HasSubstr;
using testing::IsDuplicate;
using testing::IsUnique;
using testing::Say;
using testing::Shared;
using ::testing::StartsWith;
using testing::Traced;

// What a traced child says of its start.
struct Answer {
  std::array<char, 4096> text{};  // as Say; empty: it got no verdict
  std::uint64_t token = 0;
  bool durable = false;

  void Set(const Verdict& verdict) {
    Set(Say(verdict));
    if (const auto* unique = std::get_if<Unique>(&verdict)) {
      token = unique->guard.token().value_or(0);
      durable = unique->guard.token_is_durable();
    }
  }
  void Set(const std::string& said) {
    std::copy_n(said.data(), std::min(said.size(), text.size() - 1), text.data());
  }
  std::string said() const { return text.data(); }
};

std::uint64_t TokenOf(const Verdict& verdict) {
  const auto* unique = std::get_if<Unique>(&verdict);
  return unique != nullptr ? unique->guard.token().value_or(0) : 0;
}

// How many calls the traced body has at least: fewer would mean that nothing was tried.
constexpr int kPlausibleCalls = 20;

class InterruptedStart : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = Traced::Unusable(); !why.empty()) GTEST_SKIP() << why;
  }

  const FileScope scope_{};
};

// --- frozen ---

TEST_F(InterruptedStart, H02_FrozenAnywhereLeavesOneHolderAndIsNamed) {
  int passed = 0;   // starts that went past the frozen one
  int refused = 0;  // starts that it held up
  for (int at = 0;; ++at) {
    SCOPED_TRACE(absl::StrCat("frozen at system call ", at));
    const Shared<Answer> answer;
    std::optional<Verdict> verdict;
    Traced frozen([&] {
      verdict.emplace(scope_.Acquire());
      answer->Set(*verdict);
    });
    if (!frozen.RunTo(at).has_value()) break;

    const Verdict mine = scope_.Acquire(absl::Milliseconds(20));
    frozen.RunToEnd();
    if (IsUnique(mine)) {
      ++passed;
      EXPECT_EQ(answer->said(), absl::StrCat("duplicate ", getpid(), " established"));
    } else {
      ++refused;
      EXPECT_THAT(Say(mine), AnyOf(StartsWith(absl::StrCat("duplicate ", frozen.pid(), " ")),
                                   HasSubstr(absl::StrCat("pid ", frozen.pid()))));
      EXPECT_THAT(answer->said(), StartsWith("unique"));
    }
  }
  EXPECT_GT(passed, 5);
  EXPECT_GT(refused, 5);
}

// --- killed ---

TEST_F(InterruptedStart, H08_KilledAnywhereLeavesTheNameFreeAtOnceAndTokensGrow) {
  std::uint64_t last = 0;
  int at = 0;
  for (;; ++at) {
    SCOPED_TRACE(absl::StrCat("killed at system call ", at));
    const Shared<Answer> answer;
    std::optional<Verdict> verdict;
    Traced killed([&] {
      verdict.emplace(scope_.Acquire());
      answer->Set(*verdict);
    });
    const bool over = !killed.RunTo(at).has_value();
    killed.Kill();

    // It may still be dying: that is waited for, and not long.
    const absl::Time before = absl::Now();
    const Verdict next = scope_.Acquire();
    EXPECT_LT(absl::Now() - before, absl::Seconds(1));
    ASSERT_TRUE(IsUnique(next)) << Say(next);
    EXPECT_GT(TokenOf(next), std::max(last, answer->token));
    last = TokenOf(next);
    if (over) break;
  }
  EXPECT_GT(at, kPlausibleCalls);
}

TEST_F(InterruptedStart, H08_KilledAnywhereInItsReleaseLeavesTheNameFreeAtOnceAndTokensGrow) {
  int at = 0;
  for (;; ++at) {
    SCOPED_TRACE(absl::StrCat("killed at system call ", at));
    const Shared<Answer> answer;
    std::optional<Verdict> verdict;
    Traced killed(
        [&] {
          verdict.emplace(scope_.Acquire());
          answer->Set(*verdict);
        },
        [&] { std::get<Unique>(*verdict).guard.Release(); });
    ASSERT_THAT(answer->said(), StartsWith("unique"));
    const bool over = !killed.RunTo(at).has_value();
    killed.Kill();

    const absl::Time before = absl::Now();
    const Verdict next = scope_.Acquire();
    EXPECT_LT(absl::Now() - before, absl::Seconds(1));
    ASSERT_TRUE(IsUnique(next)) << Say(next);
    EXPECT_GT(TokenOf(next), answer->token);
    if (over) break;
  }
  EXPECT_GT(at, 5);
}

// --- failing ---

// Calls that cannot fail, and those of the memory allocator, whose failure is std::bad_alloc.
bool CanFail(const Traced::Call& call, const std::string& object) {
  if (IsOfASanitizer(call, object)) return false;
  switch (call.number) {
    case SYS_getpid:
    case SYS_gettid:
    case SYS_getppid:
    case SYS_getuid:
    case SYS_geteuid:
    case SYS_rt_sigprocmask:
    case SYS_rt_sigaction:
    case SYS_sched_yield:
    case SYS_futex:
    case SYS_mmap:
    case SYS_munmap:
    case SYS_mprotect:
    case SYS_mremap:
    case SYS_madvise:
    case SYS_brk:
    case SYS_getrandom:
      return false;
    default:
      return true;
  }
}

std::string TextOf(int error) { return std::generic_category().message(error); }

class FailingCall : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (const std::string why = Traced::Unusable(); !why.empty()) GTEST_SKIP() << why;
  }

  // Documented as optional: the start goes on without it.
  bool IsOptional(const Traced::Call& call, const std::string& object) const {
    if (object.starts_with(scope_.path() + "/state")) return true;  // a token that is not durable
    // A waiter looks again by itself.
    if (object == scope_.Object("wake.file") || object == scope_.Object("end.file")) return true;
    return call.number == SYS_flock && object == scope_.path();  // tmp cleaners are not kept out
  }

  // Without it the layer cannot be held.
  bool IsNeeded(const Traced::Call& call, const std::string& object) const {
    const std::string names = scope_.path() + "/names";
    if (call.number == SYS_openat) {
      return object == scope_.path() || object == names || object == scope_.Object() ||
             object == scope_.Object("lock") || object == scope_.Object("record");
    }
    if (call.number == SYS_flock || call.number == SYS_fcntl) {
      return object == scope_.Object() || object == scope_.Object("lock");
    }
    return call.number == SYS_pwrite64 && object == scope_.Object("record");
  }

  // The child is Unique: nobody else gets in, by the library or by flock(1).
  void ExpectExcludes(const Traced& child) const {
    const Verdict other = scope_.Acquire(absl::Milliseconds(10));
    EXPECT_THAT(Say(other), StartsWith(absl::StrCat("duplicate ", child.pid(), " ")));
    const UniqueFd lock(open(scope_.Object("lock").c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(lock);
    EXPECT_FALSE(*os::TryFlock(lock.get(), true));
  }

  // Runs starts in which one call after the other fails with the errno value that is the parameter.
  void FailEachCallOfAStart(bool first_of_its_name) const {
    int at = 0;
    std::uint64_t last = 0;
    // The layer's calls come first; the queue, which only gives order, opens the directory again.
    std::set<std::pair<std::uint64_t, std::string>> failed;
    for (;; ++at) {
      if (first_of_its_name) {
        std::filesystem::remove_all(scope_.path());
        last = 0;
      }
      const Shared<Answer> answer;
      std::optional<Verdict> verdict;
      Traced child([&] {
        verdict.emplace(scope_.Acquire());
        answer->Set(*verdict);
      });
      const int descriptors = child.OpenDescriptors();
      const std::optional<Traced::Call> call = child.RunTo(at);
      if (!call.has_value()) break;
      const std::string object = child.ObjectOf(*call);
      if (!CanFail(*call, object)) continue;
      SCOPED_TRACE(ToString(*call, object));
      child.Fail(GetParam());
      child.RunToEnd();

      const std::string said = answer->said();
      if (said.starts_with("unique")) {
        EXPECT_FALSE(IsNeeded(*call, object) && !failed.contains({call->number, object}));
        ExpectExcludes(child);
        EXPECT_GT(answer->token, last);
      } else {
        EXPECT_FALSE(IsOptional(*call, object)) << said;
        EXPECT_THAT(said, StartsWith("undetermined"));
        EXPECT_THAT(said, HasSubstr(TextOf(GetParam())));
        EXPECT_EQ(child.OpenDescriptors(), descriptors) << said;
      }
      failed.insert({call->number, object});
      if (said.starts_with("unique")) child.Kill();
      const Verdict next = scope_.Acquire();
      ASSERT_TRUE(IsUnique(next)) << Say(next);
      EXPECT_GT(TokenOf(next), std::max(last, answer->token));
      last = TokenOf(next);
    }
    EXPECT_GT(at, kPlausibleCalls);
  }

  const FileScope scope_{};
};

// One error after the other, each in a test of its own, so that they run side by side.
INSTANTIATE_TEST_SUITE_P(H14, FailingCall,
                         ::testing::Values(EACCES, EROFS, ENOSPC, ENOLCK, ENOSYS, EMFILE, ENOMEM,
                                           EIO),
                         [](const auto& tested) {
                           switch (tested.param) {
                             case EACCES:
                               return "EACCES";
                             case EROFS:
                               return "EROFS";
                             case ENOSPC:
                               return "ENOSPC";
                             case ENOLCK:
                               return "ENOLCK";
                             case ENOSYS:
                               return "ENOSYS";
                             case EMFILE:
                               return "EMFILE";
                             case ENOMEM:
                               return "ENOMEM";
                             default:
                               return "EIO";
                           }
                         });

TEST_P(FailingCall, H14_InTheFirstStartOfAName) { FailEachCallOfAStart(true); }

TEST_P(FailingCall, H14_InALaterStart) {
  { ASSERT_TRUE(IsUnique(scope_.Acquire())); }
  FailEachCallOfAStart(false);
}

TEST_P(FailingCall, H14_InAStartThatIsRefusedNeverMakesItUnique) {
  const Verdict mine = scope_.Acquire();
  ASSERT_TRUE(IsUnique(mine)) << Say(mine);
  int at = 0;
  for (;; ++at) {
    const Shared<Answer> answer;
    Traced child([&] { answer->Set(Say(scope_.Acquire(absl::Milliseconds(10)))); });
    const int descriptors = child.OpenDescriptors();
    const std::optional<Traced::Call> call = child.RunTo(at);
    if (!call.has_value()) break;
    const std::string object = child.ObjectOf(*call);
    if (!CanFail(*call, object)) continue;
    SCOPED_TRACE(ToString(*call, object));
    child.Fail(GetParam());
    child.RunToEnd();
    EXPECT_THAT(answer->said(), AnyOf(StartsWith(absl::StrCat("duplicate ", getpid(), " ")),
                                      StartsWith("undetermined")));
    EXPECT_EQ(child.OpenDescriptors(), descriptors) << answer->said();
  }
  EXPECT_GT(at, kPlausibleCalls);
  EXPECT_TRUE(std::get<Unique>(mine).guard.Verify().ok());
}

TEST_P(FailingCall, H14_InALookIsNeverReadAsFree) {
  const Verdict mine = scope_.Acquire();
  ASSERT_TRUE(IsUnique(mine)) << Say(mine);
  int at = 0;
  for (;; ++at) {
    const Shared<Answer> answer;
    Traced child([&] { answer->Set(Say(scope_.Look())); });
    const int descriptors = child.OpenDescriptors();
    const std::optional<Traced::Call> call = child.RunTo(at);
    if (!call.has_value()) break;
    const std::string object = child.ObjectOf(*call);
    if (!CanFail(*call, object)) continue;
    SCOPED_TRACE(ToString(*call, object));
    child.Fail(GetParam());
    child.RunToEnd();
    EXPECT_THAT(answer->said(), AnyOf(StartsWith("taken by"), StartsWith("unavailable")));
    EXPECT_EQ(child.OpenDescriptors(), descriptors) << answer->said();
  }
  EXPECT_GT(at, 10);
}

TEST_P(FailingCall, H14_InAReleaseLeavesTheNameFree) {
  for (int at = 0;; ++at) {
    std::optional<Verdict> verdict;
    Traced child([&] { verdict.emplace(scope_.Acquire()); },
                 [&] { std::get<Unique>(*verdict).guard.Release(); });
    const std::optional<Traced::Call> call = child.RunTo(at);
    if (!call.has_value()) break;
    const std::string object = child.ObjectOf(*call);
    if (!CanFail(*call, object)) continue;
    SCOPED_TRACE(ToString(*call, object));
    child.Fail(GetParam());
    child.RunToEnd();
    const Verdict next = scope_.Acquire(absl::Milliseconds(10));  // the child lives
    EXPECT_TRUE(IsUnique(next)) << Say(next);
  }
}

// A signal handler without SA_RESTART may run at any of them.
TEST_F(InterruptedStart, EachCallThatASignalCanInterruptIsMadeAgain) {
  for (int at = 0;; ++at) {
    const Shared<Answer> answer;
    std::optional<Verdict> verdict;
    Traced child([&] {
      verdict.emplace(scope_.Acquire());
      answer->Set(*verdict);
    });
    const std::optional<Traced::Call> call = child.RunTo(at);
    if (!call.has_value()) break;
    constexpr std::array<std::uint64_t, 6> kInterruptible = {SYS_openat, SYS_flock,   SYS_fcntl,
                                                             SYS_read,   SYS_pread64, SYS_pwrite64};
    if (std::find(kInterruptible.begin(), kInterruptible.end(), call->number) ==
        kInterruptible.end()) {
      continue;
    }
    SCOPED_TRACE(ToString(*call, child.ObjectOf(*call)));
    child.Fail(EINTR);
    child.RunToEnd();
    EXPECT_THAT(answer->said(), StartsWith("unique"));
    child.Kill();
  }
}

}  // namespace
}  // namespace soleguard
