// Policy text: which layers must confirm before a process is the only instance.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "soleguard/layer.h"

namespace soleguard {

// One layer that a policy names, with its parameters.
struct LayerSpec {
  const LayerKind* kind = nullptr;  // never null in a policy
  LayerParameters parameters;

  // Canonical text: parameters sorted by key, values quoted only where they must be.
  std::string ToString() const;
  friend bool operator==(const LayerSpec&, const LayerSpec&) = default;
};

// A set of a policy's layers: bit i stands for layers()[i]. A policy has at most 32.
using LayerSet = std::uint32_t;

struct NamedPolicy;

// A monotone expression over layers. Immutable, cheap to copy, thread-safe.
//
//   text      = named | policy
//   named     = "default" | "strict" | "available"
//   policy    = layer | "all" "(" list ")" | "any" "(" list ")"
//             | "at_least" "(" number "," list ")"
//   list      = policy { "," policy } [ "," "veto" "=" "off" ]
//   layer     = kind [ "(" parameter { "," parameter } ")" ]
//   parameter = [ key "=" ] value
//   kind      = word
//   key       = any run of a-z, 0-9 and _
//   value     = word  |  '"' … '"' with \" and \\ inside
//   word      = any run of bytes but blanks , ( ) = " and control characters
//
// Blanks (space, tab) may stand between any two of these. A number is 1 to the length of its list.
// veto=off may end the list of the outermost group only, and is not a member of it. A named policy
// stands alone, and is replaced by what it stands for.
class Policy {
 public:
  // InvalidArgument names the column (from 1, in bytes), what was expected there and what was
  // found. `text` may be hostile: at most 4,096 bytes (as given and in canonical form), 32 levels
  // and 32 different layers.
  static absl::StatusOr<Policy> Parse(std::string_view text);

  // The named policy `default`: `all(file, mutex, port)`. It has no observer, because only somebody
  // who knows the program can say what an instance looks like.
  static Policy Default();

  // All named policies. docs/guarantees.md says what each is for.
  static std::vector<NamedPolicy> Named();

  // Canonical text: Parse(p.ToString()) equals p. For a named policy it is what the name stands
  // for.
  std::string ToString() const;

  // Every layer that the policy names, each once, in the canonical order in which processes try
  // them.
  const std::vector<LayerSpec>& layers() const { return layers_; }

  // Whether the policy is met when `confirmed[i]` says that layers()[i] confirms; a missing entry
  // says that it does not. A further confirmation never turns a policy that is met into one that is
  // not.
  bool MetBy(const std::vector<bool>& confirmed) const;
  bool MetBy(LayerSet confirmed) const;

  // Whether evidence of another live instance refuses a start, however many layers confirm. False
  // only with veto=off, which is unsafe: one layer's confirmation may then outvote what another has
  // seen.
  bool veto() const { return veto_; }

  friend bool operator==(const Policy& a, const Policy& b) { return a.ToString() == b.ToString(); }

  // One node of the expression: a leaf (index into layers()) or "at least k of children".
  struct Node;  // in policy.cc

 private:
  Policy(std::shared_ptr<const Node> root, std::vector<LayerSpec> layers, bool veto);

  std::shared_ptr<const Node> root_;
  std::vector<LayerSpec> layers_;
  bool veto_;
};

// A policy that has a name in policy text.
struct NamedPolicy {
  std::string_view name;
  Policy policy;
};

}  // namespace soleguard
