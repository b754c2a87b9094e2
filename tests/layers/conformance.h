// What the suites have in common that ask the same of every kind of layer.
#pragma once

#include <signal.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>

#include <absl/strings/str_cat.h>
#include <absl/time/time.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/process.h"
#include "soleguard/record.h"
#include "soleguard/registry.h"
#include "soleguard/scope.h"
#include "support/attempt.h"
#include "support/claimant.h"
#include "support/kinds.h"
#include "support/temp_dir.h"

namespace soleguard::testing {

inline HolderRecord Candidate(const Scope& scope) {
  HolderRecord record;
  record.name = "x";
  record.scope = scope.ToString();
  record.identity = *OwnIdentity();
  return record;
}

inline HolderRecord Established(const Scope& scope) {
  HolderRecord record = Candidate(scope);
  record.state = RecordState::kEstablished;
  return record;
}

// What starts the server of a remote layer in a system of namespaces, which reaches none outside;
// it ends with what this gives. Empty: the layers under test need none. A program that has such a
// layer sets it before its tests.
inline std::function<std::shared_ptr<void>()>& ServerOfSystem() {
  static std::function<std::shared_ptr<void>()> start;
  return start;
}

// "held", "pending", "contested PID STANDING", "unsettled" or "unavailable REASON".
inline std::string Say(const Attempt& attempt) {
  if (std::holds_alternative<Held>(attempt)) return "held";
  if (std::holds_alternative<Pending>(attempt)) return "pending";
  if (const auto* unavailable = std::get_if<Unavailable>(&attempt)) {
    return absl::StrCat("unavailable ", std::string(unavailable->status.message()));
  }
  const auto& contested = std::get<Contested>(attempt);
  if (contested.unsettled) return "unsettled";
  const Holder& holder = contested.holder;
  const std::int64_t pid = holder.record.has_value() ? holder.record->identity.pid : 0;
  return absl::StrCat("contested ", pid, " ", std::string(ToString(holder.standing)));
}

// A layer under test, in a scope of its own. The parameter is its kind. An observer excludes
// nobody: it is asked beside the first exclusive layer, whose behaviour it must not spoil.
class Conformance : public ::testing::TestWithParam<std::string> {
 protected:
  Claimant Start(const std::string& name = "x") {
    return Claimant({.scope = directory_.path(), .name = name, .policy = policy()});
  }
  static const LayerKind& kind() { return *FindLayerKind(GetParam()); }
  static std::string policy() {
    if (!kind().observer) return GetParam();
    return absl::StrCat("all(", std::string(CarrierKind().name), ", ", GetParam(), ")");
  }
  static std::unique_ptr<Layer> MakeIn(const Scope& scope, const std::string& name = "x") {
    return kind().make({.scope = scope, .name = *InstanceName::Parse(name), .kinds = LayerKinds()});
  }
  std::unique_ptr<Layer> Make(const std::string& name = "x") const { return MakeIn(scope(), name); }
  // Its outcome, which a server may take its time for.
  Attempt Try(const std::string& name = "x") const {
    return OutcomeOf(*Make(name), Candidate(scope()));
  }
  Scope scope() const { return *Scope::Directory(directory_.path()); }
  Verdict Acquire(absl::Duration settle = absl::Seconds(1)) const {
    return Guard::Acquire("x", *Policy::Parse(policy()), {.scope = scope(), .settle = settle});
  }
  bool IsFree() const {
    const Verdict verdict = Acquire();
    return std::holds_alternative<Unique>(verdict);
  }
  static void Kill(Claimant& claimant) {
    claimant.program().Signal(SIGKILL);
    (void)claimant.program().Wait();
  }

  const TempDir directory_;
};

}  // namespace soleguard::testing
