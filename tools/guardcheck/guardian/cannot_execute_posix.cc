#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/ascii.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>

#include "exit_code.h"
#include "guardian/cannot_execute.h"
#include "show/say.h"
#include "show/words.h"
#include "shown.h"
#include <soleguard/fd.h>

namespace guardcheck {
namespace {

using Words = std::vector<std::string>;

// What only a shell knows (POSIX, "Reserved Words" and the built-in utilities that are no
// programs), and what only bash does.
constexpr std::array<std::string_view, 26> kOfEachShell = {
    ".",     ":",    "!",      "{",      "(",     "alias", "break", "case",   "cd",
    "eval",  "exec", "exit",   "export", "for",   "if",    "read",  "return", "set",
    "shift", "trap", "ulimit", "umask",  "unset", "until", "wait",  "while"};
constexpr std::array<std::string_view, 9> kOfBash = {
    "[[", "declare", "function", "let", "local", "pushd", "shopt", "source", "typeset"};

// By the end of a script's name.
constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kInterpreters = {
    {{".bash", "bash"},
     {".js", "node"},
     {".pl", "perl"},
     {".py", "python3"},
     {".rb", "ruby"},
     {".sh", "bash"},
     {".zsh", "zsh"}}};

template <typename Array>
bool Contains(const Array& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool IsThere(const std::string& path) {
  struct stat status = {};
  return stat(path.c_str(), &status) == 0;
}

bool IsRegular(const std::string& path) {
  struct stat status = {};
  return stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

// The file that the word names, as execvp(3) finds it: the first one in PATH of a word without '/'.
std::optional<std::string> FileOf(const std::string& word) {
  if (word.find('/') != std::string::npos) {
    return IsThere(word) ? std::optional(word) : std::nullopt;
  }
  const char* path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): nobody changes it
  for (const absl::string_view directory :
       absl::StrSplit(path != nullptr ? path : "/bin:/usr/bin", ':')) {
    std::string file = absl::StrCat(directory.empty() ? "." : directory, "/", word);
    if (!word.empty() && IsThere(file)) return file;
  }
  return std::nullopt;
}

// The first line of a script behind its "#!", or nothing.
std::string Shebang(const std::string& path) {
  if (!IsRegular(path)) return "";
  const soleguard::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  std::array<char, 256> begin{};  // as much as the kernel reads (BINPRM_BUF_SIZE)
  const ssize_t got = fd ? read(fd.get(), begin.data(), begin.size()) : -1;
  const std::string_view text(begin.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  if (!text.starts_with("#!")) return "";
  const std::string_view line = text.substr(2, text.find('\n') - 2);
  return std::string(line.substr(std::min(line.find_first_not_of(" \t"), line.size())));
}

// The program in it, with the carriage return that an editor of Windows leaves.
std::string InterpreterIn(const std::string& shebang) {
  return shebang.substr(0, shebang.find_first_of(" \t"));
}

// By which program a script is run: as its name says, else as its first line says; or nothing.
std::string InterpreterFor(const std::string& path) {
  for (const auto& [ending, interpreter] : kInterpreters) {
    if (path.ends_with(ending)) return std::string(interpreter);
  }
  std::vector<std::string> words =
      absl::StrSplit(Shebang(path), absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
  if (words.empty()) return "";
  if (words.size() > 1 && words[0].ends_with("/env")) words.erase(words.begin());
  return words[0].substr(words[0].rfind('/') + 1);
}

// "-- bash -c 'cd /x'".
Shown InShell(const std::string& shell, const Words& command) {
  return Text("-- ", Escape(shell), " -c ", ShellWord(absl::StrJoin(MaskSecrets(command), " ")));
}

// "-- python3 ./bot.py 1".
Shown By(const std::string& interpreter, const std::string& path, const Words& command) {
  Words words = {interpreter, path};
  words.insert(words.end(), command.begin() + 1, command.end());
  return Text("-- ", CommandLine(words));
}

Shown OrBy(const std::string& path, const Words& command) {
  const std::string interpreter = InterpreterFor(path);
  return interpreter.empty() ? Shown()
                             : Text(", or name its interpreter: ", By(interpreter, path, command));
}

// ---- what stands in the command's first word

// The variable in "KEY=value", which is not shown: it may be a secret.
std::optional<std::string> VariableIn(const std::string& word) {
  const std::size_t equals = word.find('=');
  if (equals == 0 || equals == std::string::npos) return std::nullopt;
  const std::string name = word.substr(0, equals);
  const auto fits = [](char c) { return absl::ascii_isalnum(c) || c == '_'; };
  if (!std::all_of(name.begin(), name.end(), fits)) return std::nullopt;
  return name;
}

Shown FirstWord(const Words& command) {
  if (const auto variable = VariableIn(command[0])) return Text(Escape(*variable), "=...");
  const Words words = absl::StrSplit(command[0], ' ');
  return Escape(absl::StrJoin(MaskSecrets(words), " "));
}

// Of a word that is a whole command line in quotes.
Shown AsWords(const Words& command) {
  constexpr std::string_view kOfShells = "'\"\\$`;&|<>(){}*?#~";
  if (command[0].find_first_of(kOfShells) != std::string::npos) {
    return Text("It is a command line in one word: a shell reads such, ", InShell("sh", command));
  }
  Words words = absl::StrSplit(command[0], ' ', absl::SkipEmpty());
  words.insert(words.end(), command.begin() + 1, command.end());
  return Text("It is a command line in one word; a program and its arguments are a word each: -- ",
              CommandLine(words));
}

// Of a word of which there is no file.
Shown AdviceOnMissing(const Words& command) {
  const std::string& word = command[0];
  if (word.empty()) return "The command is empty: is a variable of the script not set?";
  if (VariableIn(word).has_value()) {
    const Words rest(command.begin() + 1, command.end());
    return Text("A shell sets a variable so; for one command do it with env: -- env ",
                FirstWord(command), rest.empty() ? Shown() : Text(" ", CommandLine(rest)));
  }
  if (word.find(' ') != std::string::npos) return AsWords(command);
  if (Contains(kOfBash, word)) {
    return Text("It is a word of the shell and no program: ", InShell("bash", command));
  }
  if (Contains(kOfEachShell, word)) {
    return Text("It is a word of the shell and no program: ", InShell("sh", command));
  }
  if (word.find('/') != std::string::npos) {
    if (word.front() == '/') return "";
    std::error_code removed;
    return Text("It is looked for from here, ",
                Escape(std::filesystem::current_path(removed).string()),
                ": an absolute path is the same everywhere");
  }
  if (!IsRegular(word)) return "No directory of PATH has such a program";
  Words here = command;
  here[0] = "./" + word;
  const Shown text = Text("It is not in PATH. The one in this directory is -- ", CommandLine(here));
  if (access(word.c_str(), X_OK) == 0) return text;
  return Text(text, ", which is not executable: chmod +x ", ShellWord(word),
              OrBy(here[0], command));
}

// ---- what is wrong with the file

// Of a file that is there, where the kernel says that something is not.
Shown AdviceOnPart(const std::string& path, const Words& command) {
  const std::string shebang = Shebang(path);
  if (shebang.empty()) {
    return "The file is there, and the loader that it names is not: it was built for another "
           "system";
  }
  const std::string interpreter = InterpreterIn(shebang);
  if (interpreter.ends_with('\r')) {
    return Text("Its lines end as on Windows, so there is no such interpreter: sed -i 's/\\r$//' ",
                ShellWord(path));
  }
  return Text("Its first line names the interpreter ", Escape(interpreter),
              ", which does not exist: correct it", OrBy(path, command));
}

// Of a file that is there and may not be executed.
Shown AdviceOnDenied(const std::string& path, const Words& command) {
  if (std::filesystem::is_directory(path)) return "It is a directory";
  if (!IsRegular(path)) return "It is no regular file";
  if (access(path.c_str(), X_OK) != 0) {
    return Text("It is not executable: chmod +x ", ShellWord(path), OrBy(path, command));
  }
  struct statvfs filesystem = {};
  if (statvfs(path.c_str(), &filesystem) == 0 && (filesystem.f_flag & ST_NOEXEC) != 0) {
    return Text("Its filesystem is mounted noexec: put it elsewhere", OrBy(path, command));
  }
  const std::string interpreter = InterpreterIn(Shebang(path));
  if (interpreter.empty()) return "";
  return Text("Its first line names the interpreter ", Escape(interpreter),
              ", which may not be executed: correct it", OrBy(path, command));
}

Shown Advice(const Words& command, int error) {
  const std::optional<std::string> path = FileOf(command[0]);
  const bool is_missing = error == ENOENT || error == ENOTDIR;
  if (!is_missing && error != EACCES) return "";
  if (path.has_value()) {
    return is_missing ? AdviceOnPart(*path, command) : AdviceOnDenied(*path, command);
  }
  // A directory on the way to it may not be looked into: then it may well be there.
  const bool is_hidden = error == EACCES && command[0].find('/') != std::string::npos;
  return is_hidden ? Shown("This user may not look into a directory of its path")
                   : AdviceOnMissing(command);
}

}  // namespace

int SayCannotExecute(const Words& command, int error) {
  const bool is_missing = error == ENOENT || error == ENOTDIR;
  const absl::Status status = absl::ErrnoToStatus(error, "");
  const Shown advice = Advice(command, error);
  Say(Priority::kError, Text("cannot run ", FirstWord(command), Said(status.message()),
                             advice.empty() ? Shown() : Text(". ", advice)));
  return is_missing ? kNotFound : kCannotExecute;
}

}  // namespace guardcheck
