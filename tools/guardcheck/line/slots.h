// Several instances under one name: how many, and what each finds in its environment.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "option.h"
#include <soleguard/policy.h>

namespace guardcheck {

// --slots N, read into `slot_count`.
Option SlotsOption(std::uint32_t& slot_count);

// Throws UsageError where as many instances cannot run under the policy.
void RequireSlots(const soleguard::Policy& policy, std::uint32_t slot_count);

// --slot-env VAR=a,b,c: the command in slot 0 finds in VAR what guardcheck was given in a, the one
// in slot 1 what it was given in b. Values, and words that may be values by mistake, are in no
// message.
class SlotEnvironment {
 public:
  Option AsOption();

  // How many slots have a value of each variable.
  std::uint32_t most() const;

  // Throws UsageError unless each variable has a value for each slot.
  void Check(std::uint32_t slot_count) const;

  // Gives this process's environment, which the command inherits, the values of `slot`, and removes
  // those of all slots from it. After Check; while this process has one thread.
  void Apply(std::uint32_t slot) const;

 private:
  struct Variable {
    std::string name;
    std::vector<std::string> sources;  // by slot
  };
  std::vector<Variable> variables_;
};

}  // namespace guardcheck
