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

Shown Behind(const std::vector<std::string>& command) {
  return command.empty() ? Shown() : Text(" -- ", ShellWords(command));
}

}  // namespace

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
Shown NextSteps(const std::string& name, const Common& common, const Holder& holder,
                const std::vector<Holder>& others, const std::vector<std::string>& command) {
  Shown text = "What you can do\n";
  const Shown where = Text(ShellWord(name), Where(common));
  if (holder.standing == soleguard::Standing::kUnguarded) {
    return Text(text, "  guardcheck stop ", where, " --duplicates", Behind(command),
                "\n      ends it, and waits until it has ended\n");
  }
  text += Text("  guardcheck status ", where, "\n      shows it again\n");
  if (CanBeStopped(holder)) {
    text += Text("  guardcheck stop ", where,
                 "\n      asks it to end, and waits until the name is free; then start again\n");
    if (!command.empty() && others.empty()) {
      text += Text("  guardcheck run ", where, " --replace", Behind(command),
                   "\n      asks it to end, and starts with nobody in between; kills it after "
                   "10s\n");
    }
  } else if (!holder.processes.empty()) {
    std::vector<Shown> pids;
    for (const ProcessIdentity& process : holder.processes) pids.push_back(Text(process.pid));
    text += Text("  kill ", Join(pids, " "),
                 "\n      if that is the instance: no record says so, so guardcheck stop would not "
                 "signal it\n");
  }
  if (!others.empty()) {
    text += Text("  guardcheck run ", where, " --slots ", others.size() + 2, Behind(command),
                 "\n      lets one more run\n");
  }
  return text;
}

}  // namespace guardcheck
