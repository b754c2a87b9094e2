// From the words of a command line, the environment and the configuration files to a call.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "command.h"
#include "shown.h"

namespace guardcheck {

// A command that was called, ready to run.
struct Parsed {
  std::unique_ptr<Command> command;
  Call call;
};

// Reads the words behind the program's name. nullopt: there is nothing to run, because help or the
// version was asked for and has been printed. Throws UsageError.
std::optional<Parsed> ParseCommandLine(std::vector<std::string> words);

// All options of a command, to be shown: they have no reader.
std::vector<Option> DocumentedOptions(const CommandKind& kind);

// Those of them that every command has which takes any of the common ones.
std::vector<Option> DocumentedCommonOptions();

// A setting of some command, and where its value comes from.
struct InForce {
  std::string key;
  std::string standard;            // what holds when nobody says it
  std::vector<std::string> texts;  // empty: nobody does
  Shown origin;                    // "SOLEGUARD_GRACE", "/etc/soleguard.toml:3"; empty: nobody's
};
// The settings of all commands for `name`, as the environment and `config`, a file as for Config,
// have them. Each has been read: throws UsageError.
std::vector<InForce> SettingsInForce(const std::string& name, const std::string& config);

}  // namespace guardcheck
