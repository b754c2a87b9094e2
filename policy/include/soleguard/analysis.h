// What a policy guarantees, computed from its text alone; the system is not looked at.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "soleguard/event.h"
#include "soleguard/policy.h"

namespace soleguard {

// The layers of a policy that exclude, so that one process at a time can hold each. Observers do
// not.
LayerSet ExclusiveLayers(const Policy& policy);

// Whether two processes can both be Unique at one time, when only the layers `works_for_a` work for
// the one and `works_for_b` for the other (all others are Unavailable to it), and of those only
// `same_object` are one kernel object to both. This covers any interleaving of their starts, and
// under veto=off also whatever a third process held meanwhile. False is a promise, provided that no
// claim is lost while its process runs. True may be too cautious where a policy with veto=off has
// so many layers that the search is cut.
bool MayBothHold(const Policy& policy, LayerSet works_for_a, LayerSet works_for_b,
                 LayerSet same_object);

// What follows from one event under a policy, for a holder that had every layer before it and a
// process that starts after it (or on its other side).
enum class Consequence {
  kStarts,   // while nobody holds the name it starts; a holder refuses it
  kRefused,  // nobody starts until it is mended, as too few layers work
  kDoubled,  // it can be Unique beside the holder
};
std::string_view ToString(Consequence consequence);  // "starts", "refused", "doubled"

struct EventAnalysis {
  EventInfo event;
  LayerSet blinded = 0;
  LayerSet unavailable = 0;
  Consequence consequence = Consequence::kStarts;
};

struct Analysis {
  // kSafe: every two sets of layers that meet the policy share an exclusive layer, and the veto is
  // on. So two instances exclude each other whatever layers are unavailable to the one and not to
  // the other, unless that shared layer is blinded. kUndecided: too many combinations of layers to
  // compute; treat it as kUnsafe.
  enum class Safety { kSafe, kUnsafe, kUndecided };
  Safety safety = Safety::kUndecided;
  // Two sets of layers that meet the policy and share no exclusive layer: the smallest where
  // minimal_sets is complete. Both are the same set when it has no exclusive layer.
  std::optional<std::pair<LayerSet, LayerSet>> counter_example;

  // The sets of layers that meet the policy and of which no layer can be left out, smaller ones
  // first. At most kMaxMinimalSets, fewer if the search was cut.
  static constexpr std::size_t kMaxMinimalSets = 1000;
  std::vector<LayerSet> minimal_sets;
  bool minimal_sets_complete = false;

  // The least number of layers that must be broken (Unavailable) before no start can be Unique; a
  // start survives one less. nullopt: too many combinations.
  std::optional<int> layers_to_break;

  // The least number of a holder's claims that must be destroyed before a newcomer can be Unique
  // beside it; 0: two may run as it is. Exclusion survives one less. nullopt: too many
  // combinations.
  std::optional<int> claims_to_destroy;           // when every layer works for both
  std::optional<int> claims_to_destroy_at_worst;  // when only a minimal set works for each

  // Each event that does something to a layer of the policy.
  std::vector<EventAnalysis> events;

  // What should be known about single layers, each as "LAYER: text".
  std::vector<std::string> cautions;
};

// Analysis::safety alone. Does not block; thread-safe. Microseconds for a policy of few layers and
// for any all(…); its time is bounded as that of Analyse.
Analysis::Safety SafetyOf(const Policy& policy);

// Does not block; thread-safe. Its time is bounded: a fraction of a second even for 32 layers, and
// the result says what was cut for that.
Analysis Analyse(const Policy& policy);

}  // namespace soleguard
