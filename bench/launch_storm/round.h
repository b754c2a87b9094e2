// One round: starts the processes, opens the barrier, disturbs as told, waits for all ends, judges.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "options.h"

namespace launch_storm {

// How often each rule was broken. main.cc says what the rules are.
struct Violations {
  std::uint64_t overlaps = 0;
  std::uint64_t without_winner = 0;
  std::uint64_t second_winners = 0;
  std::uint64_t wrong_refusals = 0;
  std::uint64_t undetermined = 0;
  std::uint64_t unfinished = 0;
  std::uint64_t lost_claims = 0;

  std::uint64_t sum() const;
  Violations& operator+=(const Violations& other);
};

struct RoundResult {
  std::uint32_t winners = 0;
  std::uint32_t refused = 0;
  // From the opening of the barrier that the launch waited at, in nanoseconds.
  std::vector<std::int64_t> verdicts;
  std::int64_t last_verdict = 0;
  std::int64_t first_winner = 0;  // when it began; 0: there was none
  std::uint64_t killed = 0;
  std::uint64_t frozen = 0;
  std::uint64_t deleted = 0;
  Violations violations;
  std::vector<std::string> findings;  // a line per violation
};

class Interrupted {};

// Throws Interrupted after SIGINT, SIGTERM or SIGHUP, and std::exception when no storm can be made
// at all. Nothing that it started is left in any case. `mode` instead of the settings' one.
RoundResult RunRound(const Settings& settings, Mode mode, std::mt19937_64& random);

// From now on those signals interrupt a round; a child's end wakes the one who waits for it.
void HandleSignals();

}  // namespace launch_storm
