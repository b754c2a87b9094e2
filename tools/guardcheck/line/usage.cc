#include "line/usage.h"

#include <algorithm>
#include <cstddef>
#include <string_view>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_replace.h>

#include "show/words.h"
#include "shown.h"
#include <soleguard/name.h>
#include <soleguard/nearest.h>

namespace guardcheck {
namespace {

using Behind = CommandKind::Behind;

constexpr char kSeeHelp[] = "\nRun with --help for more information.";

// "the command stands behind --", or words; empty: nothing may stand there.
std::string WhatStandsBehind(const CommandKind& kind) {
  if (kind.behind == Behind::kNothing) return "";
  return kind.behind_name == "COMMAND" ? "the command stands behind --" : "words stand behind --";
}

// For an example.
std::string OperandOf(const CommandKind& kind) {
  if (kind.has_name()) return "bot";
  if (kind.operand == "POLICY") return "default";
  return std::string(kind.operand.substr(0, kind.operand.find('|')));
}

std::string BehindOf(const CommandKind& kind, const std::vector<std::string>& behind) {
  if (!behind.empty()) return absl::StrCat(" -- ", CommandLine(behind).text());
  return kind.behind == Behind::kCommand ? " -- ./job" : "";
}

// Words in front of "--" for an example. What stands behind --slot-env may be a key that somebody
// wrote in the place of its variable.
std::string OwnWords(std::vector<std::string> words) {
  constexpr std::string_view kSecret = "--slot-env";
  for (std::size_t i = 1; i < words.size(); ++i) {
    const bool is_value = words[i - 1] == kSecret;
    if (!is_value && !words[i].starts_with(absl::StrCat(std::string(kSecret), "="))) continue;
    words[i] = words[i].substr(0, words[i].find('=')) + "=...";
  }
  return absl::StrCat("guardcheck ", ShellWords(words).text());
}

// The call with "--" in front of its first extra word.
std::string WithDashes(const Typed& typed) {
  const std::string& first = typed.extra.front();
  auto extra = std::find(typed.words.begin() + 1, typed.words.end(), first);
  if (first == typed.operand) extra = std::find(extra + 1, typed.words.end(), first);
  return absl::StrCat(OwnWords({typed.words.begin(), extra}), " -- ",
                      CommandLine({extra, typed.words.end()}).text());
}

[[noreturn]] void RefuseValue(const Typed& typed, const Option& option, const std::string& word) {
  std::string error = absl::StrCat(std::string(typed.kind.name), ": ", option.name,
                                   " takes its value behind a '=': ", option.name, "=",
                                   Escape(option.ValueMeantBy(word)).text());
  if (typed.operand == word && typed.kind.has_name()) {
    absl::StrAppend(
        &error, "\nA NAME that looks like a value stands in front of the option: ", "guardcheck ",
        std::string(typed.kind.name), " ", ShellWord(word).text(), " ", option.name);
  }
  throw UsageError(error);
}

[[noreturn]] void RefuseOption(const Typed& typed) {
  const std::string& word = typed.extra.front();
  std::vector<std::string> known;
  for (const Option& option : typed.options) known.push_back(option.name);
  const std::string typed_name = word.substr(0, word.find('='));
  const std::string behind = WhatStandsBehind(typed.kind);
  throw UsageError(absl::StrCat(
      std::string(typed.kind.name), ": '", Escape(typed_name).text(), "' is no option of it",
      soleguard::DidYouMean(typed_name, known), behind.empty() ? "" : "; ", behind,
      typed.kind.has_name() && typed.operand.empty() && !word.starts_with("--")
          ? "; a NAME does not begin with '-'"
          : "",
      kSeeHelp));
}

// What the call would be, where a word stands that is not expected.
std::string Instead(const Typed& typed) {
  const CommandKind& kind = typed.kind;
  const std::string operands =
      kind.operand.empty() ? "it takes no NAME"
                           : absl::StrCat("it takes one ", kind.has_name() ? "NAME" : "word");
  const std::string behind = WhatStandsBehind(kind);
  if (behind.empty()) return ": " + operands;
  if (typed.has_dashes) return "; " + behind;
  // Two names, more often than not, unless a command or words have to follow.
  const bool is_sure = kind.behind == Behind::kCommand || kind.behind_name != "COMMAND";
  return absl::StrCat("; ", is_sure ? "" : absl::StrCat(operands, ", and "), behind, ": ",
                      WithDashes(typed));
}

// What a name might be called that was given as a path.
std::string NameOfPath(const std::string& path) {
  const std::size_t last = path.find_last_not_of('/');
  if (last == std::string::npos) return "";
  const std::string trimmed = path.substr(0, last + 1);
  const bool is_place = path.front() == '/' || path.front() == '.' || path.front() == '~';
  const std::string name = is_place ? trimmed.substr(trimmed.rfind('/') + 1)
                                    : absl::StrReplaceAll(trimmed, {{"/", "_"}});
  return soleguard::InstanceName::Parse(name).ok() ? name : "";
}

}  // namespace

void RefuseCommand(const std::string& word, const std::vector<std::string>& behind) {
  std::vector<std::string> known = {"help"};
  for (const CommandKind& kind : CommandKinds()) known.emplace_back(kind.name);
  const std::string meant = soleguard::DidYouMean(word, known);
  // As flock(1) is called.
  const bool is_name =
      meant.empty() && !behind.empty() && soleguard::InstanceName::Parse(word).ok();
  throw UsageError(
      absl::StrCat("there is no command '", Escape(word).text(), "'", meant,
                   is_name ? absl::StrCat(" (did you mean guardcheck run ", ShellWord(word).text(),
                                          " -- ", CommandLine(behind).text(), "?)")
                           : "",
                   "; guardcheck --help lists them"));
}

void CheckValues(const Typed& typed) {
  for (const Option& option : typed.options) {
    // A flag is often followed by the command, with its "--" forgotten.
    const auto is_value = [&](const std::string& word) {
      return !option.ValueMeantBy(word).empty() && (!option.is_flag() || word == typed.operand);
    };
    for (std::size_t i = 1; i + 1 < typed.words.size(); ++i) {
      const std::string& next = typed.words[i + 1];
      if (typed.words[i] == option.name && is_value(next)) RefuseValue(typed, option, next);
    }
  }
}

void CheckExtra(const Typed& typed) {
  if (typed.extra.empty()) return;
  if (typed.extra.front().starts_with('-')) RefuseOption(typed);
  throw UsageError(absl::StrCat(std::string(typed.kind.name), ": '",
                                Escape(typed.extra.front()).text(), "' is not expected",
                                Instead(typed), kSeeHelp));
}

void RefuseMissingOperand(const Typed& typed) {
  const CommandKind& kind = typed.kind;
  const bool asks_who_runs = kind.has_name() && kind.behind != Behind::kCommand;
  throw UsageError(
      absl::StrCat(std::string(kind.operand), " is required; for example: guardcheck ",
                   std::string(kind.name), " ", OperandOf(kind), BehindOf(kind, typed.behind),
                   asks_who_runs ? "\nguardcheck list shows the names that run." : "", kSeeHelp));
}

void CheckName(const CommandKind& kind, const std::string& name) {
  const auto parsed = soleguard::InstanceName::Parse(name);
  if (!kind.has_name() || parsed.ok()) return;
  std::string error = absl::StrCat("NAME: ", std::string(parsed.status().message()));
  if (name.empty()) absl::StrAppend(&error, "; is a variable of the script not set?");
  const std::string meant = name.find('/') != std::string::npos ? NameOfPath(name) : "";
  if (!meant.empty()) {
    absl::StrAppend(&error, "; a NAME is no path: call it ", ShellWord(meant).text(),
                    ", for example. (--scope DIR says where its files are.)");
  }
  throw UsageError(error);
}

void CheckBehind(const Typed& typed) {
  const std::string name(typed.kind.name);
  if (typed.kind.behind == Behind::kNothing && typed.has_dashes) {
    throw UsageError(name + ": it takes nothing behind --");
  }
  if (typed.kind.behind != Behind::kCommand || !typed.behind.empty()) return;
  throw UsageError(absl::StrCat(
      name, ": expected -- and a command behind the options; for example: ", OwnWords(typed.words),
      BehindOf(typed.kind, {})));
}

}  // namespace guardcheck
