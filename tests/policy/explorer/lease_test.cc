// The proof for layers that a server decides: every schedule in which it answers late or not at
// all, frees a layer by time, and takes it from a holder whose lease has run out. Then each rule
// that makes this safe is switched off, and must be missed.
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "policy/explorer/survey.h"
#include "soleguard/event.h"

namespace soleguard::explorer {
namespace {

constexpr Set kA = Bit(0);
constexpr Set kB = Bit(1);
constexpr Set kAB = kA | kB;

// Layer a is local and b is leased; `available`: what works for each process.
struct Case {
  std::string title;
  std::string policy;
  std::vector<Set> available;
  Set leased = kB;
  int kills = 0;
  int lapses = 0;
  int unanswered = 0;
  bool releases = true;
  bool restarts = false;
};

void PrintTo(const Case& world, std::ostream* out) { *out << world.title; }

Configuration ConfigurationOf(const Case& world) {
  Configuration configuration;
  configuration.policy = world.policy;
  configuration.layers = 2;
  configuration.SetAvailable(world.available);
  configuration.leased = world.leased;
  configuration.kills = world.kills;
  configuration.lapses = world.lapses;
  configuration.expiries = world.unanswered;
  configuration.releases = world.releases;
  configuration.restarts = world.restarts;
  configuration.exits = true;
  configuration.hurry = false;
  return configuration;
}

constexpr const char* kAll = "all(file(path=/a), file(path=/b))";
constexpr const char* kAny = "any(file(path=/a), file(path=/b))";

class LeaseTest : public ::testing::TestWithParam<Case> {};

TEST_P(LeaseTest, EveryScheduleKeepsEveryPromise) {
  const Exploration exploration = ExploreOne(ConfigurationOf(GetParam()));
  EXPECT_EQ(exploration.broken, 0U) << BrokenText(exploration.broken) << "\n" << exploration.trace;
  EXPECT_EQ(exploration.doubles, exploration.predicted);
  EXPECT_TRUE(exploration.complete);
  std::cout << GetParam().title << ": " << exploration.states << " states\n";
}

std::string NameOf(const ::testing::TestParamInfo<Case>& world) {
  std::string name;
  for (const char c : world.param.title) name += c == ' ' ? '_' : c;
  return name;
}

INSTANTIATE_TEST_SUITE_P(
    Worlds, LeaseTest,
    ::testing::Values(
        Case{.title = "one lease",
             .policy = kAny,
             .available = {kB, kB},
             .kills = 1,
             .lapses = 1,
             .unanswered = 1,
             .restarts = true},
        Case{.title = "a lock and a lease",
             .policy = kAll,
             .available = {kAB, kAB},
             .kills = 2,
             .lapses = 2,
             .restarts = true},
        Case{.title = "a lock and a lease and silence",
             .policy = kAll,
             .available = {kAB, kAB},
             .kills = 1,
             .lapses = 1,
             .unanswered = 2},
        Case{.title = "the server is out of reach for one",
             .policy = kAll,
             .available = {kA, kAB},
             .kills = 1,
             .lapses = 1},
        Case{.title = "any and the server is out of reach for one",
             .policy = kAny,
             .available = {kA, kAB},
             .kills = 1,
             .lapses = 1},
        Case{.title = "two hosts and any",
             .policy = kAny,
             .available = {kA, kB},
             .kills = 1,
             .lapses = 1},
        Case{.title = "two leases",
             .policy = kAll,
             .available = {kAB, kAB},
             .leased = kAB,
             .kills = 1,
             .lapses = 2},
        Case{.title = "three processes", .policy = kAll, .available = {kAB, kAB, kAB}, .lapses = 1},
        Case{.title = "three processes and one lease",
             .policy = kAny,
             .available = {kB, kB, kB},
             .kills = 1,
             .lapses = 1,
             .unanswered = 1}),
    &NameOf);

struct Slip {
  Mutation mutation;
  Case world;
  Invariant broken;  // at least this one
};

void PrintTo(const Slip& slip, std::ostream* out) { *out << ToString(slip.mutation); }

class LeaseMutationTest : public ::testing::TestWithParam<Slip> {};

TEST_P(LeaseMutationTest, BreaksWhatTheRuleIsThereFor) {
  Configuration configuration = ConfigurationOf(GetParam().world);
  const Exploration sound = ExploreOne(configuration);
  EXPECT_EQ(sound.broken, 0U) << sound.trace;
  configuration.mutation = GetParam().mutation;
  const Exploration mutant = ExploreOne(configuration);
  EXPECT_TRUE(mutant.Broke(GetParam().broken)) << "broken: " << BrokenText(mutant.broken);
}

INSTANTIATE_TEST_SUITE_P(
    Each, LeaseMutationTest,
    ::testing::Values(
        // Two act under one lease.
        Slip{.mutation = Mutation::kFreedBeforeLapse,
             .world = {.policy = kAny, .available = {kB, kB}, .lapses = 1},
             .broken = Invariant::kOneRuns},
        // Refused by one who is gone, and would have had the name a moment later.
        Slip{.mutation = Mutation::kLapsingIsEstablished,
             .world = {.policy = kAny, .available = {kB, kB}, .kills = 1},
             .broken = Invariant::kNoLostStart},
        // A server that needs a moment is no broken one.
        Slip{.mutation = Mutation::kLateIsUnavailable,
             .world = {.policy = kAll, .available = {kAB, kAB}},
             .broken = Invariant::kDetermined},
        // The layer is nobody's, and taken.
        Slip{.mutation = Mutation::kCancelIsForgotten,
             .world = {.policy = kAny, .available = {kAB, kAB}, .unanswered = 1},
             .broken = Invariant::kNothingLeft},
        // Refused by one who gives up, as with local layers.
        Slip{.mutation = Mutation::kCandidateIsEstablished,
             .world = {.policy = kAll, .available = {kB, kAB}},
             .broken = Invariant::kJustRefusal}),
    [](const ::testing::TestParamInfo<Slip>& slip) {
      std::string name;
      for (const char c : ToString(slip.param.mutation)) name += c == ' ' ? '_' : c;
      return name;
    });

}  // namespace
}  // namespace soleguard::explorer
