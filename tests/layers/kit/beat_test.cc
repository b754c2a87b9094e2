// The last beat of a holder: whose it is, how old it is, and what a reader makes of anything else.
// FIELD_CASES D4.
#include "soleguard/beat.h"

#include <sys/stat.h>

#include <fstream>
#include <string>
#include <thread>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/process.h"
#include "support/content.h"
#include "support/temp_dir.h"

namespace soleguard {
namespace {

using testing::ContentOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using testing::TempDir;

class BeatTest : public ::testing::Test {
 protected:
  static HolderRecord HolderWith(std::uint64_t token) {
    HolderRecord holder;
    holder.name = "x";
    holder.token = token;
    holder.identity = *OwnIdentity();
    return holder;
  }
  absl::Status Write(const HolderRecord& holder,
                     std::optional<absl::Duration> every = std::nullopt) const {
    return WriteBeat(scope_, name_, holder, every);
  }
  std::optional<Beat> Last(const HolderRecord& holder) const {
    const absl::StatusOr<Beat> beat = LastBeat(scope_, name_, holder);
    return beat.ok() ? std::optional(*beat) : std::nullopt;
  }

  const TempDir directory_;
  const Scope scope_ = *Scope::Directory(directory_ / "scope");
  const InstanceName name_ = *InstanceName::Parse("x");
  const std::string file_ = scope_.directory() + "/names/x/beat";
  const HolderRecord holder_ = HolderWith(7);
};

TEST_F(BeatTest, ThereIsNoneAndALookMakesNoFile) {
  EXPECT_TRUE(absl::IsNotFound(LastBeat(scope_, name_, holder_).status()));
  EXPECT_FALSE(std::ifstream(file_).good());
}

TEST_F(BeatTest, TheLastOneCounts) {
  ASSERT_TRUE(Write(holder_, absl::Seconds(10)).ok());
  const std::optional<Beat> first = Last(holder_);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->every, absl::Seconds(10));
  EXPECT_EQ(first->count, 1U);
  EXPECT_GE(Last(holder_)->age, first->age) << "it grows";
  ASSERT_TRUE(Write(holder_).ok());
  EXPECT_EQ(Last(holder_)->every, absl::Seconds(10)) << "as said before";
  EXPECT_EQ(Last(holder_)->count, 2U);
  ASSERT_TRUE(Write(holder_, absl::Seconds(1)).ok());
  EXPECT_EQ(Last(holder_)->every, absl::Seconds(1));
}

TEST_F(BeatTest, ThatOfAnEarlierHolderIsNoneOfThisOne) {
  HolderRecord another_token = HolderWith(8);
  HolderRecord another_process = holder_;
  ++another_process.identity.start_ticks;
  HolderRecord another_boot = holder_;
  another_boot.identity.boot_id = "00000000-0000-0000-0000-000000000000";
  for (const HolderRecord& other : {another_token, another_process, another_boot}) {
    ASSERT_TRUE(Write(holder_, absl::Seconds(10)).ok());
    EXPECT_TRUE(absl::IsNotFound(LastBeat(scope_, name_, other).status()));
    ASSERT_TRUE(Write(other).ok());
    ASSERT_TRUE(Last(other).has_value());
    EXPECT_EQ(Last(other)->count, 1U);
    EXPECT_EQ(Last(other)->every, absl::ZeroDuration()) << "it has promised nothing";
    EXPECT_EQ(Last(holder_), std::nullopt);
  }
}

// A holder that is seen from another pid namespace has another pid there.
TEST_F(BeatTest, ItIsTheHoldersWhateverItsPidIsFromHere) {
  ASSERT_TRUE(Write(holder_).ok());
  HolderRecord seen = holder_;
  seen.identity.pid = 1;
  seen.identity.pid_namespace = 1;
  EXPECT_TRUE(Last(seen).has_value());
}

TEST_F(BeatTest, OnAnotherMachineClocksDiffer) {
  HolderRecord elsewhere = holder_;
  elsewhere.identity.machine = "another";
  ASSERT_TRUE(Write(elsewhere).ok());
  EXPECT_TRUE(absl::IsUnavailable(LastBeat(scope_, name_, elsewhere).status()));
}

TEST_F(BeatTest, EachSlotHasItsOwn) {
  ASSERT_TRUE(Write(holder_).ok());
  EXPECT_TRUE(absl::IsNotFound(LastBeat(scope_, name_.Slot(1), holder_).status()));
  ASSERT_TRUE(WriteBeat(scope_, name_.Slot(1), holder_).ok());
  EXPECT_TRUE(LastBeat(scope_, name_.Slot(1), holder_).ok());
}

TEST_F(BeatTest, H02_ADamagedFileIsNoBeatAndTheNextOneMendsIt) {
  ASSERT_TRUE(Write(holder_, absl::Seconds(10)).ok());
  const std::string whole = ContentOf(file_);
  ASSERT_THAT(whole, StartsWith("soleguard-beat 1 7 "));
  const auto put = [this](const std::string& text) {
    std::ofstream(file_, std::ios::trunc) << text;
  };
  for (std::size_t i = 0; i + 1 < whole.size(); ++i) {  // without the newline
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    put(damaged);
    EXPECT_EQ(Last(holder_), std::nullopt) << damaged;
    put(whole.substr(0, i));
    EXPECT_EQ(Last(holder_), std::nullopt) << "cut after " << i;
    const absl::Status read = LastBeat(scope_, name_, holder_).status();
    EXPECT_EQ(read.code(), i > 0 ? absl::StatusCode::kDataLoss : absl::StatusCode::kNotFound);
  }
  for (const std::string& text : {std::string(), std::string(100000, 'x'), std::string(300, '\0'),
                                  std::string("\n"), std::string(" ")}) {
    put(text);
    EXPECT_EQ(Last(holder_), std::nullopt);
    ASSERT_TRUE(Write(holder_).ok());
    EXPECT_EQ(Last(holder_)->count, 1U);
  }
}

TEST_F(BeatTest, NothingIsLeftOfALongerOne) {
  ASSERT_TRUE(Write(HolderWith(~std::uint64_t{0}), absl::Hours(100000)).ok());
  ASSERT_TRUE(Write(holder_).ok());
  EXPECT_EQ(Last(holder_)->count, 1U);
}

TEST_F(BeatTest, AReaderNeverSeesHalfOfOne) {
  ASSERT_TRUE(Write(holder_).ok());
  constexpr int kBeats = 2000;
  const std::jthread writer([this] {
    for (int i = 0; i < kBeats; ++i) {
      EXPECT_TRUE(Write(holder_, absl::Seconds(i % 7 * 1000000)).ok());
    }
  });
  std::uint64_t count = 0;
  while (count <= kBeats && !HasFailure()) {
    const absl::StatusOr<Beat> beat = LastBeat(scope_, name_, holder_);
    ASSERT_TRUE(beat.ok()) << beat.status();
    ASSERT_GE(beat->count, count);
    count = beat->count;
  }
}

TEST_F(BeatTest, WhatIsInItsPlaceIsSaid) {
  ASSERT_TRUE(Write(holder_).ok());
  ASSERT_EQ(unlink(file_.c_str()), 0);
  ASSERT_EQ(mkdir(file_.c_str(), 0700), 0);
  EXPECT_THAT(std::string(Write(holder_).message()), HasSubstr(file_));
  EXPECT_THAT(std::string(LastBeat(scope_, name_, holder_).status().message()), HasSubstr(file_));
}

TEST_F(BeatTest, OverdueIsOneThatIsMissingForTwiceItsTime) {
  const auto text = [](absl::Duration age, absl::Duration every) {
    return BeatText({.age = age, .every = every, .count = 1});
  };
  EXPECT_EQ(text(absl::Seconds(3), absl::Seconds(10)), "3s ago (expected every 10s)");
  EXPECT_EQ(text(absl::Seconds(20) - absl::Nanoseconds(1), absl::Seconds(10)),
            "19s ago (expected every 10s)");
  EXPECT_EQ(text(absl::Seconds(20), absl::Seconds(10)), "no beat for 20s (expected every 10s)");
  EXPECT_EQ(text(absl::Milliseconds(2500), absl::Seconds(1)), "no beat for 2s (expected every 1s)");
  EXPECT_EQ(text(absl::Milliseconds(250), absl::Milliseconds(100)),
            "no beat for 250ms (expected every 100ms)");
  EXPECT_EQ(text(absl::Hours(3), absl::ZeroDuration()), "3h ago") << "nothing was promised";
}

}  // namespace
}  // namespace soleguard
