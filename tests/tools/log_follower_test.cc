// A log is followed as it is written, over rotation, whatever is in it.
#include "watcher/log_follower.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/temp_dir.h"
#include "watcher/symptom.h"

namespace guardcheck {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Change = LogFollower::Change;

class LogFollowerTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name = "bot.log") const { return directory_ / name; }
  void Append(const std::string& text, const std::string& name = "bot.log") const {
    std::ofstream(Path(name), std::ios::app | std::ios::binary) << text;
  }
  void Rename(const std::string& to) const { std::filesystem::rename(Path(), Path(to)); }

  // The lines that are new; what else happened is in `news_`.
  std::vector<std::string> Read(LogFollower& log) {
    std::vector<std::string> lines;
    news_ = log.Read([&](std::string_view line) { lines.emplace_back(line); });
    EXPECT_TRUE(news_.status.ok()) << news_.status;
    return lines;
  }
  static bool IsReadable(const LogFollower& log) {
    return soleguard::WaitForAny({&log.changes(), 1}, absl::ZeroDuration());
  }

  LogFollower::News news_;

 private:
  const soleguard::testing::TempDir directory_;
};

TEST_F(LogFollowerTest, C5_StartsAtTheEndAndGivesWholeLines) {
  Append("old\nolder\n");
  LogFollower log(Path());
  EXPECT_THAT(Read(log), IsEmpty());
  Append("one\ntwo\nthr");
  EXPECT_TRUE(IsReadable(log));
  EXPECT_THAT(Read(log), ElementsAre("one", "two"));
  EXPECT_FALSE(IsReadable(log));
  Append("ee\n");
  EXPECT_TRUE(IsReadable(log));
  EXPECT_THAT(Read(log), ElementsAre("three"));
}

TEST_F(LogFollowerTest, C5_AFileThatIsMadeLaterIsReadFromItsBegin) {
  LogFollower log(Path());
  EXPECT_THAT(Read(log), IsEmpty());
  Append("first\n");
  EXPECT_TRUE(IsReadable(log));
  EXPECT_THAT(Read(log), ElementsAre("first"));
  EXPECT_THAT(news_.changes, ElementsAre(Change::kAppeared));
}

// logrotate without copytruncate: the program writes to the renamed file until it reopens.
TEST_F(LogFollowerTest, C5_FollowsARotationByRenameAndReadsTheOldFileOn) {
  Append("old\n");
  LogFollower log(Path());
  Append("a\n");
  Rename("bot.log.1");
  Append("b\n", "bot.log.1");
  EXPECT_THAT(Read(log), ElementsAre("a", "b"));
  EXPECT_THAT(news_.changes, ElementsAre(Change::kVanished));
  Append("c\n", "bot.log.1");
  Append("d\n");
  EXPECT_TRUE(IsReadable(log));
  EXPECT_THAT(Read(log), ElementsAre("c", "d"));
  EXPECT_THAT(news_.changes, ElementsAre(Change::kReplaced));
  Append("e\n", "bot.log.1");
  EXPECT_TRUE(IsReadable(log));
  EXPECT_THAT(Read(log), ElementsAre("e"));
  // And again, all at once.
  std::filesystem::remove(Path("bot.log.1"));
  Rename("bot.log.1");
  Append("f\n");
  EXPECT_THAT(Read(log), ElementsAre("f"));
}

// logrotate with copytruncate.
TEST_F(LogFollowerTest, C5_FollowsARotationByTruncation) {
  Append("a long line that was read\n");
  LogFollower log(Path());
  std::filesystem::copy_file(Path(), Path("bot.log.1"));
  std::filesystem::resize_file(Path(), 0);
  Append("new\n");
  EXPECT_THAT(Read(log), ElementsAre("new"));
  EXPECT_THAT(news_.changes, ElementsAre(Change::kTruncated));
}

TEST_F(LogFollowerTest, C5_AnUnfinishedLineOfARotatedFileIsNotLost) {
  Append("");
  LogFollower log(Path());
  Append("EAPI:Invalid nonce");
  EXPECT_THAT(Read(log), IsEmpty());
  std::filesystem::resize_file(Path(), 0);
  EXPECT_THAT(Read(log), ElementsAre("EAPI:Invalid nonce"));
}

TEST_F(LogFollowerTest, ALineOf200KilobytesIsOneLine) {
  LogFollower log(Path());
  const std::string line = std::string(200'000, 'x') + "Invalid nonce";
  Append(line + "\nnext\n");
  EXPECT_THAT(Read(log), ElementsAre(line, "next"));
}

TEST_F(LogFollowerTest, ALineWithoutEndIsCutAndTheNextOneIsWhole) {
  LogFollower log(Path());
  Append(std::string(LogFollower::kMaxLine + 5000, 'x'));
  EXPECT_THAT(Read(log), ElementsAre(SizeIs(LogFollower::kMaxLine)));
  Append(std::string(5000, 'y') + "\nnext\n");
  EXPECT_THAT(Read(log), ElementsAre("next"));
}

TEST_F(LogFollowerTest, AFloodIsReadInPieces) {
  LogFollower log(Path());
  const std::string line = std::string(999, 'x') + "\n";
  constexpr std::size_t kLines = LogFollower::kMaxRead / 1000 + 500;
  std::string text;
  for (std::size_t i = 0; i < kLines; ++i) text += line;
  Append(text);
  std::size_t seen = Read(log).size();
  EXPECT_TRUE(news_.more);
  seen += Read(log).size();
  EXPECT_FALSE(news_.more);
  EXPECT_EQ(seen, kLines);
}

TEST_F(LogFollowerTest, H34_BytesThatAreNoTextAreMatchedAllTheSame) {
  LogFollower log(Path());
  const std::string line = std::string("\xff\xfe\0 Invalid nonce \x80", 19);
  Append(line + "\n");
  Symptoms symptoms;
  ASSERT_TRUE(symptoms.Add("Invalid nonce").ok());
  for (const std::string& read : Read(log)) EXPECT_TRUE(symptoms.Look(read));
  EXPECT_EQ(symptoms.counts().front().total, 1U);
}

TEST_F(LogFollowerTest, H20_WhatIsNoFileIsRefusedAndNeverBlocks) {
  std::filesystem::create_directory(Path());
  LogFollower log(Path());
  EXPECT_FALSE(log.Read([](std::string_view) {}).status.ok());
}

TEST(Symptoms, C5_TheKnownOnesAreExplained) {
  Symptoms symptoms;
  symptoms.AddKnown();
  for (const char* line :
       {"ERROR kraken: EAPI:Invalid nonce", "Conflict: terminated by other getUpdates request",
        "HTTP 409", "status code: 409", "409: Conflict"}) {
    EXPECT_TRUE(symptoms.Look(line)) << line;
    EXPECT_NE(Explain(line), "") << line;
  }
  for (const char* line : {"order 409123 filled", "price 409.5", "nonce 17", ""}) {
    EXPECT_FALSE(symptoms.Look(line)) << line;
    EXPECT_EQ(Explain(line), "") << line;
  }
}

TEST(Symptoms, APatternThatCannotBeReadIsAnError) {
  Symptoms symptoms;
  EXPECT_TRUE(absl::IsInvalidArgument(symptoms.Add("(unclosed")));
  EXPECT_TRUE(symptoms.empty());
}

}  // namespace
}  // namespace guardcheck
