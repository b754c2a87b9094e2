// What a process runs, as far as another process can be told to run the same. Private to layers/.
//
// A plain program is its file and the arguments after argv[0]. An interpreter that runs a script is
// the interpreter's file, the script's file and the arguments after the script: two jobs
// `python3 bot.py a` and `python3 bot.py b` are different, `python3 -u bot.py a` and
// `/srv/bot.py a` are the same if they lead to one file. Which version of the interpreter runs it
// makes no difference.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>

#include "os/process_view.h"
#include "os/program.h"
#include "soleguard/layer.h"
#include "soleguard/subject.h"

namespace soleguard {

// What is after the last slash.
std::string_view BaseName(std::string_view path);
// Whether both command lines have the same words after argv[0]. False where one is not known.
bool SameArguments(const std::vector<std::string>& a, const std::vector<std::string>& b);
// And are called alike, from whichever directory.
bool SameCommandLine(const std::vector<std::string>& a, const std::vector<std::string>& b);

// What is known of the command line of an interpreter: which of its options are followed by a value
// of their own, and which by the program's text, so that no script is run.
struct Interpreter {
  std::string_view name;           // without version: python for python3.11
  std::string_view value_options;  // letters
  std::string_view code_options;   // letters
};

// The interpreter that the file name `path` stands for, or nullptr.
const Interpreter* InterpreterAt(std::string_view path);

// The regular file at a path, as the process finds it.
using FindFile = std::function<absl::StatusOr<os::ProgramFile>(const std::string& path)>;

// The script that an interpreter was told to run.
struct Script {
  os::ProgramFile file;
  std::string path;
  std::vector<std::string> arguments;  // those after the script
};
// nullopt: it runs none, or none that is there. An error of `find`: that cannot be told.
absl::StatusOr<std::optional<Script>> ScriptOf(const Interpreter& interpreter,
                                               const std::vector<std::string>& argv,
                                               const FindFile& find);

struct Program {
  std::string path;      // of the executable, for people and to compare copies
  os::ProgramFile file;  // the executable
  // An interpreter is also known by its name: the file of a shim (pyenv) is a script that executes
  // the real one by and by.
  const Interpreter* interpreter = nullptr;
  std::optional<Script> script;
  std::vector<std::string> argv;
};

// What `subject` will run, or what the calling process runs. A script with a "#!" line is the
// script of its interpreter, `#!/usr/bin/env python3` that of python3. NotFound when there is no
// such program.
absl::StatusOr<Program> ProgramOf(const Subject& subject);

// What that process runs. NotFound when it is gone.
absl::StatusOr<Program> ProgramOf(const os::ProcessView& view);

// Finds files as the process of `view` does: from its working directory or, where it has left that
// since, from the one that its environment says it was started in.
FindFile FindFileOf(const os::ProcessView& view);

}  // namespace soleguard
