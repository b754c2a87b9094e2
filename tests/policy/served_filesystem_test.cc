// Scopes on filesystems that somebody serves, and who may be away (H19).
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "support/claimant.h"
#include "support/program.h"
#include "support/temp_dir.h"

namespace soleguard {
namespace {

using ::testing::AllOf;
using testing::Claimant;
using ::testing::HasSubstr;
using testing::Program;
using ::testing::StartsWith;

class ServedFilesystem : public ::testing::Test {
 protected:
  void SetUp() override {
    if (getuid() != 0 || access("/dev/fuse", R_OK | W_OK) != 0) {
      GTEST_SKIP() << "needs root and /dev/fuse to mount a filesystem";
    }
    std::filesystem::create_directory(mount_point_);
    std::filesystem::create_directory(directory_ / "behind");
    server_.emplace(Program::Setup{
        .argv = {SOLEGUARD_TEST_SERVED_FILESYSTEM, mount_point_, directory_ / "behind"}});
    const std::optional<std::string> line = server_->ReadLine();
    if (line != "mounted") GTEST_SKIP() << "cannot mount: " << server_->Errors();
  }
  void TearDown() override {
    if (!server_.has_value()) return;
    server_->Signal(SIGKILL);  // every call that hangs ends with ECONNABORTED
    (void)server_->Wait();
    (void)umount2(mount_point_.c_str(), MNT_DETACH);
  }
  void Tell(const std::string& order) {
    server_->WriteLine(order);
    ASSERT_EQ(server_->ReadLine(), "done");
  }
  Claimant::Setup Setup(const std::string& policy) const {
    return {.scope = mount_point_ + "/scope", .policy = policy};
  }

  const testing::TempDir directory_;
  const std::string mount_point_ = directory_ / "mount";
  std::optional<Program> server_;
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
  server_->Signal(SIGSTOP);
  server_->WaitUntilStopped();
  Claimant start(Setup("file"));
  EXPECT_THAT(start.verdict(), HasSubstr("does not answer"));
  start.program().CloseInput();
  EXPECT_EQ(start.program().Wait(), 0);
  server_->Signal(SIGCONT);
}

TEST_F(ServedFilesystem, H19_OtherLayersDecideWithoutIt) {
  server_->Signal(SIGSTOP);
  server_->WaitUntilStopped();
  Claimant::Setup setup = Setup("any(mutex, file(path=" + mount_point_ + "/x.lock))");
  setup.scope = directory_ / "scope";
  Claimant start(setup);
  EXPECT_TRUE(start.unique()) << start.verdict();
  server_->Signal(SIGCONT);
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

TEST_F(ServedFilesystem, H19_TheFormWithAPathIsAskedToo) {
  server_->Signal(SIGSTOP);
  server_->WaitUntilStopped();
  Claimant::Setup setup = Setup("file(path=" + mount_point_ + "/x.lock)");
  setup.scope = directory_ / "scope";
  Claimant start(setup);
  EXPECT_THAT(start.verdict(), HasSubstr("does not answer"));
  server_->Signal(SIGCONT);
}

}  // namespace
}  // namespace soleguard
