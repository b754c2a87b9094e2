// A file that tells other tools of a running instance.
#include "soleguard/side_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <system_error>

#include <gtest/gtest.h>

#include "soleguard/fd.h"
#include "support/temp_dir.h"

namespace soleguard {
namespace {

// The descriptor of this process that is of `path`; -1: none.
int DescriptorOf(const std::string& path) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;  // the one that lists
    if (std::filesystem::read_symlink(entry.path(), gone) == path) {
      return std::stoi(entry.path().filename());
    }
  }
  return -1;
}

class SideFileTest : public ::testing::Test {
 protected:
  const testing::TempDir directory_;
  const std::string path_ = directory_ / "x.pid";
};

// A program that closes all its descriptors and opens its log next.
TEST_F(SideFileTest, H31_TheProgramsFileWithItsNumberIsNotClosed) {
  const std::unique_ptr<SideFile> file = *SideFile::At(path_);
  for (const bool again : {false, true}) {
    ASSERT_TRUE(file->Write("1").ok());
    const int number = DescriptorOf(path_);
    ASSERT_GE(number, 0);
    const std::string log = directory_ / (again ? "again" : "log");
    const UniqueFd opened(open(log.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_EQ(dup3(opened.get(), number, O_CLOEXEC), number);
    if (again) {
      file->Remove();
    } else {
      ASSERT_TRUE(file->Write("2").ok());
    }
    EXPECT_TRUE(std::filesystem::exists("/proc/self/fd/" + std::to_string(number))) << "closed";
    (void)close(number);
  }
}

std::string Content(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Somebody else's content, written into the very file: it is his by now.
TEST_F(SideFileTest, E3_PidFileOfAnother) {
  const std::unique_ptr<SideFile> file = *SideFile::At(path_);
  ASSERT_TRUE(file->Write("1\n").ok());
  std::ofstream(path_) << "4711\n";  // the same inode
  EXPECT_TRUE(absl::IsFailedPrecondition(file->Write("2\n")));
  file->Remove();
  EXPECT_EQ(Content(path_), "4711\n");
}

// What begins or ends as ours is not ours.
TEST_F(SideFileTest, WhatSomebodyElseAddedOrCutStays) {
  for (const std::string content : {"1\n2\n", "1", ""}) {
    const std::unique_ptr<SideFile> file = *SideFile::At(path_);
    ASSERT_TRUE(file->Write("1\n").ok());
    std::ofstream(path_) << content;
    file->Remove();
    EXPECT_TRUE(std::filesystem::exists(path_));
    EXPECT_EQ(Content(path_), content);
  }
}

TEST_F(SideFileTest, AnotherFileInItsPlaceStaysThoughItSaysTheSame) {
  const std::unique_ptr<SideFile> file = *SideFile::At(path_);
  ASSERT_TRUE(file->Write("1\n").ok());
  std::ofstream(directory_ / "new") << "1\n";
  std::filesystem::rename(directory_ / "new", path_);
  EXPECT_TRUE(absl::IsFailedPrecondition(file->Write("2\n")));
  file->Remove();
  EXPECT_EQ(Content(path_), "1\n");
}

// What stood there before is stale, and what was removed meanwhile is written again.
TEST_F(SideFileTest, WritesOverWhatWasThereBeforeAndRemovesItsOwn) {
  std::ofstream(path_) << "4711\n";
  const std::unique_ptr<SideFile> file = *SideFile::At(path_);
  ASSERT_TRUE(file->Write("1\n").ok());
  EXPECT_EQ(Content(path_), "1\n");
  std::filesystem::remove(path_);
  ASSERT_TRUE(file->Write("2\n").ok());
  ASSERT_TRUE(file->Write("3\n").ok());
  EXPECT_EQ(Content(path_), "3\n");
  file->Remove();
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));  // nothing is left aside
}

}  // namespace
}  // namespace soleguard
