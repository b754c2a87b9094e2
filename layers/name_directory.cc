#include "name_directory.h"

#include <algorithm>

#include <absl/strings/str_cat.h>

#include "soleguard/layer.h"

namespace soleguard {
namespace {

constexpr char kNames[] = "names";

std::string NamesPath(const Scope& scope) { return absl::StrCat(scope.directory(), "/", kNames); }

}  // namespace

NameDirectory::NameDirectory(const Scope& scope, const InstanceName& name)
    : scope_(scope), name_(name.text()), path_(absl::StrCat(NamesPath(scope), "/", name.text())) {}

absl::Status NameDirectory::Open(os::Create create) {
  absl::StatusOr<os::Ownership> ownership = os::KeepScopeDirectory(scope_, create, scope_fd_);
  if (!ownership.ok()) return ownership.status();
  ownership_ = *ownership;

  os::KeptFd names;
  absl::Status opened =
      os::KeepDirectory({.parent = scope_fd_.get(), .name = kNames, .path = NamesPath(scope_)},
                        ownership_, create, names);
  if (!opened.ok()) return opened;
  return os::KeepDirectory({.parent = names.get(), .name = name_, .path = path_}, ownership_,
                           create, fd_);
}

void NameDirectory::Close() {
  fd_.Close();
  scope_fd_.Close();
}

os::Entry NameDirectory::EntryOf(const std::string& file) const {
  return {.parent = fd_.get(), .name = file, .path = absl::StrCat(path_, "/", file)};
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
    absl::StatusOr<InstanceName> name = InstanceName::Parse(entry);
    if (name.ok()) known.push_back(*std::move(name));  // others were not made here
  }
  return known;
}

}  // namespace soleguard
