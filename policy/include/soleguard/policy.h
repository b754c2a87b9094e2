// Policy text: which layers must confirm before a process is the only instance.
#pragma once

#include <cstddef>
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
  std::string kind;
  LayerParameters parameters;

  // Canonical text: parameters sorted by key, values quoted only where they must be.
  std::string ToString() const;
  friend bool operator==(const LayerSpec&, const LayerSpec&) = default;
};

// A monotone expression over layers. Immutable, cheap to copy, thread-safe.
//
//   policy    = layer | "all" "(" list ")" | "any" "(" list ")"
//             | "at_least" "(" number "," list ")"
//   list      = policy { "," policy }
//   layer     = kind [ "(" parameter { "," parameter } ")" ]
//   parameter = [ key "=" ] value
//   kind      = word
//   key       = any run of a-z, 0-9 and _
//   value     = word  |  '"' … '"' with \" and \\ inside
//   word      = any run of bytes but blanks , ( ) = " and control characters
//
// Blanks (space, tab) may stand between any two of these. A number is 1 to the length of its list.
class Policy {
 public:
  // InvalidArgument names the column (from 1, in bytes), what was expected there and what was
  // found. `text` may be hostile: at most 4,096 bytes (as given and in canonical form), 32 levels
  // and 32 different layers.
  static absl::StatusOr<Policy> Parse(std::string_view text);

  // Every exclusive layer built so far must confirm. Observers are left out: what an instance looks
  // like is for who knows the program to say.
  static Policy Default();

  // Canonical text: Parse(p.ToString()) equals p.
  std::string ToString() const;

  // Every layer that is named, each once, in the canonical order in which processes try them.
  const std::vector<LayerSpec>& layers() const { return layers_; }

  // Whether the policy is met when `confirmed[i]` says that layers()[i] confirms; a missing entry
  // says that it does not. One more confirmation never makes a policy that is met unmet.
  bool MetBy(const std::vector<bool>& confirmed) const;

  friend bool operator==(const Policy& a, const Policy& b) { return a.ToString() == b.ToString(); }

  // One node of the expression: a leaf (index into layers()) or "at least k of children".
  struct Node;  // in policy.cc

 private:
  Policy(std::shared_ptr<const Node> root, std::vector<LayerSpec> layers);

  std::shared_ptr<const Node> root_;
  std::vector<LayerSpec> layers_;
};

}  // namespace soleguard
