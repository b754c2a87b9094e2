// Files and directories that may have been put there by somebody else. What the layers see of it is
// in name_directory_test.cc.
#include "os/path.h"

#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "os/file.h"
#include "os/kept_fd.h"
#include "os/ownership.h"
#include "os/user.h"
#include "support/child.h"
#include "support/temp_dir.h"

namespace soleguard::os {
namespace {

using soleguard::testing::InChild;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

void Write(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}
std::string Content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}
unsigned ModeOf(const std::string& path) {
  struct stat status = {};
  return lstat(path.c_str(), &status) == 0 ? status.st_mode & 07777U : 0;
}

class PathTest : public ::testing::Test {
 protected:
  Entry At(const std::string& name) const {
    return {.parent = AT_FDCWD, .name = directory_ / name, .path = directory_ / name};
  }
  UniqueFd Open(const std::string& name, int flags = O_RDWR) const {
    return UniqueFd(open((directory_ / name).c_str(), flags | O_CLOEXEC | O_NONBLOCK, 0600));
  }
  const Ownership owner_{.rule = Ownership::Rule::kOwner, .uid = OwnUid()};
  const soleguard::testing::TempDir directory_;
  KeptFd kept_;
};

TEST_F(PathTest, AFileIsMadeForItsOwnerOnlyIfThatIsAskedFor) {
  EXPECT_TRUE(absl::IsNotFound(KeepFile(At("file"), owner_, Create::kNo, kept_)));
  EXPECT_FALSE(std::filesystem::exists(directory_ / "file"));
  ASSERT_TRUE(KeepFile(At("file"), owner_, Create::kYes, kept_).ok());
  EXPECT_EQ(ModeOf(directory_ / "file"), 0600U);
  Write(directory_ / "file", "kept");
  ASSERT_TRUE(KeepFile(At("file"), owner_, Create::kYes, kept_).ok());
  EXPECT_EQ(Content(directory_ / "file"), "kept") << "never truncated";
  EXPECT_NE(fcntl(kept_.get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(PathTest, AGroupsObjectsAreForTheGroupWhateverTheUmask) {
  const Ownership group{.rule = Ownership::Rule::kGroup, .uid = OwnUid(), .gid = getegid()};
  const mode_t before = umask(0077);
  EXPECT_TRUE(KeepFile(At("file"), group, Create::kYes, kept_).ok());
  EXPECT_TRUE(KeepPresence(At("fifo"), group, kept_).ok());
  EXPECT_TRUE(KeepDirectory(At("directory"), group, Create::kYes, kept_).ok());
  (void)umask(before);
  EXPECT_EQ(ModeOf(directory_ / "file"), 0660U);
  EXPECT_EQ(ModeOf(directory_ / "fifo"), 0660U);
  EXPECT_EQ(ModeOf(directory_ / "directory"), 02770U);
}

TEST_F(PathTest, WhatIsOpenToOthersIsRefusedAndNotMended) {
  Write(directory_ / "file", "");
  ASSERT_EQ(chmod((directory_ / "file").c_str(), 0606), 0);
  const absl::Status status = KeepFile(At("file"), owner_, Create::kYes, kept_);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("is open to other users"));
  EXPECT_FALSE(kept_) << "what is refused is not kept";
  EXPECT_EQ(ModeOf(directory_ / "file"), 0606U);
  EXPECT_FALSE(KeepFile(At("file"), owner_, Create::kNo, kept_).ok()) << "nor is it looked at";
}

TEST_F(PathTest, AFileThatAnyoneMayReadIsNoHarmInADirectoryThatNobodyPasses) {
  Write(directory_ / "file", "");
  ASSERT_EQ(chmod((directory_ / "file").c_str(), 0644), 0);
  EXPECT_TRUE(KeepFile(At("file"), owner_, Create::kYes, kept_).ok());
}

TEST_F(PathTest, PathIsLooksAtThePathItselfAndNotWhereALinkLeads) {
  Write(directory_ / "file", "");
  const FileIdentity file = *IdentityOfFile(Open("file").get());
  EXPECT_TRUE(*PathIs(directory_ / "file", file));
  std::filesystem::rename(directory_ / "file", directory_ / "moved");
  EXPECT_FALSE(*PathIs(directory_ / "file", file));
  std::filesystem::create_symlink(directory_ / "moved", directory_ / "file");
  EXPECT_FALSE(*PathIs(directory_ / "file", file));
  EXPECT_FALSE(*PathIs(directory_ / "moved/below", file)) << "a file is no directory";
  EXPECT_FALSE(PathIs(directory_ / std::string(300, 'n'), file).ok());
}

TEST_F(PathTest, ReadsFromTheBeginUpToALimit) {
  Write(directory_ / "file", "0123456789");
  const UniqueFd file = Open("file");
  EXPECT_EQ(*ReadAt(file.get(), 4), "0123");
  EXPECT_EQ(*ReadAt(file.get(), 4), "0123") << "the offset does not move";
  EXPECT_EQ(*ReadAt(file.get(), 100), "0123456789");
  EXPECT_FALSE(ReadAt(-1, 4).ok());
}

TEST_F(PathTest, WritesAtTheBegin) {
  Write(directory_ / "file", "0123456789");
  const UniqueFd file = Open("file");
  ASSERT_TRUE(WriteAt(file.get(), "ab").ok());
  ASSERT_TRUE(WriteAt(file.get(), "AB").ok());
  EXPECT_EQ(Content(directory_ / "file"), "AB23456789");
  EXPECT_FALSE(WriteAt(Open("file", O_RDONLY).get(), "x").ok());
}

// Beyond the limit of file sizes the kernel would cut it short, or end the process by SIGXFSZ.
TEST_F(PathTest, AWriteThatWouldBeCutShortIsAnErrorAndNoSignal) {
  Write(directory_ / "file", "");
  const std::string answer = InChild([this] {
    const rlimit limit = {.rlim_cur = 3, .rlim_max = 3};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return std::string("no limit");
    return WriteAt(Open("file").get(), "0123").ToString();
  });
  EXPECT_THAT(answer, HasSubstr("the limit of file sizes"));
  EXPECT_EQ(std::filesystem::file_size(directory_ / "file"), 0U);
}

TEST_F(PathTest, ListsTheNamesAndLeavesTheDescriptorWhereItIs) {
  Write(directory_ / "b", "");
  Write(directory_ / "a", "");
  Write(directory_ / ".hidden", "");
  const UniqueFd directory(open(directory_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  EXPECT_THAT(*NamesIn(directory.get()), UnorderedElementsAre("a", "b", ".hidden"));
  EXPECT_THAT(*NamesIn(directory.get()), UnorderedElementsAre("a", "b", ".hidden"));
  EXPECT_FALSE(NamesIn(-1).ok());
}

TEST_F(PathTest, MakesMissingParentsForTheirOwnerOnly) {
  const std::string deep = directory_ / "a/b/c";
  const mode_t before = umask(0);
  EXPECT_TRUE(MakeDirectories(deep).ok());
  (void)umask(before);
  EXPECT_TRUE(MakeDirectories(deep).ok()) << "again";
  EXPECT_EQ(ModeOf(deep), 0700U);
  EXPECT_EQ(ModeOf(directory_ / "a"), 0700U);
}

TEST_F(PathTest, DoesNotMakeAHomeOrAVolumeThatIsNotThere) {
  const std::string missing = absl::StrCat("/soleguard-test-", getpid());
  EXPECT_TRUE(absl::IsNotFound(MakeDirectories(missing + "/a")));
  EXPECT_FALSE(std::filesystem::exists(missing));
}

TEST_F(PathTest, WritesDurablyAllOrNothing) {
  ASSERT_TRUE(WriteDurably(directory_.path(), "file", "old", Readers::kOwner).ok());
  EXPECT_EQ(Content(directory_ / "file"), "old");
  const UniqueFd reader = Open("file", O_RDONLY);
  ASSERT_TRUE(WriteDurably(directory_.path(), "file", "new", Readers::kOwner).ok());
  EXPECT_EQ(Content(directory_ / "file"), "new");
  EXPECT_EQ(*ReadAt(reader.get(), 10), "old") << "a reader keeps what it has";
  EXPECT_EQ(ModeOf(directory_ / "file"), 0600U);

  std::filesystem::create_directory(directory_ / "occupied");
  EXPECT_FALSE(WriteDurably(directory_.path(), "occupied", "x", Readers::kOwner).ok());
  EXPECT_FALSE(WriteDurably(directory_ / "missing", "file", "x", Readers::kOwner).ok());
  std::vector<std::string> left;
  for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
    left.push_back(entry.path().filename());
  }
  EXPECT_THAT(left, UnorderedElementsAre("file", "occupied")) << "a temporary file was left";
}

TEST_F(PathTest, TheStateDirectoryIsARuleAndDoesNotAskTheEnvironment) {
  const std::string answer = InChild([]() -> std::string {
    if (setenv("HOME", "/elsewhere", 1) != 0 || setenv("XDG_STATE_HOME", "/elsewhere", 1) != 0) {
      return "cannot set";
    }
    return StateDirectory().value_or("none");
  });
  if (geteuid() == 0) {
    EXPECT_EQ(answer, "/var/lib/soleguard");
  } else if (!FindUser(geteuid()).has_value()) {
    EXPECT_EQ(answer, "none");
  } else {
    EXPECT_THAT(answer, HasSubstr("/.local/state/soleguard"));
    EXPECT_THAT(answer, ::testing::Not(HasSubstr("elsewhere")));
  }
}

TEST_F(PathTest, AUserWithoutAHomeHasNoStateDirectory) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  const std::string answer = InChild([]() -> std::string {
    if (setuid(4242) != 0) return "cannot become";
    return StateDirectory().status().ToString();
  });
  EXPECT_THAT(answer, HasSubstr("NOT_FOUND"));
}

// --- the wake FIFO ---

bool HungUp(const UniqueFd& watch, int timeout_ms) {
  pollfd polled = {.fd = watch.get(), .events = POLLIN, .revents = 0};
  return poll(&polled, 1, timeout_ms) == 1 && (polled.revents & POLLHUP) != 0;
}

TEST_F(PathTest, AWatchHangsUpWhenTheLastWriterIsGone) {
  KeptFd first;
  KeptFd second;
  ASSERT_TRUE(KeepPresence(At("fifo"), owner_, first).ok());
  ASSERT_TRUE(KeepPresence(At("fifo"), owner_, second).ok());
  const UniqueFd watch = WatchPresence(At("fifo"), owner_);
  ASSERT_TRUE(watch);
  EXPECT_FALSE(HungUp(watch, 0));
  first.Close();
  EXPECT_FALSE(HungUp(watch, 0));
  second.Close();
  EXPECT_TRUE(HungUp(watch, -1));
}

TEST_F(PathTest, WithoutAWriterThereIsNothingToWatch) {
  EXPECT_FALSE(WatchPresence(At("fifo"), owner_)) << "no FIFO";
  {
    KeptFd writer;
    ASSERT_TRUE(KeepPresence(At("fifo"), owner_, writer).ok());
  }
  EXPECT_FALSE(WatchPresence(At("fifo"), owner_)) << "a poll on it would wait for ever";
}

TEST_F(PathTest, WatchersAreNotWriters) {
  KeptFd writer;
  ASSERT_TRUE(KeepPresence(At("fifo"), owner_, writer).ok());
  const UniqueFd one = WatchPresence(At("fifo"), owner_);
  const UniqueFd two = WatchPresence(At("fifo"), owner_);
  ASSERT_TRUE(one && two);
  writer.Close();
  EXPECT_TRUE(HungUp(one, -1));
  EXPECT_TRUE(HungUp(two, -1));
}

}  // namespace
}  // namespace soleguard::os
