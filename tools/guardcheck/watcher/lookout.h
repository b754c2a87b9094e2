// Who runs, with a guard and without.
#pragma once

#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include <absl/time/time.h>

#include "command.h"
#include <soleguard/census.h>
#include <soleguard/guard.h>
#include <soleguard/subject.h>

namespace guardcheck {

// Whom --auto-kill keeps.
enum class Keep {
  kHolderElseOldest,
  kHolder,  // and nobody else
  kOldest,  // whether it has a guard or not
};

// Not thread-safe.
class Lookout {
 public:
  // `wait`: until then; false: the watch was asked to end meanwhile.
  Lookout(const Call& call, Keep keep, std::function<bool(absl::Time)> wait)
      : call_(call), keep_(keep), wait_(std::move(wait)) {}

  // Looks now. False: the watch was asked to end meanwhile.
  bool Look();
  // Waits as a start does for a holder that is about to change, and for those who are too young to
  // be told. Who comes meanwhile is for the next look.
  bool LookSettled();

  // What was seen last. None of guardcheck's own processes is among the copies.
  const soleguard::Census& census() const { return census_; }
  // The copy that stays, if one does; and those that do not.
  const soleguard::Copy* Kept() const;
  std::vector<soleguard::Copy> Condemned() const;

 private:
  bool IsUnsettled() const;
  bool HolderIsOldest() const;

  const Call& call_;
  const Keep keep_;
  const std::function<bool(absl::Time)> wait_;
  soleguard::Census census_;
  std::optional<soleguard::Subject> remembered_;  // what the last holder ran
};

}  // namespace guardcheck
