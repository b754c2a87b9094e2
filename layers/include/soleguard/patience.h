// The caller's time limit, for waits that have none of their own: for a filesystem's server, or a
// name service.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include <absl/status/status.h>
#include <absl/time/time.h>

namespace soleguard {

// While it lives, nothing that this thread does in the library waits for a server longer than its
// time, which begins when it is made. If several live at once, the one that ends first counts.
// Without any, such a wait takes at most kMost. Does not block. For the thread that made it, on its
// stack.
class Patience {
 public:
  static constexpr absl::Duration kMost = absl::Seconds(2);

  explicit Patience(absl::Duration time);
  ~Patience();
  Patience(const Patience&) = delete;
  Patience& operator=(const Patience&) = delete;

  // What is left of this thread's time, from zero to kMost.
  static absl::Duration Left();

 private:
  const std::optional<std::chrono::steady_clock::time_point> outer_;
};

// DeadlineExceeded: `directory` is on a filesystem that another machine or a program serves (the
// links on the way to it included), and it did not answer in the time of Patience. A read there
// would then block, perhaps for ever, and keep the process from exiting. OK at once on other
// filesystems, and where there is no such directory. The race: the server goes away after it has
// answered. Costs a read of the table of mounts, and on a served filesystem a process. Thread-safe.
absl::Status AwaitFilesystem(const std::string& directory);

}  // namespace soleguard
