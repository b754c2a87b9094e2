// What is special to the mutex layer: objects of the ipc namespace, which others can remove or
// squat.
#include <sched.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <variant>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hash.h"
#include "soleguard/guard.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/temp_dir.h"

namespace soleguard {
namespace {

using testing::Claimant;
using ::testing::HasSubstr;
using testing::InChild;

class MutexTest : public ::testing::Test {
 protected:
  Scope scope() const { return *Scope::Directory(directory_.path()); }
  Verdict Acquire(const std::string& name = "x") const {
    return Guard::Acquire(name, *Policy::Parse("mutex"), {.scope = scope()});
  }
  // As layers/mutex.cc makes it.
  key_t Key(const std::string& name = "x") const {
    return static_cast<key_t>(HashOf(scope(), *InstanceName::Parse(name)) % 0x7ffffffe) + 1;
  }
  static std::string Reason(const Verdict& verdict) {
    const auto* undetermined = std::get_if<Undetermined>(&verdict);
    return undetermined != nullptr ? std::string(undetermined->status.message()) : "no reason";
  }

  const testing::TempDir directory_;
};

TEST_F(MutexTest, H32_VerifyNoticesThatTheSemaphoreWasRemoved) {
  const Verdict verdict = Acquire();
  const auto& guard = std::get<Unique>(verdict).guard;
  EXPECT_TRUE(guard.Verify().ok()) << guard.Verify();
  const int id = semget(Key(), 1, 0);
  ASSERT_GE(id, 0);
  ASSERT_EQ(semctl(id, 0, IPC_RMID), 0);
  EXPECT_TRUE(absl::IsDataLoss(guard.Verify())) << guard.Verify();
  // One that another process made in its place is not ours either.
  Claimant other({.scope = directory_.path(), .policy = "mutex"});
  EXPECT_TRUE(other.unique()) << other.verdict();
  EXPECT_TRUE(absl::IsDataLoss(guard.Verify())) << guard.Verify();
}

TEST_F(MutexTest, VerifyNoticesThatTheProcessGaveUpItsUndoList) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "the sanitizer's own thread shares the undo list, which so lives on";
#endif
  EXPECT_THAT(InChild([this] {
                const Verdict verdict = Acquire();
                if (unshare(CLONE_SYSVSEM) != 0) return std::string("unshare failed");
                return std::get<Unique>(verdict).guard.Verify().ToString();
              }),
              HasSubstr("given back"));
}

TEST_F(MutexTest, H20_ASemaphoreOfAnotherUserIsUnavailableAndHeIsNamed) {
  if (getuid() != 0) GTEST_SKIP() << "only root can be two users";
  const key_t key = Key();
  ASSERT_EQ(InChild([key] {
              if (setuid(65534) != 0) return "setuid failed";
              return semget(key, 1, IPC_CREAT | 0666) >= 0 ? "made" : "semget failed";
            }),
            "made");
  const Verdict verdict = Acquire();
  EXPECT_TRUE(std::holds_alternative<Undetermined>(verdict));
  EXPECT_THAT(Reason(verdict), HasSubstr("nobody"));
}

// Two names may have one key. Here the record says that it happened.
TEST_F(MutexTest, H21_ANameWithTheSameKeyIsUnavailableNeverRunning) {
  Claimant owner({.scope = directory_.path(), .name = "x", .policy = "mutex"});
  ASSERT_TRUE(owner.unique());
  HolderRecord record;
  record.state = RecordState::kEstablished;
  record.name = "another";
  record.scope = scope().ToString();
  record.identity = *IdentityOf(owner.pid());
  std::ofstream(absl::StrFormat("/dev/shm/soleguard-%08x", Key()), std::ios::binary)
      << EncodeRecord(record, 99);
  const Verdict verdict = Acquire();
  EXPECT_TRUE(std::holds_alternative<Undetermined>(verdict));
  EXPECT_THAT(Reason(verdict), HasSubstr("another"));
}

TEST_F(MutexTest, TakesNoParameters) {
  EXPECT_FALSE(Policy::Parse("mutex(1)").ok());
  EXPECT_FALSE(Policy::Parse("mutex(path=/a)").ok());
}

}  // namespace
}  // namespace soleguard
