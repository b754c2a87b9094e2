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

// Each returns the exit code.
int Run(const RunRequest& request);
int ShowStatus(const Common& common, const std::string& name);
int ShowList(const Common& common);

}  // namespace guardcheck
