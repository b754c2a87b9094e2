// Every configuration of a kind: all monotone policies, all patterns of what works for whom.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "policy/explorer/explorer.h"

namespace soleguard::explorer {

// What is surveyed. `space.policy` and `space.object` are what varies.
struct Survey {
  std::string title;
  Configuration space;
  std::size_t max_states = 20'000'000;  // of one exploration
};

struct SurveyResult {
  std::size_t configurations = 0;
  std::size_t explored = 0;  // of them; the others are like one of these
  std::size_t states = 0;
  std::size_t moves = 0;
  // Pairs of processes in a configuration.
  std::size_t predicted = 0;    // can run at once, says the analysis
  std::size_t found = 0;        // of them
  std::size_t unpredicted = 0;  // found, not predicted
  // Configurations with an end in which nobody ran although somebody could.
  std::size_t lost = 0;
  std::size_t lost_by_expiry = 0;    // counted apart: a wait has expired
  std::size_t lost_by_bypasser = 0;  // counted apart: a bypasser runs
  std::size_t lost_by_cancel = 0;    // counted apart: it was cancelled
  std::size_t behind_a_waiting_head = 0;
  unsigned broken = 0;  // bits of Invariant
  std::string trace;    // to the first thing that broke
  bool complete = true;
  double seconds = 0;
};

// Explores one configuration of each class of such as must give the same result.
//
// A configuration is a policy and, for each process and layer, which object the layer is to it, if
// any. What matters of it:
// - Layers that no two processes share do not: their steps are unseen (World::Hurry). What is left
//   is, layer by layer in canonical order, the set of processes that share it. An observer may read
//   records of others' layers: with one, who has a layer for itself matters too.
// - Of the policy, whether each process meets it with the layers that are available to it. The
//   arbiter asks the policy when it decides and at no other time, and it then holds all that is
//   available: explorer_test.cc tests the first, each exploration checks the second (kAllHeld).
// - Which process is which does not: they all run the same program.
// So the class is the sequence of shared sets and the set of able processes (and of those that have
// the observer), in the smallest of its forms under renaming of processes.
SurveyResult RunByClass(const Survey& survey);

// Explores every configuration by itself, unhurried, and compares with its class.
SurveyResult RunEach(const Survey& survey);

// As RunByClass, with Start for a program, and each set of processes that are standbys. If
// `space.replacers` is not 0, each set that are replacers, too, but none. That it is no newcomer
// matters of a process, and is added to the class.
SurveyResult RunStarts(const Survey& survey);

// Of a table, as Markdown.
std::string StartTableHead();
std::string StartTableRow(const Survey& survey, const SurveyResult& result);
std::string TableHead();
std::string TableRow(const Survey& survey, const SurveyResult& result);

// Explores one configuration. All processes run the arbiter, in canonical order unless the mutation
// says otherwise.
Exploration ExploreOne(const Configuration& configuration, std::size_t max_states = 20'000'000);

}  // namespace soleguard::explorer
