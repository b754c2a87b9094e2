// What is wrong with the words of a call, and how they would be right. All of these throw
// UsageError.
#pragma once

#include <string>
#include <vector>

#include "command.h"

namespace guardcheck {

// A call of a command that exists, as its words were understood.
struct Typed {
  const CommandKind& kind;
  const std::vector<Option>& options;     // those that the command has
  const std::vector<std::string>& words;  // in front of "--", the command's name first
  const std::vector<std::string>& behind;
  bool has_dashes;
  const std::string& operand;      // empty: none was given, or an empty one
  std::vector<std::string> extra;  // of `words`: those that are neither options nor the operand
};

// There is no command `word`, with which the call begins.
[[noreturn]] void RefuseCommand(const std::string& word, const std::vector<std::string>& behind);

// A word that was meant for the value of an option whose value needs a "=" is not taken for the
// operand, or for the command: it would run under a name that nobody has given, and --replace would
// end whoever has it.
void CheckValues(const Typed& typed);

// There are no extra words.
void CheckExtra(const Typed& typed);

[[noreturn]] void RefuseMissingOperand(const Typed& typed);

// The operand is a name, if the command takes one.
void CheckName(const CommandKind& kind, const std::string& name);

// Behind "--" stands what the command takes there.
void CheckBehind(const Typed& typed);

}  // namespace guardcheck
