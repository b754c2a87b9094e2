// The directory of one instance name, where its objects live: SCOPE/names/NAME, and for slots but 0
// SCOPE/names/NAME/slots/K. Private to layers/.
#pragma once

#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>

#include "os/kept_fd.h"
#include "os/ownership.h"
#include "os/path.h"
#include "soleguard/name.h"
#include "soleguard/scope.h"

namespace soleguard {

// SCOPE/names.
inline constexpr char kNames[] = "names";
inline std::string NamesPath(const Scope& scope) {
  return absl::StrCat(scope.directory(), "/", kNames);
}
// In a name's directory, as InstanceName::key has it.
inline constexpr char kSlots[] = "slots";
inline constexpr char kBeat[] = "beat";  // beat.h

class NameDirectory {
 public:
  NameDirectory(const Scope& scope, const InstanceName& name);

  // Opens the scope's directory and in it the name's. NotFound, when `create` is kNo and one does
  // not exist. What was opened stays open until Close.
  absl::Status Open(os::Create create);
  void Close();

  // Whether there is no `file` in it, or no directory, by one system call. False also when it
  // cannot be told.
  bool Lacks(const std::string& file) const;

  // Removes the directory, which is open, with `files`, the queue, the beat and the inbox, and
  // with the last slot the directory of the slots. FailedPrecondition, and nothing is removed: a
  // slot, something else or an inbox that takes messages is in it. Nobody may be in line.
  absl::Status Remove(const std::vector<std::string>& files);
  // What Remove would remove; an error where that would fail.
  absl::StatusOr<std::vector<std::string>> RemovableWith(
      const std::vector<std::string>& files) const;

  const std::string& path() const { return path_; }
  os::KeptFd& scope_fd() { return scope_fd_; }
  os::KeptFd& fd() { return fd_; }
  const os::KeptFd& fd() const { return fd_; }
  const os::Ownership& ownership() const { return ownership_; }

  // The object called `file` in it.
  os::Entry EntryOf(const std::string& file) const;

 private:
  absl::Status CheckEntry(const std::string& entry, const std::vector<std::string>& files) const;

  const Scope scope_;
  const std::vector<std::string> steps_;  // below SCOPE/names
  const std::string path_;
  os::KeptFd scope_fd_;
  os::KeptFd fd_;
  os::Ownership ownership_;
};

}  // namespace soleguard
