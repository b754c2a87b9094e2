// Whose end may be waited for.
#include "target.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <optional>
#include <string>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/coverage.h"
#include "soleguard/fd.h"
#include "soleguard/guard.h"
#include "soleguard/holder.h"
#include "soleguard/name.h"
#include "soleguard/process.h"
#include "support/child.h"
#include "support/test_scope.h"

namespace soleguard {
namespace {

using ::testing::HasSubstr;

// The holder is gone unless it is said who it is.
class MayBeAwaited : public ::testing::Test {
 protected:
  static ProcessIdentity Gone() { return AnotherWithItsPid(Parent()); }
  static ProcessIdentity Parent() { return *IdentityOf(getppid()); }
  static ProcessIdentity AnotherWithItsPid(ProcessIdentity process) {
    ++process.start_ticks;
    return process;
  }
  std::string Check() const {
    return std::string(
        CheckMayBeAwaited(holder_, scope_.scope(), *InstanceName::Parse(testing::TestScope::kName))
            .message());
  }

  const testing::TestScope scope_{"file"};

  Holder holder_{.standing = Standing::kEstablished,
                 .record = HolderRecord{.identity = Gone()},
                 .processes = {},
                 .evidence = ""};
};

TEST_F(MayBeAwaited, SomebodyElse) {
  EXPECT_EQ(Check(), "");
  const testing::Child child([] { return "lives"; });
  holder_.record->identity = *IdentityOf(child.pid());
  EXPECT_EQ(Check(), "");
}

TEST_F(MayBeAwaited, OneWhomNoRecordNames) {
  holder_.record.reset();
  holder_.processes = {Parent()};
  EXPECT_EQ(Check(), "");
}

// It may release, or end: a program may start the one that takes over from it.
TEST_F(MayBeAwaited, AnAncestorWhoseClaimTheCallerHasNot) {
  holder_.record->identity = Parent();
  EXPECT_EQ(Check(), "");
}

TEST_F(MayBeAwaited, NoAncestorBelowAGuardian) {
  holder_.record->guardian = Parent();
  EXPECT_THAT(Check(),
              HasSubstr(absl::StrCat("pid ", getppid(), ", which keeps the name, is an ")));
  holder_.record->guardian = Gone();
  EXPECT_EQ(Check(), "");
  holder_.record->instance = Parent();
  EXPECT_THAT(Check(), HasSubstr("is an ancestor of this start"));
  holder_.record->instance = Gone();
  holder_.record->identity = Parent();
  EXPECT_THAT(Check(), HasSubstr("is an ancestor of this start"));
}

// As below a program that was executed with the claim.
TEST_F(MayBeAwaited, NoAncestorWhoseClaimTheCallerHasInherited) {
  holder_.record->identity = Parent();
  { const Verdict makes_the_directory = scope_.Acquire(); }
  const UniqueFd inherited(open(scope_.Object().c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(Check(), "");
  ASSERT_EQ(flock(inherited.get(), LOCK_EX), 0);
  EXPECT_THAT(Check(), HasSubstr("is an ancestor of this start"));
  holder_.record->slot = 1;
  EXPECT_EQ(Check(), "") << "the claim is that of another slot";
}

TEST_F(MayBeAwaited, NotTheCallerItself) {
  holder_.record->identity = *OwnIdentity();
  EXPECT_THAT(Check(), HasSubstr(absl::StrCat("pid ", getpid(), ", which has the name, is this ")));
}

TEST_F(MayBeAwaited, H05_NoAncestorByItsPidAlone) {
  holder_.record->identity = AnotherWithItsPid(Parent());
  EXPECT_EQ(Check(), "");
  holder_.record->identity = AnotherWithItsPid(*OwnIdentity());
  EXPECT_EQ(Check(), "");
}

TEST_F(MayBeAwaited, H06_NoAncestorByItsPidInAnotherNamespace) {
  holder_.record->identity = Parent();
  ++holder_.record->identity.pid_namespace;
  EXPECT_EQ(Check(), "");
}

TEST(IsOwnAncestorTest, HowFarAwayItIs) {
  const ProcessIdentity own = *OwnIdentity();
  EXPECT_EQ(testing::InChild([&own] {
              return testing::InChild([&own] { return *IsOwnAncestor(own) ? "yes" : "no"; });
            }),
            "yes");
  EXPECT_FALSE(*IsOwnAncestor(own));
}

// A namespace's process 1 has ancestors that it cannot see.
TEST(IsOwnAncestorTest, H06_InANewPidNamespace) {
  const std::string said = testing::InNewPidNamespace([]() -> std::string {
    const ProcessIdentity first = *OwnIdentity();
    if (*IsOwnAncestor(first)) return "it is its own ancestor";
    return testing::InChild([&first] { return *IsOwnAncestor(first) ? "yes" : "no"; });
  });
  if (said.starts_with("skip:")) GTEST_SKIP() << said;
  EXPECT_EQ(said, "yes");
}

}  // namespace
}  // namespace soleguard
