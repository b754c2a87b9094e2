// A file that tells other tools of a running instance.
#include "soleguard/side_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
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

}  // namespace
}  // namespace soleguard
