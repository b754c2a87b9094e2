// Every schedule of a world.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "policy/explorer/world.h"

namespace soleguard::explorer {

struct Exploration {
  std::size_t states = 0;
  std::size_t moves = 0;
  std::size_t ends = 0;              // states in which nothing must happen any more
  unsigned broken = 0;               // bits of Invariant
  unsigned doubles = 0;              // pairs that ran at once
  unsigned predicted = 0;            // pairs that the analysis says can
  std::size_t lost_by_expiry = 0;    // ends in which nobody had run, and who could had expired
  std::size_t lost_by_bypasser = 0;  // or was refused because of a bypasser
  std::size_t lost_by_cancel = 0;    // or was cancelled
  std::size_t behind_a_waiting_head = 0;
  bool complete = true;  // false: max_states were not enough
  std::string trace;     // the shortest way to the first thing that broke
  bool Broke(Invariant invariant) const {
    return (broken >> static_cast<unsigned>(invariant) & 1U) != 0;
  }
};
// What broke, for people: "one runs, progress".
std::string BrokenText(unsigned broken);

// Visits every state that can be reached, each once, in breadth first order. Everything that the
// future depends on is in a State (World and Behaviour say why), so a state that was seen before
// needs no second visit.
Exploration Explore(World& world, std::size_t max_states);

}  // namespace soleguard::explorer
