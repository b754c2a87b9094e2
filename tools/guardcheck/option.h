// An option of a command, and how its text becomes a value.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/time/time.h>

namespace guardcheck {

// Takes the text of an option. InvalidArgument says what was expected.
using Reader = std::function<absl::Status(const std::string& text)>;

struct Option {
  std::string name;   // "--grace"
  std::string value;  // what the help calls its value: "DURATION"; empty: a flag, "true" or "false"
  std::string help;
  Reader read;
  std::string standard;  // what holds when nobody says it, for the help
  std::string bare;      // the text of the option without a value; empty: it needs one
  bool repeats = false;  // read once for each time that it is given
  // Whether the environment and the configuration files may say it too, where the command line does
  // not: SOLEGUARD_GRACE, and grace.
  bool is_setting = true;
  // Whether its value, a duration, bounds all of the call, what comes before Command::Run included.
  bool bounds_call = false;

  bool is_flag() const { return value.empty(); }
  std::string key() const { return name.substr(2); }
  std::string variable() const;
  // With this value, as it is typed.
  std::vector<std::string> Words(const std::string& text) const;
};

// Readers into `target`, which must outlive them.
Reader Into(std::string& target);
Reader Into(std::vector<std::string>& target);  // appends
Reader Into(bool& target);
Reader Into(int& target, int smallest, int largest);
// 500ms, 30s, 2m. Not negative; so long that it would overflow a clock is 100 years.
Reader Into(absl::Duration& target);

}  // namespace guardcheck
