// Two instances exclude each other when every two sets of layers that meet the policy share an
// exclusive layer: the one that both hold. All of it is about the monotone function that the policy
// is, so minimal sets suffice.
#include "soleguard/analysis.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>

#include "soleguard/layer.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

// How often a search may evaluate the policy: under a second for the longest policy text. Each
// search of up to 15 layers ends before.
constexpr int kMaxEvaluations = 1 << 18;

LayerSet AllLayers(const Policy& policy) {
  LayerSet all = 0;
  for (std::size_t i = 0; i < policy.layers().size(); ++i) all |= LayerSet{1} << i;
  return all;
}

// A monotone function of sets of layers, which may be asked so often.
class Function {
 public:
  explicit Function(std::function<bool(LayerSet)> function) : function_(std::move(function)) {}
  bool operator()(LayerSet set) {
    ++asked_;
    return function_(set);
  }
  bool exhausted() const { return asked_ >= kMaxEvaluations; }

 private:
  std::function<bool(LayerSet)> function_;
  int asked_ = 0;
};

struct MinimalSets {
  std::vector<LayerSet> sets;
  bool complete = true;
};

// Appends the minimal sets on which `function` is true, between `chosen` and `possible`; the layers
// of `open` are in `possible` alone.
void FindMinimalSets(Function& function, LayerSet chosen, LayerSet open, MinimalSets& found) {
  if (function.exhausted()) found.complete = false;
  if (!found.complete || !function(chosen | open)) return;
  if (function(chosen)) {
    for (LayerSet rest = chosen; rest != 0; rest &= rest - 1) {
      if (function(chosen & ~(rest & -rest))) return;
    }
    if (found.sets.size() == Analysis::kMaxMinimalSets) {
      found.complete = false;
    } else {
      found.sets.push_back(chosen);
    }
    return;
  }
  const LayerSet next = open & -open;
  FindMinimalSets(function, chosen | next, open & ~next, found);
  FindMinimalSets(function, chosen, open & ~next, found);
}

MinimalSets MinimalSetsOf(std::function<bool(LayerSet)> function, LayerSet all) {
  MinimalSets found;
  Function counted(std::move(function));
  FindMinimalSets(counted, 0, all, found);
  std::sort(found.sets.begin(), found.sets.end(), [](LayerSet a, LayerSet b) {
    return std::pair(std::popcount(a), a) < std::pair(std::popcount(b), b);
  });
  return found;
}

// Two sets that both meet the policy once each layer of `shared` is left to one of them.
using Pair = std::pair<LayerSet, LayerSet>;

std::optional<Pair> Divide(Function& met, LayerSet a, LayerSet b, LayerSet shared) {
  // Not even with all that is still shared on both sides.
  if (met.exhausted() || !met(a) || !met(b)) return std::nullopt;
  if (shared == 0) return Pair(a, b);
  const LayerSet next = shared & -shared;
  std::optional<Pair> divided = Divide(met, a, b & ~next, shared & ~next);
  return divided.has_value() ? divided : Divide(met, a & ~next, b, shared & ~next);
}

// Two sets that both meet the policy and share no exclusive layer.
struct Apart {
  std::optional<Pair> sets;
  bool decided = true;  // false: they were not found, and the search was cut
};

Apart FindApart(const Policy& policy) {
  const LayerSet all = AllLayers(policy);
  Function met([&policy](LayerSet set) { return policy.MetBy(set); });
  const std::optional<Pair> sets = Divide(met, all, all, ExclusiveLayers(policy));
  return {.sets = sets, .decided = sets.has_value() || !met.exhausted()};
}

Analysis::Safety SafetyOf(const Policy& policy, const Apart& apart) {
  if (!policy.veto() || apart.sets.has_value()) return Analysis::Safety::kUnsafe;
  return apart.decided ? Analysis::Safety::kSafe : Analysis::Safety::kUndecided;
}

LayerSet WithoutNeedless(const Policy& policy, LayerSet set) {
  for (LayerSet rest = set; rest != 0; rest &= rest - 1) {
    const LayerSet layer = rest & -rest;
    if (policy.MetBy(set & ~layer)) set &= ~layer;
  }
  return set;
}

// Of all pairs of `sets`, the one that shares the fewest layers of `exclusive`; of equal ones the
// smaller sets, and rather one set twice, which needs no difference between two processes.
Pair LeastSharing(const std::vector<LayerSet>& sets, LayerSet exclusive) {
  Pair best(sets.front(), sets.front());
  const auto rank = [&](LayerSet a, LayerSet b) {
    return std::tuple(std::popcount(a & b & exclusive), std::popcount(a) + std::popcount(b),
                      a != b);
  };
  auto best_rank = rank(best.first, best.second);
  for (std::size_t i = 0; i < sets.size(); ++i) {
    for (std::size_t j = i; j < sets.size(); ++j) {
      const auto candidate = rank(sets[i], sets[j]);
      if (candidate >= best_rank) continue;
      best_rank = candidate;
      best = Pair(sets[i], sets[j]);
    }
  }
  return best;
}

EventAnalysis AnalyseEvent(const Policy& policy, const EventInfo& event) {
  EventAnalysis analysis{.event = event};
  for (std::size_t i = 0; i < policy.layers().size(); ++i) {
    const LayerSpec& spec = policy.layers()[i];
    const LayerKind* kind = spec.kind;
    if (kind->effect == nullptr) continue;
    const Effect effect = kind->effect(event.event, spec.parameters);
    if (effect == Effect::kBlinds) analysis.blinded |= LayerSet{1} << i;
    if (effect == Effect::kUnavailable) analysis.unavailable |= LayerSet{1} << i;
  }
  const LayerSet all = AllLayers(policy);
  const LayerSet after = all & ~analysis.unavailable;
  if (MayBothHold(policy, all, after, all & ~analysis.blinded)) {
    analysis.consequence = Consequence::kDoubled;
  } else if (!policy.MetBy(after)) {
    analysis.consequence = Consequence::kRefused;
  }
  return analysis;
}

}  // namespace

std::string_view ToString(Consequence consequence) {
  switch (consequence) {
    case Consequence::kStarts:
      return "starts";
    case Consequence::kRefused:
      return "refused";
    case Consequence::kDoubled:
      return "doubled";
  }
  return "doubled";
}

LayerSet ExclusiveLayers(const Policy& policy) {
  LayerSet exclusive = 0;
  for (std::size_t i = 0; i < policy.layers().size(); ++i) {
    if (!policy.layers()[i].kind->observer) exclusive |= LayerSet{1} << i;
  }
  return exclusive;
}

bool MayBothHold(const Policy& policy, LayerSet works_for_a, LayerSet works_for_b,
                 LayerSet same_object) {
  const LayerSet shared = works_for_a & works_for_b & same_object & ExclusiveLayers(policy);
  // Whoever is Unique holds every layer that works for it, and so refuses who meets it at one.
  if (policy.veto()) return shared == 0 && policy.MetBy(works_for_a) && policy.MetBy(works_for_b);
  // Without the veto each makes do with what the other has left to it.
  Function met([&policy](LayerSet set) { return policy.MetBy(set); });
  return Divide(met, works_for_a, works_for_b, shared).has_value() || met.exhausted();
}

Analysis::Safety SafetyOf(const Policy& policy) {
  if (!policy.veto()) return Analysis::Safety::kUnsafe;
  return SafetyOf(policy, FindApart(policy));
}

Analysis Analyse(const Policy& policy) {
  const LayerSet all = AllLayers(policy);
  const LayerSet exclusive = ExclusiveLayers(policy);
  Analysis analysis;

  MinimalSets confirming = MinimalSetsOf([&](LayerSet set) { return policy.MetBy(set); }, all);
  analysis.minimal_sets = std::move(confirming.sets);
  analysis.minimal_sets_complete = confirming.complete;

  Apart apart = FindApart(policy);
  analysis.safety = SafetyOf(policy, apart);
  if (confirming.complete) {
    const Pair pair = LeastSharing(analysis.minimal_sets, exclusive);
    analysis.claims_to_destroy_at_worst = std::popcount(pair.first & pair.second & exclusive);
    if (apart.sets.has_value()) apart.sets = pair;
  }
  if (apart.sets.has_value()) {
    analysis.counter_example = Pair(WithoutNeedless(policy, apart.sets->first),
                                    WithoutNeedless(policy, apart.sets->second));
  }

  // The sets of layers without which nothing meets the policy: the same search on the dual.
  const MinimalSets breaking =
      MinimalSetsOf([&](LayerSet set) { return !policy.MetBy(all & ~set); }, all);
  if (breaking.complete) analysis.layers_to_break = std::popcount(breaking.sets.front());

  // With the veto any claim that is left refuses a newcomer.
  if (policy.veto()) {
    analysis.claims_to_destroy = std::popcount(exclusive);
  } else if (confirming.complete) {
    int fewest = std::popcount(exclusive);
    for (const LayerSet set : analysis.minimal_sets) {
      fewest = std::min(fewest, std::popcount(set & exclusive));
    }
    analysis.claims_to_destroy = fewest;
  }

  for (const EventInfo& event : Events()) {
    const EventAnalysis of_event = AnalyseEvent(policy, event);
    if ((of_event.blinded | of_event.unavailable) != 0) analysis.events.push_back(of_event);
  }
  for (const LayerSpec& spec : policy.layers()) {
    const LayerKind* kind = spec.kind;
    if (kind->caution == nullptr) continue;
    const std::string caution = kind->caution(spec.parameters);
    if (caution.empty()) continue;
    analysis.cautions.push_back(absl::StrCat(EscapeBytes(spec.ToString()), ": ", caution));
  }
  return analysis;
}

}  // namespace soleguard
