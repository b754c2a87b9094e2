#include "show/holder.h"

#include <optional>
#include <variant>

#include "show/words.h"
#include <soleguard/layer.h>
#include <soleguard/process.h>
#include <soleguard/verdict_text.h>

namespace guardcheck {
namespace {

using soleguard::Fact;
using soleguard::Holder;
using soleguard::LayerReport;
using soleguard::ProcessFacts;
using soleguard::ProcessIdentity;

// A process, with what it was started with: that may be shown here, as it is masked.
void AddProcess(Lines& lines, const ProcessFacts& process) {
  for (const Fact& fact : process.facts) {
    lines.Add(Said(fact.key), Said(fact.value));
    const bool is_behind = fact.key == "executable" && process.process.has_value();
    if (is_behind) lines.Add("command", CommandLine(process.process->argv));
  }
}

// What each layer says, a line each; one line for all that give the same reason why they are not
// available.
class LayerLines {
 public:
  void Add(const std::string& layer, const Shown& said) {
    lines_.push_back({.layers = Escape(layer), .said = said});
  }
  void AddReason(const std::string& layer, const Shown& reason) {
    for (Line& line : lines_) {
      if (!line.is_reason || !(line.said == reason)) continue;
      line.layers += Text(", ", Escape(layer));
      return;
    }
    lines_.push_back({.layers = Escape(layer), .said = reason, .is_reason = true});
  }
  Shown text() const {
    Shown text;
    for (const Line& line : lines_) {
      text += Text("  ", Padded(line.layers, 11), " ", line.said, "\n");
    }
    return text;
  }

 private:
  struct Line {
    Shown layers;
    Shown said;
    bool is_reason = false;
  };
  std::vector<Line> lines_;
};

// Under which policy the holder was started; nullopt when no record of it says so.
std::optional<std::string> PolicyOf(const Holder& holder) {
  if (holder.standing == soleguard::Standing::kUnknown || !holder.record.has_value() ||
      holder.record->is_newer()) {
    return std::nullopt;
  }
  return holder.record->policy;
}

// Whether `guardcheck stop` finds somebody to ask: a process that the record names and that can be
// seen from here.
bool CanBeStopped(const Holder& holder) {
  if (!holder.record.has_value()) return false;
  const soleguard::Liveness owner = LivenessOf(holder.record->identity);
  if (owner != soleguard::Liveness::kGone) return owner != soleguard::Liveness::kUnknown;
  const auto& guardian = holder.record->guardian;
  return LivenessOf(holder.record->running()) == soleguard::Liveness::kAlive ||
         (guardian.has_value() && LivenessOf(*guardian) == soleguard::Liveness::kAlive);
}

// The options that name the slot of a holder, where there are several.
std::vector<std::string> SlotOption(const Holder& holder, const SlotLimits& limits) {
  if (limits.slots == 1 || !holder.record.has_value()) return {};
  return {"--slot", std::to_string(holder.record->slot)};
}

Shown ProposedReplacement(const Call& call) {
  const bool has_grace = call.Says("--replace");
  return ProposalText(
      call,
      {.command = "run",
       .options = has_grace ? std::vector<std::string>() : std::vector<std::string>{"--replace"},
       .has_command = true,
       .what = Text("asks it to end, and starts with nobody in between; kills it after ",
                    has_grace ? Shown("that time") : "10s")});
}

// To end what runs without a guard. `stop` would end the instances of all slots as well.
Shown ProposedEndOfCopies(const Call& call, const SlotLimits& limits) {
  if (limits.slots == 1) {
    return ProposalText(call, {.command = "stop",
                               .options = {"--duplicates"},
                               .has_command = true,
                               .what = "ends it, and waits until it has ended"});
  }
  return ProposalText(call, {.command = "watch",
                             .options = {"--once", "--auto-kill", "--keep", "holder"},
                             .has_command = true,
                             .what = "ends what runs without a guard, and no holder"});
}

}  // namespace

std::optional<ProcessIdentity> RunningProcessOf(const Holder& holder) {
  if (holder.standing != soleguard::Standing::kUnknown && holder.record.has_value()) {
    return holder.record->running();
  }
  if (holder.processes.empty()) return std::nullopt;
  return holder.processes.front();
}

Shown OverdueText(const Holder& holder) {
  const bool is_overdue = holder.beat.has_value() && holder.beat->is_overdue();
  return is_overdue ? Said(BeatText(*holder.beat)) : Shown();
}

Shown HolderText(const Holder& holder) {
  Lines lines;
  for (const ProcessFacts& process : FactsOf(holder)) AddProcess(lines, process);
  if (!lines.text().empty()) return lines.text();
  return "  No record names a live process, and no process that this user may look into shows the "
         "lock.\n";
}

Shown HoldersText(const Holder& first, const std::vector<Holder>& others) {
  if (others.empty()) return HolderText(first);
  Shown text;
  for (std::size_t i = 0; i <= others.size(); ++i) {
    const Holder& holder = i == 0 ? first : others[i - 1];
    Lines slot;
    if (holder.record.has_value()) slot.Add("slot", Text(holder.record->slot));
    text += Text(i == 0 ? Shown() : "\n", slot.text(), HolderText(holder));
  }
  return text;
}

Shown EvidenceText(const std::vector<LayerReport>& layers) {
  LayerLines lines;
  for (const LayerReport& layer : layers) {
    const Shown line = Said(LayerText(layer));
    if (layer.outcome == LayerReport::Outcome::kUnavailable) {
      lines.AddReason(layer.layer, line);
    } else {
      lines.Add(layer.layer, line);
    }
  }
  return lines.text();
}

Shown SightingsText(const soleguard::Inspection& inspection) {
  LayerLines lines;
  for (const auto& layer : inspection.layers) {
    if (const auto* unavailable = std::get_if<soleguard::Unavailable>(&layer.sighting)) {
      lines.AddReason(layer.layer, Text("cannot tell: ", Said(unavailable->status.message())));
      continue;
    }
    const auto* taken = std::get_if<soleguard::Taken>(&layer.sighting);
    lines.Add(layer.layer,
              taken != nullptr ? Text("taken: ", Said(SeenText(taken->holder))) : Shown("free"));
  }
  return lines.text();
}

Shown InSlots(const std::vector<Holder>& others) {
  return others.empty() ? Shown() : Text(" in all ", others.size() + 1, " slots");
}

Shown PolicyText(const Common& common, const Holder& holder) {
  const std::optional<std::string> policy = PolicyOf(holder);
  if (!policy.has_value() || *policy == common.policy.ToString()) return "";
  return Text("\nIt was started under policy ", Escape(*policy), ", this start under ",
              Escape(common.policy.ToString()),
              ".\nBoth must use the same: only then do they exclude each other for certain.\n");
}

std::optional<bool> HasSamePolicy(const Common& common, const Holder& holder) {
  const std::optional<std::string> policy = PolicyOf(holder);
  if (!policy.has_value()) return std::nullopt;
  return *policy == common.policy.ToString();
}

// Only commands that exist and work as they stand, and never "delete the lock file".
Shown NextSteps(const Call& call, const SlotLimits& limits, const Holder& holder) {
  const Shown title = "What you can do\n";
  if (holder.standing == soleguard::Standing::kUnguarded) {
    return Text(title, ProposedEndOfCopies(call, limits));
  }
  Shown text = Text(title, ProposalText(call, {.command = "status", .what = "shows it again"}));
  const std::vector<std::string> slot = SlotOption(holder, limits);
  if (CanBeStopped(holder)) {
    text += ProposalText(
        call,
        {.command = "stop",
         .options = slot,
         .what = Text("asks ", slot.empty() ? Shown("it") : Text("that of slot ", Said(slot[1])),
                      " to end, and waits until ", slot.empty() ? Shown("the name") : "the slot",
                      " is free; then start again")});
    if (!call.command.empty() && limits.slots == 1) text += ProposedReplacement(call);
  } else if (!holder.processes.empty()) {
    std::vector<Shown> pids;
    for (const ProcessIdentity& process : holder.processes) pids.push_back(Text(process.pid));
    text += Text("  kill ", Join(pids, " "),
                 "\n      if that is the instance: no record says so, so guardcheck stop would not "
                 "signal it\n");
  }
  if (limits.slots > 1 && limits.slots < limits.most && !call.command.empty()) {
    text += ProposalText(call, {.command = "run",
                                .options = {"--slots", std::to_string(limits.slots + 1)},
                                .without = {"--slots"},
                                .has_command = true,
                                .what = "lets one more run"});
  }
  return text;
}

}  // namespace guardcheck
