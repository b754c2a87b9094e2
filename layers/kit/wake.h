// The FIFOs that wake those who wait for a layer's holder. Private to layers/.
//
// A FIFO hangs up for its readers when its last writer is gone, whether that closed it or was
// killed. The holder of a layer has two open for writing: one until it is decided, the other as
// long as it has the layer. They only wake, they decide nothing: where they cannot be made, waiters
// look again after a while. See docs/decisions/0001-wake-by-fifo.md.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/strings/str_cat.h>

#include "kit/name_directory.h"
#include "kit/place.h"
#include "os/kept_fd.h"
#include "os/ownership.h"
#include "os/path.h"
#include "soleguard/fd.h"

namespace soleguard {

// What they are called in the name's directory.
inline std::vector<std::string> WakeFileNames(std::string_view layer) {
  return {absl::StrCat("wake.", std::string(layer)), absl::StrCat("end.", std::string(layer))};
}

// Where they are, as long as the directory is open.
struct WakeFiles {
  os::Entry decision;
  os::Entry end;
  os::Ownership ownership;
};
inline WakeFiles WakeFilesIn(const NameDirectory& directory, std::string_view layer) {
  const std::vector<std::string> names = WakeFileNames(layer);
  return {.decision = directory.EntryOf(names[0]),
          .end = directory.EntryOf(names[1]),
          .ownership = directory.ownership()};
}

// The holder's.
class Wake {
 public:
  // It has the layer. Before its record says so: who reads that finds a writer.
  void Begin(const WakeFiles& files) {
    (void)os::KeepPresence(files.decision, files.ownership, decision_);
    (void)os::KeepPresence(files.end, files.ownership, end_);
  }
  // Its record says that it is established.
  void Decide() { decision_.Close(); }
  // The layer is free, and not before: whoever is woken tries it.
  void End() {
    decision_.Close();
    end_.Close();
  }

  // Whether waiters find what wakes them, as CheckPlace. Nothing is missing where it could not be
  // made.
  absl::Status Check(const WakeFiles& files, const Vantage& vantage) const {
    return end_ ? CheckPlace(end_, files.end, vantage) : absl::OkStatus();
  }
  // Makes it anew. Who waits at the old one is woken, and looks again.
  absl::Status Renew(const WakeFiles& files) {
    return os::KeepPresence(files.end, files.ownership, end_);
  }

  // See Alarm::slow. Before what carries the claim is moved: whoever is woken finds that free.
  void MoveAbove(int number) { (void)end_.MoveAbove(number); }

  // Open for as long as the layer is taken, by whomever the claim is handed on to.
  const os::KeptFd& end() const { return end_; }

 private:
  os::KeptFd decision_;
  os::KeptFd end_;
};

// A waiter's: each hangs up, or is empty where it has no writer.
struct Watch {
  UniqueFd decision;
  UniqueFd end;
};
inline Watch WatchOf(const WakeFiles& files) {
  return {.decision = os::WatchPresence(files.decision, files.ownership),
          .end = os::WatchPresence(files.end, files.ownership)};
}

}  // namespace soleguard
