// The commands of guardcheck: one file each in commands/, and one line in main.cc.
#pragma once

#include <algorithm>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "option.h"
#include <soleguard/guard.h>
#include <soleguard/options.h>
#include <soleguard/policy.h>

namespace guardcheck {

// What most commands take.
struct Common {
  soleguard::Policy policy = soleguard::Policy::Default();
  soleguard::Options options;
  bool json = false;
};

// An option that stands on the command line.
struct SaidOption {
  std::string name;                // "--log"
  std::vector<std::string> words;  // as it can be typed again: "--log", "bot.log"
};

// How a command was called.
struct Call {
  Common common;
  std::string operand;               // NAME, which is valid, or what the kind's operand is
  std::vector<std::string> command;  // the words behind --
  std::vector<SaidOption> said;      // one that is given twice is in it twice
  // Whether another command has such an option; nullptr: none has any.
  bool (*has_option)(std::string_view command, std::string_view option) = nullptr;

  bool Says(std::string_view option) const {
    return std::any_of(said.begin(), said.end(),
                       [option](const SaidOption& one) { return one.name == option; });
  }
};

// The call is not as it should be. Ends guardcheck with kUsage, after saying what.
class UsageError : public std::exception {
 public:
  // `what`: lines of which each is escaped already, as for Said (shown.h).
  explicit UsageError(std::string_view what);
  const char* what() const noexcept override { return what_.c_str(); }

 private:
  const std::string what_;
};

// One call of a command.
class Command {
 public:
  virtual ~Command() = default;

  // Its own, which are read into this object before Run.
  virtual std::vector<Option> Options() { return {}; }
  // The exit code. May throw UsageError.
  virtual int Run(const Call& call) = 0;
};

struct CommandKind {
  std::string_view name;
  std::string_view help;     // one line
  std::string_view operand;  // "NAME"; "[NAME]": may be left out; empty: it takes none
  enum class Takes { kNothing, kCommon, kTimes } takes = Takes::kCommon;  // kTimes: kCommon as well
  enum class Behind { kNothing, kCommand, kMayBeCommand } behind = Behind::kNothing;  // behind --
  std::string_view behind_name = "COMMAND";  // what the help calls it
  std::unique_ptr<Command> (*make)() = nullptr;

  bool has_name() const { return operand == "NAME" || operand == "[NAME]"; }
  // "NAME [options] -- COMMAND..."
  std::string synopsis() const;
};

// All of them, in the order of the help.
std::span<const CommandKind> CommandKinds();

CommandKind BeatCommand();
CommandKind CheckCommand();
CommandKind CompletionCommand();
CommandKind ConfigCommand();
CommandKind DoctorCommand();
CommandKind ExplainCommand();
CommandKind GcCommand();
CommandKind HistoryCommand();
CommandKind ListCommand();
CommandKind ManualCommand();
CommandKind ReportCommand();
CommandKind RunCommand();
CommandKind SendCommand();
CommandKind StatusCommand();
CommandKind StopCommand();
CommandKind WatchCommand();

}  // namespace guardcheck
