// file(mode=posix, path=…): the plain form by a POSIX lock, which belongs to the process. What it
// does beside programs of that family, and that nothing of soleguard's own drops it.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <boost/interprocess/sync/file_lock.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "soleguard/layer.h"
#include "soleguard/process.h"
#include "soleguard/registry.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/file_scope.h"

namespace soleguard {
namespace {

using testing::Child;
using testing::Claimant;
using testing::FileScope;
using ::testing::HasSubstr;
using testing::IsUnique;
using testing::RunProgram;
using testing::Say;

class PosixFile : public ::testing::Test {
 protected:
  std::string text(const std::string& mode = "mode=posix, ") const {
    return absl::StrCat("file(", mode, "path=", path_, ")");
  }
  Verdict Acquire(const std::string& name = "x", absl::Duration settle = absl::Milliseconds(50)) {
    return Guard::Acquire(name, *Policy::Parse(text()),
                          {.scope = scope_.scope(), .settle = settle});
  }
  Claimant Start(const std::string& name = "x") {
    return Claimant(
        {.scope = scope_.path(), .name = name, .policy = text(), .settle = absl::Milliseconds(50)});
  }
  Sighting Look() const {
    return FindLayerKind("file")
        ->make({.scope = scope_.scope(),
                .name = *InstanceName::Parse("x"),
                .parameters = Policy::Parse(text())->layers().front().parameters,
                .subject = {}})
        ->Look();
  }
  // As another program takes it; "locked" or "refused" in its answer. Holds it until it is killed.
  std::unique_ptr<Child> BoostLocker() const {
    return std::make_unique<Child>([this] {
      static boost::interprocess::file_lock lock(path_.c_str());
      return lock.try_lock() ? "locked" : "refused";
    });
  }
  static void Kill(Claimant& claimant) {
    claimant.program().Signal(SIGKILL);
    (void)claimant.program().Wait();
  }

  const FileScope scope_{};
  const std::string path_ = scope_.directory() / "posix.lock";
};

TEST_F(PosixFile, ASecondProcessIsRefusedAndLearnsWho) {
  Claimant first = Start();
  ASSERT_TRUE(first.unique()) << first.verdict();
  Claimant second = Start();
  EXPECT_EQ(second.verdict(), absl::StrCat("duplicate ", first.pid(), " established"));
  EXPECT_EQ(first.Ask("verify"), "ok");
  EXPECT_EQ(first.Ask("release"), "released");
  EXPECT_TRUE(Start().unique());
}

TEST_F(PosixFile, H08_AfterTheHoldersSigkillTheNextStartWorksAtOnce) {
  for (int i = 0; i < 3; ++i) {
    Claimant holder = Start();
    ASSERT_TRUE(holder.unique()) << holder.verdict();
    Kill(holder);
  }
}

TEST_F(PosixFile, ALookSeesTheHolderByItsLockAndDisturbsNobody) {
  EXPECT_EQ(Say(Look()), "free");
  EXPECT_FALSE(std::filesystem::exists(path_));
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique());
  EXPECT_EQ(Say(Look()), absl::StrCat("taken by ", holder.pid(), " established"));
  EXPECT_EQ(holder.Ask("verify"), "ok");
  EXPECT_EQ(holder.Ask("release"), "released");
  EXPECT_EQ(Say(Look()), "free");
}

TEST_F(PosixFile, H10_AForkedChildHasNothingAndDropsNothing) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique());
  const int child = std::stoi(holder.Ask("fork"));  // it has closed its copies
  EXPECT_EQ(holder.Ask("verify"), "ok");
  EXPECT_FALSE(Start().unique());
  Kill(holder);
  EXPECT_TRUE(Start().unique());
  EXPECT_EQ(kill(child, SIGKILL), 0) << "it must have lived until now";
}

TEST_F(PosixFile, H28_AChildOfARawCloneHasNothingEither) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique());
  const int child = std::stoi(holder.Ask("clone"));
  Kill(holder);
  EXPECT_TRUE(Start().unique());
  EXPECT_EQ(kill(child, SIGKILL), 0);
}

TEST_F(PosixFile, H10_AForkedChildsCopyOfTheGuardIsNotTheOwners) {
  const Verdict verdict = Acquire();
  ASSERT_TRUE(IsUnique(verdict)) << Say(verdict);
  const Guard& guard = std::get<Unique>(verdict).guard;
  EXPECT_THAT(testing::InChild([&] {
                const std::string said = guard.Verify().ToString();
                const_cast<Guard&>(guard).Release();
                return absl::StrCat(said, "; ", Say(Acquire()));
              }),
              AllOf(HasSubstr("not the owner"),
                    HasSubstr(absl::StrCat("duplicate ", getpid(), " established"))));
  EXPECT_TRUE(guard.Verify().ok()) << guard.Verify();
}

// --- what would drop the lock in the holder's own process ---

TEST_F(PosixFile, LooksInTheHoldersOwnProcessDropNothing) {
  const Verdict verdict = Acquire();
  ASSERT_TRUE(IsUnique(verdict));
  EXPECT_EQ(Say(Look()), absl::StrCat("taken by ", getpid(), " established"));
  const Options options{.scope = scope_.scope()};
  EXPECT_NE(Inspect("x", *Policy::Parse(text()), options)->holder(), nullptr);
  EXPECT_NE(Inspect("x", *Policy::Parse(text("")), options)->holder(), nullptr);
  EXPECT_EQ(Check("x", *Policy::Parse(text()), options)->decision, Arbiter::Decision::kDuplicate);
  EXPECT_TRUE(std::get<Unique>(verdict).guard.Verify().ok());
  EXPECT_FALSE(Start().unique());
}

TEST_F(PosixFile, AnotherGuardOfTheProcessOnTheSameFileIsRefusedAndDropsNothing) {
  const Verdict verdict = Acquire();
  ASSERT_TRUE(IsUnique(verdict));
  const std::string refused = absl::StrCat("duplicate ", getpid(), " established");
  EXPECT_EQ(Say(Acquire("x")), refused);
  EXPECT_EQ(Say(Acquire("y")), refused) << "the file is one, whatever the names";
  EXPECT_EQ(Say(Guard::Acquire("z", *Policy::Parse(text("")), {.scope = scope_.scope()})), refused)
      << "nor does the form that locks by flock(2) open it";
  EXPECT_TRUE(std::get<Unique>(verdict).guard.Verify().ok());
  EXPECT_FALSE(Start().unique());
}

// The limit of the family: soleguard cannot keep the program's own code from it, but it tells.
TEST_F(PosixFile, ASecondOpenAndCloseByTheProgramDropsItAndVerifySaysSo) {
  const Verdict verdict = Acquire();
  ASSERT_TRUE(IsUnique(verdict));
  const Guard& guard = std::get<Unique>(verdict).guard;
  (void)close(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(absl::IsDataLoss(guard.Verify())) << guard.Verify();
  EXPECT_THAT(std::string(guard.Verify().message()), HasSubstr("is not locked any more"));
  // The record still refuses; without it nothing does.
  EXPECT_EQ(Start().verdict(), absl::StrCat("duplicate ", getpid(), " established"));
  std::filesystem::remove(path_ + ".record");
  Claimant second = Start();
  EXPECT_TRUE(second.unique()) << second.verdict();
  EXPECT_THAT(std::string(guard.Verify().message()), HasSubstr("is locked by another"));
}

TEST_F(PosixFile, H31_AfterAllDescriptorsWereClosedVerifySaysLost) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique());
  EXPECT_EQ(holder.Ask("closefrom"), "closed");
  EXPECT_THAT(holder.Ask("verify"), HasSubstr("DATA_LOSS"));
}

TEST_F(PosixFile, H04_ADeletedFileIsNoticed) {
  const Verdict verdict = Acquire();
  ASSERT_TRUE(IsUnique(verdict));
  std::filesystem::remove(path_);
  EXPECT_THAT(std::get<Unique>(verdict).guard.Verify().ToString(),
              HasSubstr("was deleted or replaced"));
}

// --- beside programs of the family ---

TEST_F(PosixFile, BoostsFileLockIsRefusedWhileItIsHeldAndNotAfter) {
  {
    const Verdict verdict = Acquire();
    ASSERT_TRUE(IsUnique(verdict));
    EXPECT_EQ(BoostLocker()->answer(), "refused");
  }
  EXPECT_EQ(BoostLocker()->answer(), "locked");
}

TEST_F(PosixFile, RefusedAsLongAsBoostsFileLockHasItAndNamesTheProcess) {
  { ASSERT_TRUE(IsUnique(Acquire())); }  // leaves a record, of a process that lives
  const std::unique_ptr<Child> locker = BoostLocker();
  ASSERT_EQ(locker->answer(), "locked");
  const Verdict verdict = Acquire();
  const auto* duplicate = std::get_if<Duplicate>(&verdict);
  ASSERT_NE(duplicate, nullptr) << Say(verdict);
  EXPECT_EQ(Say(verdict), absl::StrCat("duplicate ", locker->pid(), " unknown"));
  EXPECT_THAT(duplicate->holder.evidence, HasSubstr(absl::StrCat("pid ", locker->pid())));
  const Sighting sighting = Look();
  const auto* taken = std::get_if<Taken>(&sighting);
  ASSERT_NE(taken, nullptr);
  EXPECT_THAT(taken->holder.processes, ::testing::ElementsAre(*IdentityOf(locker->pid())));
  locker->Kill();
  EXPECT_TRUE(IsUnique(Acquire()));
}

TEST_F(PosixFile, TheTwoModesOfOneFileExcludeEachOther) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique());
  EXPECT_EQ(Say(Guard::Acquire("x", *Policy::Parse(text("")), {.scope = scope_.scope()})),
            absl::StrCat("duplicate ", holder.pid(), " established"));
  EXPECT_EQ(holder.Ask("release"), "released");
  const Verdict plain = Guard::Acquire("x", *Policy::Parse(text("")), {.scope = scope_.scope()});
  ASSERT_TRUE(IsUnique(plain)) << Say(plain);
  EXPECT_EQ(Start().verdict(), absl::StrCat("duplicate ", getpid(), " established"));
}

TEST_F(PosixFile, FlockIsOfAnotherFamily) {
  const Verdict verdict = Acquire();
  ASSERT_TRUE(IsUnique(verdict));
  EXPECT_EQ(RunProgram({.argv = {"flock", "-n", path_, "true"}}).code, 0);
}

TEST_F(PosixFile, H06_PidNamespacesDoNotHideTheHolder) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique());
  const std::string said = testing::InNewPidNamespace([&] { return Say(Acquire()); });
  if (absl::StartsWith(said, "skip:")) GTEST_SKIP() << said;
  EXPECT_EQ(said, absl::StrCat("duplicate ", holder.pid(), " established"));
}

// --- what it cannot do ---

TEST_F(PosixFile, CannotBeHandedOn) {
  Verdict verdict = Acquire();
  ASSERT_TRUE(IsUnique(verdict));
  Guard& guard = std::get<Unique>(verdict).guard;
  EXPECT_TRUE(absl::IsFailedPrecondition(guard.ShareWithChild().status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(guard.KeepOverExec()));
}

TEST_F(PosixFile, TheParametersAreChecked) {
  const auto error = [](const std::string& text) {
    return std::string(Policy::Parse(text).status().message());
  };
  EXPECT_THAT(error("file(mode=posix)"), HasSubstr("mode=posix belongs to a path="));
  EXPECT_THAT(error("file(mode=flock, path=/x)"), HasSubstr("mode is posix"));
  EXPECT_THAT(error("file(mode=posix, path=x)"), HasSubstr("path must be absolute"));
  EXPECT_EQ(Policy::Parse("file(path=/x, mode=posix)")->ToString(), "file(mode=posix, path=/x)");
}

}  // namespace
}  // namespace soleguard
