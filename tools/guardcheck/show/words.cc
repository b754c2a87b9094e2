#include "show/words.h"

#include <algorithm>
#include <utility>

#include <absl/status/statusor.h>
#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_replace.h>

#include <soleguard/first_bytes.h>
#include <soleguard/verdict_text.h>

namespace guardcheck {
namespace {

using soleguard::ProcessDescription;
using soleguard::ProcessIdentity;
using soleguard::Secret;
using soleguard::SecretsIn;

constexpr std::size_t kMostShown = 1000;  // bytes of a command line that are shown
constexpr std::size_t kMostTyped = 4000;  // bytes of one that somebody is told to type

// The variable of the environment for a secret: "API_KEY".
std::string VariableOf(const Secret& secret) {
  std::string variable;
  for (const char c : secret.name)
    variable += absl::ascii_isalnum(c) ? absl::ascii_toupper(c) : '_';
  return absl::ascii_isdigit(variable.front()) ? "_" + variable : variable;
}

// For a shell: as it stands, but for secrets, of which the shell has to know the variables.
Shown CommandToType(const std::vector<std::string>& argv, const std::vector<Secret>& secrets) {
  std::vector<Shown> words;
  for (const std::string& word : argv) words.push_back(ShellWord(word));
  for (const Secret& secret : secrets) {
    const std::string before = argv[secret.word].substr(0, secret.begin);
    words[secret.word] = Text(before.empty() ? Shown() : ShellWord(before), "\"${",
                              Said(VariableOf(secret)), ":?}\"");
  }
  return Join(words, " ");
}

// "109,000".
Shown Grouped(std::size_t number) {
  std::string digits = absl::StrCat(number);
  for (std::size_t at = digits.size(); at > 3;) digits.insert(at -= 3, ",");
  return Said(digits);
}

// "(109,000 bytes, 2,000 words)".
Shown Extent(const std::vector<std::string>& words) {
  std::size_t bytes = 0;
  for (const std::string& word : words) bytes += word.size() + 1;  // as /proc has them
  return Text("(", Grouped(bytes), bytes == 1 ? Shown(" byte, ") : " bytes, ",
              Grouped(words.size()), words.size() == 1 ? Shown(" word)") : " words)");
}

Shown ScopeOption(const Common& common) {
  const std::string scope = common.options.scope.ToString();
  if (scope == soleguard::Scope::User().ToString()) return "";
  return Text(" --scope ", ShellWord(scope));
}

Shown PolicyOption(const Common& common) {
  if (common.policy == soleguard::Policy::Default()) return "";
  return Text(" --policy ", ShellWord(common.policy.ToString()));
}

// Those that the environment or a file has said here, and need not say where the proposal is typed.
Shown UnsaidOptions(const Call& call) {
  return Text(call.Says("--scope") ? Shown() : ScopeOption(call.common),
              call.Says("--policy") ? Shown() : PolicyOption(call.common));
}

// The options of the call that the proposed command has too. Not --json, as a person reads it, and
// not --verdict-fd: the descriptor is open in the call only.
Shown KeptOptions(const Call& call, const Proposal& proposal) {
  Shown kept;
  for (const SaidOption& option : call.said) {
    if (option.name == "--json" || option.name == "--verdict-fd") continue;
    if (proposal.without.contains(option.name) || call.has_option == nullptr ||
        !call.has_option(proposal.command, option.name)) {
      continue;
    }
    kept += Text(" ", ShellWords(option.words));
  }
  return kept;
}

// "sudo -u trader "; a number is written as sudo(8) has it.
Shown SudoAs(const std::string& user) {
  if (user.empty()) return "";
  const bool is_number = std::all_of(user.begin(), user.end(), &absl::ascii_isdigit);
  return Text("sudo -u ", ShellWord(is_number ? "#" + user : user), " ");
}

// " (...)", where secrets are not shown.
Shown VariablesText(const std::vector<Secret>& secrets) {
  if (secrets.empty()) return "";
  std::vector<Shown> variables;
  for (const Secret& secret : secrets) {
    Shown variable = Said(VariableOf(secret));
    if (std::find(variables.begin(), variables.end(), variable) == variables.end()) {
      variables.push_back(std::move(variable));
    }
  }
  return Text(" (secrets are not shown: put them in ", Join(variables, ", "), " first)");
}

}  // namespace

Shown Stamp(absl::Time time) { return Said(soleguard::TimeText(time)); }

Shown Age(absl::Time time) { return Said(soleguard::AgeText(time)); }

Shown Count(std::int64_t number, const Shown& thing) {
  return Text(number, " ", thing, number == 1 ? Shown() : "s");
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
  std::vector<Shown> shown;
  std::size_t room = kMostShown;
  for (const std::string& word : words) {
    const std::string_view part = soleguard::FirstBytes(word, room);
    if (!part.empty() || word.empty()) shown.push_back(ShellWord(part));
    if (word.size() >= room) return Text(Join(shown, " "), "… ", Extent(argv));
    room -= word.size() + 1;
  }
  return Join(shown, " ");
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

Shown ProposalText(const Call& call, const Proposal& proposal) {
  const std::vector<std::string> behind =
      proposal.has_command ? call.command : std::vector<std::string>();
  const std::vector<Secret> secrets = SecretsIn(behind);
  const Shown own = proposal.options.empty() ? "" : Text(" ", ShellWords(proposal.options));
  Shown line = Text(SudoAs(proposal.as_user), "guardcheck ", Said(proposal.command));
  if (!call.operand.empty()) line += Text(" ", ShellWord(call.operand));
  line += Text(UnsaidOptions(call), KeptOptions(call, proposal), own);
  if (!behind.empty()) line += Text(" -- ", CommandToType(behind, secrets));
  // A part of it could be typed too, and would start something else.
  if (line.text().size() > kMostTyped) {
    line = Text("the same call again, as guardcheck ", Said(proposal.command), own);
  }
  return Text("  ", line, "\n      ", proposal.what, VariablesText(secrets), "\n");
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

Shown Where(const Common& common) { return Text(ScopeOption(common), PolicyOption(common)); }

void Lines::Add(const Shown& key, const Shown& value) {
  if (!value.empty()) text_ += Text("  ", Padded(key, 11), " ", value, "\n");
}

}  // namespace guardcheck
