#include "soleguard/verdict_text.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <variant>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/string_view.h>
#include <absl/time/clock.h>

#include "soleguard/guard.h"
#include "soleguard/record.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

constexpr std::size_t kKeyWidth = 11;

// What another part of the library says has escaped its foreign bytes. A layer of somebody else's
// may have forgotten to.
std::string Said(absl::string_view text) {
  return EscapeBytes(UnescapeBytes({text.data(), text.size()}));
}
std::string Said(const absl::Status& status) { return Said(status.message()); }

std::string_view StateName(char state) {
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

std::string StateOf(const ProcessDescription& process) {
  const bool frozen = FreezeOf(process.identity) == Freeze::kCgroup;
  return absl::StrCat(EscapeBytes({&process.state, 1}), " (", std::string(StateName(process.state)),
                      ")", frozen ? ", frozen with its cgroup (a paused container)" : "");
}

std::string WithOneDecimal(double number) {
  const auto tenths = static_cast<std::int64_t>(std::llround(number * 10));
  return absl::StrCat(tenths / 10, ".", tenths % 10);
}

// One whose value is empty is left out.
void Add(ProcessFacts& to, std::string key, std::string value) {
  if (!value.empty()) to.facts.push_back({.key = std::move(key), .value = std::move(value)});
}

// Reads it now, of that very process.
void AddLive(ProcessFacts& to, const ProcessIdentity& identity) {
  absl::StatusOr<ProcessDescription> description = Describe(identity);
  if (!description.ok()) return;
  to.process = *std::move(description);
  const ProcessDescription& process = *to.process;
  Add(to, "started",
      absl::StrCat(TimeText(process.started), " (", AgeText(process.started), " ago)"));
  Add(to, "user", absl::StrCat(EscapeBytes(process.user), " (uid ", process.uid, ")"));
  Add(to, "executable", EscapeBytes(process.executable));
  Add(to, "directory", EscapeBytes(process.working_directory));
  Add(to, "state", StateOf(process));
  Add(to, "cpu", absl::StrCat(WithOneDecimal(process.cpu_percent), " %"));
  const double mebibytes = static_cast<double>(process.memory_bytes) / (1 << 20);
  Add(to, "memory", absl::StrCat(WithOneDecimal(mebibytes), " MiB"));
}

// Why there is no process to be described.
std::string StateOfUnseen(const HolderRecord& record, const ProcessIdentity& instance) {
  if (!instance.machine.empty()) {
    return absl::StrCat("runs on another machine, ", EscapeBytes(record.hostname),
                        ", and cannot be seen from here");
  }
  if (LivenessOf(instance) == Liveness::kGone) return "has ended";
  return "cannot be seen from here";
}

// Another pid namespace, or just ended: what the holder said of itself.
void AddUnseen(ProcessFacts& to, const HolderRecord& record) {
  if (!record.is_newer()) {
    Add(to, "started", TimeText(record.started));
    Add(to, "user", EscapeBytes(record.user));
    Add(to, "executable", EscapeBytes(record.executable));
    Add(to, "directory", EscapeBytes(record.working_directory));
  }
  Add(to, "state", StateOfUnseen(record, record.running()));
}

// Behind the pid of a command.
std::string GuardedBy(const HolderRecord& record) {
  if (record.running() == record.identity) return "";
  const bool is_gone = LivenessOf(record.identity) == Liveness::kGone;
  return absl::StrCat(is_gone ? ", was" : ",", " guarded by guardcheck, pid ", record.identity.pid,
                      is_gone ? ", which is gone" : "");
}

// What a person waits for whose holder is on another machine, or gone.
std::string LeaseText(const Holder& holder) {
  return absl::StrCat("runs out in ", holder.free_at->SecondsLeft(), " s",
                      holder.standing == Standing::kLapsing
                          ? ": its holder is gone, and the name is free then"
                          : ", if the holder does not renew it");
}

ProcessFacts OfRecord(const Holder& holder) {
  const HolderRecord& record = *holder.record;
  ProcessFacts facts;
  Add(facts, "pid", absl::StrCat(record.running().pid, GuardedBy(record)));
  AddLive(facts, record.running());
  if (!facts.process.has_value()) AddUnseen(facts, record);
  if (record.token != 0) Add(facts, "token", absl::StrCat(record.token));
  if (record.is_newer()) {
    Add(facts, "guarded by",
        absl::StrCat(NewerSoleguard(record), ", version ", EscapeBytes(record.version)));
  } else {
    Add(facts, "policy", EscapeBytes(record.policy));
    Add(facts, "host", EscapeBytes(record.hostname));
  }
  if (holder.free_at.has_value()) Add(facts, "lease", LeaseText(holder));
  if (holder.beat.has_value()) Add(facts, "beat", BeatText(*holder.beat));
  return facts;
}

ProcessFacts OfSuspect(const Holder& holder, const ProcessIdentity& process) {
  const bool orphaned = holder.record.has_value() && holder.record->instance == process;
  std::string why = " (has the lock; no record names it)";
  if (holder.standing == Standing::kUnguarded) {
    why = " (runs without a guard: it never asked for the name)";
  } else if (orphaned) {
    why = absl::StrCat(", was guarded by guardcheck, pid ", holder.record->identity.pid,
                       ", which is gone");
  }
  ProcessFacts facts;
  Add(facts, "pid", absl::StrCat(process.pid, why));
  AddLive(facts, process);
  if (orphaned && holder.record->token != 0) {
    Add(facts, "token", absl::StrCat(holder.record->token));
  }
  return facts;
}

std::string LineOf(std::string key, const std::string& value) {
  key.resize(std::max(key.size(), kKeyWidth), ' ');
  return absl::StrCat("  ", key, " ", value, "\n");
}

std::string BlockOf(const Holder& holder) {
  std::string block;
  for (const ProcessFacts& process : FactsOf(holder)) {
    for (const Fact& fact : process.facts) absl::StrAppend(&block, LineOf(fact.key, fact.value));
  }
  if (block.empty()) absl::StrAppend(&block, "  ", SeenText(holder), "\n");
  return block;
}

std::string BlockOf(const std::vector<LayerReport>& layers) {
  std::string block;
  for (const LayerReport& report : layers) {
    absl::StrAppend(&block, LineOf(EscapeBytes(report.layer), LayerText(report)));
  }
  return block.empty() ? block : absl::StrCat("\nWhat the layers say\n", block);
}

std::string TextOf(const Unique& unique) {
  return absl::StrCat("This process is the only instance of ", EscapeBytes(unique.guard.name()),
                      ".\n");
}

std::string TextOf(const Duplicate& duplicate) {
  const std::optional<HolderRecord>& record = duplicate.holder.record;
  std::string text =
      absl::StrCat(record.has_value() ? EscapeBytes(record->name) : std::string("Another instance"),
                   " is already running", WhyRefused(duplicate), "\n\nWho holds it\n",
                   BlockOf(duplicate.holder));
  for (const Holder& other : duplicate.others) absl::StrAppend(&text, "\n", BlockOf(other));
  return absl::StrCat(text, BlockOf(duplicate.layers));
}

std::string TextOf(const Undetermined& undetermined) {
  return absl::StrCat(
      "It could not be determined whether another instance runs, so this start was refused.\n  ",
      Said(undetermined.status), "\n", BlockOf(undetermined.layers));
}

}  // namespace

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", time, absl::UTCTimeZone());
}

std::string AgeText(absl::Time time) {
  const absl::Duration age = absl::Trunc(absl::Now() - time, absl::Seconds(1));
  return age > absl::ZeroDuration() ? absl::FormatDuration(age) : "0s";
}

std::vector<ProcessFacts> FactsOf(const Holder& holder) {
  if (holder.standing != Standing::kUnknown && holder.record.has_value()) {
    return {OfRecord(holder)};
  }
  std::vector<ProcessFacts> facts;
  for (const ProcessIdentity& process : holder.processes) {
    facts.push_back(OfSuspect(holder, process));
  }
  return facts;
}

std::string SeenText(const Holder& holder) {
  return absl::StrCat(Said(holder.evidence), "; the holder is ",
                      std::string(ToString(holder.standing)), FreeAtTheLatest(holder));
}

std::string LayerText(const LayerReport& report) {
  const std::string outcome(ToString(report.outcome));
  if (report.holder.has_value()) return absl::StrCat(outcome, ": ", SeenText(*report.holder));
  if (report.status.message().empty()) return outcome;
  return absl::StrCat(outcome, ": ", Said(report.status));
}

std::string WhyRefused(const Duplicate& duplicate) {
  if (!duplicate.not_replaced.ok()) {
    return absl::StrCat(", and was not replaced: ", Said(duplicate.not_replaced), ".");
  }
  if (!duplicate.not_awaited.ok()) {
    return absl::StrCat(", and is not waited for: ", Said(duplicate.not_awaited), ".");
  }
  return "; this start was refused.";
}

std::string ToString(const Verdict& verdict) {
  return std::visit([](const auto& each) { return TextOf(each); }, verdict);
}

}  // namespace soleguard
