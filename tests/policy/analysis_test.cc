// What the analysis says of a policy, against brute force over every monotone Boolean function of
// four layers, and as a specification of the named policies.
#include "soleguard/analysis.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/event.h"
#include "soleguard/layer.h"
#include "soleguard/registry.h"

namespace soleguard {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAreArray;
using Safety = Analysis::Safety;

Policy Parse(const std::string& text) {
  absl::StatusOr<Policy> policy = Policy::Parse(text);
  EXPECT_TRUE(policy.ok()) << policy.status();
  return *std::move(policy);
}

// --- brute force ---

constexpr int kLayers = 4;
constexpr LayerSet kSets = 1 << kLayers;
using Table = std::uint32_t;  // bit s: the function is true on set s
bool On(Table table, LayerSet set) { return (table >> set & 1) != 0; }

// All monotone functions of `variables` layers.
std::vector<Table> MonotoneFunctions(int variables) {
  std::vector<Table> functions = {0, 1};
  for (int v = 0; v < variables; ++v) {
    std::vector<Table> larger;
    for (const Table without : functions) {
      for (const Table with : functions) {
        if ((without & ~with) == 0) larger.push_back(without | with << (1 << v));
      }
    }
    functions = std::move(larger);
  }
  return functions;
}

std::vector<LayerSet> MinimalSets(Table table) {
  std::vector<LayerSet> sets;
  for (LayerSet set = 0; set < kSets; ++set) {
    if (!On(table, set)) continue;
    bool minimal = true;
    for (int v = 0; v < kLayers; ++v) {
      const LayerSet without = set & ~(LayerSet{1} << v);
      if (without != set && On(table, without)) minimal = false;
    }
    if (minimal) sets.push_back(set);
  }
  return sets;
}

// The function as policy text, over layers that are in canonical order.
std::string TextOf(Table table, const std::vector<std::string>& layers, bool veto) {
  std::vector<std::string> groups;
  for (const LayerSet set : MinimalSets(table)) {
    std::vector<std::string> members;
    for (int v = 0; v < kLayers; ++v) {
      if ((set >> v & 1) != 0) members.push_back(layers[static_cast<std::size_t>(v)]);
    }
    groups.push_back(absl::StrCat("all(", absl::StrJoin(members, ", "), ")"));
  }
  return absl::StrCat("any(", absl::StrJoin(groups, ", "), veto ? ")" : ", veto=off)");
}

// A monotone function, the policy that is it, and where each layer of the policy is in the
// function: a layer that it does not depend on is not named.
struct Sample {
  Table table;
  Policy policy;
  LayerSet named = 0;      // of the function's layers
  LayerSet exclusive = 0;  // of those
};

class EveryMonotoneFunction : public ::testing::TestWithParam<bool> {
 protected:
  static std::vector<Sample> Samples() {
    std::vector<Sample> samples;
    for (const auto& layers : {std::vector<std::string>{"file", "mutex", "port", "scan"},
                               std::vector<std::string>{"file", "mutex", "port", "port(47777)"}}) {
      for (const Table table : MonotoneFunctions(kLayers)) {
        if (On(table, 0) || !On(table, kSets - 1)) continue;  // the constants
        Sample sample{.table = table, .policy = Parse(TextOf(table, layers, GetParam()))};
        for (const LayerSet set : MinimalSets(table)) sample.named |= set;
        sample.exclusive = sample.named & (layers[3] == "scan" ? 0b0111U : 0b1111U);
        samples.push_back(std::move(sample));
      }
    }
    return samples;
  }
  // A set of the policy's layers as one of the function's.
  static LayerSet Widen(const Sample& sample, LayerSet set) {
    LayerSet wide = 0;
    int bit = 0;
    for (int v = 0; v < kLayers; ++v) {
      if ((sample.named >> v & 1) == 0) continue;
      if ((set >> bit++ & 1) != 0) wide |= LayerSet{1} << v;
    }
    return wide;
  }
};

INSTANTIATE_TEST_SUITE_P(Veto, EveryMonotoneFunction, ::testing::Bool(),
                         [](const auto& tested) { return tested.param ? "On" : "Off"; });

TEST_P(EveryMonotoneFunction, IsAnalysedAsBruteForceSays) {
  const std::vector<Sample> samples = Samples();
  ASSERT_EQ(samples.size(), 2u * 166u);
  for (const Sample& sample : samples) {
    SCOPED_TRACE(sample.policy.ToString());
    const Analysis analysis = Analyse(sample.policy);

    std::vector<LayerSet> minimal;
    for (const LayerSet set : analysis.minimal_sets) minimal.push_back(Widen(sample, set));
    EXPECT_THAT(minimal, UnorderedElementsAreArray(MinimalSets(sample.table)));
    EXPECT_TRUE(analysis.minimal_sets_complete);
    EXPECT_EQ(Widen(sample, ExclusiveLayers(sample.policy)), sample.exclusive);

    // Over all pairs of sets that meet it, not only minimal ones.
    int least_shared = kLayers;
    int smallest_example = 2 * kLayers;
    int fewest_exclusive = kLayers;
    int fewest_to_break = kLayers;
    for (LayerSet a = 0; a < kSets; ++a) {
      const LayerSet broken = kSets - 1 - a;
      if (!On(sample.table, a)) {
        fewest_to_break = std::min(fewest_to_break, std::popcount(broken & sample.named));
        continue;
      }
      fewest_exclusive = std::min(fewest_exclusive, std::popcount(a & sample.exclusive));
      for (LayerSet b = 0; b < kSets; ++b) {
        if (!On(sample.table, b)) continue;
        const int shared = std::popcount(a & b & sample.exclusive);
        least_shared = std::min(least_shared, shared);
        if (shared > 0) continue;
        smallest_example = std::min(smallest_example, std::popcount(a) + std::popcount(b));
      }
    }
    const bool apart = least_shared == 0;
    EXPECT_EQ(analysis.safety, !apart && GetParam() ? Safety::kSafe : Safety::kUnsafe);
    EXPECT_EQ(analysis.layers_to_break, fewest_to_break);
    EXPECT_EQ(analysis.claims_to_destroy,
              GetParam() ? std::popcount(sample.exclusive) : fewest_exclusive);
    EXPECT_EQ(analysis.claims_to_destroy_at_worst, least_shared);
    ASSERT_EQ(analysis.counter_example.has_value(), apart);
    if (apart) {
      const LayerSet a = Widen(sample, analysis.counter_example->first);
      const LayerSet b = Widen(sample, analysis.counter_example->second);
      EXPECT_TRUE(On(sample.table, a) && On(sample.table, b));
      EXPECT_EQ(a & b & sample.exclusive, 0u);
      EXPECT_EQ(std::popcount(a) + std::popcount(b), smallest_example);
    }
  }
}

TEST_P(EveryMonotoneFunction, MayBothHoldIsWhatTheLayersLeaveToEach) {
  for (const Sample& sample : Samples()) {
    SCOPED_TRACE(sample.policy.ToString());
    const LayerSet sets = LayerSet{1} << sample.policy.layers().size();
    const LayerSet exclusive = ExclusiveLayers(sample.policy);
    for (LayerSet a = 0; a < sets; ++a) {
      for (LayerSet b = a; b < sets; ++b) {
        if (!sample.policy.MetBy(a) || !sample.policy.MetBy(b)) {
          ASSERT_FALSE(MayBothHold(sample.policy, a, b, 0));
          continue;
        }
        for (LayerSet same = 0; same < sets; ++same) {
          // Who holds which of what both could have; with the veto one of them meets the other
          // there, and gives up.
          const LayerSet shared = a & b & same & exclusive;
          bool both = false;
          for (LayerSet mine = shared;; mine = (mine - 1) & shared) {
            both |= sample.policy.MetBy(a & ~(shared & ~mine)) && sample.policy.MetBy(b & ~mine);
            if (mine == 0) break;
          }
          if (GetParam()) both = shared == 0;
          ASSERT_EQ(MayBothHold(sample.policy, a, b, same), both) << a << " " << b << " " << same;
          ASSERT_EQ(MayBothHold(sample.policy, b, a, same), both) << a << " " << b << " " << same;
        }
      }
    }
  }
}

// A safe policy is one whose sets of layers all meet: with three layers it can do without one of
// them, never without two. So `available` gives what can be had.
TEST_P(EveryMonotoneFunction, NoSafePolicyOverThreeExclusiveLayersSurvivesTwoBrokenOnes) {
  for (const Sample& sample : Samples()) {
    if (sample.named != sample.exclusive || std::popcount(sample.named) != 3) continue;
    const Analysis analysis = Analyse(sample.policy);
    if (analysis.safety == Safety::kSafe) {
      EXPECT_LE(analysis.layers_to_break, 2) << sample.policy.ToString();
    }
  }
}

// --- the named policies ---

std::set<std::string> Ids(const Analysis& analysis, Consequence consequence) {
  std::set<std::string> ids;
  for (const EventAnalysis& event : analysis.events) {
    if (event.consequence == consequence) ids.emplace(event.event.id);
  }
  return ids;
}

TEST(NamedPolicy, DefaultIsSafeAndHoldsAsLongAsOneClaimStands) {
  const Analysis analysis = Analyse(Policy::Default());
  EXPECT_EQ(analysis.safety, Safety::kSafe);
  EXPECT_EQ(analysis.layers_to_break, 1);
  EXPECT_EQ(analysis.claims_to_destroy, 3);
  EXPECT_EQ(analysis.claims_to_destroy_at_worst, 3);
  EXPECT_THAT(Ids(analysis, Consequence::kDoubled), ElementsAre("another-host", "container"));
}

TEST(NamedPolicy, StrictHasTheGuaranteesOfDefaultAndScanOnTop) {
  const Analysis analysis = Analyse(Parse("strict"));
  EXPECT_EQ(analysis.safety, Safety::kSafe);
  EXPECT_EQ(analysis.layers_to_break, 1);
  EXPECT_EQ(analysis.claims_to_destroy, 3) << "scan is no claim";
  EXPECT_EQ(analysis.claims_to_destroy_at_worst, 3);
  EXPECT_THAT(Ids(analysis, Consequence::kDoubled), ElementsAre("another-host", "container"));
  EXPECT_THAT(analysis.cautions, ElementsAre(HasSubstr("scan: it confirms and vetoes")));
}

TEST(NamedPolicy, AvailableIsSafeAndStartsWithOneBrokenLayer) {
  const Analysis analysis = Analyse(Parse("available"));
  EXPECT_EQ(analysis.safety, Safety::kSafe);
  EXPECT_EQ(analysis.layers_to_break, 2);
  EXPECT_EQ(analysis.claims_to_destroy, 3);
  EXPECT_EQ(analysis.claims_to_destroy_at_worst, 1);
  EXPECT_THAT(Ids(analysis, Consequence::kDoubled), ElementsAre("another-host", "container"));
  // file and port both need the scope's directory, and each layer needs to know whose the scope is.
  EXPECT_THAT(Ids(analysis, Consequence::kRefused),
              ElementsAre("descriptors-exhausted", "disk-full", "hidden-place", "hidden-user",
                          "read-only-filesystem", "scope-directory-squatted"));
}

TEST(NamedPolicy, EachIsSafe) {
  for (const NamedPolicy& named : Policy::Named()) {
    EXPECT_EQ(Analyse(named.policy).safety, Safety::kSafe) << named.name;
  }
}

// --- what is unsafe ---

TEST(Unsafe, AnObserverDoesNotExclude) {
  const Analysis alone = Analyse(Parse("scan"));
  EXPECT_EQ(alone.safety, Safety::kUnsafe);
  EXPECT_EQ(alone.counter_example, std::pair(LayerSet{1}, LayerSet{1}));
  EXPECT_EQ(alone.claims_to_destroy, 0);
  EXPECT_TRUE(MayBothHold(Parse("scan"), 1, 1, 1));
  const Analysis any = Analyse(Parse("any(file, scan)"));
  EXPECT_EQ(any.safety, Safety::kUnsafe);
  EXPECT_EQ(any.counter_example, std::pair(LayerSet{0b10}, LayerSet{0b10}));
  EXPECT_EQ(Analyse(Parse("at_least(2, file, mutex, scan)")).safety, Safety::kUnsafe);
  EXPECT_EQ(Analyse(Parse("all(file, scan)")).safety, Safety::kSafe);
}

TEST(Unsafe, TheSmallestCounterExampleIsShown) {
  const Analysis analysis = Analyse(Parse("any(all(file, mutex), port, all(mutex, port))"));
  EXPECT_EQ(analysis.counter_example, std::pair(LayerSet{0b100}, LayerSet{0b011}));
}

TEST(Unsafe, VetoOffIsUnsafeWhateverTheGroupIs) {
  for (const char* text : {"any(file, port, veto=off)", "all(file, port, veto=off)",
                           "at_least(2, file, mutex, port, veto=off)"}) {
    EXPECT_EQ(Analyse(Parse(text)).safety, Safety::kUnsafe) << text;
  }
  // One claim that is destroyed is enough where the others no longer veto.
  EXPECT_EQ(Analyse(Parse("any(file, port, veto=off)")).claims_to_destroy, 1);
  EXPECT_EQ(Analyse(Parse("any(file, port)")).claims_to_destroy, 2);
}

// What a start asks is what explain says.
TEST(SafetyOf, IsTheSafetyOfTheWholeAnalysis) {
  for (const char* text :
       {"default", "strict", "available", "mutex", "scan", "any(file, port)", "any(file, scan)",
        "all(file, any(mutex, port))", "at_least(2, file, mutex, scan)",
        "all(file, port, veto=off)", "any(all(file, mutex), all(file, port))"}) {
    EXPECT_EQ(SafetyOf(Parse(text)), Analyse(Parse(text)).safety) << text;
  }
}

// --- events ---

const EventAnalysis* Find(const Analysis& analysis, const std::string& id) {
  for (const EventAnalysis& event : analysis.events) {
    if (event.event.id == id) return &event;
  }
  return nullptr;
}

TEST(Events, SayWhichLayersTheyTakeAtOnceAndWhatFollows) {
  const Analysis any = Analyse(Parse("any(file, port)"));
  const EventAnalysis* closed = Find(any, "descriptors-closed");
  ASSERT_NE(closed, nullptr);
  EXPECT_EQ(closed->blinded, 0b11u);
  EXPECT_EQ(closed->consequence, Consequence::kDoubled);
  const EventAnalysis* squatted = Find(any, "port-squatted");
  ASSERT_NE(squatted, nullptr);
  EXPECT_EQ(squatted->unavailable, 0b10u);
  EXPECT_EQ(squatted->consequence, Consequence::kStarts);
  EXPECT_EQ(Find(Analyse(Parse("all(file, port)")), "port-squatted")->consequence,
            Consequence::kRefused);
  EXPECT_EQ(Find(any, "ipc-removed"), nullptr) << "does nothing to these layers";
}

TEST(Events, DependOnTheLayersParameters) {
  EXPECT_EQ(Find(Analyse(Parse("file")), "lock-file-deleted"), nullptr);
  EXPECT_EQ(Find(Analyse(Parse("file(path=/run/x)")), "lock-file-deleted")->consequence,
            Consequence::kDoubled);
  EXPECT_EQ(Find(Analyse(Parse("file(path=/run/x)")), "private-tmp"), nullptr);
  EXPECT_EQ(Find(Analyse(Parse("file(path=/tmp/x)")), "private-tmp")->blinded, 1u);
}

TEST(Events, EachHasAnIdOfItsOwnAndDoesSomethingToSomeLayer) {
  std::set<std::string_view> ids;
  for (const EventInfo& event : Events()) {
    EXPECT_TRUE(ids.insert(event.id).second) << event.id;
    bool does_something = false;
    for (const LayerKind& kind : LayerKinds()) {
      ASSERT_NE(kind.effect, nullptr) << kind.name << " must say what each event does to it";
      for (const LayerParameters& parameters :
           {LayerParameters{}, LayerParameters{{"path", "/x"}}}) {
        does_something |= kind.effect(event.event, parameters) != Effect::kNone;
      }
    }
    // The library has no layer that a server decides; a program may bring one.
    const bool is_servers =
        event.event == Event::kServerUnreachable || event.event == Event::kLeaseLapsed;
    EXPECT_EQ(does_something, !is_servers) << event.id;
  }
}

TEST(Cautions, NameAPortThatAnOutgoingConnectionMayHave) {
  EXPECT_THAT(Analyse(Parse("port(47777)")).cautions,
              ElementsAre(HasSubstr("port(47777): every name and scope that uses port 47777")));
  EXPECT_THAT(Analyse(Parse("port(47777)")).cautions, ElementsAre(HasSubstr("ephemeral range")));
  EXPECT_THAT(Analyse(Parse("port(20000)")).cautions,
              ElementsAre(::testing::Not(HasSubstr("ephemeral"))));
  EXPECT_THAT(Analyse(Policy::Default()).cautions, IsEmpty());
  EXPECT_THAT(Analyse(Parse("file(path=/x)")).cautions, ElementsAre(HasSubstr("no directory")));
}

// --- bounds ---

std::string Of32(const std::string& head) {
  std::string text = head;
  for (int i = 1; i <= 32; ++i) absl::StrAppend(&text, i > 1 ? ", " : "", "file(path=/", i, ")");
  return text + ")";
}

TEST(Bounds, LongPoliciesOfAFewSetsAreAnalysedInFull) {
  const Analysis all = Analyse(Parse(Of32("all(")));
  EXPECT_EQ(all.safety, Safety::kSafe);
  EXPECT_TRUE(all.minimal_sets_complete);
  EXPECT_EQ(all.layers_to_break, 1);
  EXPECT_EQ(all.claims_to_destroy, 32);
  const Analysis any = Analyse(Parse(Of32("any(")));
  EXPECT_EQ(any.safety, Safety::kUnsafe);
  EXPECT_EQ(any.minimal_sets.size(), 32u);
  EXPECT_EQ(any.layers_to_break, 32);
}

// Hundreds of millions of sets.
TEST(Bounds, APolicyOfTooManySetsEndsAndSaysWhatWasCut) {
  const auto begin = std::chrono::steady_clock::now();
  for (const int needed : {1, 2, 8, 16, 17, 24, 31, 32}) {
    SCOPED_TRACE(needed);
    const Analysis analysis = Analyse(Parse(Of32(absl::StrCat("at_least(", needed, ", "))));
    EXPECT_LE(analysis.minimal_sets.size(), Analysis::kMaxMinimalSets);
    // Never called safe when it is not, nor the other way round.
    EXPECT_NE(analysis.safety, needed <= 16 ? Safety::kSafe : Safety::kUnsafe);
    if (!analysis.minimal_sets_complete) {
      EXPECT_FALSE(analysis.claims_to_destroy_at_worst.has_value());
    }
    if (analysis.counter_example.has_value()) {
      EXPECT_EQ(analysis.counter_example->first & analysis.counter_example->second, 0u);
    }
  }
  EXPECT_EQ(Analyse(Parse(Of32("at_least(17, "))).safety, Safety::kUndecided);
  EXPECT_EQ(SafetyOf(Parse(Of32("at_least(17, "))), Safety::kUndecided);
  // Too cautious rather than endless.
  EXPECT_TRUE(MayBothHold(*Policy::Parse([] {
    std::string text = Of32("at_least(17, ");
    text.insert(text.size() - 1, ", veto=off");
    return text;
  }()),
                          ~LayerSet{0}, ~LayerSet{0}, ~LayerSet{0}));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(40));
}

}  // namespace
}  // namespace soleguard
