#include "show/holder.h"

#include <optional>
#include <variant>

#include <absl/strings/str_format.h>

#include "show/words.h"
#include <soleguard/layer.h>
#include <soleguard/process.h>

namespace guardcheck {
namespace {

using soleguard::Holder;
using soleguard::HolderRecord;
using soleguard::LayerReport;
using soleguard::ProcessDescription;
using soleguard::ProcessIdentity;

Shown StateName(char state) {
  switch (state) {
    case 'R':
      return "running";
    case 'S':
      return "sleeping";
    case 'D':
      return "in an uninterruptible system call";
    case 'T':
      return "stopped";
    case 't':
      return "stopped by a debugger";
    case 'Z':
      return "zombie";
    default:
      return "unknown";
  }
}

void AddProcess(Lines& lines, const ProcessDescription& process) {
  lines.Add("started", Text(Stamp(process.started), " (", Age(process.started), " ago)"));
  lines.Add("user", Text(Escape(process.user), " (uid ", process.uid, ")"));
  lines.Add("executable", Escape(process.executable));
  lines.Add("command", CommandLine(process.argv));
  lines.Add("directory", Escape(process.working_directory));
  const bool frozen = soleguard::FreezeOf(process.identity) == soleguard::Freeze::kCgroup;
  lines.Add("state", Text(Escape({&process.state, 1}), " (", StateName(process.state), ")",
                          frozen ? ", frozen with its cgroup (a paused container)" : Shown()));
  lines.Add("cpu", Said(absl::StrFormat("%.1f %%", process.cpu_percent)));
  lines.Add("memory", Said(absl::StrFormat("%.1f MiB",
                                           static_cast<double>(process.memory_bytes) / (1 << 20))));
}

// Why there is no process to be described.
Shown StateOfUnseen(const HolderRecord& record, const ProcessIdentity& instance) {
  if (!instance.machine.empty()) {
    return Text("runs on another machine, ", Escape(record.hostname),
                ", and cannot be seen from here");
  }
  if (LivenessOf(instance) == soleguard::Liveness::kGone) return "has ended";
  return "cannot be seen from here";
}

void AddRecord(Lines& lines, const HolderRecord& record) {
  const ProcessIdentity& instance = record.running();
  Shown pid = Text(instance.pid);
  if (instance != record.identity) {
    const bool is_gone = LivenessOf(record.identity) == soleguard::Liveness::kGone;
    pid += Text(is_gone ? ", was" : Shown(","), " guarded by guardcheck, pid ", record.identity.pid,
                is_gone ? ", which is gone" : Shown());
  }
  lines.Add("pid", pid);
  if (const std::optional<ProcessDescription> process = Live(instance)) {
    AddProcess(lines, *process);
  } else {
    // Another pid namespace, or just ended: what the holder said of itself.
    if (!record.is_newer()) {
      lines.Add("started", Stamp(record.started));
      lines.Add("user", Escape(record.user));
      lines.Add("executable", Escape(record.executable));
      lines.Add("directory", Escape(record.working_directory));
    }
    lines.Add("state", StateOfUnseen(record, instance));
  }
  if (record.token != 0) lines.Add("token", Text(record.token));
  if (record.is_newer()) {
    lines.Add("guarded by",
              Text(Said(soleguard::NewerSoleguard(record)), ", version ", Escape(record.version)));
    return;
  }
  lines.Add("policy", Escape(record.policy));
  lines.Add("host", Escape(record.hostname));
}

// One of the processes that may be the holder.
Shown SuspectText(const Holder& holder, const ProcessIdentity& process) {
  const bool orphaned = holder.record.has_value() && holder.record->instance == process;
  Shown why = " (has the lock; no record names it)";
  if (holder.standing == soleguard::Standing::kUnguarded) {
    why = " (runs without a guard: it never asked for the name)";
  } else if (orphaned) {
    why = Text(", was guarded by guardcheck, pid ", holder.record->identity.pid, ", which is gone");
  }
  Lines lines;
  lines.Add("pid", Text(process.pid, why));
  if (const auto live = Live(process)) AddProcess(lines, *live);
  if (orphaned && holder.record->token != 0) lines.Add("token", Text(holder.record->token));
  return lines.text();
}

// What a person waits for whose holder is on another machine, or gone.
Shown LeaseText(const Holder& holder) {
  const Shown in = Text("runs out in ", holder.free_at->SecondsLeft(), " s");
  if (holder.standing != soleguard::Standing::kLapsing) {
    return Text(in, ", if the holder does not renew it");
  }
  return Text(in, ": its holder is gone, and the name is free then");
}

// "what was seen; the holder is established".
Shown SeenHolder(const Holder& holder) {
  return Text(Said(holder.evidence), "; the holder is ", WordOf(holder.standing),
              Said(FreeAtTheLatest(holder)));
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
  if (holder.standing != soleguard::Standing::kUnknown && holder.record.has_value()) {
    Lines lines;
    AddRecord(lines, *holder.record);
    if (holder.free_at.has_value()) lines.Add("lease", LeaseText(holder));
    return lines.text();
  }
  Shown text;
  for (const ProcessIdentity& process : holder.processes) text += SuspectText(holder, process);
  if (!text.empty()) return text;
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
    const Shown said =
        layer.holder.has_value() ? SeenHolder(*layer.holder) : Said(layer.status.message());
    const Shown line = Text(WordOf(layer.outcome), said.empty() ? Shown() : ": ", said);
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
              taken != nullptr ? Text("taken: ", SeenHolder(taken->holder)) : Shown("free"));
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
