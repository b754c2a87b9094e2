// A child that is stopped at each of its system calls: to freeze it there, to kill it there, or to
// make that call fail.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace soleguard::testing {

// By ptrace(2). The thread that made it uses it. While it is not asked to go on, the child stands
// still, as one that was stopped by SIGSTOP does.
class Traced {
 public:
  struct Call {
    std::uint64_t number = 0;  // SYS_…
    std::array<std::uint64_t, 6> arguments{};
  };

  // Forks a child that runs `prepare` unseen, then `body`, and then stands still with all that it
  // has. Returns when `prepare` is done.
  Traced(const std::function<void()>& prepare, const std::function<void()>& body);
  explicit Traced(const std::function<void()>& body) : Traced([] {}, body) {}
  Traced(const Traced&) = delete;
  Traced& operator=(const Traced&) = delete;
  ~Traced();

  // Empty, or why children cannot be traced here.
  static std::string Unusable();

  pid_t pid() const { return pid_; }

  // Lets the child run to its next system call, which is not made yet. nullopt: `body` is over.
  std::optional<Call> Next();

  // Lets the child run until `body` is over.
  void RunToEnd();

  // The call at which the child stands is not made and gives `error`, an errno value. But close(2)
  // is made and gives it, as in the kernel.
  void Fail(int error) { failing_ = error; }

  // SIGKILL; does not wait until the child is gone.
  void Kill();

  // Of the call at which the child stands: the absolute path that it is about, through its
  // descriptor or its path argument. Empty when there is none.
  std::string ObjectOf(const Call& call) const;
  // The file of the child's descriptor `fd`, as /proc shows it.
  std::string FileOf(std::uint64_t fd) const;
  // What its descriptors are of, as /proc shows it, without those that this program was started
  // with.
  std::vector<std::string> Descriptors() const;

 private:
  std::string TextAt(std::uint64_t address) const;
  // Resumes until the next system-call stop. False when the child has ended.
  bool Resume();
  // Makes the call at which the child stands, or lets it fail. False as above.
  bool FinishCall();
  void Refuse() const;
  void SetResult() const;

  pid_t pid_ = -1;
  bool ended_ = false;  // the child is gone, and waited for
  bool over_ = false;   // `body` is over
  bool at_call_ = false;
  std::uint64_t number_ = 0;
  int failing_ = 0;
};

// UBSan finds out by a pipe(2) of its own whether it may read an address.
bool IsOfASanitizer(const Traced::Call& call, const std::string& object);

// The number and the object, for messages.
std::string ToString(const Traced::Call& call, const std::string& object);

// Goes through the system calls of a body that runs again and again, each time in a new child.
class CallByCall {
 public:
  // Whether a call, which is about `object`, is worth a stop.
  using Matters = std::function<bool(const Traced::Call& call, const std::string& object)>;
  explicit CallByCall(Matters matters) : matters_(std::move(matters)) {}
  CallByCall() : CallByCall([](const auto&, const auto&) { return true; }) {}

  // Lets `child` run to the first call that matters and comes after the last one. False: there is
  // none any more, and the body is over.
  bool RunToNext(Traced& child);

  // That call.
  const Traced::Call& call() const { return call_; }
  const std::string& object() const { return object_; }
  // How many there were.
  int visited() const { return visited_; }

 private:
  bool IsOneOfMany();

  const Matters matters_;
  Traced::Call call_;
  std::string object_;
  // The number, among those that matter, of the first that was not reached yet. The others vary
  // from run to run, with what else the machine does, and are not counted.
  int next_ = 0;
  int visited_ = 0;
  std::map<std::string, int> of_strangers_;
};

}  // namespace soleguard::testing
