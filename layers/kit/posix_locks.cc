#include "kit/posix_locks.h"

#include <algorithm>
#include <atomic>
#include <memory>

#include "os/path.h"

namespace soleguard {

PosixLocks& PosixLocks::OfThisProcess() {
  static std::atomic<PosixLocks*> current{nullptr};
  PosixLocks* found = current.load();
  while (found == nullptr || !found->process_.IsCurrent()) {
    auto fresh = std::make_unique<PosixLocks>(found);
    if (current.compare_exchange_strong(found, fresh.get())) return *fresh.release();
  }
  return *found;
}

bool PosixLocks::Has(const std::string& path) const {
  return std::any_of(files_.begin(), files_.end(), [&](const FileIdentity& file) {
    const absl::StatusOr<bool> same = os::PathIs(path, file);
    return same.ok() && *same;
  });
}

}  // namespace soleguard
