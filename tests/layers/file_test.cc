// The file layer with real processes: who is kept out, by what, and what ends a claim.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>
#include <boost/interprocess/sync/file_lock.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "soleguard/inspect.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/process.h"
#include "soleguard/registry.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/file_scope.h"
#include "support/program.h"
#include "support/repeater.h"
#include "support/shared.h"
#include "support/tick.h"
#include "support/traced.h"

namespace soleguard {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using testing::Child;
using testing::Claimant;
using ::testing::Contains;
using ::testing::Each;
using ::testing::Eq;
using testing::FileScope;
using ::testing::HasSubstr;
using testing::InChild;
using testing::InNewPidNamespace;
using testing::IsDuplicate;
using ::testing::IsEmpty;
using testing::IsUnique;
using ::testing::Not;
using testing::Program;
using testing::RunProgram;
using testing::Say;
using testing::Shared;
using ::testing::StartsWith;
using testing::Traced;

constexpr absl::Duration kShort = absl::Milliseconds(50);

std::string Content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void Write(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

bool Exists(pid_t pid) { return kill(pid, 0) == 0; }

// The children of a process that is not the test's own.
std::vector<pid_t> ChildrenOf(pid_t pid) {
  std::ifstream list(absl::StrCat("/proc/", pid, "/task/", pid, "/children"));
  return {std::istream_iterator<pid_t>(list), std::istream_iterator<pid_t>()};
}

// Ends a process that is a child of a process that the test started.
class Orphan {
 public:
  explicit Orphan(const std::string& pid) : pid_(std::stoi(pid)) {}
  Orphan(const Orphan&) = delete;
  Orphan& operator=(const Orphan&) = delete;
  ~Orphan() { (void)kill(pid_, SIGKILL); }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

// --- the layer and other programs' locks, in both forms ---

enum class Form { kDirectory, kPlain };

class FileLayerInterop : public ::testing::TestWithParam<Form> {
 protected:
  // The lock file, which exists once somebody had the name.
  std::string LockFile() const {
    return GetParam() == Form::kPlain ? scope_.directory() / "plain.lock" : scope_.Object("lock");
  }
  Policy policy() const {
    return *Policy::Parse(GetParam() == Form::kPlain ? absl::StrCat("file(path=", LockFile(), ")")
                                                     : "file");
  }
  Verdict Acquire(absl::Duration settle = absl::Seconds(1)) const {
    return Guard::Acquire(FileScope::kName, policy(), {.scope = scope_.scope(), .settle = settle});
  }
  std::unique_ptr<Layer> MakeLayer() const {
    return FindLayerKind("file")->make({.scope = scope_.scope(),
                                        .name = *InstanceName::Parse(FileScope::kName),
                                        .parameters = policy().layers().front().parameters,
                                        .subject = {}});
  }
  // So that there is a lock file for others to lock.
  void HoldOnce() const { ASSERT_TRUE(IsUnique(Acquire())); }

  // That the layer refuses while `other` has a lock on its file, and says who it is.
  void ExpectRefusedBy(pid_t other) const {
    HolderRecord candidate;
    candidate.identity = *OwnIdentity();
    EXPECT_TRUE(std::holds_alternative<Contested>(MakeLayer()->Try(candidate)));
    const absl::Time before = absl::Now();
    EXPECT_EQ(Say(Acquire(kShort)), absl::StrCat("duplicate ", other, " unknown"));
    EXPECT_GE(absl::Now() - before, kShort) << "a locker may just be letting go";
  }

  // A lock of the fcntl family taken by a child; "locked" in its answer.
  std::unique_ptr<Child> FcntlLocker(int command) const {
    return std::make_unique<Child>([this, command] {
      const int fd = open(LockFile().c_str(), O_RDWR | O_CLOEXEC);
      struct flock lock = {};
      lock.l_type = F_WRLCK;
      lock.l_whence = SEEK_SET;
      return fcntl(fd, command, &lock) == 0 ? "locked" : "refused";
    });
  }

  const FileScope scope_{};
};

INSTANTIATE_TEST_SUITE_P(Forms, FileLayerInterop, ::testing::Values(Form::kDirectory, Form::kPlain),
                         [](const auto& tested) {
                           return tested.param == Form::kPlain ? "Plain" : "Directory";
                         });

TEST_P(FileLayerInterop, FlockIsRefusedWhileHeldAndNotAfter) {
  Verdict mine = Acquire();
  ASSERT_TRUE(IsUnique(mine)) << Say(mine);
  EXPECT_EQ(RunProgram({.argv = {"flock", "-n", LockFile(), "true"}}).code, 1);
  EXPECT_EQ(RunProgram({.argv = {"flock", "-n", "-s", LockFile(), "true"}}).code, 1);
  std::get<Unique>(mine).guard.Release();
  EXPECT_EQ(RunProgram({.argv = {"flock", "-n", LockFile(), "true"}}).code, 0);
}

TEST_P(FileLayerInterop, FcntlLockersAreRefusedWhileHeldAndNotAfter) {
  Verdict mine = Acquire();
  ASSERT_TRUE(IsUnique(mine)) << Say(mine);
  EXPECT_EQ(FcntlLocker(F_SETLK)->answer(), "refused");
  EXPECT_EQ(FcntlLocker(F_OFD_SETLK)->answer(), "refused");
  std::get<Unique>(mine).guard.Release();
  EXPECT_EQ(FcntlLocker(F_SETLK)->answer(), "locked");
  EXPECT_EQ(FcntlLocker(F_OFD_SETLK)->answer(), "locked");
}

TEST_P(FileLayerInterop, RefusedAsLongAsFlockHasIt) {
  HoldOnce();
  Program flock({.argv = {"flock", "--no-fork", LockFile(), "sh", "-c", "echo locked; read line"}});
  ASSERT_EQ(flock.ReadLine(), "locked");
  ExpectRefusedBy(flock.pid());
  flock.WriteLine("end");
  EXPECT_EQ(flock.Wait(), 0);
  EXPECT_TRUE(IsUnique(Acquire(kShort)));
}

TEST_P(FileLayerInterop, RefusedAsLongAsAnFcntlLockerHasIt) {
  HoldOnce();
  for (const int command : {F_SETLK, F_OFD_SETLK}) {
    const std::unique_ptr<Child> locker = FcntlLocker(command);
    ASSERT_EQ(locker->answer(), "locked");
    ExpectRefusedBy(locker->pid());
    locker->Kill();
    EXPECT_TRUE(IsUnique(Acquire(kShort)));
  }
}

TEST_P(FileLayerInterop, AForeignLockThatIsGivenBackWithinTheSettleTimeRefusesNothing) {
  HoldOnce();
  Program flock({.argv = {"flock", "--no-fork", LockFile(), "sh", "-c", "echo locked; read line"}});
  ASSERT_EQ(flock.ReadLine(), "locked");
  // A child of the test tries for as long as it takes; the lock is given back while it does.
  const Shared<std::atomic<bool>> waits;
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    HolderRecord candidate;
    candidate.identity = *OwnIdentity();
    *waits = std::holds_alternative<Contested>(MakeLayer()->Try(candidate));
    (void)close(ends[1]);
    _exit(IsUnique(Acquire(absl::Seconds(30))) ? 0 : 1);
  }
  (void)close(ends[1]);
  char byte = 0;
  ASSERT_EQ(read(ends[0], &byte, 1), 0);  // the end of file: it is about to wait
  (void)close(ends[0]);
  EXPECT_TRUE(*waits);
  flock.WriteLine("end");
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_P(FileLayerInterop, TheLockFileSaysThePid) {
  const Verdict mine = Acquire();
  ASSERT_TRUE(IsUnique(mine));
  EXPECT_EQ(std::stoi(Content(LockFile())), getpid());
}

TEST_P(FileLayerInterop, AnotherProcessIsRefusedAndALookSeesWhoHasIt) {
  Claimant::Setup setup = scope_.Another();
  setup.policy = policy().ToString();
  Claimant first(setup);
  ASSERT_TRUE(first.unique()) << first.verdict();
  EXPECT_EQ(Say(Acquire()), absl::StrCat("duplicate ", first.pid(), " established"));
  EXPECT_EQ(Say(MakeLayer()->Look()), absl::StrCat("taken by ", first.pid(), " established"));
}

// --- the plain form ---

class PlainFile : public ::testing::Test {
 protected:
  Verdict Acquire() const {
    return Guard::Acquire(FileScope::kName, *Policy::Parse(absl::StrCat("file(path=", path_, ")")),
                          {.scope = scope_.scope(), .settle = kShort});
  }

  // As another program takes it; "locked" or "refused" in its answer. Holds it until it is killed.
  std::unique_ptr<Child> BoostLocker() const {
    return std::make_unique<Child>([this] {
      static boost::interprocess::file_lock lock(path_.c_str());
      return lock.try_lock() ? "locked" : "refused";
    });
  }

  const FileScope scope_{};
  const std::string path_ = scope_.directory() / "somebody's";
};

TEST_F(PlainFile, BoostsFileLockIsRefusedWhileItIsHeldAndNotAfter) {
  {
    const Verdict verdict = Acquire();
    ASSERT_TRUE(IsUnique(verdict)) << Say(verdict);
    EXPECT_EQ(BoostLocker()->answer(), "refused");
  }
  EXPECT_EQ(BoostLocker()->answer(), "locked");
}

// It could not tell the file that it would make from others'.
TEST_F(PlainFile, H47_InAUserNamespaceWithoutAMapNoFileIsMade) {
  const std::string said = InChild([this]() -> std::string {
    return unshare(CLONE_NEWUSER) == 0 ? Say(Acquire()) : "skip: no user namespaces here";
  });
  if (said.starts_with("skip:")) GTEST_SKIP() << said;
  EXPECT_THAT(said, StartsWith("undetermined"));
  EXPECT_THAT(said, HasSubstr("user namespace that does not map its user"));
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(PlainFile, RefusedAsLongAsBoostsFileLockHasItAndNamesTheProcess) {
  { ASSERT_TRUE(IsUnique(Acquire())); }  // leaves a record, of a process that lives
  const std::unique_ptr<Child> locker = BoostLocker();
  ASSERT_EQ(locker->answer(), "locked");
  const Verdict verdict = Acquire();
  const auto* duplicate = std::get_if<Duplicate>(&verdict);
  ASSERT_NE(duplicate, nullptr) << Say(verdict);
  EXPECT_EQ(Say(verdict), absl::StrCat("duplicate ", locker->pid(), " unknown"));
  EXPECT_THAT(duplicate->holder.evidence, HasSubstr(absl::StrCat("pid ", locker->pid())));
  const auto seen =
      Inspect(*InstanceName::Parse(FileScope::kName),
              *Policy::Parse(absl::StrCat("file(path=", path_, ")")), {.scope = scope_.scope()});
  const auto* taken = std::get_if<Taken>(&seen.layers.front().sighting);
  ASSERT_NE(taken, nullptr);
  EXPECT_THAT(taken->holder.processes, ::testing::ElementsAre(*IdentityOf(locker->pid())));
  locker->Kill();
  EXPECT_TRUE(IsUnique(Acquire()));
}

TEST_F(PlainFile, TakesNothingButAPath) {
  for (const char* text : {"file(mode=posix, path=/x)", "file(mode=posix)", "file(/x)"}) {
    EXPECT_THAT(std::string(Policy::Parse(text).status().message()),
                HasSubstr("it takes path=ABSOLUTE_PATH"))
        << text;
  }
}

TEST_F(PlainFile, AFileWithAContentOfItsOwnIsLockedButNeverWritten) {
  for (const std::string& content :
       {std::string("precious"), std::string("12\n34\nfive"), std::string("1234567890123"),
        std::string("\0", 1), std::string("-1\n"), std::string(100000, '7')}) {
    SCOPED_TRACE(content.substr(0, 20));
    Write(path_, content);
    {
      const Verdict mine = Acquire();
      ASSERT_TRUE(IsUnique(mine)) << Say(mine);
      EXPECT_EQ(RunProgram({.argv = {"flock", "-n", path_, "true"}}).code, 1);
    }
    EXPECT_EQ(Content(path_), content);
  }
}

// Its lock is of the other family than what a look can ask the kernel for, and the record is of a
// holder that has let go.
TEST_F(PlainFile, ALookSeesAnotherProgramsFlockBesideAnOldRecord) {
  { ASSERT_TRUE(IsUnique(Acquire())); }
  ASSERT_TRUE(std::filesystem::exists(path_ + ".record"));
  const Child locker([this] {
    const int file = open(path_.c_str(), O_RDWR | O_CLOEXEC);
    return flock(file, LOCK_EX) == 0 ? "locked" : "not locked";
  });
  ASSERT_EQ(locker.answer(), "locked");
  const auto seen =
      Inspect(*InstanceName::Parse(FileScope::kName),
              *Policy::Parse(absl::StrCat("file(path=", path_, ")")), {.scope = scope_.scope()});
  const auto* taken = std::get_if<Taken>(&seen.layers.front().sighting);
  ASSERT_NE(taken, nullptr);
  ASSERT_EQ(taken->holder.processes.size(), 1U);
  EXPECT_EQ(taken->holder.processes.front().pid, locker.pid());
}

TEST_F(PlainFile, KeepsTheModeOfAFileThatItDidNotMake) {
  Write(path_, "");
  for (const mode_t mode : {0640U, 0644U, 0400U}) {
    ASSERT_EQ(chmod(path_.c_str(), mode), 0);
    const Verdict mine = Acquire();
    EXPECT_TRUE(IsUnique(mine) || (geteuid() != 0 && mode == 0400)) << Say(mine);
    struct stat status = {};
    ASSERT_EQ(stat(path_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, mode);
  }
}

TEST_F(PlainFile, H03_AWaiterOnAReplacedFileNeverWins) {
  if (const std::string why = Traced::Unusable(); !why.empty()) GTEST_SKIP() << why;
  { ASSERT_TRUE(IsUnique(Acquire())); }
  // The waiter has opened the file and not locked it yet when another file takes its place.
  for (const bool replaced : {false, true}) {
    const Shared<std::array<char, 256>> said;
    std::optional<Verdict> verdict;
    Traced waiter([&] {
      verdict.emplace(Acquire());
      (void)Say(*verdict).copy(said->data(), said->size() - 1);
    });
    std::optional<Traced::Call> call = waiter.Next();
    while (call.has_value() && call->number != SYS_flock) call = waiter.Next();
    ASSERT_TRUE(call.has_value());
    ASSERT_EQ(waiter.ObjectOf(*call), path_);
    Write(path_ + ".new", "");
    std::filesystem::remove(path_);
    if (replaced) std::filesystem::rename(path_ + ".new", path_);
    const Verdict mine = Acquire();
    ASSERT_TRUE(IsUnique(mine)) << Say(mine);
    waiter.RunToEnd();
    EXPECT_EQ(std::string(said->data()), absl::StrCat("duplicate ", getpid(), " established"));
  }
}

// --- deletion ---

class FileLayer : public ::testing::Test {
 protected:
  const FileScope scope_{};
};

using FileLayerH04 = FileLayer;

struct Damage {
  const char* name;
  std::vector<std::string> deleted;
  std::vector<std::string> replaced;
  const char* lost;  // what Verify names; null: the claim stands
};

const Damage kDamages[] = {
    {"LockDeleted", {"lock"}, {}, "lock"},
    {"LockReplaced", {}, {"lock"}, "lock"},
    {"RecordDeleted", {"record"}, {}, nullptr},
    {"RecordReplaced", {}, {"record"}, nullptr},
    {"LockAndRecordDeleted", {"lock", "record"}, {}, "lock"},
    {"LockReplacedAndRecordDeleted", {"record"}, {"lock"}, "lock"},
    {"WakeDeleted", {"wake.file"}, {}, nullptr},
};

class DamagedUnderItsHolder : public ::testing::TestWithParam<Damage> {
 protected:
  void DoDamage() const {
    for (const std::string& file : GetParam().deleted) {
      ASSERT_TRUE(std::filesystem::remove(scope_.Object(file)));
    }
    for (const std::string& file : GetParam().replaced) {
      Write(scope_.Object("new"), "");
      std::filesystem::rename(scope_.Object("new"), scope_.Object(file));
    }
  }

  const FileScope scope_{};
};

INSTANTIATE_TEST_SUITE_P(H04, DamagedUnderItsHolder, ::testing::ValuesIn(kDamages),
                         [](const auto& tested) { return tested.param.name; });

TEST_P(DamagedUnderItsHolder, H04_TheNextStartIsRefusedAndNamesTheHolder) {
  Claimant first(scope_.Another());
  ASSERT_TRUE(first.unique()) << first.verdict();
  DoDamage();
  EXPECT_THAT(Say(scope_.Acquire(kShort)), StartsWith(absl::StrCat("duplicate ", first.pid())));
  EXPECT_THAT(Say(scope_.Acquire(kShort)), StartsWith(absl::StrCat("duplicate ", first.pid())))
      << "what the refused start left behind lets the next one in";
}

TEST_P(DamagedUnderItsHolder, H04_ALookStillSaysTaken) {
  const Verdict mine = scope_.Acquire();
  ASSERT_TRUE(IsUnique(mine));
  DoDamage();
  EXPECT_THAT(InChild([this] { return Say(scope_.Look()); }), StartsWith("taken"));
}

TEST_P(DamagedUnderItsHolder, H04_VerifyNamesWhatIsLost) {
  Verdict mine = scope_.Acquire();
  ASSERT_TRUE(IsUnique(mine));
  const Guard& guard = std::get<Unique>(mine).guard;
  ASSERT_TRUE(guard.Verify().ok()) << guard.Verify();
  DoDamage();
  if (GetParam().lost == nullptr) {
    EXPECT_TRUE(guard.Verify().ok()) << guard.Verify();
  } else {
    EXPECT_TRUE(absl::IsDataLoss(guard.Verify())) << guard.Verify();
    EXPECT_THAT(std::string(guard.Verify().message()), HasSubstr(scope_.Object(GetParam().lost)));
  }
}

TEST_P(DamagedUnderItsHolder, H04_AfterTheReleaseTheNameIsFree) {
  { ASSERT_TRUE(IsUnique(scope_.Acquire())); }
  Verdict mine = scope_.Acquire();
  ASSERT_TRUE(IsUnique(mine));
  DoDamage();
  std::get<Unique>(mine).guard.Release();
  Claimant next(scope_.Another());
  EXPECT_TRUE(next.unique()) << next.verdict();
}

TEST_F(FileLayerH04, H04_WithTheDirectoryRenamedVerifyNamesIt) {
  const Verdict mine = scope_.Acquire();
  ASSERT_TRUE(IsUnique(mine));
  std::filesystem::rename(scope_.Object(), scope_.path() + "/names/elsewhere");
  const absl::Status status = std::get<Unique>(mine).guard.Verify();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(scope_.Object()));
}

TEST_F(FileLayer, H03_AWaiterOnAReplacedDirectoryNeverWins) {
  if (const std::string why = Traced::Unusable(); !why.empty()) GTEST_SKIP() << why;
  { ASSERT_TRUE(IsUnique(scope_.Acquire())); }
  const Shared<std::array<char, 256>> said;
  std::optional<Verdict> verdict;
  Traced waiter([&] {
    verdict.emplace(scope_.Acquire());
    (void)Say(*verdict).copy(said->data(), said->size() - 1);
  });
  // It has opened the name's directory and not locked it yet.
  std::optional<Traced::Call> call = waiter.Next();
  while (call.has_value() &&
         (call->number != SYS_flock || waiter.ObjectOf(*call) != scope_.Object())) {
    call = waiter.Next();
  }
  ASSERT_TRUE(call.has_value());
  std::filesystem::remove_all(scope_.Object());
  const Verdict mine = scope_.Acquire();
  ASSERT_TRUE(IsUnique(mine)) << Say(mine);
  waiter.RunToEnd();
  EXPECT_EQ(std::string(said->data()), absl::StrCat("duplicate ", getpid(), " established"));
}

// Counts who holds the name at the same time.
struct Referee {
  std::atomic<int> holders{0};
  std::atomic<int> two_at_once{0};
  std::atomic<int> acquired{0};
  std::atomic<int> undetermined{0};
  std::atomic<bool> end{false};
};

// Acquires and releases until the referee says to end.
void Contend(const FileScope& scope, Referee& referee) {
  while (!referee.end) {
    Verdict verdict = scope.Acquire(absl::Milliseconds(1), absl::Seconds(10));
    if (auto* unique = std::get_if<Unique>(&verdict)) {
      ++referee.acquired;
      if (referee.holders.fetch_add(1) != 0) ++referee.two_at_once;
      for (int i = 0; i < 4; ++i) (void)sched_yield();  // long enough for somebody else to get in
      referee.holders.fetch_sub(1);
      unique->guard.Release();
    } else if (!IsDuplicate(verdict)) {
      ++referee.undetermined;
    }
  }
}

TEST_F(FileLayerH04, H04_WhileTheLockFileIsDeletedAndReplacedThereAreNeverTwoHolders) {
  { ASSERT_TRUE(IsUnique(scope_.Acquire())); }
  constexpr int kContenders = 8;
  constexpr int kDeletions = 2000;
  constexpr int kAcquisitions = 100;
  const Shared<Referee> referee;
  std::vector<pid_t> contenders;
  for (int i = 0; i < kContenders; ++i) {
    const pid_t pid = fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      Contend(scope_, *referee);
      _exit(0);
    }
    contenders.push_back(pid);
  }
  const absl::Time begin = absl::Now();
  int deletions = 0;
  // Until there were so many of both; but not for ever on a busy machine.
  while ((deletions < kDeletions || referee->acquired < kAcquisitions) &&
         absl::Now() - begin < absl::Seconds(5)) {
    if (deletions % 2 == 0) {
      deletions += std::filesystem::remove(scope_.Object("lock")) ? 1 : 0;
    } else {
      Write(scope_.Object("new"), "");
      std::filesystem::rename(scope_.Object("new"), scope_.Object("lock"));
      ++deletions;
    }
  }
  referee->end = true;
  for (const pid_t pid : contenders) {
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(referee->two_at_once, 0);
  EXPECT_GT(referee->acquired, 0);
  EXPECT_GT(deletions, 100);
  RecordProperty("deletions", deletions);
  RecordProperty("acquired", referee->acquired.load());
}

// --- who the record names ---

using FileLayerH05 = FileLayer;

// Says in the record of the name that `identity` holds it.
void ForgeHolder(const FileScope& scope, const ProcessIdentity& identity) {
  HolderRecord record;
  record.state = RecordState::kEstablished;
  record.name = FileScope::kName;
  record.identity = identity;
  record.token = 1;
  Write(scope.Object("record"), EncodeRecord(record, 1));
}

TEST_F(FileLayerH05, H05_ARecordThatNamesALiveStrangerIsStale) {
  { ASSERT_TRUE(IsUnique(scope_.Acquire())); }
  Child stranger([] { return "runs"; });
  // The number is the stranger's, the start time an earlier process's.
  ProcessIdentity recycled = *IdentityOf(stranger.pid());
  recycled.start_ticks -= 1;
  ForgeHolder(scope_, recycled);
  EXPECT_EQ(Say(scope_.Look()), "free");
  EXPECT_TRUE(IsUnique(scope_.Acquire(kShort)));
}

// Its lock was freed while it ran: wrapper and guardian were killed, or it closed its descriptors.
TEST_F(FileLayerH05, H05_ALiveProcessThatDoesNotHaveTheLockRefusesByItsRecordUntilItEnds) {
  { ASSERT_TRUE(IsUnique(scope_.Acquire())); }
  Child named([] { return "runs"; });
  ForgeHolder(scope_, *IdentityOf(named.pid()));
  EXPECT_EQ(Say(scope_.Look()), absl::StrCat("taken by ", named.pid(), " established"));
  EXPECT_EQ(Say(scope_.Acquire(kShort)), absl::StrCat("duplicate ", named.pid(), " established"));
  named.Kill();
  EXPECT_EQ(Say(scope_.Look()), "free");
  EXPECT_TRUE(IsUnique(scope_.Acquire(kShort)));
}

TEST_F(FileLayerH05, H05_WithTheLockHeldTheRecycledProcessIsNotTheOneThatIsNamed) {
  Claimant holder(scope_.Another());
  ASSERT_TRUE(holder.unique());
  Child stranger([] { return "runs"; });
  ProcessIdentity recycled = *IdentityOf(stranger.pid());
  recycled.start_ticks -= 1;
  ForgeHolder(scope_, recycled);
  EXPECT_EQ(Say(scope_.Acquire(kShort)), absl::StrCat("duplicate ", holder.pid(), " unknown"));
}

TEST_F(FileLayerH05, H05_AMatchingIdentityUnderAHeldLockIsNeverStale) {
  Claimant holder(scope_.Another());
  ASSERT_TRUE(holder.unique());
  const std::string duplicate = absl::StrCat("duplicate ", holder.pid(), " established");
  EXPECT_EQ(Say(scope_.Acquire(kShort)), duplicate);
  holder.program().Signal(SIGSTOP);
  holder.program().WaitUntilStopped();
  EXPECT_EQ(Say(scope_.Acquire(kShort)), duplicate) << "a frozen holder holds";
}

// Waits for a child of the calling process.
void Reap(pid_t pid) { (void)waitpid(pid, nullptr, 0); }

TEST_F(FileLayerH05, H05_ARealRecycledPidIsAStrangers) {
  const std::string answer = InNewPidNamespace([this]() -> std::string {
    std::string said;
    pid_t first = -1;
    {
      Child holder([this] {
        static std::optional<Verdict> verdict;
        verdict.emplace(scope_.Acquire());
        return Say(*verdict);
      });
      first = holder.pid();
      said = absl::StrCat(holder.answer().substr(0, 6), ", ");
    }
    std::ofstream last("/proc/sys/kernel/ns_last_pid");
    if (!(last << first - 1 << std::flush)) return "skip: needs the right to set ns_last_pid";
    testing::AwaitNextTick();  // within one tick nothing tells the two apart
    Child stranger([] { return "runs"; });
    if (stranger.pid() != first) return absl::StrCat("pid ", stranger.pid(), " not ", first);
    said += Say(scope_.Look());
    return absl::StrCat(said, ", ", Say(scope_.Acquire(kShort)).substr(0, 6));
  });
  if (answer.starts_with("skip: ")) GTEST_SKIP() << answer.substr(6);
  EXPECT_EQ(answer, "unique, free, unique");
}

// --- namespaces ---

// A claimant as process 1 of its own pid namespace.
Claimant::Setup AsProcessOne(const FileScope& scope) {
  Claimant::Setup setup = scope.Another();
  setup.launcher = {"unshare", "--pid", "--fork", "--mount-proc", "--kill-child"};
  return setup;
}

TEST_F(FileLayer, H06_TwoProcessOnesInTwoPidNamespacesExcludeEachOther) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to make pid namespaces";
  Claimant first(AsProcessOne(scope_));
  ASSERT_TRUE(first.unique()) << first.verdict();
  const std::uint64_t token = first.token();
  {
    Claimant second(AsProcessOne(scope_));
    EXPECT_EQ(second.verdict(), "duplicate 1 established");
  }
  const std::vector<pid_t> processes = ChildrenOf(first.pid());
  ASSERT_EQ(processes.size(), 1U);
  // From above it is seen, under the number that it has there.
  EXPECT_EQ(Say(scope_.Acquire(kShort)), absl::StrCat("duplicate ", processes[0], " established"));

  ASSERT_EQ(kill(processes[0], SIGKILL), 0);
  (void)first.program().Wait();  // unshare(1) has seen it end
  Claimant third(AsProcessOne(scope_));
  ASSERT_TRUE(third.unique()) << third.verdict();
  EXPECT_GT(third.token(), token);
}

TEST_F(FileLayer, H06_AProcessOneKilledIsFollowedByOneOutside) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to make pid namespaces";
  {
    Claimant first(AsProcessOne(scope_));
    ASSERT_TRUE(first.unique()) << first.verdict();
    const std::vector<pid_t> processes = ChildrenOf(first.pid());
    ASSERT_EQ(processes.size(), 1U);
    ASSERT_EQ(kill(processes[0], SIGKILL), 0);
    (void)first.program().Wait();
  }
  EXPECT_EQ(Say(scope_.Look()), "free");
  EXPECT_TRUE(IsUnique(scope_.Acquire(kShort)));
}

TEST_F(FileLayer, H07_AnotherHostnameDoesNotMatter) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to change the hostname";
  const auto on_host = [this](const std::string& name) {
    Claimant::Setup setup = scope_.Another();
    setup.launcher = {
        "unshare", "--uts", "sh", "-c", absl::StrCat("hostname ", name, " && exec \"$@\""), "sh"};
    return setup;
  };
  Claimant first(on_host("one"));
  ASSERT_TRUE(first.unique()) << first.verdict();
  Claimant second(on_host("two"));
  EXPECT_EQ(second.verdict(), absl::StrCat("duplicate ", first.pid(), " established"));
  first.program().Signal(SIGKILL);
  Claimant third(on_host("three"));
  EXPECT_TRUE(third.unique()) << third.verdict();
}

// As where the filesystem takes two names for one, which differ in case.
TEST_F(FileLayer, TheDirectoryOfAnotherNameIsNotTaken) {
  ASSERT_TRUE(IsUnique(scope_.Acquire()));
  std::filesystem::rename(scope_.Object(), scope_.path() + "/names/y");
  const Verdict verdict = Guard::Acquire("y", *Policy::Parse("file"), {.scope = scope_.scope()});
  EXPECT_THAT(Say(verdict), AllOf(StartsWith("undetermined"),
                                  HasSubstr("is the directory of another name, \"x\"")));
}

// --- fork, clone, exec ---

TEST_F(FileLayer, H10_AForkedChildKeepsNothing) {
  Claimant holder(scope_.Another());
  ASSERT_TRUE(holder.unique());
  const Orphan child(holder.Ask("fork"));
  EXPECT_THAT(Say(scope_.Acquire(kShort)), StartsWith("duplicate"));
  holder.program().Signal(SIGKILL);
  EXPECT_TRUE(IsUnique(scope_.Acquire(kShort)));
  EXPECT_TRUE(Exists(child.pid())) << "the child lived all the time";
}

TEST_F(FileLayer, H10_AForkedChildReleasesNothing) {
  Verdict mine = scope_.Acquire();
  ASSERT_TRUE(IsUnique(mine));
  static Guard* guard = nullptr;
  guard = &std::get<Unique>(mine).guard;
  const std::string record = Content(scope_.Object("record"));

  const pid_t child = fork();
  if (child == 0) {
    // All that a child may do to its copy: ask, release, destroy, exit with handlers.
    int faults = 0;
    if (!absl::IsFailedPrecondition(guard->Verify())) faults |= 1;
    if (std::string(guard->Verify().message()).find("not the owner") == std::string::npos) {
      faults |= 2;
    }
    if (std::atexit([] { guard->Release(); }) != 0) faults |= 4;
    if (guard->Follow(*OwnIdentity()).ok()) faults |= 8;
    if (guard->ShareWithChild().ok()) faults |= 16;
    if (guard->KeepOverExec().ok()) faults |= 32;
    { const Guard dies = std::move(*guard); }
    exit(faults);  // NOLINT(concurrency-mt-unsafe): a child of fork(2) has one thread
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);

  EXPECT_EQ(Content(scope_.Object("record")), record);
  EXPECT_EQ(RunProgram({.argv = {"flock", "-n", scope_.Object("lock"), "true"}}).code, 1);
  Claimant second(scope_.Another());
  EXPECT_EQ(second.verdict(), absl::StrCat("duplicate ", getpid(), " established"));
  EXPECT_TRUE(guard->Verify().ok()) << guard->Verify();  // last: it takes back what was lost
}

TEST_F(FileLayer, H10_ARawClonesCopyReleasesNothing) {
  Verdict mine = scope_.Acquire();
  ASSERT_TRUE(IsUnique(mine));
  Guard& guard = std::get<Unique>(mine).guard;
  const auto child = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0));
  if (child == 0) {
    const bool refused = absl::IsFailedPrecondition(guard.Verify());
    guard.Release();
    _exit(refused ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(RunProgram({.argv = {"flock", "-n", scope_.Object("lock"), "true"}}).code, 1);
  Claimant second(scope_.Another());
  EXPECT_EQ(second.verdict(), absl::StrCat("duplicate ", getpid(), " established"));
  EXPECT_TRUE(guard.Verify().ok()) << guard.Verify();  // last: it takes back what was lost
}

TEST_F(FileLayer, H10_OpeningAndClosingTheFilesInTheSameProcessDropsNothing) {
  const Verdict mine = scope_.Acquire();
  ASSERT_TRUE(IsUnique(mine));
  for (const char* file : {"", "lock", "record", "wake.file"}) {
    const int fd = open(scope_.Object(file).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(close(fd), 0);
  }
  { const std::ofstream lock(scope_.Object("lock"), std::ios::app); }
  (void)scope_.Look();
  const std::string other = InChild([this]() -> std::string {
    const int fd = open(scope_.Object("lock").c_str(), O_RDWR | O_CLOEXEC);
    struct flock lock = {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    return fcntl(fd, F_SETLK, &lock) == 0 ? "let in" : "refused";
  });
  EXPECT_EQ(other, "refused");
  EXPECT_EQ(RunProgram({.argv = {"flock", "-n", scope_.Object("lock"), "true"}}).code, 1);
  EXPECT_EQ(RunProgram({.argv = {"flock", "-n", scope_.Object(), "true"}}).code, 1);
}

TEST_F(FileLayer, H28_AnOrphanOfARawCloneKeepsTheNameAndIsNamed) {
  Claimant holder(scope_.Another());
  ASSERT_TRUE(holder.unique());
  const std::string child = holder.Ask("clone");
  {
    const Orphan orphan(child);
    holder.program().Signal(SIGKILL);
    (void)holder.program().Wait();
    EXPECT_EQ(Say(scope_.Acquire(kShort)), absl::StrCat("duplicate ", child, " unknown"));
  }
  EXPECT_TRUE(IsUnique(scope_.Acquire()));
}

// As other starts do that are refused meanwhile: it has the directory open, takes no lock, and ends
// between being listed and being asked for its lock.
TEST_F(FileLayer, WhoHasEndedIsNoSuspect) {
  if (const std::string why = Traced::Unusable(); !why.empty()) GTEST_SKIP() << why;
  Claimant holder(scope_.Another());
  ASSERT_TRUE(holder.unique());
  Child bystander(
      [this] { return std::to_string(open(scope_.Object().c_str(), O_RDONLY | O_CLOEXEC)); });
  const std::string process = absl::StrCat("/proc/", bystander.pid());
  const Shared<std::array<std::int64_t, 2>> seen;  // how many suspects, and the first
  Traced looker([&] {
    const std::vector<ProcessIdentity> suspects = scope_.MakeLayer()->Suspects();
    (*seen)[0] = static_cast<std::int64_t>(suspects.size());
    if (!suspects.empty()) (*seen)[1] = suspects.front().pid;
  });
  int opened = 0;
  while (opened < 2) {
    const std::optional<Traced::Call> call = looker.Next();
    ASSERT_TRUE(call.has_value());
    if (call->number == SYS_openat && looker.ObjectOf(*call) == process) ++opened;
  }
  bystander.Kill();
  looker.RunToEnd();
  EXPECT_EQ((*seen)[0], 1);
  EXPECT_EQ((*seen)[1], holder.pid());
}

TEST_F(FileLayer, H28_AReleaseFreesTheNameAlthoughARawCloneKeptTheDescriptors) {
  Claimant holder(scope_.Another());
  ASSERT_TRUE(holder.unique());
  const Orphan orphan(holder.Ask("clone"));
  ASSERT_EQ(holder.Ask("release"), "released");
  EXPECT_TRUE(IsUnique(scope_.Acquire(kShort)));
  EXPECT_TRUE(Exists(orphan.pid()));
}

// posix_spawn(3) shares the memory and calls no fork handler: only close-on-exec is left.
TEST_F(FileLayer, H10_AnExecutedChildGetsNothing) {
  const Verdict mine = scope_.Acquire();
  ASSERT_TRUE(IsUnique(mine));
  std::string program = "sleep";
  std::string time = "60";
  std::array<char*, 3> argv = {program.data(), time.data(), nullptr};
  pid_t child = -1;
  ASSERT_EQ(posix_spawnp(&child, "sleep", nullptr, nullptr, argv.data(), environ), 0);
  std::vector<std::string> files;  // it has executed sleep by now
  for (const auto& entry :
       std::filesystem::directory_iterator(absl::StrCat("/proc/", child, "/fd"))) {
    std::error_code gone;
    files.push_back(std::filesystem::read_symlink(entry, gone).string());
  }
  EXPECT_THAT(files, Not(IsEmpty()));
  EXPECT_THAT(files, Each(Not(HasSubstr(scope_.path()))));
  EXPECT_EQ(kill(child, SIGKILL), 0);
  Reap(child);
}

// --- the end of a holder ---

TEST_F(FileLayer, ThePredecessorIsReportedAfterAKillAndNotAfterARelease) {
  pid_t killed = -1;
  std::uint64_t token = 0;
  {
    Claimant first(scope_.Another());
    ASSERT_TRUE(first.unique());
    killed = first.pid();
    token = first.token();
    first.program().Signal(SIGKILL);
  }
  {
    const Verdict second = scope_.Acquire();
    ASSERT_TRUE(IsUnique(second)) << Say(second);
    const auto& predecessor = std::get<Unique>(second).guard.predecessor();
    ASSERT_TRUE(predecessor.has_value());
    EXPECT_EQ(predecessor->identity.pid, killed);
    EXPECT_EQ(predecessor->token, token);
  }
  const Verdict third = scope_.Acquire();
  ASSERT_TRUE(IsUnique(third)) << Say(third);
  EXPECT_FALSE(std::get<Unique>(third).guard.predecessor().has_value());
}

TEST_F(FileLayer, H27_ARestartRightAfterTheKillOfABigHolderStarts) {
  constexpr int kRestarts = 3;
  for (int i = 0; i < kRestarts; ++i) {
    Claimant big(scope_.Another());
    ASSERT_TRUE(big.unique()) << big.verdict();
    if (big.Ask("allocate") != "touched") GTEST_SKIP() << "needs a gigabyte of memory";
    big.program().Signal(SIGKILL);
    const Verdict next = scope_.Acquire(absl::Milliseconds(1));  // no settling: it is dying
    ASSERT_TRUE(IsUnique(next)) << Say(next);
    EXPECT_EQ(std::get<Unique>(next).guard.predecessor()->identity.pid, big.pid());
  }
}

// --- a program that closes all descriptors ---

TEST_F(FileLayer, H31_AfterAllDescriptorsWereClosedVerifySaysSo) {
  Claimant holder(scope_.Another());
  ASSERT_TRUE(holder.unique());
  ASSERT_EQ(holder.Ask("closefrom"), "closed");
  const std::string verified = holder.Ask("verify");
  EXPECT_THAT(verified, StartsWith("DATA_LOSS: the program closed the descriptor of "));
  EXPECT_THAT(verified, HasSubstr(scope_.Object()));
  // It lives, and the record says so.
  EXPECT_EQ(Say(scope_.Acquire(kShort)), absl::StrCat("duplicate ", holder.pid(), " established"));
  holder.program().Signal(SIGKILL);
  (void)holder.program().Wait();
  EXPECT_TRUE(IsUnique(scope_.Acquire(kShort)));
}

class ReusedNumbers : public FileLayer {
 protected:
  // Acquires, closes all descriptors and uses their numbers for files of its own; then does `act`
  // with the Guard. "intact", or what happened to those files, in this process or in a forked
  // child.
  std::string UseAllNumbersAnew(const std::function<void(Guard&)>& act) const {
    Verdict mine = scope_.Acquire();
    if (!IsUnique(mine)) return Say(mine);
    closefrom(3);
    constexpr int kFiles = 20;  // more than the Guard had
    for (int i = 0; i < kFiles; ++i) {
      Write(OwnFile(i), "mine");
      const int fd = open(OwnFile(i).c_str(), O_RDWR | O_CLOEXEC);
      if (fd != 3 + i) return absl::StrCat("file ", i, " is descriptor ", fd);
      if (flock(fd, LOCK_EX | LOCK_NB) != 0) return "cannot lock my own file";
    }
    const pid_t child = fork();
    if (child == 0) _exit(Damage(kFiles) == "intact" ? 0 : 1);
    int status = -1;
    if (waitpid(child, &status, 0) != child || status != 0) return "damaged in a forked child";
    act(std::get<Unique>(mine).guard);
    return Damage(kFiles);
  }

 private:
  std::string OwnFile(int i) const { return absl::StrCat(scope_.directory() / "mine", i); }

  std::string Damage(int files) const {
    for (int i = 0; i < files; ++i) {
      if (fcntl(3 + i, F_GETFD) < 0) return absl::StrCat("closed ", 3 + i);
      if (Content(OwnFile(i)) != "mine") return absl::StrCat("wrote to ", 3 + i);
      const int again = open(OwnFile(i).c_str(), O_RDWR | O_CLOEXEC);
      if (flock(again, LOCK_EX | LOCK_NB) == 0) return absl::StrCat("unlocked ", 3 + i);
      (void)close(again);
    }
    return "intact";
  }
};

TEST_F(ReusedNumbers, H31_TheirFilesAreNeverWrittenUnlockedOrClosed) {
  // Each is a way to a write or a close.
  const std::vector<std::pair<std::string, std::function<void(Guard&)>>> ways = {
      {"release", [](Guard& guard) { guard.Release(); }},
      {"publish", [](Guard& guard) { (void)guard.Follow(*OwnIdentity()); }},
      {"verify", [](Guard& guard) { (void)guard.Verify(); }},
      {"destructor", [](Guard& guard) { const Guard dies = std::move(guard); }},
  };
  for (const auto& [name, way] : ways) {
    SCOPED_TRACE(name);
    const Shared<std::array<char, 256>> answer;
    const pid_t child = fork();
    if (child == 0) {
      (void)UseAllNumbersAnew(way).copy(answer->data(), answer->size() - 1);
      _exit(0);
    }
    Reap(child);
    EXPECT_EQ(std::string(answer->data()), "intact");
  }
}

// --- looking ---

TEST_F(FileLayer, LooksDisturbNoAcquisition) {
  constexpr int kAcquisitions = 200;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr int kLooks = 1000;
#else
  constexpr int kLooks = 10000;
#endif
  { ASSERT_TRUE(IsUnique(scope_.Acquire())); }
  testing::Repeater looks([this] { (void)scope_.Look(); });
  // A settle time of nothing: one look that holds a lock would be a refused start.
  int refused = 0;
  int acquired = 0;
  while (acquired + refused < kAcquisitions || (looks.times() < kLooks && looks.Lives())) {
    const Verdict mine = scope_.Acquire(absl::ZeroDuration());
    IsUnique(mine) ? ++acquired : ++refused;
  }
  EXPECT_TRUE(looks.End());
  EXPECT_EQ(refused, 0);
  EXPECT_GE(acquired, kAcquisitions);
  EXPECT_GE(looks.times(), kLooks);
}

TEST_F(FileLayer, ALookTakesNoLockCreatesNothingAndWritesNothing) {
  if (const std::string why = Traced::Unusable(); !why.empty()) GTEST_SKIP() << why;
  // Of a name that never was, of one that is held, and of one whose lock file is gone.
  for (const int step : {0, 1, 2}) {
    SCOPED_TRACE(step);
    std::optional<Verdict> mine;
    if (step > 0) mine.emplace(scope_.Acquire());
    if (step == 2) std::filesystem::remove(scope_.Object("lock"));
    int calls = 0;
    Traced looker([this] { (void)scope_.Look(); });
    while (const std::optional<Traced::Call> call = looker.Next()) {
      const std::string object = looker.ObjectOf(*call);
      if (IsOfASanitizer(*call, object)) continue;
      ++calls;
      SCOPED_TRACE(ToString(*call, object));
      EXPECT_NE(call->number, static_cast<std::uint64_t>(SYS_flock));
      EXPECT_THAT(call->number, Not(AnyOf(Eq(SYS_mkdirat), Eq(SYS_mknodat), Eq(SYS_pwrite64),
                                          Eq(SYS_write), Eq(SYS_fchmod), Eq(SYS_unlinkat))));
      if (call->number == SYS_fcntl) {
        EXPECT_THAT(call->arguments[1],
                    Not(AnyOf(Eq(F_OFD_SETLK), Eq(F_SETLK), Eq(F_OFD_SETLKW), Eq(F_SETLKW))));
      }
      if (call->number == SYS_openat) {
        EXPECT_EQ(call->arguments[2] & (O_CREAT | O_TRUNC | O_WRONLY | O_RDWR), 0U);
      }
    }
    EXPECT_GT(calls, 0);
    EXPECT_EQ(std::filesystem::exists(scope_.path()), step > 0);
  }
}

}  // namespace
}  // namespace soleguard
