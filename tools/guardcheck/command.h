// The commands of guardcheck: one file each in commands/, and one line in main.cc.
#pragma once

#include <exception>
#include <memory>
#include <set>
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

// How a command was called.
struct Call {
  Common common;
  std::string operand;               // NAME, which is valid, or what the kind's operand is
  std::vector<std::string> command;  // the words behind --
  std::set<std::string> said;        // the options that stand on the command line: "--log"
};

// The call is not as it should be. Ends guardcheck with kUsage, after saying what.
class UsageError : public std::exception {
 public:
  explicit UsageError(std::string what) : what_(std::move(what)) {}
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
  std::unique_ptr<Command> (*make)() = nullptr;

  bool has_name() const { return operand == "NAME" || operand == "[NAME]"; }
  // "NAME [options] -- COMMAND..."
  std::string synopsis() const;
};

// All of them, in the order of the help.
std::span<const CommandKind> CommandKinds();

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
