// A lease server for a test, in a process of its own: see server_main.cc.
#pragma once

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <stdexcept>
#include <string>

#include <absl/strings/str_cat.h>
#include <absl/time/time.h>

#include "support/program.h"

namespace soleguard::testing {

// While it lives, the layer `lease` without a profile asks it, in this process and in those that it
// starts.
class LeaseServer {
 public:
  // `time`: of its leases.
  explicit LeaseServer(absl::Duration time)
      : program_({.argv = {Beside("lease_server"), kAddress}}) {
    if (program_.ReadLine() != "ready") throw std::runtime_error(program_.Errors());
    (void)setenv("SOLEGUARD_LEASE_SERVER", kAddress.c_str(), 1);
    (void)setenv("SOLEGUARD_LEASE_TIME", absl::StrCat(absl::ToInt64Milliseconds(time)).c_str(), 1);
  }

  // Of the abstract name space: other users reach it, whatever directories they see.
  static const std::string& address() { return kAddress; }

  void Stop() {
    program_.Signal(SIGSTOP);
    program_.WaitUntilStopped();
  }
  void Continue() { program_.Signal(SIGCONT); }
  void Kill() {
    program_.Signal(SIGKILL);
    (void)program_.Wait();
  }

 private:
  static inline const std::string kAddress = absl::StrCat("@soleguard-lease-test/", getpid());

  Program program_;
};

}  // namespace soleguard::testing
