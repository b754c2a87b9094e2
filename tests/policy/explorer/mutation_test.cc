// Is the explorer worth anything? Each rule of the protocol is switched off in turn, outside of the
// arbiter and of Start: it is told something else, or what it does is not carried out. Each must be
// noticed, by the invariants that the rule is there for. One only saves time, and breaks none: that
// a newcomer gives way also while it waits for a layer.
#include <gtest/gtest.h>

#include "policy/explorer/survey.h"

namespace soleguard::explorer {
namespace {

constexpr unsigned Broken(std::initializer_list<Invariant> invariants) {
  unsigned set = 0;
  for (const Invariant invariant : invariants) set |= 1U << static_cast<unsigned>(invariant);
  return set;
}

struct Case {
  Mutation mutation;
  std::string policy;
  int layers;
  // The layers that work for each process; each is one object to all.
  std::vector<Set> available;
  int kills = 0;
  int expiries = 0;
  bool releases = false;
  bool observer = false;
  bool starts = false;
  Set standbys = 0;
  Set replacers = 0;
  unsigned broken = 0;  // Bits of Invariant: these and no others
};

void PrintTo(const Case& each, std::ostream* out) { *out << ToString(each.mutation); }

class MutationTest : public ::testing::TestWithParam<Case> {
 protected:
  static Configuration Of(const Case& each) {
    Configuration configuration;
    configuration.policy = each.policy;
    configuration.layers = each.layers;
    configuration.SetAvailable(each.available);
    configuration.kills = each.kills;
    configuration.expiries = each.expiries;
    configuration.releases = each.releases;
    configuration.observer = each.observer;
    configuration.starts = each.starts;
    configuration.standbys = each.standbys;
    configuration.replacers = each.replacers;
    return configuration;
  }
};

TEST_P(MutationTest, BreaksWhatTheRuleIsThereFor) {
  Configuration configuration = Of(GetParam());
  const Exploration sound = ExploreOne(configuration);
  EXPECT_EQ(sound.broken, 0U) << sound.trace;
  EXPECT_EQ(sound.doubles, 0U);

  configuration.mutation = GetParam().mutation;
  const Exploration mutant = ExploreOne(configuration);
  EXPECT_EQ(mutant.broken, GetParam().broken)
      << "broken: " << BrokenText(mutant.broken) << "; expected: " << BrokenText(GetParam().broken)
      << "\n"
      << mutant.trace;
}

constexpr const char* kAllOfTwo = "all(file(path=/a), file(path=/b))";
constexpr const char* kAnyOfTwo = "any(file(path=/a), file(path=/b))";
constexpr Set kA = Bit(0);
constexpr Set kB = Bit(1);
constexpr Set kAB = Bit(0) | Bit(1);
constexpr Set kABC = Bit(0) | Bit(1) | Bit(2);

INSTANTIATE_TEST_SUITE_P(
    Each, MutationTest,
    ::testing::Values(
        // The layer that works for both is not listened to.
        Case{.mutation = Mutation::kNoVeto,
             .policy = kAnyOfTwo,
             .layers = 2,
             .available = {kA, kAB},
             .broken = Broken({Invariant::kOneRuns, Invariant::kAllHeld, Invariant::kDetermined})},
        // Each has what the other waits for.
        Case{.mutation = Mutation::kOtherOrder,
             .policy = kAllOfTwo,
             .layers = 2,
             .available = {kAB, kAB},
             .broken = Broken({Invariant::kProgress, Invariant::kNoLostStart})},
        // Refused by one who cannot run and gives up a moment later.
        Case{.mutation = Mutation::kCandidateIsEstablished,
             .policy = kAllOfTwo,
             .layers = 2,
             .available = {kA, kAB},
             .broken = Broken({Invariant::kJustRefusal, Invariant::kNoLostStart})},
        Case{.mutation = Mutation::kReleasingIsEstablished,
             .policy = kAllOfTwo,
             .layers = 2,
             .available = {kA, kAB},
             .broken = Broken({Invariant::kJustRefusal, Invariant::kNoLostStart})},
        Case{.mutation = Mutation::kDyingIsEstablished,
             .policy = kAllOfTwo,
             .layers = 2,
             .available = {kAB, kAB},
             .kills = 1,
             .broken = Broken({Invariant::kJustRefusal, Invariant::kNoLostStart})},
        Case{.mutation = Mutation::kUnknownIsEstablished,
             .policy = kAllOfTwo,
             .layers = 2,
             .available = {kA, kAB},
             .broken = Broken({Invariant::kJustRefusal, Invariant::kNoLostStart})},
        // The layers behind it prove nothing.
        Case{.mutation = Mutation::kExpiredIsSkipped,
             .policy = kAnyOfTwo,
             .layers = 2,
             .available = {kA, kAB},
             .expiries = 1,
             .broken = Broken({Invariant::kOneRuns, Invariant::kAllHeld, Invariant::kDetermined})},
        Case{.mutation = Mutation::kNoRollback,
             .policy = kAllOfTwo,
             .layers = 2,
             .available = {kA, kAB},
             .broken = Broken({Invariant::kNothingLeft, Invariant::kProgress,
                               Invariant::kNoLostStart})},
        Case{.mutation = Mutation::kSilentRelease,
             .policy = kAllOfTwo,
             .layers = 2,
             .available = {kAB, kAB},
             .releases = true,
             .broken = Broken({Invariant::kJustRefusal})},
        // Its former owner may still act.
        Case{.mutation = Mutation::kFreedIsFree,
             .policy = kAllOfTwo,
             .layers = 2,
             .available = {kAB, kAB},
             .kills = 1,
             .broken = Broken({Invariant::kOneRuns})},
        // Two starts, each taken by the other for an instance that runs unguarded.
        Case{.mutation = Mutation::kNoRegistration,
             .policy = "all(file(path=/a), scan)",
             .layers = 2,
             .available = {kAB, kAB},
             .observer = true,
             .broken = Broken({Invariant::kJustRefusal, Invariant::kNoLostStart})},
        // The queue.
        Case{.mutation = Mutation::kNewcomerDoesNotAsk,
             .policy = kAllOfTwo,
             .layers = 2,
             .available = {kAB, kAB, kAB},
             .releases = true,
             .starts = true,
             .standbys = kB,
             .broken = Broken({Invariant::kLineFirst})},
        // Not needed for any of this: it asks again before it decides. It frees what it holds for
        // the head of the line earlier than the wait would.
        Case{.mutation = Mutation::kNoGateWhileWaiting,
             .policy = kAllOfTwo,
             .layers = 2,
             .available = {kAB, kAB, kAB},
             .releases = true,
             .starts = true,
             .standbys = kB,
             .broken = 0},
        Case{.mutation = Mutation::kLeavesBeforeItsTurn,
             .policy = kAllOfTwo,
             .layers = 2,
             .available = {kAB, kAB, kAB},
             .releases = true,
             .starts = true,
             .standbys = kAB,
             .broken = Broken({Invariant::kFirstCome, Invariant::kLineFirst})},
        Case{.mutation = Mutation::kJoinsAnew,
             .policy = kAllOfTwo,
             .layers = 2,
             .available = {kAB, kAB, kAB},
             .releases = true,
             .starts = true,
             .standbys = kABC,
             .broken = Broken({Invariant::kFirstCome})},
        Case{.mutation = Mutation::kKilledKeepsPlace,
             .policy = kAllOfTwo,
             .layers = 2,
             .available = {kAB, kAB, kAB},
             .kills = 1,
             .releases = true,
             .starts = true,
             .standbys = kAB,
             .broken = Broken({Invariant::kProgress, Invariant::kNoLostStart})},
        // Somebody else takes the name between the signal and the replacer.
        Case{.mutation = Mutation::kNoReservation,
             .policy = kAllOfTwo,
             .layers = 2,
             .available = {kAB, kAB, kAB},
             .starts = true,
             .replacers = kB,
             .broken = Broken({Invariant::kReplacerNext})},
        Case{.mutation = Mutation::kStandbyDoesNotGiveWay,
             .policy = kAllOfTwo,
             .layers = 2,
             .available = {kAB, kAB, kAB},
             .starts = true,
             .standbys = kA,
             .replacers = kB,
             .broken = Broken({Invariant::kFirstCome, Invariant::kReplacerNext})}),
    [](const ::testing::TestParamInfo<Case>& each) {
      std::string name;
      for (const char c : ToString(each.param.mutation)) {
        name += c == ' ' ? '_' : c;
      }
      return name;
    });

}  // namespace
}  // namespace soleguard::explorer
