// completion: what a shell needs to complete the words of a command line, made from the options
// that the commands have.
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_replace.h>

#include "command.h"
#include "exit_code.h"
#include "line/command_line.h"

namespace guardcheck {
namespace {

// Names are other people's words: what a shell gets from this it must never expand again.
constexpr char kNames[] = "guardcheck list --names 2>/dev/null";

// What can stand for the value of an option, or for an operand.
struct Values {
  std::string words;  // separated by blanks
  bool files = false;
  bool directories = false;
  bool programs = false;
};

Values ValuesOf(std::string_view value) {
  const std::string text(value);
  if (value.find('|') != std::string_view::npos) {
    return {.words = absl::StrReplaceAll(text, {{"|", " "}})};
  }
  if (value == "FILE") return {.files = true};
  if (value == "DIR") return {.directories = true};
  if (value == "PROGRAM") return {.programs = true};
  if (value == "SCOPE") return {.words = "user system", .directories = true};
  if (value == "POLICY") return {.words = "default strict available"};
  return {};
}

// What bash does behind `option` of `command`.
std::string BashCase(std::string_view command, const Option& option) {
  const Values values = ValuesOf(option.value);
  std::string compgen;
  if (!values.words.empty()) absl::StrAppend(&compgen, " -W '", values.words, "'");
  if (values.files) absl::StrAppend(&compgen, " -f");
  if (values.directories) absl::StrAppend(&compgen, " -d");
  if (values.programs) absl::StrAppend(&compgen, " -c");
  const bool paths = values.files || values.directories;
  return absl::StrCat(
      "    ", std::string(command), ",", option.name, ") ", paths ? "_guardcheck_quote; " : "",
      compgen.empty() ? "" : absl::StrCat("_guardcheck_reply", compgen, "; "), "return ;;\n");
}

std::string Bash() {
  std::vector<std::string> names;
  std::string options;
  std::string values;
  for (const CommandKind& kind : CommandKinds()) {
    names.emplace_back(kind.name);
    std::vector<std::string> words = {"--help"};
    for (const Option& option : DocumentedOptions(kind)) {
      words.push_back(option.name);
      if (!option.is_flag()) absl::StrAppend(&values, BashCase(kind.name, option));
    }
    const Values operand = ValuesOf(kind.operand);
    absl::StrAppend(&options, "    ", std::string(kind.name), ") options='",
                    absl::StrJoin(words, " "), "'");
    if (kind.has_name()) {
      absl::StrAppend(&options, "; names=yes");
    } else if (!operand.words.empty()) {
      absl::StrAppend(&options, "; operands='", operand.words, "'");
    }
    absl::StrAppend(&options, " ;;\n");
  }
  return absl::StrCat(R"(# bash completion for guardcheck

_guardcheck_reply() { mapfile -t COMPREPLY < <(compgen "$@" -- "$current"); }

# What is found are files: quoted where it is inserted.
_guardcheck_quote() { compopt -o filenames 2>/dev/null; }

# compgen -W would expand its words, and so run what stands in a name.
_guardcheck_names() {
  local names name quoted
  mapfile -t names < <()",
                      kNames, R"()
  for name in "${names[@]}"; do
    printf -v quoted %q "$name"
    [[ "$name" == "$current"* || "$quoted" == "$current"* ]] && COMPREPLY+=("$quoted")
  done
}

_guardcheck() {
  local current="${COMP_WORDS[COMP_CWORD]}" option="${COMP_WORDS[COMP_CWORD - 1]}"
  local options='' operands='' names='' i
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    _guardcheck_reply -W ')",
                      absl::StrJoin(names, " "), R"( --help --version'
    return
  fi
  for ((i = 2; i < COMP_CWORD; ++i)); do
    [[ "${COMP_WORDS[i]}" == -- ]] || continue
    if declare -F _command_offset >/dev/null; then
      _command_offset $((i + 1))
    else
      _guardcheck_reply -c
    fi
    return
  done
  # "--until=t" is three words here.
  [[ "$current" == = ]] && current=''
  [[ "$option" == = ]] && option="${COMP_WORDS[COMP_CWORD - 2]}"
  case "${COMP_WORDS[1]},$option" in
)",
                      values, R"(  esac
  case "${COMP_WORDS[1]}" in
)",
                      options, R"(  esac
  if [[ "$current" == -* ]]; then
    _guardcheck_reply -W "$options"
  elif [[ "$names" ]]; then
    _guardcheck_names
  else
    _guardcheck_reply -W "$operands"
  fi
}
complete -F _guardcheck guardcheck
)");
}

std::string Quoted(std::string_view text) {
  return absl::StrCat("'", absl::StrReplaceAll(std::string(text), {{"'", "'\\''"}}), "'");
}

// Of zsh's _arguments: ':' and brackets are its own.
std::string ZshText(const std::string& text) {
  return absl::StrReplaceAll(text, {{":", "\\:"}, {"[", "("}, {"]", ")"}});
}

std::string ZshValues(const Values& values) {
  if (values.programs) return "_command_names -e";
  if (!values.words.empty()) return absl::StrCat("(", values.words, ")");
  if (values.files) return "_files";
  return values.directories ? "_files -/" : " ";
}

// An argument of zsh's _arguments: "--wait=-[help]::DURATION: ".
std::string ZshArgument(const Option& option) {
  std::string head = absl::StrCat(option.repeats ? "*" : "", option.name,
                                  option.is_flag()      ? ""
                                  : option.bare.empty() ? "="
                                                        : "=-",
                                  "[", ZshText(option.help), "]");
  if (option.is_flag()) return head;
  return absl::StrCat(head, option.bare.empty() ? ":" : "::", ZshText(option.value), ":",
                      ZshValues(ValuesOf(option.value)));
}

std::string Zsh() {
  std::vector<std::string> commands;
  std::string cases;
  for (const CommandKind& kind : CommandKinds()) {
    commands.push_back(
        Quoted(absl::StrCat(std::string(kind.name), ":", ZshText(std::string(kind.help)))));
    std::vector<std::string> arguments;
    for (const Option& option : DocumentedOptions(kind)) {
      arguments.push_back(Quoted(ZshArgument(option)));
    }
    const Values operand = ValuesOf(kind.operand);
    if (kind.has_name()) arguments.emplace_back("'1:NAME:_guardcheck_names'");
    if (!operand.words.empty()) {
      arguments.push_back(Quoted(absl::StrCat("1:: :", ZshValues(operand))));
    }
    if (kind.behind != CommandKind::Behind::kNothing)
      arguments.emplace_back("'*:: :_guardcheck_command'");
    absl::StrAppend(&cases, "    ", std::string(kind.name), ") _arguments -S \\\n      ",
                    absl::StrJoin(arguments, " \\\n      "), " ;;\n");
  }
  return absl::StrCat(
      "#compdef guardcheck\n\n_guardcheck_names() {\n  local -a names\n  names=(${(f)\"$(", kNames,
      ")\"})\n  compadd -a names\n}\n", R"(
_guardcheck_command() {
  local -i at=${words[(i)--]}
  ((at < CURRENT)) || return 1
  shift at words
  ((CURRENT -= at))
  _normal
}

_guardcheck() {
  local -a commands
  commands=(
    )",
      absl::StrJoin(commands, "\n    "), R"(
  )
  if ((CURRENT == 2)); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  ((CURRENT--))
  case $command in
)",
      cases, R"(  esac
}

_guardcheck "$@"
)");
}

std::string Fish() {
  std::string text = "# fish completion for guardcheck\n\ncomplete -c guardcheck -f\n";
  for (const CommandKind& kind : CommandKinds()) {
    const std::string name(kind.name);
    absl::StrAppend(&text, "complete -c guardcheck -n __fish_use_subcommand -a ", name, " -d ",
                    Quoted(kind.help), "\n");
    const std::string line =
        absl::StrCat("complete -c guardcheck -n '__fish_seen_subcommand_from ", name, "'");
    const Values operand = ValuesOf(kind.operand);
    if (kind.has_name())
      absl::StrAppend(&text, line, " -a ", Quoted(absl::StrCat("(", kNames, ")")), "\n");
    if (!operand.words.empty()) absl::StrAppend(&text, line, " -a ", Quoted(operand.words), "\n");
    for (const Option& option : DocumentedOptions(kind)) {
      absl::StrAppend(&text, line, " -l ", option.key());
      const Values values = ValuesOf(option.value);
      const bool paths = values.files || values.directories;
      if (!option.is_flag() && option.bare.empty())
        absl::StrAppend(&text, paths ? " -r -F" : " -x");
      if (!values.words.empty()) absl::StrAppend(&text, " -a ", Quoted(values.words));
      if (values.programs) absl::StrAppend(&text, " -a '(__fish_complete_command)'");
      absl::StrAppend(&text, " -d ", Quoted(option.help), "\n");
    }
  }
  return text;
}

class ShowCompletion final : public Command {
 public:
  int Run(const Call& call) override {
    std::string text;
    if (call.operand == "bash") text = Bash();
    if (call.operand == "zsh") text = Zsh();
    if (call.operand == "fish") text = Fish();
    if (text.empty()) {
      throw UsageError("completion: expected bash, zsh or fish, found '" +
                       Escape(call.operand).text() + "'");
    }
    (void)std::fputs(text.c_str(), stdout);
    return kYes;
  }
};

}  // namespace

CommandKind CompletionCommand() {
  return {.name = "completion",
          .help = "print the completion script of a shell",
          .operand = "bash|zsh|fish",
          .takes = CommandKind::Takes::kNothing,
          .make = [] { return std::unique_ptr<Command>(std::make_unique<ShowCompletion>()); }};
}

}  // namespace guardcheck
