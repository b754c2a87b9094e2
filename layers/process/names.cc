#include "soleguard/names.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>

#include "kit/name_directory.h"
#include "kit/record_area.h"
#include "os/kept_fd.h"
#include "os/ownership.h"
#include "os/path.h"
#include "soleguard/layer.h"
#include "soleguard/registry.h"

namespace soleguard {
namespace {

// The slots but 0 that have objects below a name's directory, in order.
std::vector<std::uint32_t> SlotsIn(int directory, const std::string& path,
                                   const os::Ownership& ownership) {
  std::vector<std::uint32_t> slots;
  os::KeptFd kept;
  const os::Entry place{
      .parent = directory, .name = kSlots, .path = absl::StrCat(path, "/", kSlots)};
  if (!os::KeepDirectory(place, ownership, os::Create::kNo, kept).ok()) return slots;
  const absl::StatusOr<std::vector<std::string>> entries = os::NamesIn(kept.get());
  for (const std::string& entry : entries.ok() ? *entries : std::vector<std::string>()) {
    std::uint32_t slot = 0;
    // Others were not made here.
    if (absl::SimpleAtoi(entry, &slot) && slot != 0 && absl::StrCat(slot) == entry) {
      slots.push_back(slot);
    }
  }
  std::sort(slots.begin(), slots.end());
  return slots;
}

}  // namespace

absl::Status CheckRemovable(const Scope& scope, const InstanceName& name,
                            const std::vector<std::string>& files) {
  NameDirectory directory(scope, name);
  const absl::Status opened = directory.Open(os::Create::kNo);
  if (absl::IsNotFound(opened)) return absl::OkStatus();
  return opened.ok() ? directory.RemovableWith(files).status() : opened;
}

absl::StatusOr<std::vector<InstanceName>> KnownNames(const Scope& scope) {
  os::KeptFd directory;
  absl::StatusOr<os::Ownership> ownership =
      os::KeepScopeDirectory(scope, os::Create::kNo, directory);
  if (!ownership.ok()) return ownership.status();
  os::KeptFd names;
  absl::Status opened =
      os::KeepDirectory({.parent = directory.get(), .name = kNames, .path = NamesPath(scope)},
                        *ownership, os::Create::kNo, names);
  if (!opened.ok()) return opened;

  absl::StatusOr<std::vector<std::string>> entries = os::NamesIn(names.get());
  if (!entries.ok()) return entries.status();
  std::sort(entries->begin(), entries->end());
  std::vector<InstanceName> known;
  for (const std::string& entry : *entries) {
    const absl::StatusOr<InstanceName> name = InstanceName::Parse(entry);
    if (!name.ok()) continue;  // not made here
    known.push_back(*name);
    os::KeptFd own;
    const os::Entry place{
        .parent = names.get(), .name = entry, .path = absl::StrCat(NamesPath(scope), "/", entry)};
    if (!os::KeepDirectory(place, *ownership, os::Create::kNo, own).ok()) continue;
    for (const std::uint32_t slot : SlotsIn(own.get(), place.path, *ownership)) {
      known.push_back(name->Slot(slot));
    }
  }
  return known;
}

absl::StatusOr<std::vector<InstanceName>> KnownSlots(const Scope& scope, const InstanceName& name) {
  NameDirectory directory(scope, name.Slot(0));
  std::vector<InstanceName> known = {name.Slot(0)};
  const absl::Status opened = directory.Open(os::Create::kNo);
  if (absl::IsNotFound(opened)) return known;
  if (!opened.ok()) return opened;
  for (const std::uint32_t slot :
       SlotsIn(directory.fd().get(), directory.path(), directory.ownership())) {
    known.push_back(name.Slot(slot));
  }
  return known;
}

std::vector<InstanceName> NamesOutside(const Scope& scope) {
  std::vector<InstanceName> all;
  for (const LayerKind& kind : LayerKinds()) {
    if (kind.names == nullptr) continue;
    for (InstanceName& name : kind.names(scope)) {
      if (std::find(all.begin(), all.end(), name) == all.end()) all.push_back(std::move(name));
    }
  }
  return all;
}

absl::StatusOr<std::vector<RecordFile>> RecordFiles(const Scope& scope, const InstanceName& name) {
  NameDirectory directory(scope, name);
  absl::Status opened = directory.Open(os::Create::kNo);
  if (!opened.ok()) return opened;
  const absl::StatusOr<std::vector<std::string>> files = os::NamesIn(directory.fd().get());
  if (!files.ok()) return files.status();
  std::vector<RecordFile> records;
  for (const std::string& file : *files) {
    if (!file.starts_with("record")) continue;
    os::KeptFd kept;
    opened = os::KeepFile(directory.EntryOf(file), directory.ownership(), os::Create::kNo, kept);
    absl::StatusOr<DecodedRecord> decoded = opened.ok() ? ReadRecord(kept) : opened;
    if (decoded.ok()) {
      records.push_back({.file = file, .record = std::move(decoded->record)});
    } else {
      records.push_back({.file = file, .record = decoded.status()});
    }
  }
  return records;
}

}  // namespace soleguard
