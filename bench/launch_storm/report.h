// What is printed: progress while it runs, a table at the end, JSON on request.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "options.h"
#include "round.h"

namespace launch_storm {

// All rounds of one kind.
struct Tally {
  std::string name;
  std::vector<RoundResult> rounds = {};

  Violations violations() const;
};

// What the settings say, on one line.
void PrintHead(const Settings& settings);

// A bar on a terminal, else a line per round; violations in any case.
class Progress {
 public:
  explicit Progress(std::uint32_t rounds);
  void Add(std::uint32_t round, const std::string& name, const RoundResult& result);
  void End() const;

 private:
  void DrawBar(std::uint32_t round) const;

  const std::uint32_t rounds_;
  const bool on_terminal_;
  std::uint64_t violations_ = 0;
  std::uint32_t shown_ = 0;
};

void PrintTable(const std::vector<Tally>& tallies);

// Throws when the file cannot be written.
void WriteJson(const Settings& settings, const std::vector<Tally>& tallies);

}  // namespace launch_storm
