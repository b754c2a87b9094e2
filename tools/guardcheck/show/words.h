// Words and phrases that several texts of guardcheck have.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <absl/time/time.h>

#include "command.h"
#include "shown.h"
#include <soleguard/name.h>
#include <soleguard/process.h>
#include <soleguard/record.h>
#include <soleguard/text.h>

namespace guardcheck {

// "2026-01-02 03:04:05 UTC".
Shown Stamp(absl::Time time);
// How long ago that is: "2m3s".
Shown Age(absl::Time time);

// "1 event", "2 events", of the thing "event".
Shown Count(std::int64_t number, const Shown& thing);

using soleguard::MaskSecrets;

// As it can be typed, but for secrets, for the empty words at the end that a process leaves when it
// rewrites its title, and for what is too long for a screen: of that the beginning is shown, and
// how much there is.
Shown CommandLine(const std::vector<std::string>& argv);
// Its first words, as far as they are not too long for a line that says more.
Shown ShortCommandLine(const std::vector<std::string>& argv);
Shown ShellWords(const std::vector<std::string>& words);

// A command of guardcheck for a person to type, made of the call: with those of its options that
// the command has too.
struct Proposal {
  std::string_view command;                 // "stop"
  std::vector<std::string> options = {};    // of its own
  std::set<std::string_view> without = {};  // options of the call that it does not have
  std::string as_user = {};                 // sudo(8) starts it as this one; empty: the caller
  bool has_command = false;                 // what is behind -- in the call is behind it too
  Shown what = {};                          // what it does
};
// Two lines: the command, and what it does. Where a secret stands in the call the command takes it
// from the environment, and the shell runs nothing without it. A call that is too long to be shown
// is told in words.
Shown ProposalText(const Call& call, const Proposal& proposal);

// "x", or "x (slot 2)".
Shown ShownSlot(const soleguard::InstanceName& name);

// Read now, of that very process; nullopt when it is gone or cannot be seen from here.
std::optional<soleguard::ProcessDescription> Live(const soleguard::ProcessIdentity& identity);

// A process as it is now, in one line.
Shown ProcessLine(const soleguard::ProcessIdentity& process);

// The options without which another guardcheck would look elsewhere: "", or " --scope ..." and
// " --policy ...". (It may have been the environment that said so here; it need not be the same
// there.)
Shown Where(const Common& common);

// Aligned "  key  value" lines; one whose value is empty is left out.
class Lines {
 public:
  void Add(const Shown& key, const Shown& value);
  const Shown& text() const { return text_; }

 private:
  Shown text_;
};

}  // namespace guardcheck
