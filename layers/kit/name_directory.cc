#include "kit/name_directory.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string_view>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "os/answer.h"
#include "os/connection.h"
#include "soleguard/scope_view.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

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
  if (entry == kBeat || IsOfQueue(entry) ||
      std::find(files.begin(), files.end(), entry) != files.end()) {
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

}  // namespace soleguard
