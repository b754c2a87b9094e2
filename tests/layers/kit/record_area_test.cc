// The area that a holder publishes its record in, beside a program that closes all descriptors.
#include "kit/record_area.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/process.h"
#include "support/content.h"
#include "support/temp_dir.h"

namespace soleguard {
namespace {

using testing::ContentOf;
using testing::TempDir;

class RecordAreaTest : public ::testing::Test {
 protected:
  static HolderRecord Record() {
    HolderRecord record;
    record.name = "x";
    record.state = RecordState::kEstablished;
    record.identity = *OwnIdentity();
    return record;
  }
  static int Make(const std::string& path) {
    return open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  }
  void Keep(RecordArea& area) const {
    ASSERT_TRUE(area.fd().Keep("keep a file open", [this] { return Make(path_); }).ok());
  }

  const TempDir directory_;
  const std::string path_ = directory_ / "record";
};

TEST_F(RecordAreaTest, WhatIsPublishedIsRead) {
  RecordArea area;
  Keep(area);
  ASSERT_TRUE(area.Publish(Record(), path_).ok());
  const absl::StatusOr<DecodedRecord> read = ReadRecord(area.fd());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->record.identity, *OwnIdentity());
}

TEST_F(RecordAreaTest, H31_NothingIsWrittenIntoAFileThatGotItsNumber) {
  RecordArea area;
  Keep(area);
  const int number = area.fd().get();
  ASSERT_EQ(close(number), 0);
  EXPECT_TRUE(absl::IsDataLoss(area.Publish(Record(), path_)));
  const std::string own = directory_ / "own";
  const UniqueFd file(Make(own));
  ASSERT_EQ(dup2(file.get(), number), number);
  EXPECT_TRUE(absl::IsDataLoss(area.Publish(Record(), path_)));
  EXPECT_EQ(ContentOf(own), "");
  EXPECT_EQ(ContentOf(path_), "");
  ASSERT_EQ(close(number), 0);
}

}  // namespace
}  // namespace soleguard
