// The proof of the arbiter: every schedule of two and three processes, under every policy over four
// layers and every pattern of what works for whom, breaks none of the invariants of world.h.
#include "policy/explorer/explorer.h"

#include <iostream>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "policy/explorer/survey.h"
#include "soleguard/event.h"

namespace soleguard::explorer {
namespace {

// What may happen: `kills` SIGKILLs, `expiries` waits that expire.
Survey Of(std::string title, int processes, int exclusive, bool observer, int kills, int expiries) {
  Survey survey{.title = std::move(title), .space = {}};
  survey.space.layers = exclusive + (observer ? 1 : 0);
  survey.space.observer = observer;
  survey.space.processes = processes;
  survey.space.kills = kills;
  survey.space.expiries = expiries;
  survey.space.releases = true;
  survey.space.exits = true;
  return survey;
}

// Prints and returns its row of the table in docs/guarantees.md.
std::string ExpectProved(const Survey& survey) {
  const SurveyResult result = RunByClass(survey);
  std::string row = TableRow(survey, result);
  std::cout << TableHead() << row << std::flush;
  EXPECT_EQ(result.broken, 0U) << result.trace;
  EXPECT_EQ(result.found, result.predicted);
  EXPECT_EQ(result.unpredicted, 0U);
  EXPECT_EQ(result.lost, 0U);
  EXPECT_TRUE(result.complete);
  return row;
}

TEST(ExplorerTest, ThereAre166MonotoneFunctionsOfFourLayersAnd28UpToRenaming) {
  const std::vector<std::uint16_t> tables = MonotoneFunctions(4);
  EXPECT_EQ(tables.size(), 166U);
  std::set<std::uint16_t> smallest;
  for (const std::uint16_t table : tables) {
    std::vector<int> names(4);
    std::iota(names.begin(), names.end(), 0);
    std::uint16_t best = 0xffff;
    do {
      std::uint16_t renamed = 0;
      for (unsigned set = 0; set < 16; ++set) {
        unsigned image = 0;
        for (int i = 0; i < 4; ++i) {
          if (Has(set, i)) image |= Bit(names[static_cast<std::size_t>(i)]);
        }
        if ((table >> set & 1U) != 0) renamed = static_cast<std::uint16_t>(renamed | 1U << image);
      }
      best = std::min(best, renamed);
    } while (std::next_permutation(names.begin(), names.end()));
    smallest.insert(best);
  }
  EXPECT_EQ(smallest.size(), 28U);
}

// What allows to explore policies in classes: until all layers have answered, the arbiter does the
// same under each of them, and then it decides by the layers that it holds.
TEST(ExplorerTest, ThePolicyIsAskedOnlyWhenAllLayersHaveAnswered) {
  constexpr int kLayers = 4;
  const std::vector<Answer> answers = {
      {.kind = Answer::Kind::kHeld},
      {.kind = Answer::Kind::kUnavailable},
      {.kind = Answer::Kind::kContested, .standing = Standing::kEstablished, .process = 1},
      {.kind = Answer::Kind::kContested, .standing = Standing::kCandidate, .process = 1},
      {.kind = Answer::Kind::kContested, .standing = Standing::kDying, .process = 1},
      {.kind = Answer::Kind::kContested},
      {.kind = Answer::Kind::kExpired, .standing = Standing::kCandidate, .process = 1},
      {.kind = Answer::Kind::kExpired},
  };
  // From (state, answer) to (state, what was done), as the first policy has it.
  std::map<std::pair<std::string, int>, std::pair<std::string, std::vector<Effect>>> first;
  for (const std::uint16_t table : MonotoneFunctions(kLayers)) {
    const auto policy = Policy::Parse(PolicyText(table, kLayers, /*observer=*/false));
    ASSERT_TRUE(policy.ok()) << policy.status();
    ASSERT_EQ(policy->layers().size(), static_cast<std::size_t>(kLayers));
    Behaviour behaviour(ArbiterProgram(*policy, {0, 1, 2, 3}));
    for (std::size_t i = 0; i < behaviour.nodes(); ++i) {
      const auto id = static_cast<Behaviour::NodeId>(i);
      const Question question = behaviour.node(id).question;
      if (question.kind == Question::Kind::kDecide) {
        const Set held = behaviour.node(id).held;
        const auto& decided = behaviour.node(behaviour.edge(behaviour.Tell(id, {})).node);
        EXPECT_EQ(decided.question.decision == Arbiter::Decision::kUnique, Has(table, held))
            << policy->ToString() << " with the layers " << static_cast<int>(held);
        continue;
      }
      if (question.kind != Question::Kind::kTry) continue;
      for (const Answer& answer : answers) {
        const Behaviour::Edge& edge = behaviour.edge(behaviour.Tell(id, answer));
        const std::pair done(behaviour.node(edge.node).state, edge.effects);
        const auto [known, fresh] =
            first.try_emplace({behaviour.node(id).state, answer.code()}, done);
        EXPECT_EQ(known->second, done) << policy->ToString();
      }
    }
  }
}

TEST(ExplorerTest, TwoProcesses) {
  ExpectProved(Of("2 processes, 4 layers, 2 kills", 2, 4, false, 2, 0));
}

TEST(ExplorerTest, TwoProcessesWithExpiredWaits) {
  ExpectProved(Of("2 processes, 4 layers, 2 kills, 2 expired waits", 2, 4, false, 2, 2));
}

TEST(ExplorerTest, TwoProcessesFreedWhenStopped) {
  Survey survey = Of("2 processes, 4 layers freed when stopped, 2 kills", 2, 4, false, 2, 0);
  survey.space.acts_while_freed = false;
  ExpectProved(survey);
}

TEST(ExplorerTest, TwoProcessesAndAnObserver) {
  ExpectProved(Of("2 processes, 3 layers and scan, 1 kill", 2, 3, true, 1, 0));
}

TEST(ExplorerTest, TwoProcessesAndAnObserverWithExpiredWaits) {
  ExpectProved(Of("2 processes, 2 layers and scan, 2 kills, 2 expired waits", 2, 2, true, 2, 2));
}

TEST(ExplorerTest, TwoProcessesAndABypasser) {
  Survey survey = Of("2 processes and a bypasser, 2 layers and scan, 2 kills", 2, 2, true, 2, 0);
  survey.space.bypasser = true;
  ExpectProved(survey);
}

TEST(ExplorerTest, ThreeProcesses) { ExpectProved(Of("3 processes, 4 layers", 3, 4, false, 0, 0)); }

TEST(ExplorerTest, ThreeProcessesAndAnObserver) {
  ExpectProved(Of("3 processes, 1 layer and scan, 1 kill", 3, 1, true, 1, 0));
}

TEST(ExplorerTest, ThreeProcessesOneKilled) {
  ExpectProved(Of("3 processes, 2 layers, 1 kill, 1 expired wait", 3, 2, false, 1, 1));
}

// The reductions are argued in world.cc and survey.h; here they are tried.
void ExpectNothingIsLostByReductions(const Survey& survey) {
  const SurveyResult result = RunEach(survey);
  std::cout << TableHead() << TableRow(survey, result) << std::flush;
  EXPECT_EQ(result.trace, "");
  EXPECT_EQ(result.broken, 0U);
  EXPECT_EQ(result.found, result.predicted);
}

TEST(ExplorerTest, NothingIsLostByReductions) {
  ExpectNothingIsLostByReductions(
      Of("2 processes, 2 layers, 2 kills, 2 expired waits, each by itself", 2, 2, false, 2, 2));
  ExpectNothingIsLostByReductions(
      Of("2 processes, 1 layer and scan, 1 kill, each by itself", 2, 1, true, 1, 0));
  ExpectNothingIsLostByReductions(Of("3 processes, 1 layer, each by itself", 3, 1, false, 1, 1));
}

// One that is told by the clock, in the end, that a layer is a stranger's decides as one that is
// told so at once.
TEST(ExplorerTest, H17_AStrangerWhoMayBeOneOfOursAtFirstChangesNoVerdict) {
  Survey two = Of("2 processes, 2 layers, strangers, 1 kill, 1 expired wait, each by itself", 2, 2,
                  false, 1, 1);
  two.space.strangers = true;
  ExpectNothingIsLostByReductions(two);
  Survey three = Of("3 processes, 1 layer, strangers, 1 kill, each by itself", 3, 1, false, 1, 0);
  three.space.strangers = true;
  ExpectNothingIsLostByReductions(three);
}

TEST(ExplorerSoakTest, Table) {
  Survey freed =
      Of("2 processes, 4 layers freed when stopped, 2 kills, 2 expired waits", 2, 4, false, 2, 2);
  freed.space.acts_while_freed = false;
  Survey bypassed = Of("2 processes and a bypasser, 3 layers and scan, 2 kills", 2, 3, true, 2, 0);
  bypassed.space.bypasser = true;
  Survey both_bypassed = Of("3 processes and a bypasser, 2 layers and scan", 3, 2, true, 0, 0);
  both_bypassed.space.bypasser = true;
  std::string table = TableHead();
  for (const Survey& survey :
       {Of("2 processes, 4 layers, 2 kills", 2, 4, false, 2, 0),
        Of("2 processes, 4 layers, 2 kills, 2 expired waits", 2, 4, false, 2, 2), freed,
        Of("2 processes, 3 layers and scan, 2 kills, 2 expired waits", 2, 3, true, 2, 2), bypassed,
        Of("3 processes, 4 layers, 1 kill", 3, 4, false, 1, 0),
        Of("3 processes, 4 layers, 1 kill, 1 expired wait", 3, 4, false, 1, 1),
        Of("3 processes, 3 layers, 3 kills", 3, 3, false, 3, 0),
        Of("3 processes, 3 layers and scan", 3, 3, true, 0, 0),
        Of("3 processes, 2 layers and scan, 1 kill", 3, 2, true, 1, 0), both_bypassed}) {
    table += ExpectProved(survey);
  }
  std::cout << "\nThe table of docs/guarantees.md:\n\n" << table << "\n";
}

TEST(ExplorerSoakTest, NothingIsLostByReductions) {
  ExpectNothingIsLostByReductions(
      Of("2 processes, 3 layers, 2 kills, 2 expired waits, each by itself", 2, 3, false, 2, 2));
  ExpectNothingIsLostByReductions(
      Of("2 processes, 2 layers and scan, 2 kills, each by itself", 2, 2, true, 2, 0));
  ExpectNothingIsLostByReductions(
      Of("3 processes, 2 layers, 1 kill, each by itself", 3, 2, false, 1, 0));
  ExpectNothingIsLostByReductions(
      Of("3 processes, 1 layer and scan, 1 kill, each by itself", 3, 1, true, 1, 0));
}

}  // namespace
}  // namespace soleguard::explorer
