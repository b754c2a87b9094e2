// A process beside this one that gives events to a hook, so that nobody waits for that.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <absl/status/status.h>

#include <soleguard/fd.h>

namespace guardcheck {

// It is no child of this process and no part of what is guarded, has none of this process's
// descriptors but standard error, and lives until this process has ended in any way, and the hook
// has read the rest, or five seconds have passed.
class EventFeeder {
 public:
  // Starts it and the hook (EventHook). `begins` is called in it first, to say what it is. An error
  // says why one of them cannot be started. For a process with one thread, before it has a claim.
  absl::Status Begin(const std::vector<std::string>& argv, const std::function<void()>& begins);

  // `line` has no newline. Does not block: what does not fit is dropped, as it is where none was
  // begun. Thread-safe.
  void Send(const std::string& line) const;

 private:
  soleguard::UniqueFd socket_;
};

}  // namespace guardcheck
