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

Shown LayerLine(const std::string& layer, const Shown& said) {
  return Text("  ", Padded(Escape(layer), 11), " ", said, "\n");
}

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
  Shown text;
  for (const LayerReport& layer : layers) {
    const Shown said =
        layer.holder.has_value() ? SeenHolder(*layer.holder) : Said(layer.status.message());
    text +=
        LayerLine(layer.layer, Text(WordOf(layer.outcome), said.empty() ? Shown() : ": ", said));
  }
  return text;
}

Shown SightingsText(const soleguard::Inspection& inspection) {
  Shown text;
  for (const auto& layer : inspection.layers) {
    Shown said = "free";
    if (const auto* taken = std::get_if<soleguard::Taken>(&layer.sighting)) {
      said = Text("taken: ", SeenHolder(taken->holder));
    } else if (const auto* unavailable = std::get_if<soleguard::Unavailable>(&layer.sighting)) {
      said = Text("cannot tell: ", Said(unavailable->status.message()));
    }
    text += LayerLine(layer.layer, said);
  }
  return text;
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
