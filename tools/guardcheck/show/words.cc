#include "show/words.h"

#include <utility>

#include <absl/status/statusor.h>
#include <absl/time/clock.h>

namespace guardcheck {
using soleguard::ProcessDescription;
using soleguard::ProcessIdentity;

Shown Stamp(absl::Time time) {
  return Said(absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", time, absl::UTCTimeZone()));
}

Shown Age(absl::Time time) {
  const absl::Duration age = absl::Trunc(absl::Now() - time, absl::Seconds(1));
  return age > absl::ZeroDuration() ? Said(absl::FormatDuration(age)) : "0s";
}

Shown Count(std::int64_t number, const Shown& thing) {
  return Text(number, " ", thing, number == 1 ? Shown() : "s");
}

Shown ShellWords(const std::vector<std::string>& words) {
  std::vector<Shown> shown;
  for (const std::string& word : words) shown.push_back(ShellWord(word));
  return Join(shown, " ");
}

Shown CommandLine(const std::vector<std::string>& argv) { return ShellWords(MaskSecrets(argv)); }

Shown ShownSlot(const soleguard::InstanceName& name) {
  const Shown text = Escape(name.text());
  return name.slot() == 0 ? text : Text(text, " (slot ", name.slot(), ")");
}

std::optional<ProcessDescription> Live(const ProcessIdentity& identity) {
  absl::StatusOr<ProcessDescription> description = soleguard::Describe(identity);
  return description.ok() ? std::optional(*std::move(description)) : std::nullopt;
}

Shown ProcessLine(const ProcessIdentity& process) {
  const std::optional<ProcessDescription> live = Live(process);
  if (!live.has_value()) return Text("pid ", process.pid, ", which has ended");
  return Text("pid ", process.pid, " (", CommandLine(live->argv), "), started ",
              Stamp(live->started), " by ", Escape(live->user));
}

Shown Where(const Common& common) {
  Shown options;
  const std::string scope = common.options.scope.ToString();
  if (scope != soleguard::Scope::User().ToString()) options += Text(" --scope ", ShellWord(scope));
  if (!(common.policy == soleguard::Policy::Default())) {
    options += Text(" --policy ", ShellWord(common.policy.ToString()));
  }
  return options;
}

void Lines::Add(const Shown& key, const Shown& value) {
  if (!value.empty()) text_ += Text("  ", Padded(key, 11), " ", value, "\n");
}

}  // namespace guardcheck
