// The command guardcheck, as its users call it, in a scope of the test's own.
#pragma once

#include <signal.h>

#include <cstdint>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <boost/json.hpp>

#include "soleguard/process.h"
#include "support/program.h"
#include "support/temp_dir.h"

namespace soleguard::testing {

using Words = std::vector<std::string>;

inline Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// A started guardcheck whose command is `instance` (instance_main.cc).
class Guarded {
 public:
  explicit Guarded(const Program::Setup& setup) : wrapper_(setup) {}

  // Blocks until the command has begun.
  pid_t command() {
    if (command_ == 0) command_ = std::stoi(After("ready "));
    return command_;
  }
  pid_t wrapper() const { return wrapper_.pid(); }
  pid_t guardian() { return static_cast<pid_t>(Describe(*IdentityOf(command()))->parent_pid); }
  Program& program() { return wrapper_; }

  // The next line of the command's output, or "the end".
  std::string Line() { return wrapper_.ReadLine().value_or("the end"); }
  // What the command answers.
  std::string Ask(const std::string& request) {
    (void)command();
    wrapper_.WriteLine(request);
    return Line();
  }
  // The pids that it answers with.
  std::vector<ProcessIdentity> AskForProcesses(const std::string& request) {
    std::vector<ProcessIdentity> identities;
    std::istringstream pids(Ask(request));
    for (std::int64_t pid = 0; pids >> pid;) identities.push_back(*IdentityOf(pid));
    return identities;
  }
  // When this returns, the wrapper has seen all that the guardian said until now, and both have
  // dealt with the signals and the ends of children that were pending before.
  void Settle() {
    (void)command();
    for (int i = 0; i < 2; ++i) {
      wrapper_.Signal(SIGUSR1);
      const std::string line = Line();
      if (line != "got USR1") throw std::runtime_error("not expected: " + line);
    }
  }
  int Exit(int code) {
    (void)command();
    wrapper_.WriteLine(absl::StrCat("exit ", code));
    return wrapper_.Wait();
  }

 private:
  std::string After(const std::string& prefix) {
    const std::string line = Line();
    if (line.starts_with(prefix)) return line.substr(prefix.size());
    throw std::runtime_error("expected '" + prefix + "', found '" + line +
                             "'; standard error: " + wrapper_.Errors());
  }

  Program wrapper_;
  pid_t command_ = 0;
};

class Guardcheck {
 public:
  std::string scope() const { return directory_ / "scope"; }
  std::string state() const { return directory_ / "state"; }
  const TempDir& directory() const { return directory_; }
  // Of a name: "" is its directory.
  std::string Object(const std::string& name, const std::string& file = "") const {
    return absl::StrCat(scope(), "/names/", name, file.empty() ? "" : "/", file);
  }

  // guardcheck WORDS[0] --scope … --state-dir … WORDS[1]…
  Words Argv(const Words& words) const {
    return Words{Beside("guardcheck"), words.at(0), "--scope", scope(), "--state-dir", state()} +
           Words(words.begin() + 1, words.end());
  }
  // The words of a run of name x.
  Words Run(const Words& command, const Words& options = {}) const {
    return Argv(Words{"run", "x"} + options + Words{"--"} + command);
  }

  Finished Call(const Words& words, const std::map<std::string, std::string>& environment = {},
                const std::string& directory = "/") const {
    return RunProgram({.argv = Argv(words), .environment = environment, .directory = directory});
  }
  Finished CallRun(const Words& command, const Words& options = {}) const {
    return RunProgram({.argv = Run(command, options)});
  }

  // An instance of name x that says when another one lives. One that is started while its
  // predecessor ends waits for that as long as it takes on a busy machine.
  Words InstanceWords(const Words& options = {}, const Words& arguments = {}) const {
    return Run(Words{Beside("instance"), "--referee", directory_ / "referee"} + arguments,
               Words{"--settle", "60s", "--deadline", "60s"} + options);
  }
  Guarded Start(const Words& options = {}, const Words& arguments = {}) const {
    return Guarded({.argv = InstanceWords(options, arguments)});
  }

 private:
  TempDir directory_;
};

inline boost::json::object ParseObject(const std::string& text) {
  return boost::json::parse(text).as_object();
}

// The keys of an object, in order.
inline Words Keys(const boost::json::value& value) {
  Words keys;
  for (const auto& member : value.as_object()) keys.emplace_back(member.key());
  return keys;
}

// Blocks until that process has ended.
inline void WaitUntilGone(const ProcessIdentity& process) {
  absl::StatusOr<UniqueFd> ended = OpenPidfd(process);
  if (ended.ok()) (void)WaitForAny({&*ended, 1}, absl::InfiniteDuration());
}

// As ps(1) shows it.
inline char StateOf(pid_t pid) {
  const auto identity = IdentityOf(pid);
  const auto description = identity.ok() ? Describe(*identity) : identity.status();
  return description.ok() ? description->state : '-';
}

}  // namespace soleguard::testing
