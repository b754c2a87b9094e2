#include "process/records.h"

#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include <absl/strings/str_cat.h>

#include "soleguard/holder.h"
#include "soleguard/layer.h"
#include "soleguard/names.h"

namespace soleguard {
namespace {

// Adds the records in the name's directory.
absl::Status ReadRecords(const Scope& scope, const InstanceName& name, Records& records) {
  absl::StatusOr<std::vector<RecordFile>> files = RecordFiles(scope, name);
  if (!files.ok()) return files.status();
  for (RecordFile& file : *files) {
    if (file.record.ok()) {
      records.found.push_back(SeenFromHere(*std::move(file.record)));
    } else {
      records.Miss(file.record.status());
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<ProcessIdentity>> Family::LineOf(os::Kin kin) {
  std::vector<ProcessIdentity> line = {kin.process};
  constexpr std::size_t kMaxDepth = 10000;
  while (kin.parent > 0 && line.size() < kMaxDepth) {
    absl::StatusOr<os::Kin> parent = ParentOf(kin);
    if (absl::IsNotFound(parent.status())) break;
    if (!parent.ok()) return parent.status();
    kin = *std::move(parent);
    line.push_back(kin.process);
  }
  return line;
}

absl::StatusOr<os::Kin> Family::ParentOf(const os::Kin& kin) {
  const absl::StatusOr<os::Kin>& parent = Find(kin.parent);
  // The race: the parent ended, and its pid is another's. Whoever started later is no parent.
  if (parent.ok() && parent->process.start_ticks > kin.process.start_ticks) {
    return absl::NotFoundError(absl::StrCat("pid ", kin.parent, " is another process by now"));
  }
  return parent;
}

const absl::StatusOr<os::Kin>& Family::Find(std::int64_t pid) {
  const auto [known, fresh] = known_.try_emplace(pid);
  if (fresh) known->second = os::KinOf(pid);
  return known->second;
}

bool Has(const std::vector<ProcessIdentity>& line, const ProcessIdentity& process) {
  return std::find(line.begin(), line.end(), process) != line.end();
}

bool Covers(const HolderRecord& record, const std::vector<ProcessIdentity>& line) {
  return Has(line, record.identity) ||
         (record.instance.has_value() && Has(line, *record.instance)) ||
         (record.guardian.has_value() && Has(line, *record.guardian));
}

bool IsTransient(const absl::Status& status) {
  return absl::IsResourceExhausted(status) || absl::IsUnknown(status);
}

Records RecordsOf(std::span<const LayerKind> kinds, const Scope& scope, const InstanceName& name) {
  Records records;
  records.Miss(ReadRecords(scope, name, records));
  // Other layers keep theirs elsewhere. A server is not asked: it might keep the caller waiting.
  for (const LayerKind& kind : kinds) {
    if (kind.observer || kind.remote) continue;
    const Sighting sighting =
        kind.make({.scope = scope, .name = name, .parameters = {}, .subject = {}})->Look();
    const auto* taken = std::get_if<Taken>(&sighting);
    if (taken != nullptr && taken->holder.record.has_value()) {
      records.found.push_back(*taken->holder.record);
    }
    const auto* unavailable = std::get_if<Unavailable>(&sighting);
    if (unavailable != nullptr && IsTransient(unavailable->status)) {
      records.Miss(unavailable->status);
    }
  }
  return records;
}

Records RecordsOfOthers(std::span<const LayerKind> kinds, const Scope& scope,
                        const InstanceName& name) {
  Records others;
  const absl::StatusOr<std::vector<InstanceName>> names = KnownNames(scope);
  others.Miss(names.status());
  for (const InstanceName& other : names.ok() ? *names : std::vector<InstanceName>()) {
    if (other == name) continue;
    Records records = RecordsOf(kinds, scope, other);
    others.Miss(records.unread);
    for (HolderRecord& record : records.found) others.found.push_back(std::move(record));
  }
  return others;
}

}  // namespace soleguard
