// A program that is told of events, as lines on its standard input.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/time/time.h>

#include <soleguard/fd.h>

namespace guardcheck {

// Runs beside the caller for as long as there are events; its standard output is the caller's
// standard error. It never blocks the caller: lines wait in a queue of kMaxQueued, and what comes
// when that is full is dropped and counted. When it ends it is started again for the next line, at
// most once a second; the line that it was reading is then sent once more. Not thread-safe. The
// caller has blocked SIGPIPE and has no other children.
class EventHook {
 public:
  // `argv`: the program, found as execvp(3) does, and its arguments. No shell is involved.
  explicit EventHook(std::vector<std::string> argv) : argv_(std::move(argv)) {}
  EventHook(const EventHook&) = delete;
  EventHook& operator=(const EventHook&) = delete;
  ~EventHook() { Finish(absl::ZeroDuration()); }

  // The first start, so that a program that is not there is an error and no silence.
  absl::Status Begin();

  // `line` has no newline.
  void Send(std::string line);

  // Writes what can be written now. To be called when input() is writable, when a child has ended
  // and when due() is over.
  void Pump();

  // -1: there is nothing to write, or nobody to write to.
  int input() const { return queue_.empty() ? -1 : input_.get(); }
  // How long until it may be started again; infinite when that is not needed.
  absl::Duration due() const;

  std::uint64_t dropped() const { return dropped_; }

  // Gives it the rest and the end of its input, waits for its end, but not longer than `at_most` in
  // all, and then kills it.
  void Finish(absl::Duration at_most);

  static constexpr std::size_t kMaxQueued = 1000;

 private:
  absl::Status Start();
  void Reap();

  const std::vector<std::string> argv_;
  soleguard::UniqueFd input_;
  pid_t pid_ = -1;  // a child that was not waited for, so the number is its own
  std::deque<std::string> queue_;
  std::size_t written_ = 0;  // of the first
  std::uint64_t dropped_ = 0;
  absl::Time last_start_ = absl::InfinitePast();
};

}  // namespace guardcheck
