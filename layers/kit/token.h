// How a token comes from a ceiling and the clocks. Private to layers/; see soleguard/token.h and
// docs/decisions/0015-token-authority.md.
#pragma once

#include <cstdint>
#include <string>

#include <absl/status/statusor.h>

#include "soleguard/name.h"
#include "soleguard/scope.h"
#include "soleguard/token.h"

namespace soleguard {

// What time it is, in microseconds.
struct TokenClock {
  std::uint64_t wall = 1;
  // Since the kernel's start, by a clock that nobody sets. It means something together with the
  // boot only; an empty boot: it cannot be told.
  std::uint64_t since_boot = 0;
  std::string boot;
};

// The least durable token: the clock of the year 2005. Those that are not durable stay below it,
// unless they follow a larger one, so that the next durable one is larger whatever was lost.
inline constexpr std::uint64_t kLeastDurableToken = std::uint64_t{1} << 50;

// As NextToken, of a ceiling in `state`, by `clock`. An error: there is no such directory.
Token NextTokenIn(const absl::StatusOr<std::string>& state, const Scope& scope,
                  const InstanceName& name, std::uint64_t last, const TokenClock& clock);

}  // namespace soleguard
