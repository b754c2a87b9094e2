#include "show/words.h"

#include <algorithm>
#include <array>
#include <utility>

#include <absl/status/statusor.h>

#include <soleguard/verdict_text.h>

namespace guardcheck {
namespace {

using soleguard::ProcessDescription;
using soleguard::ProcessIdentity;

constexpr std::array<std::string_view, 7> kSecretOptions = {
    "password", "passwd", "token", "secret", "api-key", "apikey", "access-key"};

}  // namespace

Shown Stamp(absl::Time time) { return Said(soleguard::TimeText(time)); }

Shown Age(absl::Time time) { return Said(soleguard::AgeText(time)); }

Shown Count(std::int64_t number, const Shown& thing) {
  return Text(number, " ", thing, number == 1 ? Shown() : "s");
}

std::vector<std::string> MaskSecrets(std::vector<std::string> argv) {
  bool mask_next = false;
  for (std::string& word : argv) {
    if (mask_next) {
      word = "***";
      mask_next = false;
      continue;
    }
    const std::size_t dashes = std::min(word.find_first_not_of('-'), word.size());
    if (dashes == 0 || dashes > 2) continue;
    const std::size_t equals = std::min(word.find('='), word.size());
    const std::string_view option = std::string_view(word).substr(dashes, equals - dashes);
    if (std::find(kSecretOptions.begin(), kSecretOptions.end(), option) == kSecretOptions.end())
      continue;
    if (equals < word.size()) {
      word = word.substr(0, equals + 1) + "***";
    } else {
      mask_next = true;
    }
  }
  return argv;
}

Shown ShellWords(const std::vector<std::string>& words) {
  std::vector<Shown> shown;
  for (const std::string& word : words) shown.push_back(ShellWord(word));
  return Join(shown, " ");
}

Shown CommandLine(const std::vector<std::string>& argv) {
  std::vector<std::string> words = MaskSecrets(argv);
  const auto last = std::find_if(words.rbegin(), words.rend(),
                                 [](const std::string& word) { return !word.empty(); });
  // A process that has written a title over its arguments (setproctitle) leaves zeros behind it,
  // which read as empty words. A single one may be an argument.
  if (last - words.rbegin() > 1) words.erase(last.base(), words.end());
  return ShellWords(words);
}

Shown ShortCommandLine(const std::vector<std::string>& argv) {
  constexpr std::size_t kLongest = 60;
  std::vector<std::string> words;
  std::size_t length = 0;
  for (const std::string& word : MaskSecrets(argv)) {
    if (length + word.size() > kLongest && !words.empty()) {
      return Text(ShellWords(words), " ...");
    }
    words.push_back(word);
    length += word.size() + 1;
  }
  return ShellWords(words);
}

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
