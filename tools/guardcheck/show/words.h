// Words and phrases that several texts of guardcheck have.
#pragma once

#include <cstdint>
#include <optional>
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

// As it can be typed, but for secrets.
Shown CommandLine(const std::vector<std::string>& argv);
Shown ShellWords(const std::vector<std::string>& words);

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
