// Scopes on filesystems that somebody serves, and who may be away (H19).
#include "support/served_filesystem.h"

#include <signal.h>

#include <atomic>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "support/claimant.h"
#include "support/shared.h"

namespace soleguard {
namespace {

using ::testing::AllOf;
using testing::Claimant;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class ServedFilesystem : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!served_.unusable().empty()) GTEST_SKIP() << served_.unusable();
  }
  void Tell(const std::string& order) {
    served_.server().WriteLine(order);
    ASSERT_EQ(served_.server().ReadLine(), "done");
  }
  Claimant::Setup Setup(const std::string& policy) const {
    return {.scope = mount_point_ + "/scope", .policy = policy};
  }

  testing::ServedFilesystem served_;
  const std::string mount_point_ = served_.mount_point();
};

TEST_F(ServedFilesystem, H19_WhileItAnswersANameIsHeldAsAnywhere) {
  Claimant holder(Setup("file"));
  EXPECT_TRUE(holder.unique()) << holder.verdict();
  Claimant second(Setup("file"));
  EXPECT_TRUE(second.duplicate()) << second.verdict();
}

// The process that asked ends by itself: nothing of it hangs in the kernel.
TEST_F(ServedFilesystem, H19_ALockCallThatBlocksIsAnUndeterminedVerdictInTime) {
  ASSERT_TRUE(Claimant(Setup("file")).unique());
  Tell("block");
  const absl::Time before = absl::Now();
  Claimant start(Setup("file"));
  EXPECT_THAT(start.verdict(),
              AllOf(StartsWith("undetermined"), HasSubstr("does not answer within 2s"),
                    HasSubstr(mount_point_), HasSubstr("local filesystem")));
  start.program().CloseInput();
  EXPECT_EQ(start.program().Wait(), 0);
  EXPECT_LT(absl::Now() - before, absl::Seconds(10));  // the deadline
}

TEST_F(ServedFilesystem, H19_AServerThatIsStoppedIsTheSame) {
  served_.server().Signal(SIGSTOP);
  served_.server().WaitUntilStopped();
  Claimant start(Setup("file"));
  EXPECT_THAT(start.verdict(), HasSubstr("does not answer"));
  start.program().CloseInput();
  EXPECT_EQ(start.program().Wait(), 0);
  served_.server().Signal(SIGCONT);
}

TEST_F(ServedFilesystem, H19_OtherLayersDecideWithoutIt) {
  served_.server().Signal(SIGSTOP);
  served_.server().WaitUntilStopped();
  Claimant::Setup setup = Setup("any(mutex, file(path=" + mount_point_ + "/x.lock))");
  setup.scope = served_.directory() / "scope";
  Claimant start(setup);
  EXPECT_TRUE(start.unique()) << start.verdict();
  served_.server().Signal(SIGCONT);
}

TEST_F(ServedFilesystem, H19_OnceItAnswersAgainAStartDoesAndNothingWasKept) {
  const Scope scope = *Scope::Directory(mount_point_ + "/scope");
  ASSERT_TRUE(std::holds_alternative<Unique>(
      Guard::Acquire("x", *Policy::Parse("file"), {.scope = scope})));
  Tell("block");
  EXPECT_TRUE(std::holds_alternative<Undetermined>(
      Guard::Acquire("x", *Policy::Parse("file"), {.scope = scope})));
  Tell("serve");
  // The helper of the last start learns its answer at the same time as this one asks.
  Verdict verdict = Guard::Acquire("x", *Policy::Parse("file"), {.scope = scope});
  while (std::holds_alternative<Undetermined>(verdict)) {
    verdict = Guard::Acquire("x", *Policy::Parse("file"), {.scope = scope});
  }
  EXPECT_TRUE(std::holds_alternative<Unique>(verdict));
}

// Who asks is a child of the program, and no place for its handlers.
TEST_F(ServedFilesystem, H19_ASignalToWhoAsksDoesNotRunTheProgramsHandler) {
  static const testing::Shared<std::atomic<int>> handled;
  const Scope scope = *Scope::Directory(mount_point_ + "/scope");
  const auto acquire = [&] {
    return Guard::Acquire("x", *Policy::Parse("file"), {.scope = scope});
  };
  const auto before = signal(SIGUSR1, [](int) { ++*handled; });
  Tell("block");
  EXPECT_TRUE(std::holds_alternative<Undetermined>(acquire()));
  std::vector<pid_t> children;
  std::ifstream listed("/proc/thread-self/children");
  for (pid_t child = 0; listed >> child;) {
    if (child != served_.server().pid()) children.push_back(child);
  }
  ASSERT_EQ(children.size(), 1U);
  ASSERT_EQ(kill(children.front(), SIGUSR1), 0);
  Tell("serve");
  // It has ended when it is asked anew.
  while (std::holds_alternative<Undetermined>(acquire())) {
  }
  EXPECT_EQ(*handled, 0);
  (void)signal(SIGUSR1, before);
}

TEST_F(ServedFilesystem, H19_TheFormWithAPathIsAskedToo) {
  served_.server().Signal(SIGSTOP);
  served_.server().WaitUntilStopped();
  Claimant::Setup setup = Setup("file(path=" + mount_point_ + "/x.lock)");
  setup.scope = served_.directory() / "scope";
  Claimant start(setup);
  EXPECT_THAT(start.verdict(), HasSubstr("does not answer"));
  served_.server().Signal(SIGCONT);
}

}  // namespace
}  // namespace soleguard
