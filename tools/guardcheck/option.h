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
  // Whether a command that is proposed to a person is given it as well.
  bool is_kept = true;
  // Whether its value, a duration, bounds all of the call, what comes before Command::Run included.
  bool bounds_call = false;

  bool is_flag() const { return value.empty(); }
  std::string key() const { return name.substr(2); }
  std::string variable() const;
  // What `word` was meant for where it follows the option and the option needs no value, or needs
  // it behind a "=": "3s" for "3s" and "3" where it takes a duration. Empty: nothing that it takes.
  std::string ValueMeantBy(const std::string& word) const;
  // With this value, as it is typed.
  std::vector<std::string> Words(const std::string& text) const;
};

// InvalidArgument: "expected WHAT, found 'FOUND'", which is escaped here.
absl::Status Expected(const std::string& what, const std::string& found);

// What somebody meant who wrote `text` for a duration: "3s" for "3", "3sec" and "3 seconds", "24h"
// for "1d", "3s" for itself. Empty: it does not read as a duration.
std::string DurationMeant(const std::string& text);

// The absolute path that the relative `path` is here, or that the shell makes of "~/x".
std::string AbsolutePath(const std::string& path);

// Readers into `target`, which must outlive them.
Reader Into(std::string& target);
Reader Into(std::vector<std::string>& target);  // appends
Reader Into(bool& target);
Reader Into(int& target, int smallest, int largest);
// An absolute path of a file. (A relative one would be another in each working directory.)
Reader IntoAbsolutePath(std::string& target);
// 500ms, 30s, 2m. Not negative; so long that it would overflow a clock is 100 years.
Reader Into(absl::Duration& target);

}  // namespace guardcheck
