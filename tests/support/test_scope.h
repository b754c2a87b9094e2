// A scope of a test's own and the name "x" in it, under a policy.
#pragma once

#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <absl/strings/str_cat.h>
#include <absl/time/time.h>

#include "soleguard/guard.h"
#include "soleguard/layer.h"
#include "support/claimant.h"
#include "support/temp_dir.h"

namespace soleguard::testing {

class TestScope {
 public:
  static constexpr char kName[] = "x";

  explicit TestScope(std::string policy) : policy_(std::move(policy)) {}

  // The state directory is where a Claimant has it too: the two see the same tokens.
  Scope scope() const {
    return *Scope::Directory(path())->WithStateDirectory(absl::StrCat(path(), "/state"));
  }
  std::string path() const { return directory_ / "scope"; }
  // Of the name: "" is its directory.
  std::string Object(const std::string& file = "") const {
    return absl::StrCat(path(), "/names/", kName, file.empty() ? "" : "/", file);
  }
  const TempDir& directory() const { return directory_; }

  const std::string& policy() const { return policy_; }
  bool Asks(std::string_view layer) const {
    const std::vector<LayerSpec> layers = Policy::Parse(policy_)->layers();
    return std::any_of(layers.begin(), layers.end(),
                       [layer](const LayerSpec& spec) { return spec.kind->name == layer; });
  }

  Verdict Acquire(absl::Duration settle = absl::Seconds(1),
                  absl::Duration deadline = absl::Seconds(10)) const {
    return Guard::Acquire(kName, *Policy::Parse(policy_),
                          {.scope = scope(), .deadline = deadline, .settle = settle});
  }

  // Another process that acquires the name.
  Claimant::Setup Another(absl::Duration settle = absl::Seconds(1)) const {
    return {.scope = path(), .name = kName, .policy = policy_, .settle = settle};
  }

 private:
  const std::string policy_;
  TempDir directory_;
};

// "unique TOKEN", "duplicate PID STANDING" or "undetermined REASON", as Claimant::verdict.
inline std::string Say(const Verdict& verdict) {
  if (const auto* unique = std::get_if<Unique>(&verdict)) {
    return absl::StrCat("unique ", unique->guard.token().value_or(0));
  }
  if (const auto* duplicate = std::get_if<Duplicate>(&verdict)) {
    const Holder& holder = duplicate->holder;
    std::int64_t pid = holder.record.has_value() ? holder.record->identity.pid : 0;
    if (!holder.processes.empty()) pid = holder.processes.front().pid;
    return absl::StrCat("duplicate ", pid, " ", std::string(ToString(holder.standing)));
  }
  return absl::StrCat("undetermined ",
                      std::string(std::get<Undetermined>(verdict).status.message()));
}

inline bool IsUnique(const Verdict& verdict) { return std::holds_alternative<Unique>(verdict); }
inline bool IsDuplicate(const Verdict& verdict) {
  return std::holds_alternative<Duplicate>(verdict);
}

// "free", "taken by PID STANDING" or "unavailable REASON".
inline std::string Say(const Sighting& sighting) {
  if (const auto* taken = std::get_if<Taken>(&sighting)) {
    const Holder& holder = taken->holder;
    std::int64_t pid = holder.processes.empty() ? 0 : holder.processes.front().pid;
    if (holder.record.has_value()) pid = holder.record->identity.pid;
    return absl::StrCat("taken by ", pid, " ", std::string(ToString(holder.standing)));
  }
  if (const auto* unavailable = std::get_if<Unavailable>(&sighting)) {
    return absl::StrCat("unavailable ", std::string(unavailable->status.message()));
  }
  return "free";
}

// A policy as a part of a test's name: "all(file, scan)" is all_file_scan.
inline std::string TestNameOf(std::string_view policy) {
  std::string name;
  for (const char c : policy) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      name += c;
    } else if (!name.empty() && name.back() != '_') {
      name += '_';
    }
  }
  if (name.ends_with('_')) name.pop_back();
  return name;
}

}  // namespace soleguard::testing
