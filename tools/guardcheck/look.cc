#include "look.h"

#include <string>

#include "exit_code.h"
#include "show/say.h"
#include "shown.h"
#include "soleguard/options.h"

namespace guardcheck {

soleguard::Options ToLook(const Common& common) {
  soleguard::Options options = common.options;
  options.hand_on = true;
  options.subject.unknown = true;
  return options;
}

int CannotLook(const absl::Status& status) {
  Say(Priority::kError, Said(status.message()));
  return absl::IsInvalidArgument(status) ? kUsage : kUndetermined;
}

}  // namespace guardcheck
