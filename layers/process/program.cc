#include "process/program.h"

#include <algorithm>
#include <array>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "os/path.h"

namespace soleguard {
namespace {

// From their manual pages. Long options are taken to stand alone, or with their value after '='.
constexpr std::array kInterpreters = {
    Interpreter{.name = "python", .value_options = "WX", .code_options = "cm"},
    Interpreter{.name = "pypy", .value_options = "WX", .code_options = "cm"},
    Interpreter{.name = "bash", .value_options = "oO", .code_options = "cs"},
    Interpreter{.name = "sh", .value_options = "o", .code_options = "cs"},
    Interpreter{.name = "dash", .value_options = "o", .code_options = "cs"},
    Interpreter{.name = "zsh", .value_options = "o", .code_options = "cs"},
    Interpreter{.name = "ksh", .value_options = "o", .code_options = "cs"},
    Interpreter{.name = "fish", .value_options = "Cdf", .code_options = "c"},
    Interpreter{.name = "perl", .value_options = "I", .code_options = "eE"},
    Interpreter{.name = "ruby", .value_options = "ICEr", .code_options = "e"},
    Interpreter{.name = "node", .value_options = "rC", .code_options = "ep"},
    Interpreter{.name = "nodejs", .value_options = "rC", .code_options = "ep"},
    Interpreter{.name = "php", .value_options = "cdz", .code_options = "rBRES"},
    Interpreter{.name = "lua", .value_options = "l", .code_options = "e"},
    Interpreter{.name = "tclsh", .value_options = "", .code_options = ""},
    Interpreter{.name = "wish", .value_options = "", .code_options = ""},
    Interpreter{.name = "guile", .value_options = "lL", .code_options = "c"},
};

// One that only a script's first line names.
constexpr Interpreter kUnknownInterpreter = {.name = "", .value_options = "", .code_options = ""};

// How one word of options goes on.
enum class Option { kAlone, kTakesNext, kTakesProgram };
Option KindOf(const Interpreter& interpreter, std::string_view word) {
  if (word == "-") return Option::kTakesProgram;  // from standard input
  if (word.starts_with("--")) {
    return word == "--eval" || word == "--print" ? Option::kTakesProgram : Option::kAlone;
  }
  // Letters may stand together, as in "-uc". What follows a letter with a value is the value.
  for (std::size_t i = 1; i < word.size(); ++i) {
    if (interpreter.code_options.find(word[i]) != std::string_view::npos) {
      return Option::kTakesProgram;
    }
    if (interpreter.value_options.find(word[i]) != std::string_view::npos) {
      return i + 1 == word.size() ? Option::kTakesNext : Option::kAlone;
    }
  }
  return Option::kAlone;
}

// Where the script stands in argv, if one can be there.
std::optional<std::size_t> ScriptPosition(const Interpreter& interpreter,
                                          const std::vector<std::string>& argv) {
  for (std::size_t i = 1; i < argv.size(); ++i) {
    const std::string& word = argv[i];
    if (word == "--") return i + 1 < argv.size() ? std::optional(i + 1) : std::nullopt;
    const bool is_option = word.size() > 1 && (word[0] == '-' || word[0] == '+');
    if (!is_option && word != "-") return i;
    switch (KindOf(interpreter, word)) {
      case Option::kAlone:
        break;
      case Option::kTakesNext:
        ++i;
        break;
      case Option::kTakesProgram:
        return std::nullopt;
    }
  }
  return std::nullopt;
}

// "-S" of env(1), or its only other use in a first line: the name of a program.
std::vector<std::string> WithoutEnv(std::vector<std::string> words) {
  if (words.size() < 2 || BaseName(words[0]) != "env") return words;
  words.erase(words.begin());
  std::string first = words[0];
  if (first.starts_with("-S")) {
    first.erase(0, 2);
    const std::vector<std::string> split =
        absl::StrSplit(first, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    words.erase(words.begin());
    words.insert(words.begin(), split.begin(), split.end());
  }
  return words;
}

// argv as the kernel makes it of a script: the interpreter, at most one argument, the script's
// path, and the rest (execve(2)).
std::vector<std::string> Interpreted(std::string_view line, const std::string& path,
                                     const std::vector<std::string>& argv) {
  const auto trim = [](std::string_view text) {
    constexpr std::string_view kBlanks = " \t\r";
    const std::size_t first = std::min(text.find_first_not_of(kBlanks), text.size());
    const std::size_t last = text.find_last_not_of(kBlanks);
    return last == std::string_view::npos ? std::string_view()
                                          : text.substr(first, last - first + 1);
  };
  line = trim(line);
  const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
  std::vector<std::string> words = {std::string(line.substr(0, end))};
  if (const std::string_view argument = trim(line.substr(end)); !argument.empty()) {
    words.emplace_back(argument);
  }
  words.push_back(path);
  words.insert(words.end(), argv.begin() + 1, argv.end());
  return WithoutEnv(std::move(words));
}

absl::StatusOr<Program> ProgramOfCommand(const Subject& subject) {
  Program program;
  program.argv = subject.argv;
  std::string path;
  bool interpreted = false;
  constexpr int kMaxInterpreters = 5;  // as the kernel (execve(2)), and one for env
  for (int i = 0; i <= kMaxInterpreters; ++i) {
    absl::StatusOr<std::string> found = os::FindProgram(program.argv[0], subject.working_directory);
    if (!found.ok()) return found.status();
    path = *std::move(found);
    const absl::StatusOr<std::optional<std::string>> read = os::InterpreterLine(path);
    if (!read.ok()) return read.status();
    const std::optional<std::string>& line = *read;
    if (!line.has_value()) break;
    program.interpreter = InterpreterAt(path);
    if (program.interpreter != nullptr) break;  // a shim: it executes what it is called
    const std::string script =
        program.argv[0].find('/') != std::string::npos ? program.argv[0] : path;
    program.argv = Interpreted(*line, script, program.argv);
    if (program.argv[0].empty()) return absl::NotFoundError("a script without an interpreter");
    interpreted = true;
  }
  absl::StatusOr<os::ProgramFile> file = os::ProgramFileAt(path);
  if (!file.ok()) return file.status();
  program.file = *file;
  program.path = os::WithoutLinks(path);
  if (program.interpreter == nullptr) program.interpreter = InterpreterAt(program.path);
  if (program.interpreter == nullptr && interpreted) program.interpreter = &kUnknownInterpreter;
  if (program.interpreter != nullptr) {
    const auto find = [&](const std::string& name) {
      return os::ProgramFileAt(name.starts_with('/') || subject.working_directory.empty()
                                   ? name
                                   : absl::StrCat(subject.working_directory, "/", name));
    };
    absl::StatusOr<std::optional<Script>> script =
        ScriptOf(*program.interpreter, program.argv, find);
    if (!script.ok()) return script.status();
    program.script = *std::move(script);
  }
  return program;
}

}  // namespace

std::string_view BaseName(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool SameArguments(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return !a.empty() && !b.empty() && std::equal(a.begin() + 1, a.end(), b.begin() + 1, b.end());
}

bool SameCommandLine(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return SameArguments(a, b) && BaseName(a[0]) == BaseName(b[0]);
}

const Interpreter* InterpreterAt(std::string_view path) {
  constexpr std::string_view kDeleted = " (deleted)";  // proc(5), of /proc/PID/exe
  if (path.ends_with(kDeleted)) path.remove_suffix(kDeleted.size());
  std::string_view name = BaseName(path);
  // python3.11, lua5.4, php8.2
  const std::size_t end = name.find_last_not_of("0123456789.-");
  name = name.substr(0, end == std::string_view::npos ? 0 : end + 1);
  const auto* const found =
      std::find_if(kInterpreters.begin(), kInterpreters.end(),
                   [name](const Interpreter& known) { return known.name == name; });
  return found != kInterpreters.end() ? found : nullptr;
}

absl::StatusOr<std::optional<Script>> ScriptOf(const Interpreter& interpreter,
                                               const std::vector<std::string>& argv,
                                               const FindFile& find) {
  const std::optional<std::size_t> position = ScriptPosition(interpreter, argv);
  if (!position.has_value()) return std::nullopt;
  const absl::StatusOr<os::ProgramFile> file = find(argv[*position]);
  if (absl::IsNotFound(file.status())) return std::nullopt;
  if (!file.ok()) return file.status();
  const auto rest = argv.begin() + static_cast<std::ptrdiff_t>(*position) + 1;
  return Script{.file = *file, .path = argv[*position], .arguments = {rest, argv.end()}};
}

absl::StatusOr<Program> ProgramOf(const Subject& subject) {
  if (!subject.argv.empty()) return ProgramOfCommand(subject);
  const absl::StatusOr<os::ProcessView> view = subject.process.has_value()
                                                   ? os::ProcessView::Open(subject.process->pid)
                                                   : os::ProcessView::OfCaller();
  if (!view.ok()) return view.status();
  if (subject.process.has_value()) {
    // What is read below belongs to the process that was opened: whether it is that very one is
    // told by it, not by its number.
    const absl::StatusOr<os::Kin> kin = view->Kinship();
    if (!kin.ok()) return kin.status();
    if (!(kin->process == *subject.process)) {
      return absl::NotFoundError(absl::StrCat("process ", subject.process->pid, " is gone"));
    }
  }
  return ProgramOf(*view);
}

absl::StatusOr<Program> ProgramOf(const os::ProcessView& view) {
  absl::StatusOr<os::ProgramFile> file = view.Program();
  if (!file.ok()) return file.status();
  absl::StatusOr<std::vector<std::string>> argv = view.Arguments();
  if (!argv.ok()) return argv.status();
  Program program;
  absl::StatusOr<std::string> path = view.ProgramPath();
  if (!path.ok()) return path.status();
  program.path = *std::move(path);
  program.file = *file;
  program.argv = *std::move(argv);
  program.interpreter = InterpreterAt(program.path);
  if (program.interpreter != nullptr) {
    absl::StatusOr<std::optional<Script>> script =
        ScriptOf(*program.interpreter, program.argv, FindFileOf(view));
    if (!script.ok()) return script.status();
    program.script = *std::move(script);
  }
  return program;
}

FindFile FindFileOf(const os::ProcessView& view) {
  return [&view](const std::string& path) -> absl::StatusOr<os::ProgramFile> {
    absl::StatusOr<os::ProgramFile> file = view.FileAt(path);
    if (!absl::IsNotFound(file.status()) || path.starts_with('/')) return file;
    const absl::StatusOr<std::vector<std::string>> environment = view.Environment();
    if (!environment.ok()) return environment.status();
    constexpr std::string_view kPwd = "PWD=/";
    for (const std::string& variable : *environment) {
      if (!variable.starts_with(kPwd)) continue;
      return view.FileAt(absl::StrCat(variable.substr(kPwd.size() - 1), "/", path));
    }
    return file;
  };
}

}  // namespace soleguard
