// Who has a layer, by a record and by what has become of the processes that it names.
#include "kit/holder.h"

#include <optional>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/process.h"
#include "support/child.h"

namespace soleguard {
namespace {

using testing::Child;
using ::testing::HasSubstr;

std::string Runs() { return "runs"; }

// What a holder that is gone has left: its claim was handed on to `instance`.
HolderRecord LeftWith(const Child& instance) {
  Child owner(&Runs);
  HolderRecord record;
  record.state = RecordState::kEstablished;
  record.name = "x";
  record.identity = *IdentityOf(owner.pid());
  record.instance = *IdentityOf(instance.pid());
  owner.Kill();
  return record;
}

Standing Judge(const HolderRecord& record) { return JudgeHolder(record, "").standing; }

TEST(HolderTest, AnInstanceThatLivesAfterItsOwnerIsTheHolder) {
  Child instance(&Runs);
  HolderRecord record = LeftWith(instance);
  EXPECT_EQ(Judge(record), Standing::kEstablished);
  // Though the kernel has freed what it held.
  const std::optional<Contested> survivor = Survivor(record, "the record");
  ASSERT_TRUE(survivor.has_value());
  EXPECT_EQ(survivor->holder.standing, Standing::kEstablished);
  EXPECT_THAT(survivor->holder.evidence, HasSubstr(absl::StrCat("pid ", instance.pid(), " holds")));
  EXPECT_FALSE(WaitForAny(survivor->wake, absl::Nanoseconds(1)));
  // It says itself how far it is.
  record.state = RecordState::kReleasing;
  EXPECT_EQ(Judge(record), Standing::kReleasing);
  record.state = RecordState::kEstablished;

  instance.Kill();
  EXPECT_TRUE(WaitForAny(survivor->wake, absl::Seconds(30))) << "its end is awaited";
  EXPECT_EQ(Judge(record), Standing::kUnknown) << "whoever has it is not named in the record";
  EXPECT_FALSE(Survivor(record, "the record").has_value());
}

TEST(HolderTest, WhileAGuardianEndsTheInstanceItsEndIsAwaited) {
  Child guardian(&Runs);
  Child instance(&Runs);
  HolderRecord record = LeftWith(instance);
  record.guardian = *IdentityOf(guardian.pid());
  const Holder holder = JudgeHolder(record, "");
  EXPECT_EQ(holder.standing, Standing::kDying);
  const std::vector<UniqueFd> wake = WakeUps(holder, {});
  // The guardian keeps the claim for longer than the instance lives: its other descendants.
  instance.Kill();
  EXPECT_FALSE(WaitForAny(wake, absl::Nanoseconds(1)));
  guardian.Kill();
  EXPECT_TRUE(WaitForAny(wake, absl::Seconds(30)));
}

}  // namespace
}  // namespace soleguard
