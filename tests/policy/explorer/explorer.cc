#include "policy/explorer/explorer.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string_view>

#include <absl/strings/str_cat.h>

namespace soleguard::explorer {
namespace {

std::size_t HashOf(const State& state) {
  const std::string_view bytes(reinterpret_cast<const char*>(&state), sizeof(State));
  return std::hash<std::string_view>()(bytes);
}

// All states that were seen, in the order in which they were, and how each was reached.
class Seen {
 public:
  Seen() : table_(1024, kNone) {}

  std::size_t size() const { return states_.size(); }
  const State& operator[](std::size_t i) const { return states_[i]; }

  // False: it is known.
  bool Add(const State& state, std::uint32_t parent, const Move& move) {
    if (states_.size() * 2 >= table_.size()) Grow();
    std::uint32_t& slot = table_[Find(state)];
    if (slot != kNone) return false;
    slot = static_cast<std::uint32_t>(states_.size());
    states_.push_back(state);
    ways_.push_back({parent, move});
    return true;
  }

  std::string TraceTo(const World& world, std::uint32_t at, const std::string& last) const {
    std::vector<std::uint32_t> path;
    for (std::uint32_t i = at; i != kNone; i = ways_[i].parent) path.push_back(i);
    std::string text;
    std::reverse(path.begin(), path.end());
    for (const std::uint32_t i : path) {
      absl::StrAppend(&text, "  ", i == 0 ? "start" : ToString(ways_[i].move), ": ",
                      world.Describe(states_[i]), "\n");
    }
    return text + last;
  }

  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

 private:
  struct Way {
    std::uint32_t parent;
    Move move;
  };

  std::size_t Find(const State& state) const {
    const std::size_t mask = table_.size() - 1;
    std::size_t at = HashOf(state) & mask;
    while (table_[at] != kNone && !(states_[table_[at]] == state)) at = (at + 1) & mask;
    return at;
  }
  void Grow() {
    std::vector<std::uint32_t> old(table_.size() * 2, kNone);
    old.swap(table_);
    for (const std::uint32_t i : old) {
      if (i != kNone) table_[Find(states_[i])] = i;
    }
  }

  std::vector<State> states_;
  std::vector<Way> ways_;
  std::vector<std::uint32_t> table_;
};

}  // namespace

std::string BrokenText(unsigned broken) {
  std::string text;
  for (int i = 0; i < kInvariants; ++i) {
    if (!Has(broken, i)) continue;
    absl::StrAppend(&text, text.empty() ? "" : ", ",
                    std::string(ToString(static_cast<Invariant>(i))));
  }
  return text.empty() ? "nothing" : text;
}

Exploration Explore(World& world, std::size_t max_states) {
  Exploration result;
  Seen seen;
  seen.Add(world.Start(), Seen::kNone, {});
  const auto note = [&](std::uint32_t at, const std::string& last) {
    if (result.broken == 0 && world.broken() != 0) {
      result.trace =
          seen.TraceTo(world, at, absl::StrCat(last, "  breaks: ", BrokenText(world.broken())));
    }
    result.broken = world.broken();
  };
  note(0, "");
  std::vector<Move> moves;
  for (std::uint32_t at = 0; at < seen.size(); ++at) {
    if (seen.size() > max_states) {
      result.complete = false;
      break;
    }
    moves.clear();
    world.Moves(seen[at], moves);
    bool goes_on = false;
    for (const Move& move : moves) {
      State next = seen[at];
      world.Apply(next, move);
      if (!move.optional && !move.idle) goes_on = true;
      ++result.moves;
      if (world.broken() != result.broken) {
        note(at, absl::StrCat("  ", ToString(move), ": ", world.Describe(next), "\n"));
      }
      seen.Add(next, at, move);
    }
    if (goes_on) continue;
    ++result.ends;
    world.CheckEnd(seen[at]);
    if (world.broken() != result.broken) note(at, "");
  }
  result.states = seen.size();
  result.doubles = world.doubles();
  result.predicted = world.PredictedDoubles();
  result.lost_by_expiry = world.lost_by_expiry();
  result.lost_by_bypasser = world.lost_by_bypasser();
  result.lost_by_cancel = world.lost_by_cancel();
  result.behind_a_waiting_head = world.behind_a_waiting_head();
  if (result.complete && (result.predicted & ~result.doubles) != 0) {
    result.broken |= 1U << static_cast<unsigned>(Invariant::kEachFound);
  }
  return result;
}

}  // namespace soleguard::explorer
