// What each command of guardcheck is given, and its entry point.
#pragma once

#include <string>
#include <vector>

#include <soleguard/guard.h>
#include <soleguard/policy.h>

namespace guardcheck {

// What every command takes.
struct Common {
  soleguard::Policy policy = soleguard::Policy::Default();
  soleguard::Options options;
  bool json = false;
};

struct RunRequest {
  Common common;
  std::string name;
  std::vector<std::string> command;
  bool exec = false;                        // become the command, without a guardian
  absl::Duration grace = absl::Seconds(5);  // for what the command leaves behind
};

// What would be started is said where the policy has to know it.
struct CheckRequest {
  Common common;
  std::string name;
  std::vector<std::string> command;
};

// Each returns the exit code.
int Run(const RunRequest& request);
int ShowCheck(const CheckRequest& request);
int ShowStatus(const Common& common, const std::string& name);
int ShowList(const Common& common);

}  // namespace guardcheck
