// What is special to the mutex layer: objects of the ipc namespace, which others can remove or
// squat.
#include <sched.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <variant>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kit/key.h"
#include "os/named_mutex.h"
#include "os/ownership.h"
#include "os/path.h"
#include "soleguard/guard.h"
#include "soleguard/name.h"
#include "soleguard/names.h"
#include "soleguard/process.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/system_v.h"
#include "support/temp_dir.h"

namespace soleguard {
namespace {

using testing::Claimant;
using ::testing::HasSubstr;
using testing::InChild;

class MutexTest : public ::testing::Test {
 protected:
  Scope scope() const { return *Scope::Directory(directory_.path()); }
  Verdict Acquire(const std::string& name = "x", absl::Duration settle = absl::Seconds(1)) const {
    return Guard::Acquire(name, *Policy::Parse("mutex"), {.scope = scope(), .settle = settle});
  }
  // As layers/mutex.cc makes it.
  key_t Key(const std::string& name = "x") const {
    return static_cast<key_t>(KeyOf(scope(), *InstanceName::Parse(name)) % 0x7ffffffe) + 1;
  }
  std::string Segment(const std::string& name = "x") const {
    return absl::StrFormat("/dev/shm/soleguard-%08x", Key(name));
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
  // What the record says refuses still.
  {
    Claimant refused({.scope = directory_.path(), .policy = "mutex"});
    EXPECT_EQ(refused.verdict(), absl::StrCat("duplicate ", getpid(), " established"));
  }
  EXPECT_TRUE(absl::IsDataLoss(guard.Verify())) << guard.Verify();
  // One that another process made in its place, once the record was removed too (RemoveIPC), is not
  // ours either.
  ASSERT_TRUE(testing::RemoveSegment(scope().directory(), "x"));
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

// The kernel knows who took it. The record may still be of one that had it before and lives: the
// next one writes its own a moment later.
TEST_F(MutexTest, H02_WhoHasItIsNotToldByTheRecordOfOneThatHadItBefore) {
  Claimant before({.scope = directory_.path(), .policy = "mutex"});
  ASSERT_TRUE(before.unique()) << before.verdict();
  ASSERT_TRUE(testing::FreeSemaphore(scope().directory(), "x"));
  const testing::Child next([this]() -> std::string {
    const os::Ownership own{.rule = os::Ownership::Rule::kOwner, .uid = geteuid()};
    auto semaphore =
        os::NamedMutex::Open(KeyOf(scope(), *InstanceName::Parse("x")), own, os::Create::kNo);
    return semaphore.ok() && *semaphore->TryTake() ? "took it" : "did not";
  });
  ASSERT_EQ(next.answer(), "took it");
  const Verdict verdict = Acquire("x", absl::Milliseconds(50));
  const auto* duplicate = std::get_if<Duplicate>(&verdict);
  ASSERT_NE(duplicate, nullptr) << Reason(verdict);
  EXPECT_EQ(duplicate->holder.standing, Standing::kUnknown);
  EXPECT_FALSE(duplicate->holder.record.has_value());
  EXPECT_THAT(duplicate->holder.processes, ::testing::ElementsAre(*IdentityOf(next.pid())));
}

// --- what a free name costs ---

TEST_F(MutexTest, H42_AReleaseLeavesNeitherASemaphoreNorASegment) {
  {
    const Verdict mine = Acquire();
    ASSERT_TRUE(std::holds_alternative<Unique>(mine)) << Reason(mine);
    EXPECT_GE(semget(Key(), 1, 0), 0);
    EXPECT_TRUE(std::filesystem::exists(Segment()));
  }
  EXPECT_EQ(semget(Key(), 1, 0), -1);
  EXPECT_FALSE(std::filesystem::exists(Segment()));
  // Refused starts neither.
  Claimant owner({.scope = directory_.path(), .policy = "mutex"});
  ASSERT_TRUE(owner.unique());
  EXPECT_TRUE(std::holds_alternative<Duplicate>(Acquire()));
  EXPECT_EQ(owner.Ask("verify"), "ok");
  EXPECT_EQ(owner.Ask("release"), "released");
  EXPECT_EQ(semget(Key(), 1, 0), -1);
}

// The race of a release with a newcomer that has opened the semaphore before it.
TEST_F(MutexTest, H42_ASemaphoreThatWasOpenedBeforeTheReleaseIsNobodys) {
  const os::Ownership own{.rule = os::Ownership::Rule::kOwner, .uid = geteuid()};
  std::optional<os::NamedMutex> opened;
  {
    const Verdict mine = Acquire();
    ASSERT_TRUE(std::holds_alternative<Unique>(mine));
    opened = *os::NamedMutex::Open(KeyOf(scope(), *InstanceName::Parse("x")), own, os::Create::kNo);
    EXPECT_FALSE(*opened->TryTake());
  }
  EXPECT_TRUE(absl::IsAborted(opened->TryTake().status())) << "it learns that it has to begin anew";
  Claimant next({.scope = directory_.path(), .policy = "mutex"});
  EXPECT_TRUE(next.unique()) << next.verdict();
  EXPECT_TRUE(absl::IsAborted(opened->TryTake().status()));
  EXPECT_EQ(next.Ask("verify"), "ok");
}

// What was lost is the next holder's: the release of its former one does not take it away.
TEST_F(MutexTest, H42_AReleaseLeavesWhatIsAnothersByNow) {
  Verdict mine = Acquire();
  ASSERT_TRUE(testing::FreeSemaphore(scope().directory(), "x"));
  std::ofstream(Segment(), std::ios::binary) << "damaged";  // its record would refuse
  Claimant next({.scope = directory_.path(), .policy = "mutex"});
  ASSERT_TRUE(next.unique()) << next.verdict();
  std::get<Unique>(mine).guard.Release();
  EXPECT_EQ(next.Ask("verify"), "ok");
  EXPECT_TRUE(std::filesystem::exists(Segment()));
  // Made anew at the key, and taken by another.
  Claimant third({.scope = directory_.path(), .name = "y", .policy = "mutex"});
  ASSERT_TRUE(third.unique()) << third.verdict();
  ASSERT_TRUE(testing::RemoveSemaphore(scope().directory(), "y"));
  ASSERT_TRUE(testing::RemoveSegment(scope().directory(), "y"));
  Claimant fourth({.scope = directory_.path(), .name = "y", .policy = "mutex"});
  ASSERT_TRUE(fourth.unique()) << fourth.verdict();
  EXPECT_EQ(third.Ask("release"), "released");
  EXPECT_EQ(fourth.Ask("verify"), "ok");
  EXPECT_TRUE(std::holds_alternative<Duplicate>(Acquire("y")));
}

TEST_F(MutexTest, H42_WhatAKilledHolderLeftGoesWithTheNextRelease) {
  Claimant killed({.scope = directory_.path(), .policy = "mutex"});
  ASSERT_TRUE(killed.unique());
  killed.program().Signal(SIGKILL);
  (void)killed.program().Wait();
  EXPECT_TRUE(std::filesystem::exists(Segment()));
  {
    const Verdict mine = Acquire();
    ASSERT_TRUE(std::holds_alternative<Unique>(mine)) << Reason(mine);
    EXPECT_EQ(std::get<Unique>(mine).guard.predecessor()->identity.pid, killed.pid());
  }
  EXPECT_EQ(semget(Key(), 1, 0), -1);
  EXPECT_FALSE(std::filesystem::exists(Segment()));
}

// In an ipc namespace with a limit of its own: all semaphores are what killed holders left, one is
// held and one is a stranger's.
TEST_F(MutexTest, H42_WhatIsLeftIsCollectedWhenTheSystemHasNoSemaphoreAnyMore) {
  if (getuid() != 0) GTEST_SKIP() << "only root can make an ipc namespace";
  const std::string answer = InChild([this]() -> std::string {
    if (unshare(CLONE_NEWIPC) != 0) return "SKIP: no ipc namespace";
    std::ofstream("/proc/sys/kernel/sem") << "32000 1024000000 500 4";
    std::string limits;
    std::getline(std::ifstream("/proc/sys/kernel/sem"), limits);
    if (!limits.ends_with("\t4")) return "SKIP: no limit";
    const int stranger = semget(0x1234567, 1, IPC_CREAT | 0600);
    Claimant held({.scope = directory_.path(), .name = "held", .policy = "mutex"});
    if (!held.unique()) return held.verdict();
    for (const char* name : {"left", "left too"}) {
      Claimant killed({.scope = directory_.path(), .name = name, .policy = "mutex"});
      if (!killed.unique()) return killed.verdict();
      killed.program().Signal(SIGKILL);
      (void)killed.program().Wait();
    }
    if (semget(0x1234568, 1, IPC_CREAT | 0600) >= 0) return "the limit is not reached";
    {
      const Verdict mine = Acquire();
      if (!std::holds_alternative<Unique>(mine)) return Reason(mine);
    }
    if (semget(Key("left"), 1, 0) >= 0 || semget(Key("left too"), 1, 0) >= 0) return "left";
    if (semctl(stranger, 0, GETVAL) != 0) return "a stranger's was removed";
    return held.Ask("verify");
  });
  if (answer.starts_with("SKIP")) GTEST_SKIP() << answer;
  EXPECT_EQ(answer, "ok");
}

TEST_F(MutexTest, H42_NamesAreFoundByWhatIsLeftOfThem) {
  {
    Claimant killed({.scope = directory_.path(), .policy = "mutex", .slot_count = 2});
    ASSERT_TRUE(killed.unique());
    Claimant second({.scope = directory_.path(), .policy = "mutex", .slot_count = 2});
    ASSERT_TRUE(second.unique());
    for (Claimant* one : {&killed, &second}) {
      one->program().Signal(SIGKILL);
      (void)one->program().Wait();
    }
  }
  const InstanceName x = *InstanceName::Parse("x");
  EXPECT_THAT(NamesOutside(scope()), ::testing::UnorderedElementsAre(x, x.Slot(1)));
  EXPECT_THAT(NamesOutside(*Scope::Directory("/elsewhere")), ::testing::IsEmpty());
  // A segment whose record names another key is not believed.
  HolderRecord record;
  record.name = "another";
  record.scope = scope().ToString();
  record.identity.pid = 1;
  std::ofstream(Segment(), std::ios::binary) << EncodeRecord(record, 1);
  EXPECT_THAT(NamesOutside(scope()), ::testing::ElementsAre(x.Slot(1)));
  std::filesystem::remove(Segment());
}

TEST_F(MutexTest, TakesNoParameters) {
  EXPECT_FALSE(Policy::Parse("mutex(1)").ok());
  EXPECT_FALSE(Policy::Parse("mutex(path=/a)").ok());
}

}  // namespace
}  // namespace soleguard
