// What a command line runs: interpreters, their options and their scripts.
#include "process/program.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "os/program.h"
#include "support/temp_dir.h"

namespace soleguard {
namespace {

using Words = std::vector<std::string>;

// The script and its arguments as one text; every path leads to a file.
std::string ScriptIn(const std::string& interpreter, const Words& argv) {
  const Interpreter* known = InterpreterAt(interpreter);
  if (known == nullptr) return "no interpreter";
  const auto script = ScriptOf(*known, argv, [](const std::string&) { return os::ProgramFile{}; });
  if (!script->has_value()) return "none";
  std::string text = (*script)->path;
  for (const std::string& argument : (*script)->arguments) text += " " + argument;
  return text;
}

TEST(ProgramTest, TheScriptIsTheFirstWordThatIsNoOptionAndNoOptionsValue) {
  EXPECT_EQ(ScriptIn("/usr/bin/python3.11", {"python3", "bot.py", "-c", "x"}), "bot.py -c x");
  EXPECT_EQ(ScriptIn("/usr/bin/python3", {"python3", "-u", "-X", "dev", "bot.py"}), "bot.py");
  EXPECT_EQ(ScriptIn("/usr/bin/python3", {"python3", "-uXdev", "-Wall", "bot.py"}), "bot.py");
  EXPECT_EQ(ScriptIn("/usr/bin/python3", {"python3", "--", "-odd.py", "a"}), "-odd.py a");
  EXPECT_EQ(ScriptIn("/usr/bin/perl", {"perl", "-w", "-I", "lib", "bot.pl"}), "bot.pl");
  EXPECT_EQ(ScriptIn("/usr/bin/bash", {"bash", "-o", "pipefail", "+x", "bot.sh"}), "bot.sh");
  EXPECT_EQ(ScriptIn("/usr/bin/node", {"node", "--inspect=9", "bot.js", "a"}), "bot.js a");
  EXPECT_EQ(ScriptIn("/usr/bin/php8.2", {"php", "-f", "bot.php"}), "bot.php");
}

TEST(ProgramTest, ATextOfAProgramIsNoScript) {
  EXPECT_EQ(ScriptIn("/usr/bin/python3", {"python3", "-c", "import x", "bot.py"}), "none");
  EXPECT_EQ(ScriptIn("/usr/bin/python3", {"python3", "-um", "bot", "bot.py"}), "none");
  EXPECT_EQ(ScriptIn("/usr/bin/python3", {"python3", "-", "bot.py"}), "none");
  EXPECT_EQ(ScriptIn("/usr/bin/python3", {"python3"}), "none");
  EXPECT_EQ(ScriptIn("/usr/bin/python3", {"python3", "-X"}), "none");
  EXPECT_EQ(ScriptIn("/usr/bin/bash", {"bash", "-lc", "python3 bot.py"}), "none");
  EXPECT_EQ(ScriptIn("/usr/bin/node", {"node", "--eval", "1", "bot.js"}), "none");
  EXPECT_EQ(ScriptIn("/usr/bin/python3", {}), "none");
}

TEST(ProgramTest, AnInterpreterIsKnownByItsNameWithoutVersion) {
  EXPECT_NE(InterpreterAt("/opt/x/bin/python3.12"), nullptr);
  EXPECT_NE(InterpreterAt("/usr/bin/python3.11 (deleted)"), nullptr);
  EXPECT_NE(InterpreterAt("lua5.4"), nullptr);
  EXPECT_EQ(InterpreterAt("/usr/bin/pythonista"), nullptr);
  EXPECT_EQ(InterpreterAt("/usr/bin/1234"), nullptr);
  EXPECT_EQ(InterpreterAt("/usr/bin/rsync"), nullptr);
  EXPECT_EQ(InterpreterAt(""), nullptr);
}

TEST(ProgramTest, ACommandThatDoesNotExistIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(
      ProgramOf({.argv = {"no-such-command-here"}, .working_directory = "/"}).status()));
  EXPECT_TRUE(absl::IsNotFound(
      ProgramOf({.argv = {"./no-such-command"}, .working_directory = "/"}).status()));
}

TEST(ProgramTest, AScriptThatNamesItselfAsInterpreterEndsSomewhere) {
  const testing::TempDir directory;
  const std::string script = directory / "loop";
  std::ofstream(script) << "#!" << script << "\n";
  const auto program = ProgramOf({.argv = {script}, .working_directory = "/"});
  EXPECT_TRUE(program.ok()) << program.status();
}

TEST(ProgramTest, ThisProcessIsItsOwnProgram) {
  const auto program = ProgramOf({});
  ASSERT_TRUE(program.ok()) << program.status();
  EXPECT_EQ(program->path, std::filesystem::read_symlink("/proc/self/exe"));
  EXPECT_EQ(program->interpreter, nullptr);
  EXPECT_FALSE(program->argv.empty());
}

}  // namespace
}  // namespace soleguard
