// Descriptors that a forked child must not keep, and marks that tell a process from its children.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "os/file.h"
#include "os/kept_fd.h"
#include "os/lock.h"
#include "os/path.h"
#include "soleguard/process.h"
#include "support/child.h"
#include "support/temp_dir.h"

namespace soleguard::os {
namespace {

using soleguard::testing::InChild;
using soleguard::testing::InNewPidNamespace;
using ::testing::HasSubstr;

// A claim must not be handed on as a file of the program's, nor that be left open over exec.
TEST(KeptFdCopyTest, H31_OneThatTheProgramClosedIsNeitherCopiedNorKept) {
  KeptFd kept;
  const auto open_null = [] { return open("/dev/null", O_RDONLY | O_CLOEXEC); };
  ASSERT_TRUE(kept.Keep("open /dev/null", open_null).ok());
  const int number = kept.get();
  ASSERT_EQ(close(number), 0);
  EXPECT_TRUE(absl::IsDataLoss(kept.Duplicate().status()));
  const soleguard::testing::TempDir directory;
  const int file = open(directory.path().c_str(), O_RDONLY | O_CLOEXEC);
  if (file != number) {
    ASSERT_EQ(dup3(file, number, O_CLOEXEC), number);
  }
  EXPECT_TRUE(absl::IsDataLoss(kept.Duplicate().status()));
  EXPECT_TRUE(absl::IsDataLoss(kept.KeepOverExec()));
  EXPECT_EQ(fcntl(number, F_GETFD), FD_CLOEXEC);
  if (file != number) (void)close(file);
  (void)close(number);
}

// No atfork handler runs.
pid_t RawClone(unsigned long flags = 0) {
  return static_cast<pid_t>(syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, 0));
}

// The exit code of a child; -1 when a signal ended it.
int CodeOf(pid_t child) {
  int status = 0;
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

// Runs in forked children of programs with threads: system calls only.
bool HasOpen(const FileIdentity& file) {
  constexpr int kMaxDescriptors = 256;
  for (int fd = 0; fd < kMaxDescriptors; ++fd) {
    struct stat status = {};
    if (fstat(fd, &status) == 0 && status.st_dev == file.device && status.st_ino == file.inode) {
      return true;
    }
  }
  return false;
}

class KeptFdTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name = "file") const { return directory_ / name; }
  absl::Status Keep(KeptFd& kept, const std::string& name = "file") const {
    return kept.Keep(absl::StrCat("open ", Path(name)),
                     [&] { return open(Path(name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600); });
  }
  bool LockIsFree(const std::string& name = "file") const {
    const UniqueFd other(open(Path(name).c_str(), O_RDWR | O_CLOEXEC));
    return *TryFlock(other.get(), true);
  }

  const soleguard::testing::TempDir directory_;
};

TEST_F(KeptFdTest, KnowsItsFileAndClosesIt) {
  KeptFd kept;
  EXPECT_FALSE(kept);
  EXPECT_FALSE(kept.StillOurs());
  ASSERT_TRUE(Keep(kept).ok());
  EXPECT_TRUE(kept);
  EXPECT_TRUE(kept.StillOurs());
  EXPECT_TRUE(*PathIs(Path(), kept.file()));
  const int fd = kept.get();
  kept.Close();
  EXPECT_FALSE(kept);
  EXPECT_EQ(fcntl(fd, F_GETFD), -1);
  kept.Close();
}

TEST_F(KeptFdTest, AFailingOpenSaysWhyAndKeepsNothing) {
  KeptFd kept;
  const absl::Status status = kept.Keep("open /x", [] {
    errno = EMFILE;
    return -1;
  });
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot open /x: Too many open files"));
  EXPECT_FALSE(kept);
}

TEST_F(KeptFdTest, AnOpenThatASignalInterruptedIsMadeAgain) {
  KeptFd kept;
  int calls = 0;
  EXPECT_TRUE(kept.Keep("open",
                        [&] {
                          if (++calls < 3) {
                            errno = EINTR;
                            return -1;
                          }
                          return open(Path().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
                        })
                  .ok());
  EXPECT_EQ(calls, 3);
}

TEST_F(KeptFdTest, AnotherOneTakesThePlaceOfTheFirst) {
  KeptFd kept;
  ASSERT_TRUE(Keep(kept, "one").ok());
  ASSERT_TRUE(*TryFlock(kept.get(), true));
  ASSERT_TRUE(Keep(kept, "two").ok());
  EXPECT_TRUE(LockIsFree("one"));
  EXPECT_TRUE(*PathIs(Path("two"), kept.file()));
}

// --- fork ---

TEST_F(KeptFdTest, H10_AForkedChildClosesItsCopyAtOnce) {
  KeptFd kept;
  ASSERT_TRUE(Keep(kept).ok());
  ASSERT_TRUE(*TryFlock(kept.get(), true));
  const soleguard::testing::Child child(
      [&] { return absl::StrCat(HasOpen(kept.file()), kept ? 1 : 0, kept.StillOurs()); });
  EXPECT_EQ(child.answer(), "000");
  EXPECT_TRUE(kept.StillOurs());
  EXPECT_FALSE(LockIsFree()) << "that the child closed its copy does not unlock";
  kept.Close();
  EXPECT_TRUE(LockIsFree()) << "though the child lives";
}

TEST_F(KeptFdTest, H10_OfManyAllAreClosedWhateverTheOrderTheyCameAndWent) {
  std::vector<std::unique_ptr<KeptFd>> all;
  for (int i = 0; i < 20; ++i) {
    all.push_back(std::make_unique<KeptFd>());
    ASSERT_TRUE(Keep(*all.back(), absl::StrCat(i)).ok());
  }
  for (const int gone : {0, 19, 7, 8}) all[static_cast<std::size_t>(gone)]->Close();
  ASSERT_TRUE(Keep(*all[7], "7").ok());
  std::vector<FileIdentity> files;
  for (const auto& kept : all) {
    if (*kept) files.push_back(kept->file());
  }
  EXPECT_EQ(files.size(), 17U);
  EXPECT_EQ(InChild([&] {
              int open = 0;
              for (const FileIdentity& file : files) open += HasOpen(file) ? 1 : 0;
              return absl::StrCat(open);
            }),
            "0");
}

TEST_F(KeptFdTest, H10_AChildKeepsFilesOfItsOwnAfterwards) {
  KeptFd kept;
  ASSERT_TRUE(Keep(kept).ok());
  const std::string answer = InChild([&]() -> std::string {
    if (!Keep(kept, "child").ok() || !*TryFlock(kept.get(), true)) return "cannot keep";
    const pid_t grandchild = fork();
    if (grandchild == 0) _exit(HasOpen(kept.file()) ? 1 : 0);
    if (CodeOf(grandchild) != 0) return "the grandchild has it";
    return kept.StillOurs() ? "kept" : "lost";
  });
  EXPECT_EQ(answer, "kept");
  EXPECT_TRUE(kept.StillOurs());
}

TEST_F(KeptFdTest, H28_ARawCloneKeepsItsCopy) {
  KeptFd kept;
  ASSERT_TRUE(Keep(kept).ok());
  const pid_t child = RawClone();
  if (child == 0) _exit(HasOpen(kept.file()) ? 1 : 0);
  EXPECT_EQ(CodeOf(child), 1) << "documented: nothing tells it";
}

TEST_F(KeptFdTest, ADuplicateStaysInAForkedChildAndNotOverExec) {
  KeptFd kept;
  ASSERT_TRUE(Keep(kept).ok());
  ASSERT_TRUE(*TryFlock(kept.get(), true));
  absl::StatusOr<UniqueFd> copy = kept.Duplicate();
  ASSERT_TRUE(copy.ok()) << copy.status();
  EXPECT_NE(fcntl(copy->get(), F_GETFD) & FD_CLOEXEC, 0);
  {
    const soleguard::testing::Child child(
        [&] { return absl::StrCat(fcntl(copy->get(), F_GETFD) >= 0); });
    EXPECT_EQ(child.answer(), "1");
    copy->reset();
    kept.Close();
    EXPECT_FALSE(LockIsFree()) << "the child has it now";
  }
  EXPECT_TRUE(LockIsFree());
}

TEST_F(KeptFdTest, SurvivesExecOnlyIfTold) {
  KeptFd kept;
  ASSERT_TRUE(Keep(kept).ok());
  EXPECT_NE(fcntl(kept.get(), F_GETFD) & FD_CLOEXEC, 0);
  ASSERT_TRUE(kept.KeepOverExec().ok());
  EXPECT_EQ(fcntl(kept.get(), F_GETFD) & FD_CLOEXEC, 0);
}

// A program with threads forks while another one takes and gives up locks: a child that got a copy
// between the opening and the keeping would hold every lock that is taken on it later.
TEST_F(KeptFdTest, H10_NoForkFallsBetweenTheOpeningAndTheKeeping) {
  constexpr int kForks = 300;
  std::atomic<bool> end{false};
  std::atomic<int> kept_times{0};
  {
    KeptFd makes_the_file;
    ASSERT_TRUE(Keep(makes_the_file).ok());
  }
  const UniqueFd path(open(Path().c_str(), O_PATH | O_CLOEXEC));
  const FileIdentity file = *IdentityOfFile(path.get());
  const int path_fd = path.get();

  std::thread keeper([&] {
    while (!end) {
      KeptFd kept;
      if (Keep(kept).ok()) ++kept_times;
      std::this_thread::yield();
    }
  });
  int leaked = 0;
  int other = 0;
  for (int i = 0; i < kForks; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      (void)close(path_fd);
      _exit(HasOpen(file) ? 1 : 0);
    }
    const int code = CodeOf(child);
    if (code == 1) ++leaked;
    if (code != 0 && code != 1) ++other;
  }
  end = true;
  keeper.join();
  EXPECT_EQ(leaked, 0);
  EXPECT_EQ(other, 0);
  EXPECT_GT(kept_times, 0);
}

TEST_F(KeptFdTest, AChildForkedByAnyThreadCanKeepAndClose) {
  std::atomic<bool> end{false};
  std::thread keeper([&] {
    while (!end) {
      KeptFd kept;
      (void)Keep(kept, "other");
      std::this_thread::yield();
    }
  });
  for (int i = 0; i < 50; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      // The lock of the list is free in the child, whoever had it in the parent.
      (void)alarm(20);
      KeptFd kept;
      const int fd = open(Path().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
      _exit(kept.Keep("open", [fd] { return fd; }).ok() ? 0 : 1);
    }
    EXPECT_EQ(CodeOf(child), 0);
  }
  end = true;
  keeper.join();
}

// --- numbers that were closed and used anew ---

TEST_F(KeptFdTest, H31_ADescriptorThatTheProgramClosedIsNotOursAnyMore) {
  KeptFd kept;
  ASSERT_TRUE(Keep(kept).ok());
  ASSERT_TRUE(kept.CheckStillOurs("x").ok());
  ASSERT_EQ(close(kept.get()), 0);
  EXPECT_FALSE(kept.StillOurs());
  EXPECT_TRUE(absl::IsDataLoss(kept.CheckStillOurs("/the/path")));
  EXPECT_THAT(std::string(kept.CheckStillOurs("/the/path").message()), HasSubstr("/the/path"));
}

TEST_F(KeptFdTest, H31_ANumberThatIsAnothersIsNotClosedByUsNorInAForkedChild) {
  KeptFd kept;
  ASSERT_TRUE(Keep(kept).ok());
  const int number = kept.get();
  const UniqueFd other(open(Path("other").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(dup2(other.get(), number), number);
  EXPECT_FALSE(kept.StillOurs());
  EXPECT_EQ(InChild([&] { return absl::StrCat(fcntl(number, F_GETFD) >= 0); }), "1");
  kept.Close();
  EXPECT_GE(fcntl(number, F_GETFD), 0);
  EXPECT_EQ(close(number), 0);
}

// --- marks ---

TEST(ProcessMark, IsCurrentInTheProcessThatMadeItAndInItsThreads) {
  const ProcessMark mark;
  EXPECT_TRUE(mark.IsCurrent());
  bool in_thread = false;
  std::thread([&] { in_thread = mark.IsCurrent(); }).join();
  EXPECT_TRUE(in_thread);
}

TEST(ProcessMark, IsNotCurrentInAForkedChildWhoseOwnMarkIs) {
  const ProcessMark mark;
  EXPECT_EQ(InChild([&] {
              const ProcessMark own;
              return absl::StrCat(mark.IsCurrent(), own.IsCurrent(), mark.IsCurrent());
            }),
            "010");
  EXPECT_TRUE(mark.IsCurrent());
}

TEST(ProcessMark, IsNotCurrentInARawClone) {
  const ProcessMark mark;
  const pid_t child = RawClone();
  if (child == 0) _exit(mark.IsCurrent() ? 1 : 0);
  EXPECT_EQ(CodeOf(child), 0);
}

TEST(ProcessMark, AGrandchildsIsNeitherItsParentsNorItsGrandparents) {
  const ProcessMark mark;
  EXPECT_EQ(InChild([&] {
              const ProcessMark parents;
              return InChild([&] {
                const ProcessMark own;
                return absl::StrCat(mark.IsCurrent(), parents.IsCurrent(), own.IsCurrent());
              });
            }),
            "001");
}

// Both are process 1, each in its own pid namespace: the pid tells nothing.
TEST(ProcessMark, IsNotCurrentInACloneThatHasTheSamePidInANewPidNamespace) {
  const std::string answer = InNewPidNamespace([]() -> std::string {
    const ProcessMark mark;
    const pid_t own_pid = getpid();
    const pid_t child = RawClone(CLONE_NEWPID);
    if (child == 0) _exit(getpid() != own_pid ? 2 : mark.IsCurrent() ? 1 : 0);
    return absl::StrCat(CodeOf(child), mark.IsCurrent());
  });
  if (answer.starts_with("skip: ")) GTEST_SKIP() << answer.substr(6);
  EXPECT_EQ(answer, "01");
}

}  // namespace
}  // namespace soleguard::os
