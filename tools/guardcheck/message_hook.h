// A program that answers the messages for a guarded command.
#pragma once

#include <signal.h>

#include <string>

#include <absl/status/status.h>

#include <soleguard/fd.h>
#include <soleguard/message.h>

namespace guardcheck {

class MessageHook {
 public:
  // `program`: a path; neither PATH nor a shell is involved. It is started with the signals that
  // are blocked now.
  explicit MessageHook(std::string program);

  // Why it cannot be executed.
  absl::Status Check() const;

  // Runs the program with `input` as its standard input. What it writes to its standard output, at
  // most kMaxPayloadBytes, is the answer, which is not ok unless it ends with 0. Blocks, at most 30
  // seconds: what has not ended by then, with all that it started in its process group, is killed.
  soleguard::Answer Ask(const std::string& input) const;

  // Kills the one that runs, and runs no other. Thread-safe. Does not block.
  void Stop() const { stop_.Set(); }

 private:
  const std::string program_;
  sigset_t signals_ = {};
  const soleguard::WaitFlag stop_;
};

}  // namespace guardcheck
