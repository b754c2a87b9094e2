// What each command of guardcheck is given, and its entry point.
#pragma once

#include <string>
#include <vector>

#include <absl/status/status.h>

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

struct ExplainRequest {
  std::string policy;  // as it was given
  bool json = false;
};

// Each returns the exit code.
int Run(const RunRequest& request);
int ShowCheck(const CheckRequest& request);
int ShowStatus(const Common& common, const std::string& name);
int ShowList(const Common& common);
int ShowExplanation(const ExplainRequest& request);

// For a person: what is wrong with a policy's text, and below it the text with a caret under the
// column. `option` is what the text was given as.
std::string PolicyError(const std::string& option, const std::string& text,
                        const absl::Status& status);

}  // namespace guardcheck
