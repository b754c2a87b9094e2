#include "soleguard/census.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <variant>

#include <absl/strings/str_cat.h>

#include "soleguard/inspect.h"
#include "soleguard/name.h"
#include "soleguard/names.h"
#include "soleguard/options.h"
#include "soleguard/process.h"
#include "soleguard/registry.h"
#include "soleguard/subject.h"

namespace soleguard {
namespace {

void AddHolder(const HolderRecord& record, std::vector<HolderRecord>& holders) {
  const auto is_same = [&](const HolderRecord& known) { return known.identity == record.identity; };
  if (std::none_of(holders.begin(), holders.end(), is_same)) holders.push_back(record);
}

// What the holder's process runs, if it can be seen from here.
Subject SubjectOf(const std::vector<HolderRecord>& holders) {
  Subject subject;
  for (const HolderRecord& holder : holders) {
    const ProcessIdentity& instance = holder.running();
    if (LivenessOf(instance) != Liveness::kAlive) continue;
    subject.process = instance;
    return subject;
  }
  subject.unknown = true;
  return subject;
}

// The observers of the policy or, where it has none, all that there are.
std::vector<std::unique_ptr<Layer>> Observers(const Policy& policy, const Options& options,
                                              const InstanceName& name, const Subject& subject) {
  std::vector<LayerSpec> specs;
  for (const LayerSpec& spec : policy.layers()) {
    if (spec.kind->observer) specs.push_back(spec);
  }
  if (specs.empty()) {
    for (const LayerKind& kind : LayerKinds()) {
      if (kind.observer) specs.push_back({.kind = &kind, .parameters = {}});
    }
  }
  std::vector<std::unique_ptr<Layer>> observers;
  for (const LayerSpec& spec : specs) {
    if (subject.unknown && spec.parameters.empty()) continue;  // not said what to look for
    observers.push_back(spec.kind->make({.scope = options.scope,
                                         .name = name,
                                         .parameters = spec.parameters,
                                         .subject = subject,
                                         .settle = options.settle,
                                         .kinds = LayerKinds()}));
  }
  return observers;
}

// The nearest of `copies` that `process` descends from, itself left out.
std::optional<std::size_t> ParentAmong(const ProcessIdentity& process,
                                       const std::vector<Copy>& copies) {
  constexpr int kMaxDepth = 1000;
  ProcessIdentity at = process;
  for (int depth = 0; depth < kMaxDepth; ++depth) {
    const absl::StatusOr<ProcessDescription> description = Describe(at);
    if (!description.ok()) return std::nullopt;
    const absl::StatusOr<ProcessIdentity> parent = IdentityOf(description->parent_pid);
    // The race: the parent ended, and its pid is another's. Whoever started later is no parent.
    if (!parent.ok() || parent->start_ticks > at.start_ticks) return std::nullopt;
    for (std::size_t i = 0; i < copies.size(); ++i) {
      if (copies[i].process == *parent) return i;
    }
    at = *parent;
  }
  return std::nullopt;
}

// Who has the name without a record that says so, as far as it is known: an instance whose
// guardcheck and guardian were both killed still holds it.
std::vector<Copy> Holding(const std::vector<Holder>& unknown) {
  std::vector<Copy> holding;
  const auto add = [&holding](const ProcessIdentity& process) {
    holding.push_back({.process = process, .workers = {}, .evidence = ""});
  };
  for (const Holder& holder : unknown) {
    for (const ProcessIdentity& process : holder.processes) add(process);
    if (!holder.record.has_value()) continue;
    add(holder.record->identity);
    if (holder.record->instance.has_value()) add(*holder.record->instance);
  }
  return holding;
}

// A program with workers is one instance: what a copy has forked is put to it.
std::vector<Copy> Grouped(std::vector<Copy> all) {
  std::sort(all.begin(), all.end(), [](const Copy& a, const Copy& b) {
    return std::pair(a.process.start_ticks, a.process.pid) <
           std::pair(b.process.start_ticks, b.process.pid);
  });
  std::vector<Copy> copies;
  std::vector<ProcessIdentity> workers;
  std::vector<std::size_t> roots;  // of each worker, as its place in `all`
  std::map<std::size_t, std::size_t> place;
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::optional<std::size_t> root = ParentAmong(all[i].process, all);
    if (!root.has_value()) {
      place[i] = copies.size();
      copies.push_back(all[i]);
      continue;
    }
    while (const std::optional<std::size_t> above = ParentAmong(all[*root].process, all)) {
      root = above;
    }
    workers.push_back(all[i].process);
    roots.push_back(*root);
  }
  for (std::size_t i = 0; i < workers.size(); ++i) {
    const auto root = place.find(roots[i]);
    if (root == place.end()) {  // it ended between two looks
      copies.push_back({.process = workers[i], .workers = {}, .evidence = ""});
    } else {
      copies[root->second].workers.push_back(workers[i]);
    }
  }
  return copies;
}

// The name, and its other slots that have objects.
std::vector<InstanceName> SlotsOf(const Scope& scope, const InstanceName& name) {
  absl::StatusOr<std::vector<InstanceName>> slots = KnownSlots(scope, name);
  // What keeps the slots from being listed keeps a layer from looking, which says so.
  if (!slots.ok() || slots->empty()) return {name};
  return *std::move(slots);
}

// Whom the layers of one slot show.
void AddSlot(const Inspection& inspection, Census& census) {
  const std::size_t before = census.holders.size();
  std::optional<Holder> unknown;
  for (const Inspection::LayerSighting& layer : inspection.layers) {
    if (const auto* unavailable = std::get_if<Unavailable>(&layer.sighting)) {
      census.blind = absl::Status(unavailable->status.code(),
                                  absl::StrCat(layer.layer, ": ", unavailable->status.message()));
    }
    const auto* taken = std::get_if<Taken>(&layer.sighting);
    if (taken == nullptr || taken->holder.standing == Standing::kUnguarded) continue;
    if (taken->holder.standing == Standing::kEstablished && taken->holder.record.has_value()) {
      AddHolder(*taken->holder.record, census.holders);
    } else if (!unknown.has_value()) {  // what several layers see is one
      unknown = taken->holder;
    }
  }
  if (unknown.has_value() && census.holders.size() == before) {
    census.unknown.push_back(*std::move(unknown));
  }
}

}  // namespace

std::size_t Census::duplicates() const {
  std::set<std::uint32_t> slots;
  for (const HolderRecord& holder : holders) slots.insert(holder.slot);
  // Each slot may have one holder. Whoever has no record has a slot of its own, too.
  const std::size_t allowed = std::max<std::size_t>(slots.size() + unknown.size(), 1);
  const std::size_t running = holders.size() + unknown.size() + copies.size();
  return running - std::min(running, allowed);
}

absl::StatusOr<Census> TakeCensus(std::string_view name, const Policy& policy,
                                  const Options& options) {
  const absl::StatusOr<InstanceName> instance = InstanceName::Parse(name);
  if (!instance.ok()) return instance.status();
  Census census;
  Options looking = options;
  looking.subject = {};
  looking.subject.unknown = true;  // the observers are asked below, for everybody
  for (const InstanceName& slot : SlotsOf(options.scope, *instance)) {
    AddSlot(Inspect(slot, policy, looking), census);
  }

  census.subject = options.subject;
  if (census.subject.unknown) census.subject = SubjectOf(census.holders);
  std::vector<Copy> all;
  const std::vector<std::unique_ptr<Layer>> observers =
      Observers(policy, options, *instance, census.subject);
  if (observers.empty() && census.blind.ok()) {
    census.blind = absl::FailedPreconditionError(
        "nobody holds the name, and it was not said what an instance looks like: a command behind "
        "--, or a policy with scan(cmdline=…)");
  }
  for (const std::unique_ptr<Layer>& observer : observers) {
    const absl::StatusOr<std::vector<Holder>> everybody = observer->LookAtAll();
    if (!everybody.ok()) {
      census.blind = absl::Status(
          everybody.status().code(),
          absl::StrCat(std::string(observer->text()), ": ", everybody.status().message()));
      continue;
    }
    for (const Holder& seen : *everybody) {
      if (seen.standing == Standing::kEstablished && seen.record.has_value()) {
        AddHolder(*seen.record, census.holders);
      }
      if (seen.processes.empty()) continue;
      const ProcessIdentity& process = seen.processes.front();
      const auto is_known = [&](const Copy& known) { return known.process == process; };
      if (seen.standing == Standing::kUnguarded && std::none_of(all.begin(), all.end(), is_known)) {
        all.push_back({.process = process, .workers = {}, .evidence = seen.evidence});
      } else if (seen.standing == Standing::kUnknown) {
        census.young.push_back(process);
      }
    }
  }
  const std::vector<Copy> holding = Holding(census.unknown);
  std::erase_if(all, [&holding](const Copy& copy) {
    const auto is_same = [&copy](const Copy& other) { return other.process == copy.process; };
    return std::any_of(holding.begin(), holding.end(), is_same) ||
           ParentAmong(copy.process, holding).has_value();
  });
  census.copies = Grouped(std::move(all));
  return census;
}

}  // namespace soleguard
