// The proof of Start: every schedule of newcomers and standbys, under every policy and every
// pattern of what works for whom, breaks none of the invariants of world.h.
#include <iostream>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "policy/explorer/survey.h"
#include "soleguard/event.h"

namespace soleguard::explorer {
namespace {

struct Events {
  int kills = 0;
  int expiries = 0;
  int cancels = 0;
  bool replacers = false;
};

Survey Of(std::string title, int processes, int layers, Events events) {
  Survey survey{.title = std::move(title), .space = {}};
  survey.space.layers = layers;
  survey.space.processes = processes;
  survey.space.kills = events.kills;
  survey.space.expiries = events.expiries;
  survey.space.cancels = events.cancels;
  survey.space.replacers = events.replacers ? 1 : 0;
  survey.space.releases = true;
  survey.space.exits = true;
  survey.space.starts = true;
  return survey;
}

// Prints its row of the table in docs/guarantees.md.
SurveyResult ExpectProved(const Survey& survey) {
  SurveyResult result = RunStarts(survey);
  std::cout << StartTableHead() << StartTableRow(survey, result) << std::flush;
  EXPECT_EQ(result.broken, 0U) << result.trace;
  EXPECT_EQ(result.found, result.predicted);
  EXPECT_EQ(result.unpredicted, 0U);
  EXPECT_EQ(result.lost, 0U);
  EXPECT_TRUE(result.complete);
  return result;
}

TEST(StartExplorerTest, TwoProcesses) {
  ExpectProved(Of("2 starts, 3 layers, 1 kill", 2, 3, {.kills = 1}));
}

TEST(StartExplorerTest, TwoProcessesWithExpiredWaits) {
  ExpectProved(
      Of("2 starts, 3 layers, 1 kill, 2 expired waits", 2, 3, {.kills = 1, .expiries = 2}));
}

TEST(StartExplorerTest, TwoProcessesOneCancelled) {
  ExpectProved(Of("2 starts, 3 layers, 1 kill, 1 cancelled", 2, 3, {.kills = 1, .cancels = 1}));
}

TEST(StartExplorerTest, ThreeProcesses) {
  ExpectProved(Of("3 starts, 1 layer, 1 kill", 3, 1, {.kills = 1}));
}

TEST(StartExplorerTest, ThreeProcessesWithAnExpiredWait) {
  ExpectProved(Of("3 starts, 1 layer, 1 expired wait", 3, 1, {.expiries = 1}));
}

TEST(StartExplorerTest, ThreeProcessesOneCancelled) {
  ExpectProved(Of("3 starts, 1 layer, 1 cancelled", 3, 1, {.cancels = 1}));
}

TEST(StartExplorerTest, ThreeProcessesOfTwoLayers) {
  ExpectProved(Of("3 starts, 2 layers", 3, 2, {}));
}

TEST(StartExplorerTest, TwoProcessesThatMayReplace) {
  ExpectProved(
      Of("2 starts that may replace, 3 layers, 1 kill", 2, 3, {.kills = 1, .replacers = true}));
}

TEST(StartExplorerTest, TwoProcessesThatMayReplaceWithExpiredWaits) {
  ExpectProved(Of("2 starts that may replace, 2 layers, 1 kill, 2 expired waits, 1 cancelled", 2, 2,
                  {.kills = 1, .expiries = 2, .cancels = 1, .replacers = true}));
}

TEST(StartExplorerTest, ThreeProcessesThatMayReplace) {
  ExpectProved(
      Of("3 starts that may replace, 1 layer, 1 kill", 3, 1, {.kills = 1, .replacers = true}));
}

TEST(StartExplorerTest, ThreeProcessesThatMayReplaceOfTwoLayers) {
  ExpectProved(Of("3 starts that may replace, 2 layers", 3, 2, {.replacers = true}));
}

// The reductions of World::Hurry, tried.
TEST(StartExplorerTest, NothingIsLostByHurry) {
  for (Survey survey : {Of("2 starts, 2 layers, 1 kill, 1 expired wait, 1 cancelled", 2, 2,
                           {.kills = 1, .expiries = 1, .cancels = 1}),
                        Of("3 starts, 1 layer", 3, 1, {}),
                        Of("2 starts that may replace, 2 layers, 1 kill, 1 expired wait", 2, 2,
                           {.kills = 1, .expiries = 1, .replacers = true}),
                        Of("3 starts that may replace, 1 layer", 3, 1, {.replacers = true})}) {
    const SurveyResult hurried = ExpectProved(survey);
    survey.space.hurry = false;
    survey.title += ", unhurried";
    const SurveyResult unhurried = ExpectProved(survey);
    EXPECT_EQ(hurried.found, unhurried.found);
    EXPECT_EQ(hurried.lost_by_expiry, unhurried.lost_by_expiry);
    EXPECT_EQ(hurried.lost_by_cancel, unhurried.lost_by_cancel);
    EXPECT_EQ(hurried.behind_a_waiting_head, unhurried.behind_a_waiting_head);
  }
}

// That a newcomer gives way while it waits for a layer is not for order: it asks again before it
// decides. The head of the line only gets what it holds sooner.
TEST(StartExplorerTest, TheGateWhileWaitingOnlySavesTime) {
  Survey survey = Of("2 starts, 3 layers, 1 kill, 1 expired wait, without the gate while waiting",
                     2, 3, {.kills = 1, .expiries = 1});
  survey.space.mutation = Mutation::kNoGateWhileWaiting;
  ExpectProved(survey);
}

TEST(StartExplorerSoakTest, Table) {
  for (const Survey& survey :
       {Of("2 starts, 3 layers, 2 kills, 2 expired waits, 1 cancelled", 2, 3,
           {.kills = 2, .expiries = 2, .cancels = 1}),
        Of("3 starts, 2 layers, 1 kill", 3, 2, {.kills = 1}),
        Of("3 starts, 2 layers, 1 kill, 1 expired wait", 3, 2, {.kills = 1, .expiries = 1}),
        Of("3 starts, 2 layers, 1 cancelled", 3, 2, {.cancels = 1}),
        Of("3 starts that may replace, 2 layers, 1 kill", 3, 2, {.kills = 1, .replacers = true}),
        Of("3 starts, 3 layers", 3, 3, {}), Of("3 starts, 3 layers, 1 kill", 3, 3, {.kills = 1})}) {
    ExpectProved(survey);
  }
}

}  // namespace
}  // namespace soleguard::explorer
