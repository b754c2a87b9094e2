// Whose objects are believed: with real users, each under each layer.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kit/key.h"
#include "soleguard/coverage.h"
#include "soleguard/guard.h"
#include "soleguard/inspect.h"
#include "soleguard/name.h"
#include "soleguard/options.h"
#include "soleguard/process.h"
#include "support/child.h"
#include "support/kinds.h"
#include "support/start.h"
#include "support/test_scope.h"
#include "support/traced.h"
#include "support/users.h"

namespace soleguard {
namespace {

using testing::Answer;
using testing::Become;
using testing::CallByCall;
using testing::Child;
using ::testing::HasSubstr;
using testing::InChild;
using testing::kMembers;
using testing::kOutsider;
using testing::kPrimary;
using testing::kSharedGroup;
using testing::kSupplementary;
using testing::MakeShared;
using ::testing::Not;
using testing::Say;
using ::testing::StartsWith;
using testing::TestNameOf;
using testing::TestScope;
using testing::Traced;
using testing::User;

std::string NeedsRoot() { return geteuid() == 0 ? "" : "only root can be several users"; }

// The scope's directory, below one through which everybody may pass.
class SharedScope {
 public:
  explicit SharedScope(std::string policy) : scope_(std::move(policy)) {
    made_ = chmod(scope_.directory().path().c_str(), 0755) == 0 && MakeShared(scope_.path());
  }
  bool made() const { return made_; }
  const TestScope& scope() const { return scope_; }

  // A start of `user`, who keeps what he got.
  std::unique_ptr<Child> Start(const User& user) const {
    return std::make_unique<Child>([this, user]() -> std::string {
      if (!Become(user)) return "cannot become " + user.name;
      static Verdict* const verdict = new Verdict(Acquire());
      return Say(*verdict);
    });
  }
  Verdict Acquire() const {
    return scope_.Acquire(absl::Milliseconds(100), /*deadline=*/absl::Seconds(30));
  }

 private:
  const TestScope scope_;
  bool made_ = false;
};

// As layers/mutex.cc makes it.
key_t KeyOf(const Scope& scope, const std::string& name = "x") {
  return static_cast<key_t>(KeyOf(scope, *InstanceName::Parse(name)) % 0x7ffffffe) + 1;
}

// The parameter is the policy.
class GroupOfUsers : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (const std::string why = NeedsRoot(); !why.empty()) GTEST_SKIP() << why;
  }
};
INSTANTIATE_TEST_SUITE_P(Policy, GroupOfUsers,
                         ::testing::ValuesIn(testing::EachAnd({testing::AllExclusive(),
                                                               testing::TwoExclusive()})),
                         [](const auto& policy) { return TestNameOf(policy.param); });

// N1_GroupScopeNeverStarts: whoever made the objects, every member starts, excludes the others and
// follows them; an outsider neither starts nor leaves what is in their way.
TEST_P(GroupOfUsers, H38_ExcludeAndFollowEachOtherWhoeverMadeTheObjects) {
  for (const User& maker : kMembers) {
    const SharedScope shared(GetParam());
    ASSERT_TRUE(shared.made());
    EXPECT_THAT(shared.Start(kOutsider)->answer(), StartsWith("undetermined"));
    const std::unique_ptr<Child> first = shared.Start(maker);
    ASSERT_THAT(first->answer(), StartsWith("unique")) << maker.name;
    EXPECT_THAT(shared.Start(kOutsider)->answer(), StartsWith("undetermined"));
    for (const User& other : kMembers) {
      EXPECT_EQ(shared.Start(other)->answer(),
                absl::StrCat("duplicate ", first->pid(), " established"))
          << other.name << " after " << maker.name;
    }
    first->Kill();
    for (const User& next : kMembers) {
      EXPECT_THAT(shared.Start(next)->answer(), StartsWith("unique"))
          << next.name << " after " << maker.name;
    }
  }
}

// What makes an object, or gives it away. Files are made by threads that live for one making each
// and are not traced: a kill where the next one starts finds what all before it have made.
bool Makes(const Traced::Call& call, const std::string& /*object*/) {
  constexpr std::array<long, 11> kMaking = {SYS_semget,  SYS_semctl, SYS_semop,  SYS_mkdirat,
                                            SYS_mknodat, SYS_linkat, SYS_fchmod, SYS_fchown,
                                            SYS_bind,    SYS_clone,  SYS_clone3};
  return std::any_of(kMaking.begin(), kMaking.end(), [&call](long number) {
    return call.number == static_cast<std::uint64_t>(number);
  });
}

// R8_GroupHalfMade.
TEST_P(GroupOfUsers, H38_AMemberWhoIsKilledAnywhereInTheMakingIsInNobodysWay) {
  if (const std::string why = Traced::Unusable(); !why.empty()) GTEST_SKIP() << why;
  CallByCall calls(&Makes);
  for (bool over = false; !over;) {
    const SharedScope shared(GetParam());
    ASSERT_TRUE(shared.made());
    const Answer answer;
    std::optional<Verdict> verdict;
    Traced killed([] { (void)Become(kSupplementary); },
                  [&] {
                    verdict.emplace(shared.Acquire());
                    answer.Set(Say(*verdict));
                  });
    over = !calls.RunToNext(killed);
    SCOPED_TRACE(absl::StrCat("killed at ", ToString(calls.call(), calls.object())));
    killed.Kill();
    for (const User& next : {kPrimary, kSupplementary}) {
      EXPECT_THAT(shared.Start(next)->answer(), StartsWith("unique")) << next.name;
    }
  }
  EXPECT_GE(calls.visited(), 9) << "file alone has nine";
}

// A user's own directory, and a umask that hides what he makes from himself.
using UserAlone = GroupOfUsers;
INSTANTIATE_TEST_SUITE_P(Policy, UserAlone,
                         ::testing::ValuesIn(testing::EachAnd({testing::AllExclusive()})),
                         [](const auto& policy) { return TestNameOf(policy.param); });

TEST_P(UserAlone, H38_AStartThatIsKilledUnderAStrictUmaskIsNotInTheWayOfItsUser) {
  if (const std::string why = Traced::Unusable(); !why.empty()) GTEST_SKIP() << why;
  CallByCall calls([](const Traced::Call& call, const std::string& object) {
    return Makes(call, object) || call.number == SYS_openat || call.number == SYS_chmod;
  });
  for (bool over = false; !over;) {
    const TestScope scope(GetParam());
    const std::string& above = scope.directory().path();
    ASSERT_EQ(chown(above.c_str(), kOutsider.uid, kOutsider.gid), 0);
    // A scope that is named as a directory is its user's: its mode is not changed by a start.
    ASSERT_EQ(mkdir(scope.path().c_str(), 0700), 0);
    ASSERT_EQ(chown(scope.path().c_str(), kOutsider.uid, kOutsider.gid), 0);
    Traced killed(
        [] {
          (void)Become(kOutsider);
          (void)umask(0777);
        },
        [&] { (void)scope.Acquire(absl::Milliseconds(100)); });
    over = !calls.RunToNext(killed);
    SCOPED_TRACE(absl::StrCat("killed at ", ToString(calls.call(), calls.object())));
    killed.Kill();
    const Child next([&]() -> std::string {
      if (!Become(kOutsider)) return "cannot become another";
      return Say(scope.Acquire(absl::Milliseconds(100), /*deadline=*/absl::Seconds(30)));
    });
    EXPECT_THAT(next.answer(), StartsWith("unique"));
  }
  EXPECT_GT(calls.visited(), 10);
}

class Strangers : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = NeedsRoot(); !why.empty()) GTEST_SKIP() << why;
  }
  static Arbiter::Decision Forecast(const TestScope& scope) {
    return Check(TestScope::kName, *Policy::Parse(scope.policy()), {.scope = scope.scope()})
        ->decision;
  }
};

// A member writes his own record, and may name anybody in it as his guardian: root, who may end
// everybody, ends only who shares the scope.
TEST_F(Strangers, H37_AGuardianOfAnotherUserIsNotEndedWithTheOneWhoNamesIt) {
  const SharedScope shared("file");
  ASSERT_TRUE(shared.made());
  const Child victim([] { return Become(kOutsider) ? "runs" : "cannot become another"; });
  ASSERT_EQ(victim.answer(), "runs");
  const ProcessIdentity stranger = *IdentityOf(victim.pid());
  const Child holder([&]() -> std::string {
    if (!Become(kPrimary)) return "cannot become a member";
    (void)signal(SIGTERM, SIG_IGN);
    static Verdict* const verdict = new Verdict(shared.Acquire());
    const absl::Status named = std::get<Unique>(*verdict).guard.Follow(*OwnIdentity(), stranger);
    return named.ok() ? Say(*verdict) : named.ToString();
  });
  ASSERT_THAT(holder.answer(), StartsWith("unique"));
  ASSERT_EQ(kill(victim.pid(), SIGSTOP), 0);
  while (FreezeOf(stranger) == Freeze::kNone) sched_yield();
  const Verdict verdict =
      Guard::Acquire(TestScope::kName, *Policy::Parse("file"),
                     {.scope = shared.scope().scope(), .replace = absl::Milliseconds(10)});
  EXPECT_THAT(Say(verdict), StartsWith("unique"));
  EXPECT_EQ(LivenessOf(stranger), Liveness::kAlive);
}

// R1_GroupSemaphoreOutsider, R1b_TwoHoldersByOutsider: the kernel lets everybody give his semaphore
// to any group, and its maker can free it under its holder for ever.
TEST_F(Strangers, H38_AnOutsidersSemaphoreDecidesNothing) {
  const SharedScope shared("mutex");
  const key_t key = KeyOf(shared.scope().scope());
  const Child squatter([&]() -> std::string {
    if (!Become(kOutsider)) return "cannot become";
    const int id = semget(key, 1, IPC_CREAT | 0660);
    semid_ds status = {};
    if (id < 0 || semctl(id, 0, IPC_STAT, &status) != 0) return "semget failed";
    status.sem_perm.gid = kSharedGroup;
    if (semctl(id, 0, IPC_SET, &status) != 0) return "IPC_SET failed";
    sembuf take = {.sem_num = 0, .sem_op = 1, .sem_flg = SEM_UNDO};
    return semop(id, &take, 1) == 0 ? "has it" : "semop failed";
  });
  ASSERT_EQ(squatter.answer(), "has it");
  EXPECT_THAT(shared.Start(kPrimary)->answer(), HasSubstr("(uid 65534)"));
  EXPECT_EQ(Forecast(shared.scope()), Arbiter::Decision::kUndetermined);
  const auto inspection = Inspect("x", *Policy::Parse("mutex"), {.scope = shared.scope().scope()});
  EXPECT_EQ(inspection->holder(), nullptr);
  EXPECT_TRUE(inspection->blind());
  (void)semctl(semget(key, 1, 0), 0, IPC_RMID);
}

// R7_ParentOfDirectoryScope.
TEST_F(Strangers, H38_ADirectoryThatAnotherUserCanMoveIsNoScope) {
  const TestScope scope("file");
  ASSERT_EQ(mkdir(scope.path().c_str(), 0700), 0);
  EXPECT_TRUE(testing::IsUnique(scope.Acquire()));
  for (const mode_t mode : {0755U, 0777U}) {
    const uid_t owner = mode == 0755U ? kOutsider.uid : 0;
    ASSERT_EQ(chown(scope.directory().path().c_str(), owner, 0), 0);
    ASSERT_EQ(chmod(scope.directory().path().c_str(), mode), 0);
    EXPECT_THAT(Say(scope.Acquire()), HasSubstr("lets other users move what is in it"));
    EXPECT_EQ(Forecast(scope), Arbiter::Decision::kUndetermined);
  }
  // Nobody but root and its owner moves it out of a sticky one.
  ASSERT_EQ(chmod(scope.directory().path().c_str(), 01777), 0);
  EXPECT_TRUE(testing::IsUnique(scope.Acquire()));
}

// C11_RefusedStartLeavesObjects.
TEST_F(Strangers, H38_ARefusedStartOfAnotherUserLeavesNothingInTheWay) {
  for (const char* policy : {"mutex", "all(file, mutex, port)"}) {
    const TestScope scope(policy);
    ASSERT_EQ(chmod(scope.directory().path().c_str(), 0755), 0);
    ASSERT_EQ(mkdir(scope.path().c_str(), 0755), 0);
    EXPECT_THAT(InChild([&]() -> std::string {
                  return Become(kOutsider) ? Say(scope.Acquire()) : "cannot become";
                }),
                HasSubstr("cannot be written by"));
    EXPECT_TRUE(testing::IsUnique(scope.Acquire())) << policy;
  }
}

// A record that says of `process` that it has the name.
std::string RecordOf(const Scope& scope, const std::string& name, const ProcessIdentity& process) {
  HolderRecord record;
  record.state = RecordState::kEstablished;
  record.name = name;
  record.scope = scope.ToString();
  record.identity = process;
  record.instance = process;
  return EncodeRecord(record, 1);
}

TEST_F(Strangers, H37_APlantedClaimCoversNobody) {
  const TestScope scope("all(file, mutex, port)");
  const Options options{.scope = scope.scope()};
  EXPECT_TRUE(testing::IsUnique(Guard::Acquire("y", Policy::Default(), options)));
  const key_t key = KeyOf(options.scope, "y");
  const std::string segment = absl::StrFormat("/dev/shm/soleguard-%08x", key);
  ASSERT_EQ(semget(key, 1, 0), -1) << "a release leaves none";
  ASSERT_NE(access(segment.c_str(), F_OK), 0);
  const Child copy([] { return "runs"; });
  const ProcessIdentity identity = *IdentityOf(copy.pid());
  const Child planter([&]() -> std::string {
    if (!Become(kOutsider)) return "cannot become";
    const int id = semget(key, 1, IPC_CREAT | 0666);
    sembuf take = {.sem_num = 0, .sem_op = 1, .sem_flg = SEM_UNDO};
    std::ofstream(segment, std::ios::binary) << RecordOf(options.scope, "y", identity);
    return id >= 0 && semop(id, &take, 1) == 0 ? "planted" : "semget failed";
  });
  ASSERT_EQ(planter.answer(), "planted");
  const absl::StatusOr<Coverage::Whose> whose =
      Coverage(options.scope, *InstanceName::Parse("x")).Of(identity);
  ASSERT_TRUE(whose.ok()) << whose.status();
  EXPECT_EQ(*whose, Coverage::Whose::kNobodys);
  (void)semctl(semget(key, 1, 0), 0, IPC_RMID);
  (void)unlink(segment.c_str());
}

// Root looks at the scope of a user, who writes its records as he likes.
TEST_F(Strangers, H37_ARecordNamesNobodyWhoDoesNotShareTheScope) {
  const TestScope scope("file");
  ASSERT_EQ(chmod(scope.directory().path().c_str(), 0755), 0);
  ASSERT_EQ(mkdir(scope.path().c_str(), 0700), 0);
  ASSERT_EQ(chown(scope.path().c_str(), kPrimary.uid, kPrimary.gid), 0);
  const Child holder([&]() -> std::string {
    static Verdict* verdict = nullptr;
    if (!Become(kPrimary)) return "cannot become";
    verdict = new Verdict(scope.Acquire());
    return Say(*verdict);
  });
  ASSERT_THAT(holder.answer(), StartsWith("unique"));
  const auto look = [&] { return Inspect("x", *Policy::Parse("file"), {.scope = scope.scope()}); };
  ASSERT_NE(look()->holder(), nullptr) << "root sees it by the scope's own rule";
  const Coverage coverage(scope.scope(), *InstanceName::Parse("x"));
  EXPECT_EQ(*coverage.Of(*IdentityOf(holder.pid())), Coverage::Whose::kOfTheName);

  const Child stranger([] { return "runs"; });
  const ProcessIdentity identity = *IdentityOf(stranger.pid());
  std::ofstream(scope.Object("record"), std::ios::binary) << RecordOf(scope.scope(), "x", identity);
  const absl::StatusOr<Coverage::Whose> whose = coverage.Of(identity);
  EXPECT_TRUE(absl::IsFailedPrecondition(whose.status())) << whose.status();
  EXPECT_THAT(std::string(whose.status().message()), HasSubstr("does not share the scope"));
  // Root does not start there, and check says so.
  EXPECT_THAT(Say(scope.Acquire()),
              HasSubstr("could be undone by that user: start it as that user (sudo -u "));
  EXPECT_EQ(Forecast(scope), Arbiter::Decision::kUndetermined);
}

// All whom a user namespace does not map are shown as one.
TEST_F(Strangers, H47_InAUserNamespaceWithoutAMapNobodysObjectsAreTakenForOnesOwn) {
  const TestScope scope("all(file, mutex, port)");
  ASSERT_EQ(chmod(scope.directory().path().c_str(), 0755), 0);
  ASSERT_EQ(mkdir(scope.path().c_str(), 0700), 0);
  ASSERT_EQ(chown(scope.path().c_str(), 65534, 65534), 0);
  const std::string said = InChild([&]() -> std::string {
    if (!Become(kOutsider)) return "cannot become";
    if (unshare(CLONE_NEWUSER) != 0) return "skip: no user namespaces here";
    return Say(scope.Acquire());
  });
  if (said.starts_with("skip")) GTEST_SKIP() << said;
  EXPECT_THAT(said, StartsWith("undetermined"));
  EXPECT_THAT(said, HasSubstr("user namespace"));
}

}  // namespace
}  // namespace soleguard
