#include "soleguard/conflict.h"

#include <algorithm>
#include <utility>
#include <variant>

#include <absl/strings/str_cat.h>

#include "conflict_of.h"
#include "soleguard/inspect.h"
#include "soleguard/name.h"
#include "soleguard/options.h"
#include "soleguard/process.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

using Conclusion = ConflictReport::Conclusion;

bool IsSame(const Holder& a, const Holder& b) {
  return a.record.has_value() && b.record.has_value() && a.record->identity == b.record->identity;
}

// Whoever has a layer and is not the holder of the name: each claim lost to another instance.
std::vector<Suspect> Rivals(const std::vector<ConflictReport::LayerState>& layers,
                            const Holder& holder) {
  std::vector<Suspect> rivals;
  for (const ConflictReport::LayerState& layer : layers) {
    const auto* taken = std::get_if<Taken>(&layer.sighting);
    if (taken == nullptr || IsSame(taken->holder, holder)) continue;
    Suspect rival{.process = {}, .is_likely = true, .why = {}, .unseen = {}};
    if (taken->holder.record.has_value()) {
      const HolderRecord& record = *taken->holder.record;
      rival.process = record.running();
    } else if (!taken->holder.processes.empty()) {
      rival.process = taken->holder.processes.front();
    } else {
      continue;  // evidence of nobody in particular
    }
    rival.why.push_back(absl::StrCat("has layer ", EscapeBytes(layer.layer), " of this name (",
                                     std::string(ToString(taken->holder.standing)), ")"));
    const auto known = std::find_if(rivals.begin(), rivals.end(), [&](const Suspect& suspect) {
      return suspect.process == rival.process;
    });
    if (known == rivals.end()) {
      rivals.push_back(std::move(rival));
    } else {
      known->why.push_back(std::move(rival.why.front()));
    }
  }
  return rivals;
}

// One process, one suspect.
void Merge(std::vector<Suspect> rivals, std::vector<Suspect>& found) {
  for (Suspect& rival : rivals) {
    const auto known = std::find_if(found.begin(), found.end(), [&](const Suspect& suspect) {
      return suspect.process == rival.process;
    });
    if (known != found.end()) {
      rival.why.insert(rival.why.end(), known->why.begin(), known->why.end());
      found.erase(known);
    }
    found.insert(found.begin(), std::move(rival));
  }
}

std::vector<std::string> NextSteps(const InstanceName& name, const ConflictReport& report) {
  std::vector<std::string> next;
  const bool is_lost = std::any_of(
      report.layers.begin(), report.layers.end(),
      [](const auto& layer) { return layer.own.has_value() && absl::IsDataLoss(*layer.own); });
  if (is_lost) {
    next.emplace_back(
        "a layer of this process's claim is lost: repair it (Guard::Repair), or end "
        "this process before it does more");
  }
  for (const Suspect& suspect : report.search.found) {
    if (!suspect.is_likely) continue;
    if (!suspect.process.machine.empty()) {
      next.push_back(absl::StrCat("look at pid ", suspect.process.pid,
                                  " of another machine; if it is a second instance, end it there"));
      continue;
    }
    next.push_back(absl::StrCat("look at pid ", suspect.process.pid,
                                "; if it is a second instance, end it (kill ", suspect.process.pid,
                                ") and start it by guardcheck run ", EscapeBytes(name.text()),
                                " from now on, in the namespaces and as the user of the first"));
  }
  switch (report.conclusion) {
    case Conclusion::kFound:
      break;
    case Conclusion::kCannotTell:
      next.emplace_back("ask again as root and on the host itself, where everything can be seen");
      [[fallthrough]];
    case Conclusion::kNoneHere:
      next.emplace_back(
          "no other instance is to be seen here: look at every other host and container that has "
          "the key; if none is found, revoke the key and issue a new one to this instance alone");
      break;
  }
  return next;
}

}  // namespace

std::string_view ToString(Conclusion conclusion) {
  switch (conclusion) {
    case Conclusion::kNoneHere:
      return "none_here";
    case Conclusion::kFound:
      return "found";
    case Conclusion::kCannotTell:
      return "cannot_tell";
  }
  return "cannot_tell";
}

ConflictReport ConflictOf(const InstanceName& name, std::string_view complaint,
                          const Policy& policy, const Options& options, const OwnClaim* own) {
  ConflictReport report{.complaint = std::string(complaint)};
  Inspection inspection = Inspect(name, policy, options);
  if (const Holder* holder = inspection.holder()) report.holder = *holder;
  if (own != nullptr) {
    report.holder = Holder{.standing = Standing::kEstablished,
                           .record = own->record,
                           .processes = {},
                           .evidence = "this very process"};
  }
  for (Inspection::LayerSighting& layer : inspection.layers) {
    std::optional<absl::Status> verified;
    if (own != nullptr && own->layers.contains(layer.layer)) verified = own->layers.at(layer.layer);
    report.layers.push_back({.layer = std::move(layer.layer),
                             .sighting = std::move(layer.sighting),
                             .own = std::move(verified)});
  }

  Pattern pattern{.instance = {}, .subject = options.subject};
  if (report.holder.has_value() && report.holder->record.has_value()) {
    const HolderRecord& record = *report.holder->record;
    pattern.instance.push_back(record.running());
  }
  absl::StatusOr<SuspectSearch> search = FindSuspects(options.scope, name, pattern);
  report.searched = search.status();
  if (search.ok()) report.search = *std::move(search);
  if (report.holder.has_value()) {
    Merge(Rivals(report.layers, *report.holder), report.search.found);
  }

  const bool found = std::any_of(report.search.found.begin(), report.search.found.end(),
                                 [](const Suspect& suspect) { return suspect.is_likely; });
  if (found) {
    report.conclusion = Conclusion::kFound;
  } else if (report.searched.ok() && !report.search.is_blind) {
    report.conclusion = Conclusion::kNoneHere;
  }
  report.next = NextSteps(name, report);
  return report;
}

absl::StatusOr<ConflictReport> ReportConflict(std::string_view name, std::string_view complaint,
                                              const Policy& policy, const Options& options) {
  absl::StatusOr<InstanceName> instance = InstanceName::Parse(name);
  if (!instance.ok()) return instance.status();
  return ConflictOf(*instance, complaint, policy, options, nullptr);
}

}  // namespace soleguard
