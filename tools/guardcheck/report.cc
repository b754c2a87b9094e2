#include "report.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_replace.h>
#include <absl/time/clock.h>
#include <absl/time/time.h>
#include <boost/json.hpp>

#include <soleguard/process.h>
#include <soleguard/scope.h>
#include <soleguard/text.h>

namespace guardcheck {
namespace {

namespace json = boost::json;
using soleguard::EscapeBytes;
using soleguard::Holder;
using soleguard::HolderRecord;
using soleguard::LayerReport;
using soleguard::ProcessDescription;
using soleguard::ProcessIdentity;

constexpr std::array<std::string_view, 7> kSecretOptions = {
    "password", "passwd", "token", "secret", "api-key", "apikey", "access-key"};

std::string Text(absl::string_view view) { return std::string(view); }

std::string Stamp(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", time, absl::UTCTimeZone());
}
std::string Rfc3339(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", time, absl::UTCTimeZone());
}
std::string Age(absl::Time time) {
  const absl::Duration age = absl::Trunc(absl::Now() - time, absl::Seconds(1));
  return age > absl::ZeroDuration() ? absl::FormatDuration(age) : "0s";
}

std::string StateName(char state) {
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

std::string CommandLine(const std::vector<std::string>& argv) {
  std::vector<std::string> words;
  for (const std::string& word : MaskSecrets(argv)) words.push_back(ShellWord(word));
  return absl::StrJoin(words, " ");
}

// The process that a person means by "the instance": what the claim was handed on to, else its
// owner.
const ProcessIdentity& InstanceOf(const HolderRecord& record) {
  return record.instance.has_value() ? *record.instance : record.identity;
}

// Read now, of that very process; nullopt when it is gone or cannot be seen from here.
std::optional<ProcessDescription> Live(const ProcessIdentity& identity) {
  absl::StatusOr<ProcessDescription> description = soleguard::Describe(identity);
  return description.ok() ? std::optional(*std::move(description)) : std::nullopt;
}

// "x", or "x (slot 2)".
std::string ShownSlot(const soleguard::InstanceName& name) {
  return absl::StrCat(EscapeBytes(name.text()),
                      name.slot() == 0 ? "" : absl::StrCat(" (slot ", name.slot(), ")"));
}

// Aligned "key  value" lines.
class Lines {
 public:
  void Add(std::string_view key, const std::string& value) {
    if (!value.empty()) absl::StrAppendFormat(&text_, "  %-11s %s\n", std::string(key), value);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

void AddProcess(Lines& lines, const ProcessDescription& process) {
  lines.Add("started", absl::StrCat(Stamp(process.started), " (", Age(process.started), " ago)"));
  lines.Add("user", absl::StrCat(EscapeBytes(process.user), " (uid ", process.uid, ")"));
  lines.Add("executable", EscapeBytes(process.executable));
  lines.Add("command", CommandLine(process.argv));
  lines.Add("directory", EscapeBytes(process.working_directory));
  const bool frozen = soleguard::FreezeOf(process.identity) == soleguard::Freeze::kCgroup;
  lines.Add("state",
            absl::StrCat(absl::string_view(&process.state, 1), " (", StateName(process.state), ")",
                         frozen ? ", frozen with its cgroup (a paused container)" : ""));
  lines.Add("cpu", absl::StrFormat("%.1f %%", process.cpu_percent));
  lines.Add("memory",
            absl::StrFormat("%.1f MiB", static_cast<double>(process.memory_bytes) / (1 << 20)));
}

void AddRecord(Lines& lines, const HolderRecord& record) {
  const ProcessIdentity& instance = InstanceOf(record);
  std::string pid = absl::StrCat(instance.pid);
  if (instance != record.identity) {
    const bool is_gone = LivenessOf(record.identity) == soleguard::Liveness::kGone;
    absl::StrAppend(&pid, is_gone ? ", was" : ",", " guarded by guardcheck, pid ",
                    record.identity.pid, is_gone ? ", which is gone" : "");
  }
  lines.Add("pid", pid);
  if (const std::optional<ProcessDescription> process = Live(instance)) {
    AddProcess(lines, *process);
  } else {
    // Another pid namespace, or just ended: what the holder said of itself.
    if (!record.is_newer()) {
      lines.Add("started", Stamp(record.started));
      lines.Add("user", EscapeBytes(record.user));
      lines.Add("executable", EscapeBytes(record.executable));
      lines.Add("directory", EscapeBytes(record.working_directory));
    }
    lines.Add("state", "cannot be seen from here");
  }
  if (record.token != 0) lines.Add("token", absl::StrCat(record.token));
  if (record.is_newer()) {
    lines.Add("guarded by", absl::StrCat(soleguard::NewerSoleguard(record), ", version ",
                                         EscapeBytes(record.version)));
    return;
  }
  lines.Add("policy", EscapeBytes(record.policy));
  lines.Add("host", EscapeBytes(record.hostname));
}

std::string HolderText(const Holder& holder) {
  if (holder.standing != soleguard::Standing::kUnknown && holder.record.has_value()) {
    Lines lines;
    AddRecord(lines, *holder.record);
    return lines.text();
  }
  std::string text;
  for (const ProcessIdentity& identity : holder.processes) {
    Lines suspect;
    const bool orphaned = holder.record.has_value() && holder.record->instance == identity;
    std::string why = " (has the lock; no record names it)";
    if (holder.standing == soleguard::Standing::kUnguarded) {
      why = " (runs without a guard: it never asked for the name)";
    } else if (orphaned) {
      why = absl::StrCat(", was guarded by guardcheck, pid ", holder.record->identity.pid,
                         ", which is gone");
    }
    suspect.Add("pid", absl::StrCat(identity.pid, why));
    if (const auto process = Live(identity)) AddProcess(suspect, *process);
    if (orphaned && holder.record->token != 0) {
      suspect.Add("token", absl::StrCat(holder.record->token));
    }
    absl::StrAppend(&text, suspect.text());
  }
  if (text.empty()) {
    text =
        "  No record names a live process, and no process that this user may look into shows the "
        "lock.\n";
  }
  return text;
}

// " in all 3 slots", where there are several.
std::string InSlots(const std::vector<Holder>& others) {
  return others.empty() ? "" : absl::StrCat(" in all ", others.size() + 1, " slots");
}

std::string HoldersText(const Holder& first, const std::vector<Holder>& others) {
  if (others.empty()) return HolderText(first);
  std::string text;
  for (std::size_t i = 0; i <= others.size(); ++i) {
    const Holder& holder = i == 0 ? first : others[i - 1];
    Lines slot;
    if (holder.record.has_value()) slot.Add("slot", absl::StrCat(holder.record->slot));
    absl::StrAppend(&text, i == 0 ? "" : "\n", slot.text(), HolderText(holder));
  }
  return text;
}

std::string EvidenceText(const std::vector<LayerReport>& layers) {
  std::string text;
  for (const LayerReport& layer : layers) {
    std::string said = Text(layer.status.message());
    if (layer.holder.has_value()) {
      said = absl::StrCat(layer.holder->evidence, "; the holder is ",
                          std::string(ToString(layer.holder->standing)));
    }
    absl::StrAppendFormat(&text, "  %-11s %s%s%s\n", EscapeBytes(layer.layer),
                          std::string(ToString(layer.outcome)), said.empty() ? "" : ": ", said);
  }
  return text;
}

// Under which policy the holder was started; nullopt when no record of it says so.
std::optional<std::string> PolicyOf(const Holder& holder) {
  if (holder.standing == soleguard::Standing::kUnknown || !holder.record.has_value() ||
      holder.record->is_newer()) {
    return std::nullopt;
  }
  return holder.record->policy;
}

// Two policies are two ways to be the only one: who passes one need not be seen by the other.
std::string PolicyText(const Common& common, const Holder& holder) {
  const std::optional<std::string> policy = PolicyOf(holder);
  if (!policy.has_value() || *policy == common.policy.ToString()) return "";
  return absl::StrCat("\nIt was started under policy ", EscapeBytes(*policy), ", this start under ",
                      EscapeBytes(common.policy.ToString()),
                      ".\nBoth must use the same: only then do they exclude each other for "
                      "certain.\n");
}

json::value SamePolicyJson(const Common& common, const Holder& holder) {
  const std::optional<std::string> policy = PolicyOf(holder);
  if (!policy.has_value()) return nullptr;
  return *policy == common.policy.ToString();
}

// Whether `guardcheck stop` finds somebody to ask: a process that the record names and that can be
// seen from here.
bool CanBeStopped(const Holder& holder) {
  if (!holder.record.has_value()) return false;
  const soleguard::Liveness owner = LivenessOf(holder.record->identity);
  if (owner != soleguard::Liveness::kGone) return owner != soleguard::Liveness::kUnknown;
  const auto& guardian = holder.record->guardian;
  return LivenessOf(InstanceOf(*holder.record)) == soleguard::Liveness::kAlive ||
         (guardian.has_value() && LivenessOf(*guardian) == soleguard::Liveness::kAlive);
}

std::string Behind(const std::vector<std::string>& command) {
  std::string text;
  for (const std::string& word : command) absl::StrAppend(&text, " ", ShellWord(word));
  return text.empty() ? text : absl::StrCat(" --", text);
}

// Only commands that exist and work as they stand, and never "delete the lock file".
std::string NextSteps(const std::string& name, const Common& common, const Holder& holder,
                      const std::vector<Holder>& others, const std::vector<std::string>& command) {
  std::string text = "What you can do\n";
  const std::string where = absl::StrCat(ShellWord(name), Where(common));
  if (holder.standing == soleguard::Standing::kUnguarded) {
    absl::StrAppend(&text, "  guardcheck stop ", where, " --duplicates", Behind(command),
                    "\n      ends it, and waits until it has ended\n");
    return text;
  }
  absl::StrAppend(&text, "  guardcheck status ", where, "\n      shows it again\n");
  if (CanBeStopped(holder)) {
    absl::StrAppend(&text, "  guardcheck stop ", where,
                    "\n      asks it to end, and waits until the name is free; then start again\n");
    if (!command.empty() && others.empty()) {
      absl::StrAppend(&text, "  guardcheck run ", where, " --replace", Behind(command),
                      "\n      asks it to end, and starts with nobody in between; kills it after "
                      "10s\n");
    }
  } else if (!holder.processes.empty()) {
    std::vector<std::int64_t> pids;
    for (const ProcessIdentity& process : holder.processes) pids.push_back(process.pid);
    absl::StrAppend(&text, "  kill ", absl::StrJoin(pids, " "),
                    "\n      if that is the instance: no record says so, so guardcheck stop would "
                    "not signal it\n");
  }
  if (!others.empty()) {
    absl::StrAppend(&text, "  guardcheck run ", where, " --slots ", others.size() + 2,
                    Behind(command), "\n      lets one more run\n");
  }
  return text;
}

json::string Escaped(const std::string& bytes) { return json::string(EscapeBytes(bytes)); }

}  // namespace

json::string Said(absl::string_view text) {
  return json::string(
      EscapeBytes(soleguard::UnescapeBytes(std::string_view(text.data(), text.size()))));
}

std::string Where(const Common& common) {
  std::string options;
  const std::string scope = common.options.scope.ToString();
  if (scope != soleguard::Scope::User().ToString())
    absl::StrAppend(&options, " --scope ", ShellWord(scope));
  if (!(common.policy == soleguard::Policy::Default())) {
    absl::StrAppend(&options, " --policy ", ShellWord(common.policy.ToString()));
  }
  return options;
}

json::value SightingJson(const std::string& layer, const soleguard::Sighting& sighting) {
  json::object entry{{"layer", Escaped(layer)}, {"sighting", "free"}};
  if (const auto* taken = std::get_if<soleguard::Taken>(&sighting)) {
    entry["sighting"] = "taken";
    entry["standing"] = std::string(ToString(taken->holder.standing));
    entry["evidence"] = Said(taken->holder.evidence);
  } else if (const auto* unavailable = std::get_if<soleguard::Unavailable>(&sighting)) {
    entry["sighting"] = "unavailable";
    entry["reason"] = Said(unavailable->status.message());
  }
  return entry;
}

namespace {

json::object IdentityJson(const ProcessIdentity& identity) {
  return {{"pid", identity.pid},
          {"start_ticks", identity.start_ticks},
          {"pid_namespace", identity.pid_namespace},
          {"boot_id", Escaped(identity.boot_id)}};
}

json::value ProcessJson(const ProcessIdentity& identity) {
  json::object object = IdentityJson(identity);
  const std::optional<ProcessDescription> process = Live(identity);
  object["liveness"] = std::string(ToString(LivenessOf(identity)));
  if (!process.has_value()) return object;
  json::array argv;
  for (const std::string& word : MaskSecrets(process->argv)) argv.push_back(Escaped(word));
  object["parent_pid"] = process->parent_pid;
  object["executable"] = Escaped(process->executable);
  object["argv"] = std::move(argv);
  object["cwd"] = Escaped(process->working_directory);
  object["uid"] = process->uid;
  object["user"] = Escaped(process->user);
  object["state"] = std::string(1, process->state);
  object["cpu_percent"] = process->cpu_percent;
  object["memory_bytes"] = process->memory_bytes;
  object["started"] = Rfc3339(process->started);
  return object;
}

json::value RecordJson(const HolderRecord& record) {
  json::array layers;
  for (const std::string& layer : record.layers) layers.push_back(Escaped(layer));
  json::object object{
      {"state", std::string(ToString(record.state))},
      {"name", Escaped(record.name)},
      {"slot", record.slot},
      {"scope", Escaped(record.scope)},
      {"identity", IdentityJson(record.identity)},
      {"hostname", Escaped(record.hostname)},
      {"user", Escaped(record.user)},
      {"executable", Escaped(record.executable)},
      {"cwd", Escaped(record.working_directory)},
      {"started", record.is_newer() ? json::value() : json::value(Rfc3339(record.started))},
      {"policy", Escaped(record.policy)},
      {"layers", std::move(layers)},
      {"token", record.token},
      {"version", Escaped(record.version)},
      {"schema", record.schema}};
  if (record.instance.has_value()) object["instance"] = IdentityJson(*record.instance);
  return object;
}

json::value HolderJson(const Holder& holder) {
  json::array processes;
  for (const ProcessIdentity& process : holder.processes) processes.push_back(ProcessJson(process));
  json::object object{{"standing", std::string(ToString(holder.standing))},
                      {"evidence", Said(holder.evidence)},
                      {"record", nullptr},
                      {"process", nullptr},
                      {"suspects", std::move(processes)}};
  if (holder.record.has_value()) {
    object["record"] = RecordJson(*holder.record);
    object["process"] = ProcessJson(InstanceOf(*holder.record));
  }
  return object;
}

json::array HoldersJson(const std::vector<Holder>& holders) {
  json::array array;
  for (const Holder& holder : holders) array.push_back(HolderJson(holder));
  return array;
}

json::array LayersJson(const std::vector<LayerReport>& layers) {
  json::array array;
  for (const LayerReport& layer : layers) {
    json::object object{{"layer", Escaped(layer.layer)},
                        {"outcome", std::string(ToString(layer.outcome))}};
    if (layer.holder.has_value()) object["evidence"] = Said(layer.holder->evidence);
    if (!layer.status.ok()) object["reason"] = Said(layer.status.message());
    array.push_back(std::move(object));
  }
  return array;
}

std::string SightingsText(const soleguard::Inspection& inspection) {
  std::string text;
  for (const auto& layer : inspection.layers) {
    std::string said = "free";
    if (const auto* taken = std::get_if<soleguard::Taken>(&layer.sighting)) {
      said = absl::StrCat("taken: ", taken->holder.evidence, "; the holder is ",
                          std::string(ToString(taken->holder.standing)));
    } else if (const auto* unavailable = std::get_if<soleguard::Unavailable>(&layer.sighting)) {
      said = absl::StrCat("cannot tell: ", unavailable->status.message());
    }
    absl::StrAppendFormat(&text, "  %-11s %s\n", EscapeBytes(layer.layer), said);
  }
  return text;
}

json::array SightingsJson(const soleguard::Inspection& inspection) {
  json::array layers;
  for (const auto& layer : inspection.layers) {
    layers.push_back(SightingJson(layer.layer, layer.sighting));
  }
  return layers;
}

json::object Head(const std::string& name, const Common& common) {
  return {{"schema", 1},
          {"name", Escaped(name)},
          {"scope", Escaped(common.options.scope.ToString())},
          {"policy", Escaped(common.policy.ToString())}};
}

}  // namespace

std::string RefusalText(const std::string& name, const Common& common,
                        const soleguard::Duplicate& duplicate,
                        const std::vector<std::string>& command) {
  const absl::Status& why = duplicate.not_replaced;
  return absl::StrCat("guardcheck: ", EscapeBytes(name), " is already running",
                      InSlots(duplicate.others),
                      why.ok() ? std::string("; this start was refused.\n")
                               : absl::StrCat(", and was not replaced: ", why.message(), ".\n"),
                      "\nWho holds it\n", HoldersText(duplicate.holder, duplicate.others),
                      PolicyText(common, duplicate.holder), "\nWhat the layers say\n",
                      EvidenceText(duplicate.layers), "\n",
                      NextSteps(name, common, duplicate.holder, duplicate.others, command));
}

json::value RefusalJson(const std::string& name, const Common& common,
                        const soleguard::Duplicate& duplicate) {
  json::object object = Head(name, common);
  object["verdict"] = "duplicate";
  object["holder"] = HolderJson(duplicate.holder);
  object["other_holders"] = HoldersJson(duplicate.others);
  object["same_policy"] = SamePolicyJson(common, duplicate.holder);
  object["layers"] = LayersJson(duplicate.layers);
  if (!duplicate.not_replaced.ok()) {
    object["not_replaced"] = Said(duplicate.not_replaced.message());
  }
  return object;
}

std::string UndeterminedText(const std::string& name, const soleguard::Undetermined& undetermined) {
  return absl::StrCat("guardcheck: cannot tell whether ", EscapeBytes(name),
                      " is running, so it was not started.\n  ", undetermined.status.message(),
                      "\n\nWhat the layers say\n", EvidenceText(undetermined.layers));
}

json::value UndeterminedJson(const std::string& name, const Common& common,
                             const soleguard::Undetermined& undetermined) {
  json::object object = Head(name, common);
  object["verdict"] = "undetermined";
  object["reason"] = Said(undetermined.status.message());
  object["layers"] = LayersJson(undetermined.layers);
  return object;
}

std::string StatusText(const std::string& name, const std::vector<Listed>& slots) {
  std::vector<std::string> texts;
  for (const auto& [slot, inspection] : slots) {
    const Holder* holder = inspection.holder();
    std::string text;
    if (holder != nullptr) {
      text = absl::StrCat(ShownSlot(slot), " is running (", std::string(ToString(holder->standing)),
                          ").\n", HolderText(*holder));
    } else if (inspection.blind()) {
      text = absl::StrCat("Cannot tell whether ", ShownSlot(slot), " is running.\n");
    } else {
      continue;
    }
    texts.push_back(absl::StrCat(text, SightingsText(inspection)));
  }
  if (!texts.empty()) return absl::StrJoin(texts, "\n");
  return absl::StrCat(EscapeBytes(name), " is not running.\n",
                      SightingsText(slots.front().inspection));
}

json::value StatusJson(const std::string& name, const Common& common,
                       const std::vector<Listed>& slots) {
  json::object object = Head(name, common);
  const Holder* first = nullptr;
  bool blind = false;
  json::array shown;
  for (const auto& [slot, inspection] : slots) {
    const Holder* holder = inspection.holder();
    if (first == nullptr) first = holder;
    blind = blind || inspection.blind();
    shown.push_back(
        json::object{{"slot", slot.slot()},
                     {"holder", holder != nullptr ? HolderJson(*holder) : json::value()},
                     {"layers", SightingsJson(inspection)}});
  }
  object["running"] = nullptr;  // cannot tell
  if (first != nullptr || !blind) object["running"] = first != nullptr;
  object["holder"] = first != nullptr ? HolderJson(*first) : json::value();
  object["layers"] = shown.front().at("layers");
  object["slots"] = std::move(shown);
  return object;
}

std::string CheckText(const std::string& name, const Common& common,
                      const soleguard::Forecast& forecast,
                      const std::vector<std::string>& command) {
  const std::string layers =
      absl::StrCat("What the layers see\n", SightingsText(forecast.inspection));
  switch (forecast.decision) {
    case soleguard::Arbiter::Decision::kUnique:
      return absl::StrCat(EscapeBytes(name), " may start",
                          forecast.slot == 0 ? "" : absl::StrCat(" in slot ", forecast.slot),
                          ".\n\n", layers);
    case soleguard::Arbiter::Decision::kDuplicate:
      return absl::StrCat(EscapeBytes(name), " is already running", InSlots(forecast.others),
                          "; a start would be refused.\n\nWho holds it\n",
                          HoldersText(*forecast.holder, forecast.others),
                          PolicyText(common, *forecast.holder), "\n", layers, "\n",
                          NextSteps(name, common, *forecast.holder, forecast.others, command));
    case soleguard::Arbiter::Decision::kUndetermined:
      break;
  }
  return absl::StrCat("Cannot tell whether ", EscapeBytes(name),
                      " may start; a start would be refused.\n  ", forecast.status.message(),
                      "\n\n", layers);
}

json::value CheckJson(const std::string& name, const Common& common,
                      const soleguard::Forecast& forecast) {
  json::object object = Head(name, common);
  object["verdict"] = "undetermined";
  switch (forecast.decision) {
    case soleguard::Arbiter::Decision::kUnique:
      object["verdict"] = "unique";
      object["slot"] = forecast.slot;
      break;
    case soleguard::Arbiter::Decision::kDuplicate:
      object["verdict"] = "duplicate";
      object["holder"] = HolderJson(*forecast.holder);
      object["other_holders"] = HoldersJson(forecast.others);
      object["same_policy"] = SamePolicyJson(common, *forecast.holder);
      break;
    case soleguard::Arbiter::Decision::kUndetermined:
      object["reason"] = Said(forecast.status.message());
      break;
  }
  object["layers"] = SightingsJson(forecast.inspection);
  return object;
}

namespace {

std::string SignalsText(const soleguard::StoppedProcess& process) {
  if (process.signals.empty()) {
    return process.reason == soleguard::StoppedProcess::Reason::kCommand ? "told by its guard"
                                                                         : "not signalled";
  }
  return absl::StrJoin(process.signals, ", ", [](std::string* out, soleguard::Signal signal) {
    absl::StrAppend(out, std::string(ToString(signal)));
  });
}

std::string EndText(const soleguard::StoppedProcess& process) {
  switch (process.liveness) {
    case soleguard::Liveness::kGone:
      return "ended";
    case soleguard::Liveness::kDying:
      return "is ending";
    case soleguard::Liveness::kUnknown:
      return "cannot be seen from here";
    case soleguard::Liveness::kAlive:
      break;
  }
  return process.is_frozen() ? "runs, frozen" : "runs";
}

}  // namespace

std::string StopText(const soleguard::InstanceName& name, const Common& common,
                     const soleguard::StopReport& report) {
  const std::string shown = ShownSlot(name);
  std::string text;
  switch (report.outcome) {
    case soleguard::StopReport::Outcome::kNotRunning:
      return absl::StrCat(shown, " was not running.\n");
    case soleguard::StopReport::Outcome::kStopped:
      text = absl::StrCat(shown, " is stopped; the name is free.\n");
      break;
    case soleguard::StopReport::Outcome::kRuns:
      text = absl::StrCat(shown, " still runs: ", report.status.message(), ".\n");
      break;
    case soleguard::StopReport::Outcome::kUndetermined:
      text = absl::StrCat(shown, " was not stopped: ", report.status.message(), ".\n");
      break;
  }
  for (const soleguard::StoppedProcess& process : report.processes) {
    absl::StrAppend(&text, "  pid ", process.identity.pid, " (",
                    std::string(ToString(process.reason)),
                    process.guarded_by.empty() ? "" : ", guarded by " + process.guarded_by,
                    "): ", SignalsText(process), "; ", EndText(process), "\n");
    if (!process.refused.ok() && process.refused != report.status) {
      absl::StrAppend(&text, "      ", process.refused.message(), "\n");
    }
  }
  if (!report.holder.has_value()) return text;
  absl::StrAppend(&text, "\nWho holds it\n", HolderText(*report.holder));
  if (report.outcome != soleguard::StopReport::Outcome::kRuns) return text;
  const bool unguarded = report.holder->standing == soleguard::Standing::kUnguarded;
  return absl::StrCat(
      text, "\nWhat you can do\n  guardcheck stop ", ShellWord(name.text()), Where(common),
      name.slot() == 0 ? "" : absl::StrCat(" --slot ", name.slot()),
      unguarded ? " --duplicates\n      ends what runs without a guard, too\n"
                : " --force\n      kills it (SIGKILL) if it has not ended at the timeout\n");
}

json::value StopJson(const soleguard::InstanceName& name, const Common& common,
                     const soleguard::StopReport& report) {
  json::object object = Head(name.text(), common);
  object["slot"] = name.slot();
  object["outcome"] = std::string(ToString(report.outcome));
  if (!report.status.ok()) object["reason"] = Said(report.status.message());
  json::array processes;
  for (const soleguard::StoppedProcess& process : report.processes) {
    json::array signals;
    for (const soleguard::Signal signal : process.signals) {
      signals.push_back(json::string(std::string(ToString(signal))));
    }
    json::object entry = IdentityJson(process.identity);
    entry["reason"] = std::string(ToString(process.reason));
    entry["signals"] = std::move(signals);
    entry["liveness"] = std::string(ToString(process.liveness));
    entry["frozen"] = process.is_frozen();
    if (!process.guarded_by.empty()) entry["guarded_by"] = process.guarded_by;
    if (!process.refused.ok()) entry["refused"] = Said(process.refused.message());
    processes.push_back(std::move(entry));
  }
  object["processes"] = std::move(processes);
  object["holder"] = report.holder.has_value() ? HolderJson(*report.holder) : json::value();
  return object;
}

namespace {

// The layers that see the holder, and with a question mark those that cannot tell.
std::string SeenBy(const soleguard::Inspection& inspection) {
  std::vector<std::string> layers;
  for (const auto& layer : inspection.layers) {
    if (std::holds_alternative<soleguard::Free>(layer.sighting)) continue;
    const bool blind = std::holds_alternative<soleguard::Unavailable>(layer.sighting);
    layers.push_back(absl::StrCat(EscapeBytes(layer.layer), blind ? "?" : ""));
  }
  return absl::StrJoin(layers, ",");
}

// One name in a list, as shown in columns.
struct Row {
  std::string name;
  std::string pid = "?";
  std::string started = "?";
  std::string user = "?";
  std::string seen_by;
  std::string command;
};

Row RowOf(const Listed& listed) {
  const Holder& holder = *listed.inspection.holder();
  Row row{.name = ShownSlot(listed.name),
          .seen_by = SeenBy(listed.inspection),
          .command = holder.evidence};
  if (!holder.record.has_value()) return row;
  const HolderRecord& record = *holder.record;
  const std::optional<ProcessDescription> process = Live(InstanceOf(record));
  row.pid = absl::StrCat(InstanceOf(record).pid);
  if (!record.is_newer()) row.started = Stamp(record.started);
  row.user = EscapeBytes(record.user);
  row.command = process.has_value() ? CommandLine(process->argv) : EscapeBytes(record.executable);
  return row;
}

}  // namespace

std::string ListText(const std::vector<Listed>& running) {
  if (running.empty()) return "No guarded program is running in this scope.\n";
  std::vector<Row> rows = {{.name = "NAME",
                            .pid = "PID",
                            .started = "STARTED",
                            .user = "USER",
                            .seen_by = "SEEN BY",
                            .command = "COMMAND"}};
  for (const Listed& listed : running) rows.push_back(RowOf(listed));
  std::size_t name_width = 0;
  std::size_t seen_width = 0;
  for (const Row& row : rows) {
    name_width = std::max(name_width, row.name.size());
    seen_width = std::max(seen_width, row.seen_by.size());
  }
  constexpr std::size_t kMaxWidth = 40;
  std::string text;
  for (const Row& row : rows) {
    absl::StrAppendFormat(&text, "%-*s %8s  %-23s  %-12s  %-*s  %s\n",
                          static_cast<int>(std::min(name_width, kMaxWidth)), row.name, row.pid,
                          row.started, row.user, static_cast<int>(std::min(seen_width, kMaxWidth)),
                          row.seen_by, row.command);
  }
  return text;
}

json::value ListJson(const Common& common, const std::vector<Listed>& running) {
  json::array names;
  for (const Listed& listed : running) {
    names.push_back(json::object{{"name", Escaped(listed.name.text())},
                                 {"slot", listed.name.slot()},
                                 {"holder", HolderJson(*listed.inspection.holder())},
                                 {"layers", SightingsJson(listed.inspection)}});
  }
  return json::object{{"schema", 1},
                      {"scope", Escaped(common.options.scope.ToString())},
                      {"running", std::move(names)}};
}

json::value UniqueJson(const std::string& name, const Common& common,
                       const soleguard::Guard& guard) {
  json::object object = Head(name, common);
  object["verdict"] = "unique";
  object["record"] = RecordJson(guard.record());
  object["token_is_durable"] = guard.token_is_durable();
  object["layers"] = LayersJson(guard.layers());
  return object;
}

std::string Line(const json::value& value) { return json::serialize(value); }

void Print(const json::value& value) { (void)std::puts(Line(value).c_str()); }

std::string ProcessLine(const ProcessIdentity& process) {
  const std::optional<ProcessDescription> live = Live(process);
  if (!live.has_value()) return absl::StrCat("pid ", process.pid, ", which has ended");
  return absl::StrCat("pid ", process.pid, " (", CommandLine(live->argv), "), started ",
                      Stamp(live->started), " by ", EscapeBytes(live->user));
}

json::value ProcessObject(const ProcessIdentity& process) { return ProcessJson(process); }

std::vector<std::string> MaskSecrets(std::vector<std::string> argv) {
  bool mask_next = false;
  for (std::string& word : argv) {
    if (mask_next) {
      word = "***";
      mask_next = false;
      continue;
    }
    const std::size_t dashes = std::min(word.find_first_not_of('-'), word.size());
    if (dashes == 0 || dashes > 2) continue;
    const std::size_t equals = std::min(word.find('='), word.size());
    const std::string_view option = std::string_view(word).substr(dashes, equals - dashes);
    if (std::find(kSecretOptions.begin(), kSecretOptions.end(), option) == kSecretOptions.end())
      continue;
    if (equals < word.size()) {
      word = word.substr(0, equals + 1) + "***";
    } else {
      mask_next = true;
    }
  }
  return argv;
}

std::string ShellWord(const std::string& bytes) {
  std::string shown = EscapeBytes(bytes);
  if (shown != bytes) {
    std::string quoted;
    for (const char c : shown) {
      if (c == '\'') quoted += '\\';
      quoted += c;
    }
    return absl::StrCat("$'", quoted, "'");  // bash reads \\ and \xNN as EscapeBytes writes them
  }
  constexpr std::string_view kSpecial = " '\"$&|;<>()*?[]{}!#~`";
  if (!shown.empty() && shown.find_first_of(kSpecial) == std::string::npos) return shown;
  return absl::StrCat("'", absl::StrReplaceAll(shown, {{"'", "'\\''"}}), "'");
}

json::value AnswerJson(const std::string& name, const Common& common,
                       const soleguard::Answer& answer) {
  json::object object = Head(name, common);
  object["delivered"] = true;
  object["ok"] = answer.ok;
  object["answer"] = Escaped(answer.text);
  return object;
}

json::value NotDeliveredJson(const std::string& name, const Common& common,
                             const absl::Status& why) {
  json::object object = Head(name, common);
  object["delivered"] = false;
  object["reason"] = Said(why.message());
  return object;
}

json::value MessageJson(const soleguard::Guard& guard, const soleguard::Sender& sender,
                        const soleguard::Message& message) {
  json::array argv;
  for (const std::string& word : message.argv) argv.push_back(Escaped(word));
  json::object from = IdentityJson(sender.identity);
  from["uid"] = sender.uid;
  return json::object{{"schema", 1},
                      {"name", Escaped(guard.name())},
                      {"slot", guard.slot()},
                      {"sender", std::move(from)},
                      {"argv", std::move(argv)},
                      {"cwd", Escaped(message.working_directory)},
                      {"payload", Escaped(message.payload)}};
}

}  // namespace guardcheck
