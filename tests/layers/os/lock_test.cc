// Locks of both families on open file descriptions: who sees whom.
#include "os/lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "os/error.h"
#include "os/file.h"
#include "support/child.h"
#include "support/temp_dir.h"

namespace soleguard::os {
namespace {

using soleguard::testing::Child;
using soleguard::testing::InChild;
using ::testing::HasSubstr;

class LockTest : public ::testing::Test {
 protected:
  UniqueFd Open(int flags = O_RDWR) const {
    return UniqueFd(open(path_.c_str(), flags | O_CREAT | O_CLOEXEC, 0600));
  }
  static std::string Say(const absl::StatusOr<bool>& result) {
    return !result.ok() ? result.status().ToString() : *result ? "yes" : "no";
  }

  const soleguard::testing::TempDir directory_;
  const std::string path_ = directory_ / "file";
};

TEST_F(LockTest, AnExclusiveFlockIsForOneDescription) {
  const UniqueFd mine = Open();
  const UniqueFd other = Open();
  EXPECT_EQ(Say(TryFlock(mine.get(), true)), "yes");
  EXPECT_EQ(Say(TryFlock(mine.get(), true)), "yes") << "it has it already";
  EXPECT_EQ(Say(TryFlock(other.get(), true)), "no");
  EXPECT_EQ(Say(TryFlock(other.get(), false)), "no");
  UnlockFlock(mine.get());
  EXPECT_EQ(Say(TryFlock(other.get(), true)), "yes");
}

TEST_F(LockTest, SharedFlocksLetEachOtherInAndKeepAnExclusiveOneOut) {
  const UniqueFd mine = Open();
  const UniqueFd other = Open();
  EXPECT_EQ(Say(TryFlock(mine.get(), false)), "yes");
  EXPECT_EQ(Say(TryFlock(other.get(), false)), "yes");
  EXPECT_EQ(Say(TryFlock(other.get(), true)), "no");
}

TEST_F(LockTest, AnOfdLockIsForOneDescriptionEvenWithinAProcess) {
  const UniqueFd mine = Open();
  const UniqueFd other = Open();
  EXPECT_EQ(Say(TryOfdLock(mine.get())), "yes");
  EXPECT_EQ(Say(TryOfdLock(mine.get())), "yes") << "it has it already";
  EXPECT_EQ(Say(TryOfdLock(other.get())), "no");
  UnlockOfd(mine.get());
  EXPECT_EQ(Say(TryOfdLock(other.get())), "yes");
}

TEST_F(LockTest, AnOfdLockIsKeptWhenAnotherDescriptorOfTheFileIsClosed) {
  const UniqueFd mine = Open();
  ASSERT_EQ(Say(TryOfdLock(mine.get())), "yes");
  { const UniqueFd other = Open(); }
  EXPECT_EQ(InChild([this] { return Say(TryOfdLock(Open().get())); }), "no");
}

TEST_F(LockTest, AnOfdLockCoversWhatTheFileGrowsBy) {
  const UniqueFd mine = Open();
  ASSERT_EQ(Say(TryOfdLock(mine.get())), "yes");
  const UniqueFd other = Open();
  struct flock far_away = {};
  far_away.l_type = F_WRLCK;
  far_away.l_whence = SEEK_SET;
  far_away.l_start = 1 << 30;
  far_away.l_len = 1;
  EXPECT_EQ(fcntl(other.get(), F_OFD_SETLK, &far_away), -1);
}

TEST_F(LockTest, ALookSeesFcntlLocksOfOthersThroughAReadOnlyDescriptor) {
  const UniqueFd looker = Open(O_RDONLY);
  EXPECT_EQ(Say(SeesOfdLock(looker.get())), "no");
  const UniqueFd mine = Open();
  ASSERT_EQ(Say(TryOfdLock(mine.get())), "yes");
  EXPECT_EQ(Say(SeesOfdLock(looker.get())), "yes");
  EXPECT_EQ(Say(SeesOfdLock(mine.get())), "no") << "one's own does not stand in one's way";
  UnlockOfd(mine.get());
  EXPECT_EQ(Say(SeesOfdLock(looker.get())), "no");

  Child posix([this] {
    struct flock lock = {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    const int fd = Open().release();
    return fcntl(fd, F_SETLK, &lock) == 0 ? "locked" : "refused";
  });
  ASSERT_EQ(posix.answer(), "locked");
  EXPECT_EQ(Say(SeesOfdLock(looker.get())), "yes");
}

TEST_F(LockTest, ALookDoesNotSeeAFlock) {
  const UniqueFd mine = Open();
  ASSERT_EQ(Say(TryFlock(mine.get(), true)), "yes");
  EXPECT_EQ(Say(SeesOfdLock(Open(O_RDONLY).get())), "no");
}

TEST_F(LockTest, TheFamiliesAreIndependentOnALocalFilesystem) {
  const UniqueFd mine = Open();
  const UniqueFd other = Open();
  ASSERT_EQ(Say(LockFamiliesAreIndependent(mine.get())), "yes");
  EXPECT_EQ(Say(TryFlock(mine.get(), true)), "yes");
  EXPECT_EQ(Say(TryOfdLock(other.get())), "yes");
  EXPECT_EQ(Say(TryOfdLock(mine.get())), "no");
}

TEST_F(LockTest, AnErrorIsNeitherYesNorNo) {
  const UniqueFd read_only = Open(O_RDONLY);
  for (const absl::StatusOr<bool>& result :
       {TryFlock(-1, true), TryOfdLock(-1), SeesOfdLock(-1), LockFamiliesAreIndependent(-1),
        TryOfdLock(read_only.get())}) {
    ASSERT_FALSE(result.ok());
    EXPECT_THAT(std::string(result.status().message()), HasSubstr("Bad file descriptor"));
  }
}

TEST_F(LockTest, ADirectoryCanBeLockedByFlockOnly) {
  const UniqueFd mine(open(directory_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const UniqueFd other(open(directory_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  EXPECT_EQ(Say(TryFlock(mine.get(), true)), "yes");
  EXPECT_EQ(Say(TryFlock(other.get(), true)), "no");
  EXPECT_FALSE(TryOfdLock(mine.get()).ok());
}

TEST_F(LockTest, AStatusOfAnErrnoValueSaysWhatFailedAndWhy) {
  const absl::Status status = ErrnoStatus(EACCES, "open /x");
  EXPECT_TRUE(absl::IsPermissionDenied(status));
  EXPECT_EQ(std::string(status.message()), "cannot open /x: Permission denied");
  EXPECT_TRUE(absl::IsNotFound(ErrnoStatus(ENOENT, "x")));
  EXPECT_TRUE(absl::IsResourceExhausted(ErrnoStatus(ENOSPC, "x")));
}

TEST_F(LockTest, TheIdentityOfAFileIsThatOfItsInode) {
  const UniqueFd one = Open();
  const UniqueFd same = Open();
  EXPECT_EQ(*IdentityOfFile(one.get()), *IdentityOfFile(same.get()));
  const UniqueFd other(open(directory_.path().c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_NE(*IdentityOfFile(one.get()), *IdentityOfFile(other.get()));
  EXPECT_FALSE(IdentityOfFile(-1).ok());
}

}  // namespace
}  // namespace soleguard::os
