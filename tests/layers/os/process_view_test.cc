// One pass over the process table, and one process looked at closely.
#include "os/process_view.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "os/lock.h"
#include "os/program.h"
#include "soleguard/fd.h"
#include "soleguard/process.h"
#include "support/program.h"
#include "support/temp_dir.h"

namespace soleguard {
namespace {

using testing::Program;

bool Sees(std::int64_t pid) {
  bool seen = false;
  const absl::Status walked =
      os::ForEachProgram([&](std::int64_t other, int error, const os::ProgramFile&) {
        seen |= other == pid && error == 0;
      });
  EXPECT_TRUE(walked.ok()) << walked;
  return seen;
}

TEST(ProcessTableTest, TheWalkShowsEachProcessWithItsProgramOnce) {
  const auto own = os::ProgramFileAt("/proc/self/exe");
  ASSERT_TRUE(own.ok()) << own.status();
  int found = 0;
  const absl::Status walked =
      os::ForEachProgram([&](std::int64_t pid, int error, const os::ProgramFile& program) {
        if (pid != getpid()) return;
        ++found;
        EXPECT_EQ(error, 0);
        EXPECT_EQ(program.file, own->file);
        EXPECT_EQ(program.size, own->size);
      });
  EXPECT_TRUE(walked.ok()) << walked;
  EXPECT_EQ(found, 1);
}

TEST(ProcessTableTest, AZombieIsNotSeen) {
  Program program({.argv = {"sleep", "60"}});
  EXPECT_TRUE(Sees(program.pid()));
  std::array<UniqueFd, 1> end = {*OpenPidfd(*IdentityOf(program.pid()))};
  program.Signal(SIGKILL);
  ASSERT_TRUE(WaitForAny(end, absl::Seconds(30)));
  EXPECT_FALSE(Sees(program.pid()));
  EXPECT_FALSE(os::ProcessView::Open(program.pid()).ok());
}

TEST(ProcessViewTest, ItTellsWhatTheProcessIs) {
  const testing::TempDir directory;
  Program program({.argv = {"sleep", "60"},
                   .environment = {{"SOLEGUARD_TEST_TAG", "a=b"}},
                   .directory = directory.path()});
  const auto view = os::ProcessView::Open(program.pid());
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(view->Kinship()->process, *IdentityOf(program.pid()));
  EXPECT_EQ(view->Kinship()->parent, getpid());
  EXPECT_EQ(view->Arguments()->at(1), "60");
  EXPECT_EQ(*view->EffectiveUser(), geteuid());
  EXPECT_TRUE(*view->IsInOwnPidNamespace());
  EXPECT_EQ(view->Program()->file, os::ProgramFileAt(view->ProgramPath().value())->file);
  EXPECT_GE(*view->Age(), absl::ZeroDuration());
  EXPECT_LT(*view->Age(), absl::Seconds(30));
  const auto environment = view->Environment();
  EXPECT_NE(std::find(environment->begin(), environment->end(), "SOLEGUARD_TEST_TAG=a=b"),
            environment->end());
}

TEST(ProcessViewTest, ItFindsFilesFromTheProcesssWorkingDirectory) {
  Program program({.argv = {"sleep", "60"}, .directory = "/usr"});
  const auto view = os::ProcessView::Open(program.pid());
  ASSERT_TRUE(view.ok()) << view.status();
  const auto env = os::ProgramFileAt("/usr/bin/env");
  EXPECT_EQ(view->FileAt("bin/env")->file, env->file);
  EXPECT_EQ(view->FileAt("/usr/bin/env")->file, env->file);
  EXPECT_FALSE(view->FileAt("bin").ok());
  EXPECT_FALSE(view->FileAt("env").ok());
  EXPECT_FALSE(view->FileAt("").ok());
}

TEST(ProcessViewTest, OnceTheProcessIsGoneEverythingFails) {
  Program program({.argv = {"sleep", "60"}});
  const auto view = os::ProcessView::Open(program.pid());
  program.Signal(SIGKILL);
  (void)program.Wait();
  EXPECT_TRUE(absl::IsNotFound(view->Kinship().status())) << view->Kinship().status();
  EXPECT_TRUE(absl::IsNotFound(view->Arguments().status()));
  EXPECT_TRUE(absl::IsNotFound(view->Program().status()));
  EXPECT_TRUE(absl::IsNotFound(os::ProcessView::Open(program.pid()).status()));
}

TEST(OfdRangeTest, RangesAreIndependentAndSeenFromOutside) {
  const testing::TempDir directory;
  const auto open_file = [&] {
    return UniqueFd(open((directory / "f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  };
  const UniqueFd one = open_file();
  const UniqueFd other = open_file();
  const os::Range first = {.offset = 0, .size = 512};
  const os::Range second = {.offset = 512, .size = 512};
  EXPECT_TRUE(*os::TryOfdLock(one.get(), first));
  EXPECT_FALSE(*os::TryOfdLock(other.get(), first));
  EXPECT_TRUE(*os::TryOfdLock(other.get(), second));
  EXPECT_TRUE(*os::SeesOfdLock(other.get(), first));
  EXPECT_FALSE(*os::SeesOfdLock(other.get(), second));
  EXPECT_FALSE(*os::SeesOfdLock(other.get(), {.offset = 1024, .size = 1}));
}

}  // namespace
}  // namespace soleguard
