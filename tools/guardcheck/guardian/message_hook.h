// A program that answers the messages for a guarded command.
#pragma once

#include <string>
#include <utility>

#include <absl/status/status.h>

#include "guardian/supervise.h"
#include <soleguard/fd.h>
#include <soleguard/message.h>

namespace guardcheck {

class MessageHook {
 public:
  // `program`: a path; neither PATH nor a shell is involved.
  explicit MessageHook(std::string program) : program_(std::move(program)) {}

  // Why it cannot be executed.
  absl::Status Check() const;

  // Has the guardian run the program, its Supervision::hook, with `input` as its standard input.
  // What it writes to its standard output, at most kMaxPayloadBytes, is the answer, which is not ok
  // unless it ends with 0. Blocks, at most 30 seconds: what has not ended by then, with all that it
  // started in its process group, is killed. The guardian's child, it ends with the command
  // whatever way this process does.
  soleguard::Answer Ask(const std::string& input, const GuardianLink& guardian) const;

  // Ends the one that runs, and runs no other. Thread-safe. Does not block.
  void Stop() const { stop_.Set(); }

 private:
  const std::string program_;
  const soleguard::WaitFlag stop_;
};

}  // namespace guardcheck
