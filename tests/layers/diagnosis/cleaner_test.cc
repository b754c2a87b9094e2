// Which lines of tmpfiles.d(5) remove a path one day.
#include "diagnosis/cleaner.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "support/temp_dir.h"

namespace soleguard {
namespace {

class CleanerTest : public ::testing::Test {
 protected:
  void Write(const std::string& directory, const std::string& file, const std::string& text) {
    std::filesystem::create_directories(directory_ / directory);
    std::ofstream(directory_ / (directory + "/" + file)) << text;
  }
  std::string AgeOf(const std::string& path) const {
    const auto rule = CleaningRuleFor(path, {directory_ / "etc", directory_ / "lib"});
    return rule.has_value() ? rule->directory + " " + rule->age : "none";
  }

  const testing::TempDir directory_;
};

TEST_F(CleanerTest, H04_ContentOfADirectoryWithAnAgeGrowsOld) {
  EXPECT_EQ(AgeOf("/tmp/soleguard-7"), "none");
  Write("lib", "tmp.conf",
        "# a comment\nq /tmp 1777 root root 10d\nd /run/lock 1777 root root -\n");
  EXPECT_EQ(AgeOf("/tmp/soleguard-7"), "/tmp 10d");
  EXPECT_EQ(AgeOf("/tmp/a/b/c.lock"), "/tmp 10d");
  EXPECT_EQ(AgeOf("/tmp"), "none");  // itself it is not removed
  EXPECT_EQ(AgeOf("/tmpfoo/x"), "none");
  EXPECT_EQ(AgeOf("/run/lock/soleguard-7"), "none");
}

TEST_F(CleanerTest, H04_WhatHasALineOfItsOwnIsPassedOver) {
  Write("lib", "tmp.conf", "q /tmp 1777 root root 10d\n");
  Write("etc", "mine.conf", "x /tmp/soleguard-*\nd /tmp/mail 0700 root root\n");
  EXPECT_EQ(AgeOf("/tmp/soleguard-7"), "none");
  EXPECT_EQ(AgeOf("/tmp/soleguard-7/names/x/lock"), "none");
  EXPECT_EQ(AgeOf("/tmp/mail/x"), "none");
  EXPECT_EQ(AgeOf("/tmp/else"), "/tmp 10d");
}

TEST_F(CleanerTest, H04_XInCapitalsKeepsADirectoryAndNotItsContent) {
  Write("lib", "tmp.conf", "q /tmp 1777 root root 10d\nX /tmp/kept\n");
  EXPECT_EQ(AgeOf("/tmp/kept"), "none");
  EXPECT_EQ(AgeOf("/tmp/kept/lock"), "/tmp 10d");
}

TEST_F(CleanerTest, H04_AFileHidesOneOfItsNameInALaterDirectory) {
  Write("lib", "tmp.conf", "q /tmp 1777 root root 10d\n");
  Write("etc", "tmp.conf", "");
  EXPECT_EQ(AgeOf("/tmp/x"), "none");
}

TEST_F(CleanerTest, H14_LinesThatMakeNoSenseArePassedOver) {
  Write("lib", "bad.conf", std::string("\0\xff\n", 3) + "q\nq relative 1777 root root 1d\n\n  \n");
  Write("lib", "tmp.conf", "q /tmp/ 1777 root root 10d\n");
  EXPECT_EQ(AgeOf("/tmp/x"), "/tmp 10d");
}

}  // namespace
}  // namespace soleguard
