// The POSIX locks of this process. Such a lock belongs to the process and not to a descriptor
// (fcntl(2)): a second lock of one process always succeeds, and whoever in it closes any descriptor
// of the file drops the lock. So nobody here may open a file that is in this table. Private to
// layers/.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "os/kept_fd.h"
#include "soleguard/process.h"

namespace soleguard {

class PosixLocks {
 public:
  // One per process, never destroyed. A forked child has none of the locks and gets an empty one:
  // what it inherited is its parent's, its mutex perhaps locked for ever.
  static PosixLocks& OfThisProcess();

  explicit PosixLocks(const PosixLocks* inherited) : inherited_(inherited) {}

  // Held from before a lock file is opened until it is closed again, or locked and added. Nobody
  // waits for another process meanwhile.
  std::mutex& mutex() { return mutex_; }

  // With mutex() held. Whether the file at `path` is one of them; opens nothing.
  bool Has(const std::string& path) const;
  void Add(const FileIdentity& file) { files_.push_back(file); }
  void Remove(const FileIdentity& file) { std::erase(files_, file); }

 private:
  const os::ProcessMark process_;
  const PosixLocks* const inherited_;  // of the parent: kept reachable, never used
  std::mutex mutex_;
  std::vector<FileIdentity> files_;
};

}  // namespace soleguard
