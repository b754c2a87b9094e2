// Forked children for tests: what only another process, another user or another namespace can show.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

namespace soleguard::testing {

// A forked child that runs `body` and then stays as it is, with all that it opened, until it is
// killed. An exception that leaves `body` is the answer too.
class Child {
 public:
  // Returns when `body` has returned, or the child has ended.
  explicit Child(const std::function<std::string()>& body);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { Kill(); }

  pid_t pid() const { return pid_; }
  // What `body` returned. Empty when the child ended before.
  const std::string& answer() const { return answer_; }
  // SIGKILL, and waits until it is gone. A second call does nothing.
  void Kill();

 private:
  pid_t pid_ = -1;
  std::string answer_;
  bool gone_ = false;
};

// What `body` returns in a forked child, which ends then.
std::string InChild(const std::function<std::string()>& body);

// The same in a child that is process 1 of a new pid namespace with a /proc of its own, or "skip:
// REASON" where that is not allowed.
std::string InNewPidNamespace(const std::function<std::string()>& body);

}  // namespace soleguard::testing
