#include "look.h"

#include <cstdio>
#include <string>

#include "exit_code.h"
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
  (void)std::fprintf(stderr, "guardcheck: %s\n", Said(status.message()).text().c_str());
  return absl::IsInvalidArgument(status) ? kUsage : kUndetermined;
}

}  // namespace guardcheck
