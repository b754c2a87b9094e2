#include "name_directory.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string_view>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "soleguard/layer.h"
#include "soleguard/name_files.h"
#include "soleguard/scope_view.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

constexpr char kNames[] = "names";
constexpr char kSlots[] = "slots";  // as InstanceName::key has it

std::string NamesPath(const Scope& scope) { return absl::StrCat(scope.directory(), "/", kNames); }

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

bool IsOfInbox(std::string_view entry) { return entry == "inbox" || entry == "inbox.new"; }
bool IsOfQueue(std::string_view entry) { return entry == "queue" || entry.starts_with("queue."); }

}  // namespace

NameDirectory::NameDirectory(const Scope& scope, const InstanceName& name)
    : scope_(scope),
      steps_(absl::StrSplit(name.key(), '/')),
      path_(absl::StrCat(NamesPath(scope), "/", name.key())) {}

bool NameDirectory::Lacks(const std::string& file) const {
  if (!CheckPlace(scope_).ok()) return false;
  // On a served filesystem the look itself could hang.
  const bool answers = scope_.kind() != Scope::Kind::kDirectory ||
                       os::AwaitAnswer(scope_.directory(), os::Create::kNo).ok();
  return answers && os::IsMissing(path_ + "/" + file);
}

absl::Status NameDirectory::Open(os::Create create) {
  absl::StatusOr<os::Ownership> ownership = os::KeepScopeDirectory(scope_, create, scope_fd_);
  if (!ownership.ok()) return ownership.status();
  ownership_ = *ownership;

  os::KeptFd names;
  std::string path = NamesPath(scope_);
  absl::Status opened = os::KeepDirectory({.parent = scope_fd_.get(), .name = kNames, .path = path},
                                          ownership_, create, names);
  const os::KeptFd* parent = &names;
  std::deque<os::KeptFd> between;
  for (const std::string& step : steps_) {
    if (!opened.ok()) return opened;
    absl::StrAppend(&path, "/", step);
    os::KeptFd& next = &step == &steps_.back() ? fd_ : between.emplace_back();
    opened = os::KeepDirectory({.parent = parent->get(), .name = step, .path = path}, ownership_,
                               create, next);
    parent = &next;
  }
  return opened;
}

void NameDirectory::Close() {
  fd_.Close();
  scope_fd_.Close();
}

absl::Status NameDirectory::CheckEntry(const std::string& entry,
                                       const std::vector<std::string>& files) const {
  if (IsOfQueue(entry) || std::find(files.begin(), files.end(), entry) != files.end()) {
    return absl::OkStatus();
  }
  std::string_view why = " was not made by soleguard";
  if (entry == kSlots) why = " has slots in use";
  if (IsOfInbox(entry)) {
    constexpr absl::Duration kConnect = absl::Milliseconds(100);  // longer: it is busy
    // Of a holder that has no layer in the directory. (One that takes messages from now on makes
    // its socket anew.)
    if (absl::IsNotFound(os::ConnectTo(EntryOf(entry), kConnect).status())) {
      return absl::OkStatus();
    }
    why = " may take messages: a holder whose layers are elsewhere has it";
  }
  for (const char* prefix : {"record.", "wake.", "end."}) {
    if (!entry.starts_with(prefix)) continue;
    why =
        " is of a layer that no record here names, so it cannot be told whether it is in use; "
        "if it is not, remove the file";
  }
  return absl::FailedPreconditionError(
      absl::StrCat(EscapeBytes(path_), "/", EscapeBytes(entry), std::string(why)));
}

absl::StatusOr<std::vector<std::string>> NameDirectory::RemovableWith(
    const std::vector<std::string>& files) const {
  absl::StatusOr<std::vector<std::string>> entries = os::NamesIn(fd_.get());
  if (!entries.ok()) return entries;
  for (const std::string& entry : *entries) {
    absl::Status removable = CheckEntry(entry, files);
    if (!removable.ok()) return removable;
  }
  return entries;
}

absl::Status NameDirectory::Remove(const std::vector<std::string>& files) {
  const absl::StatusOr<std::vector<std::string>> entries = RemovableWith(files);
  if (!entries.ok()) return entries.status();
  for (const std::string& entry : *entries) os::RemoveEntry(EntryOf(entry));
  absl::Status removed = os::RemoveDirectory(path_);
  // Of the last slot; the others keep it.
  if (removed.ok() && steps_.size() > 1) {
    (void)os::RemoveDirectory(path_.substr(0, path_.rfind('/')));
  }
  return removed;
}

os::Entry NameDirectory::EntryOf(const std::string& file) const {
  return {.parent = fd_.get(), .name = file, .path = absl::StrCat(path_, "/", file)};
}

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

}  // namespace soleguard
