// A lease as its holder knows it: valid for less time than the server has granted.
#include "kit/lease.h"

#include <cstdint>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kit/holder.h"
#include "os/timer.h"
#include "soleguard/boot_time.h"
#include "soleguard/fd.h"
#include "soleguard/process.h"

namespace soleguard {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kTime = absl::Seconds(10);

TEST(LeaseTest, IsValidFromItsRequestForLessThanWasGranted) {
  Lease lease;
  EXPECT_TRUE(absl::IsDataLoss(lease.Check())) << "before it is granted";
  const BootTime sent = BootTime::Now();
  lease.Renew(sent, kTime);
  EXPECT_TRUE(lease.Check().ok());
  EXPECT_LT(lease.valid_until() - sent, kTime);
  EXPECT_GT(lease.valid_until() - sent, kTime * 9 / 10);
}

TEST(LeaseTest, AnAnswerThatComesLateDoesNotShortenIt) {
  Lease lease;
  const BootTime sent = BootTime::Now();
  lease.Renew(sent + absl::Seconds(3), kTime);
  const BootTime until = lease.valid_until();
  lease.Renew(sent, kTime);
  EXPECT_EQ(lease.valid_until(), until);
}

TEST(LeaseTest, ThatHasRunOutSaysSinceWhen) {
  Lease lease;
  lease.Renew(BootTime::Now() + -absl::Seconds(15), kTime);
  const absl::Status lost = lease.Check();
  EXPECT_TRUE(absl::IsDataLoss(lost));
  EXPECT_THAT(std::string(lost.message()), HasSubstr("ran out 5s ago"));
}

// A program that was told of its loss acts on that.
TEST(LeaseTest, ThatHasRunOutIsNotRenewed) {
  Lease lease;
  lease.Renew(BootTime::Now() + -kTime, kTime);
  lease.Renew(BootTime::Now(), kTime);
  EXPECT_TRUE(absl::IsDataLoss(lease.Check()));
}

// The server knows better, whatever the clock says, and does not change its mind.
TEST(LeaseTest, ThatTheServerHasEndedIsOver) {
  Lease lease;
  lease.Renew(BootTime::Now(), kTime);
  lease.Lose(absl::NotFoundError("the server knows no such lease"));
  lease.Renew(BootTime::Now(), kTime);
  EXPECT_TRUE(absl::IsDataLoss(lease.Check()));
  EXPECT_THAT(std::string(lease.Check().message()), HasSubstr("knows no such lease"));
}

TEST(TimerTest, IsReadableFromItsTimeOn) {
  const absl::StatusOr<UniqueFd> past = os::OpenTimer(BootTime());
  ASSERT_TRUE(past.ok());
  EXPECT_TRUE(WaitForAny({&*past, 1}, absl::ZeroDuration()));
  const BootTime at = BootTime::Now() + absl::Milliseconds(20);
  const absl::StatusOr<UniqueFd> soon = os::OpenTimer(at);
  ASSERT_TRUE(soon.ok());
  EXPECT_TRUE(WaitForAny({&*soon, 1}, absl::Seconds(30)));
  EXPECT_GE(BootTime::Now(), at);
}

HolderRecord OwnRecord() {
  HolderRecord record;
  record.state = RecordState::kEstablished;
  record.name = "x";
  record.identity = *OwnIdentity();
  record.instance = *OwnIdentity();
  return record;
}

TEST(BootTimeTest, WholeSecondsAreRoundedUp) {
  const BootTime soon = BootTime::Now() + absl::Milliseconds(10'500);
  const std::int64_t seconds = soon.SecondsLeft();
  EXPECT_GE(absl::Seconds(seconds), soon.Left());
  EXPECT_LE(seconds, 11);
  EXPECT_EQ(BootTime().SecondsLeft(), 0);
}

TEST(ForOtherMachinesTest, NamesThisOneForEveryProcess) {
  const HolderRecord record = ForOtherMachines(OwnRecord());
  EXPECT_EQ(record.identity.machine, MachineId());
  EXPECT_EQ(record.instance->machine, MachineId());
  EXPECT_FALSE(record.guardian.has_value());
  EXPECT_NE(MachineId(), "");
  EXPECT_EQ(MachineId(), MachineId());
}

TEST(LeaseholderTest, OfThisMachineIsSeenWhateverItsRecordCallsTheMachine) {
  HolderRecord record = ForOtherMachines(OwnRecord());
  const BootTime free_at = BootTime::Now() + kTime;
  Holder holder = JudgeLeaseholder(record, free_at, "");
  EXPECT_EQ(holder.standing, Standing::kEstablished);
  EXPECT_EQ(holder.record->identity, *OwnIdentity());
  EXPECT_EQ(holder.free_at, free_at);
  EXPECT_THAT(FreeAtTheLatest(holder), HasSubstr("free in 10 s at the latest"));
  // As a container on this machine, which has another file, would call it.
  record.identity.machine = record.instance->machine = "another";
  EXPECT_EQ(JudgeLeaseholder(record, free_at, "").record->identity, *OwnIdentity());
}

// What cannot be seen is what its record last said: never gone, and never signalled.
TEST(LeaseholderTest, OfAnotherMachineIsNeverTakenForGone) {
  HolderRecord record = OwnRecord();
  for (auto* process : {&record.identity, &*record.instance}) {
    process->machine = "another";
    process->boot_id = "another";
    process->pid = 1;
  }
  EXPECT_EQ(LivenessOf(record.identity), Liveness::kUnknown);
  EXPECT_TRUE(absl::IsFailedPrecondition(SendSignal(record.identity, 0)));
  EXPECT_TRUE(absl::IsFailedPrecondition(OpenPidfd(record.identity).status()));
  EXPECT_EQ(JudgeLeaseholder(record, BootTime::Now(), "").standing, Standing::kEstablished);
  record.state = RecordState::kCandidate;
  EXPECT_EQ(JudgeLeaseholder(record, BootTime::Now(), "").standing, Standing::kCandidate);
}

// No descriptor of the dead keeps it taken, so it will be free.
TEST(LeaseholderTest, ThatIsGoneIsLapsing) {
  HolderRecord record = OwnRecord();
  record.identity.start_ticks += 1;
  record.instance.reset();
  EXPECT_EQ(JudgeLeaseholder(record, BootTime::Now(), "").standing, Standing::kLapsing);
  EXPECT_EQ(JudgeLeaseholder(std::nullopt, BootTime::Now(), "").standing, Standing::kUnknown);
  record.identity = OwnRecord().identity;
  record.identity.boot_id = "an earlier one of this machine";
  record = ForOtherMachines(record);
  EXPECT_EQ(JudgeLeaseholder(record, BootTime::Now(), "").standing, Standing::kLapsing);
}

}  // namespace
}  // namespace soleguard
