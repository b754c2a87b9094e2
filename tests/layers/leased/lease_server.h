// A lease server for a test, in a process of its own: see server_main.cc.
#pragma once

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>

#include <absl/strings/str_cat.h>
#include <absl/time/time.h>

#include "support/program.h"

namespace soleguard::testing {

// A variable of this process's environment, and of those that it starts, as long as it lives.
class EnvironmentVariable {
 public:
  EnvironmentVariable(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    (void)setenv(name, value.c_str(), 1);
  }
  EnvironmentVariable(const EnvironmentVariable&) = delete;
  EnvironmentVariable& operator=(const EnvironmentVariable&) = delete;
  ~EnvironmentVariable() {
    (void)(before_.has_value() ? setenv(name_, before_->c_str(), 1) : unsetenv(name_));
  }

 private:
  const char* const name_;
  std::optional<std::string> before_;
};

// While it lives, the layer `lease` without a profile asks it.
class LeaseServer {
 public:
  // `time`: of the leases that are asked for.
  explicit LeaseServer(absl::Duration time)
      : program_(Start()),
        address_variable_("SOLEGUARD_LEASE_SERVER", address_),
        time_variable_("SOLEGUARD_LEASE_TIME", absl::StrCat(absl::ToInt64Milliseconds(time))) {}

  const std::string& address() const { return address_; }

  void Stop() {
    program_.Signal(SIGSTOP);
    program_.WaitUntilStopped();
  }
  void Continue() { program_.Signal(SIGCONT); }
  void Kill() {
    program_.Signal(SIGKILL);
    (void)program_.Wait();
  }
  // Another one in its place, which knows of no lease.
  void Restart() {
    Kill();
    program_ = Start();
  }

 private:
  // Of the abstract name space: other users reach it, whatever directories they see.
  static std::string NewAddress() {
    static int count = 0;
    return absl::StrCat("@soleguard-lease-test/", getpid(), "/", ++count);
  }
  Program Start() const {
    Program program({.argv = {Beside("lease_server"), address_}});
    if (program.ReadLine() != "ready") throw std::runtime_error(program.Errors());
    return program;
  }

  const std::string address_ = NewAddress();
  Program program_;
  const EnvironmentVariable address_variable_;
  const EnvironmentVariable time_variable_;
};

}  // namespace soleguard::testing
