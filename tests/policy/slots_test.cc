// Slots: up to N instances under one name, each with another number.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kit/key.h"
#include "soleguard/guard.h"
#include "soleguard/inspect.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/names.h"
#include "soleguard/options.h"
#include "soleguard/process.h"
#include "soleguard/registry.h"
#include "support/claimant.h"
#include "support/kinds.h"
#include "support/temp_dir.h"
#include "support/test_scope.h"

namespace soleguard {
namespace {

using testing::Claimant;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Say;
using testing::TestNameOf;

class SlotsTest : public ::testing::TestWithParam<std::string> {
 protected:
  Claimant Start(std::uint32_t slots = 3, absl::Duration wait = absl::ZeroDuration()) const {
    return Claimant(Setup(slots, wait));
  }
  Claimant::Setup Setup(std::uint32_t slots, absl::Duration wait = absl::ZeroDuration()) const {
    return {.scope = directory_.path(),
            .policy = GetParam(),
            .settle = absl::Seconds(20),
            .deadline = absl::Seconds(60),
            .wait = wait,
            .slot_count = slots};
  }
  // As many holders as slots, in their order.
  std::vector<Claimant> Fill(std::uint32_t slots) const {
    std::vector<Claimant> holders;
    for (std::uint32_t slot = 0; slot < slots; ++slot) {
      holders.push_back(Start(slots));
      EXPECT_EQ(holders.back().Ask("slot"), absl::StrCat(slot)) << holders.back().verdict();
    }
    return holders;
  }
  static void Kill(Claimant& claimant) {
    claimant.program().Signal(SIGKILL);
    (void)claimant.program().Wait();
  }
  static std::string Holds(Claimant& claimant) {
    return absl::StrCat(claimant.pid(), " established");
  }
  Scope scope() const { return *Scope::Directory(directory_.path()); }

  const testing::TempDir directory_;
};

INSTANTIATE_TEST_SUITE_P(Policies, SlotsTest,
                         ::testing::ValuesIn(testing::EachAnd({testing::AllExclusive(),
                                                               "all(file, scan)"})),
                         [](const auto& tested) { return TestNameOf(tested.param); });

TEST_P(SlotsTest, C7_EachStartGetsTheLowestFreeSlotAndOneTooManyIsRefusedByAllHolders) {
  std::vector<Claimant> holders = Fill(3);
  Claimant refused = Start();
  EXPECT_EQ(refused.verdict(), absl::StrCat("duplicate ", Holds(holders[0])));
  EXPECT_EQ(refused.Ask("holders"),
            absl::StrCat(Holds(holders[0]), ", ", Holds(holders[1]), ", ", Holds(holders[2])));
}

TEST_P(SlotsTest, C7_TheSlotOfOneThatWasKilledIsTheNextOnes) {
  std::vector<Claimant> holders = Fill(3);
  const std::string killed = std::to_string(holders[1].pid());
  const std::uint64_t token = holders[1].token();
  Kill(holders[1]);
  Claimant next = Start();
  EXPECT_EQ(next.Ask("slot"), "1");
  EXPECT_EQ(next.Ask("predecessor"), killed);
  EXPECT_GT(next.token(), token);
  EXPECT_EQ(next.Ask("verify"), "ok");
  for (const std::size_t other : {0U, 2U}) EXPECT_EQ(holders[other].Ask("verify"), "ok");
}

TEST_P(SlotsTest, SlotZeroIsThePlainName) {
  Claimant first = Start(2);
  ASSERT_EQ(first.Ask("slot"), "0");
  Claimant plain = Start(1);
  EXPECT_EQ(plain.verdict(), absl::StrCat("duplicate ", Holds(first)));
  Claimant second = Start(2);
  EXPECT_EQ(second.Ask("slot"), "1");
  Kill(first);
  Claimant next = Start(1);
  EXPECT_EQ(next.Ask("slot"), "0") << next.verdict();
}

TEST_P(SlotsTest, ThePlainNameTakesOneOfTheSlots) {
  Claimant plain = Start(1);
  ASSERT_TRUE(plain.unique()) << plain.verdict();
  Claimant first = Start(2);
  EXPECT_EQ(first.Ask("slot"), "1");
  Claimant refused = Start(2);
  EXPECT_EQ(refused.Ask("holders"), absl::StrCat(Holds(plain), ", ", Holds(first)));
}

TEST_P(SlotsTest, AReleaseGivesTheSlotBack) {
  std::vector<Claimant> holders = Fill(2);
  EXPECT_EQ(holders[1].Ask("release"), "released");
  Claimant next = Start(2);
  EXPECT_EQ(next.Ask("slot"), "1");
}

// The first in line takes whichever becomes free, and nobody else goes before it.
TEST_P(SlotsTest, OneLineWaitsForTheEndOfAnyHolder) {
  std::vector<Claimant> holders = Fill(3);
  std::vector<Claimant> line;
  for (int i = 0; i < 3; ++i) {
    line.push_back(Start(3, absl::InfiniteDuration()));
    line.back().WaitUntilInLine();
  }
  Kill(holders[2]);
  EXPECT_EQ(line[0].Ask("slot"), "2");
  Kill(holders[0]);
  EXPECT_EQ(line[1].Ask("slot"), "0");
  EXPECT_EQ(holders[1].Ask("release"), "released");
  EXPECT_EQ(line[2].Ask("slot"), "1");
}

TEST_P(SlotsTest, AtItsDeadlineAStandbyIsRefusedByAllHolders) {
  std::vector<Claimant> holders = Fill(2);
  Claimant standby = Start(2, absl::Milliseconds(50));
  EXPECT_EQ(standby.Ask("holders"), absl::StrCat(Holds(holders[0]), ", ", Holds(holders[1])));
}

TEST_P(SlotsTest, H09_AFrozenHolderKeepsItsSlotAndNoOther) {
  Claimant first = Start(2);
  ASSERT_TRUE(first.unique());
  first.program().Signal(SIGSTOP);
  first.program().WaitUntilStopped();
  Claimant second = Start(2);
  EXPECT_EQ(second.Ask("slot"), "1") << second.verdict();
  first.program().Signal(SIGCONT);
  EXPECT_EQ(first.Ask("verify"), "ok");
}

TEST_P(SlotsTest, ASecondGuardOfOneProcessIsADuplicate) {
  const Options options{.scope = scope(), .slot_count = 3};
  const Policy policy = *Policy::Parse(GetParam());
  const Verdict first = Guard::Acquire("x", policy, options);
  ASSERT_TRUE(std::holds_alternative<Unique>(first)) << Say(first);
  EXPECT_TRUE(std::holds_alternative<Duplicate>(Guard::Acquire("x", policy, options)));
}

TEST_P(SlotsTest, ALookTellsEachSlotsHolderAndACheckWhichOneAStartWouldGet) {
  Claimant first = Start();
  ASSERT_EQ(first.Ask("slot"), "0");
  Claimant second = Start();
  ASSERT_EQ(second.Ask("slot"), "1");
  const Policy policy = *Policy::Parse(GetParam());
  Options options{.scope = scope(), .slot_count = 3};
  options.subject.unknown = true;

  const auto slots = KnownSlots(scope(), *InstanceName::Parse("x"));
  ASSERT_TRUE(slots.ok()) << slots.status();
  std::vector<std::pair<std::uint32_t, pid_t>> seen;
  for (const InstanceName& slot : *slots) {
    const Inspection inspection = Inspect(slot, policy, options);
    const Holder* holder = inspection.holder();
    ASSERT_NE(holder, nullptr) << slot.key();
    seen.emplace_back(holder->record->slot, holder->record->identity.pid);
  }
  EXPECT_THAT(seen, ElementsAre(std::pair(0U, first.pid()), std::pair(1U, second.pid())));

  absl::StatusOr<Forecast> forecast = Check("x", policy, options);
  ASSERT_TRUE(forecast.ok());
  EXPECT_EQ(forecast->decision, Arbiter::Decision::kUnique);
  EXPECT_EQ(forecast->slot, 2U);
  options.slot_count = 2;
  forecast = Check("x", policy, options);
  ASSERT_TRUE(forecast.ok());
  EXPECT_EQ(forecast->decision, Arbiter::Decision::kDuplicate);
  ASSERT_EQ(forecast->others.size(), 1U);
  EXPECT_EQ(forecast->others.front().record->identity.pid, second.pid());
}

// Very many starts at one moment; those who are refused name five holders, and no slot is lost or
// doubled.
class SlotsStorm : public SlotsTest {
 protected:
  struct Count {
    std::multiset<std::string> slots;
    std::multiset<std::string> refusals;
  };
  Count Race(int starts, std::uint32_t slots) const {
    const std::string gate = directory_ / "gate";
    if (mkfifo(gate.c_str(), 0600) != 0) throw std::runtime_error("mkfifo failed");
    UniqueFd writer(open(gate.c_str(), O_RDWR | O_CLOEXEC));
    std::vector<Claimant> claimants;
    for (int i = 0; i < starts; ++i) {
      Claimant::Setup setup = Setup(slots);
      setup.gate = gate;
      claimants.emplace_back(setup);
    }
    for (Claimant& claimant : claimants) claimant.WaitUntilAtGate();
    writer.reset();
    Count count;
    std::map<std::uint32_t, std::string> holders;
    for (Claimant& claimant : claimants) {
      if (!claimant.unique()) continue;
      const std::string slot = claimant.Ask("slot");
      count.slots.insert(slot);
      holders[static_cast<std::uint32_t>(std::stoul(slot))] = Holds(claimant);
    }
    std::string all;
    for (const auto& [slot, holder] : holders)
      absl::StrAppend(&all, all.empty() ? "" : ", ", holder);
    for (Claimant& claimant : claimants) {
      if (claimant.unique()) continue;
      const std::string named = claimant.Ask("holders");
      count.refusals.insert(named == all ? "by all holders" : claimant.verdict() + ": " + named);
    }
    return count;
  }
};

INSTANTIATE_TEST_SUITE_P(Policies, SlotsStorm,
                         ::testing::ValuesIn(testing::EachAnd({testing::AllExclusive(),
                                                               "all(file, scan)"})),
                         [](const auto& tested) { return TestNameOf(tested.param); });

TEST_P(SlotsStorm, H01_AsManyStartsAtOnceAsSlotsAllRun) {
  const Count count = Race(8, 8);
  EXPECT_EQ(count.slots, (std::multiset<std::string>{"0", "1", "2", "3", "4", "5", "6", "7"}));
  EXPECT_THAT(count.refusals, IsEmpty());
}

TEST_P(SlotsStorm, H01_OfOneMoreThanSlotsOneIsRefused) {
  const Count count = Race(6, 5);
  EXPECT_EQ(count.slots, (std::multiset<std::string>{"0", "1", "2", "3", "4"}));
  EXPECT_THAT(count.refusals, ElementsAre("by all holders"));
}

TEST_P(SlotsStorm, H01_OfFiftyAtOnceFiveRunAndTheOthersNameThem) {
  const Count count = Race(50, 5);
  EXPECT_EQ(count.slots, (std::multiset<std::string>{"0", "1", "2", "3", "4"}));
  EXPECT_EQ(count.refusals.count("by all holders"), 45U)
      << ::testing::PrintToString(count.refusals);
}

// --- what does not depend on the policy ---

TEST(Slots, TwoSlotsAreDifferentObjectsInEveryLayer) {
  const testing::TempDir directory;
  const Scope scope = *Scope::Directory(directory.path());
  const InstanceName name = *InstanceName::Parse("x");
  EXPECT_NE(KeyOf(scope, name), KeyOf(scope, name.Slot(1)));
  HolderRecord candidate;
  candidate.name = "x";
  candidate.scope = scope.ToString();
  candidate.identity = *OwnIdentity();
  for (const LayerKind& kind : LayerKinds()) {
    if (kind.observer) continue;
    std::vector<Attempt> held;
    for (const std::uint32_t slot : {0U, 1U, 2U, 11U}) {
      candidate.slot = slot;
      const std::unique_ptr<Layer> layer =
          kind.make({.scope = scope, .name = name.Slot(slot), .kinds = LayerKinds()});
      held.push_back(layer->Try(candidate));
      EXPECT_TRUE(std::holds_alternative<Held>(held.back())) << kind.name << " " << slot;
      EXPECT_TRUE(std::holds_alternative<Contested>(layer->Try(candidate)))
          << kind.name << " " << slot;
    }
  }
}

// No name can be another's slot: a name has no '/'.
TEST(Slots, HaveKeysThatNoNameHas) {
  const InstanceName name = *InstanceName::Parse("x");
  EXPECT_EQ(name.key(), "x");
  EXPECT_EQ(name.Slot(0), name);
  EXPECT_EQ(name.Slot(2).key(), "x/slots/2");
  EXPECT_EQ(name.Slot(2).text(), "x");
  EXPECT_FALSE(InstanceName::Parse("x/slots/2").ok());
}

TEST(Slots, AreToldByTheRecord) {
  HolderRecord record;
  record.name = "x";
  record.slot = 7;
  record.identity = *OwnIdentity();
  const auto decoded = DecodeRecord(EncodeRecord(record, 1));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->record.slot, 7U);
}

TEST(Slots, KnownNamesHasThemBehindTheirName) {
  const testing::TempDir directory;
  for (const char* path : {"names/a", "names/b/slots/10", "names/b/slots/2", "names/b/slots/02",
                           "names/b/slots/0", "names/b/slots/note", "names/c/slots"}) {
    std::filesystem::create_directories(directory / path);
  }
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory.path())) {
    std::filesystem::permissions(entry.path(), std::filesystem::perms::owner_all);
  }
  const auto names = KnownNames(*Scope::Directory(directory.path()));
  ASSERT_TRUE(names.ok()) << names.status();
  std::vector<std::string> keys;
  for (const InstanceName& name : *names) keys.push_back(name.key());
  EXPECT_THAT(keys, ElementsAre("a", "b", "b/slots/2", "b/slots/10", "c"));
}

// One object cannot be one for each slot, and that is said before anything is taken.
TEST(Slots, APolicyThatNamesOneObjectIsRefused) {
  const testing::TempDir directory;
  const Options options{.scope = *Scope::Directory(directory / "scope"), .slot_count = 2};
  for (const std::string policy : {"port(47777)", "all(file(path=/tmp/x.lock), mutex)"}) {
    const Verdict verdict = Guard::Acquire("x", *Policy::Parse(policy), options);
    const auto* undetermined = std::get_if<Undetermined>(&verdict);
    ASSERT_NE(undetermined, nullptr) << Say(verdict);
    EXPECT_TRUE(absl::IsInvalidArgument(undetermined->status)) << undetermined->status;
    EXPECT_THAT(undetermined->status.ToString(), HasSubstr("is one object"));
    EXPECT_FALSE(std::filesystem::exists(directory / "scope"));
  }
  EXPECT_TRUE(CheckSlots(*Policy::Parse("port(47777)"), 1).ok());
  EXPECT_TRUE(CheckSlots(*Policy::Parse("all(file, scan(cmdline=\"x\"))"), kMaxSlots).ok());
  for (const std::uint32_t slots : {0U, kMaxSlots + 1}) {
    EXPECT_TRUE(absl::IsInvalidArgument(CheckSlots(Policy::Default(), slots)));
  }
}

}  // namespace
}  // namespace soleguard
