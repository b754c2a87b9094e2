// What became of a start, in words for a person. Foreign bytes are escaped (EscapeBytes), so that
// all of it can be written to a terminal. Arguments of programs, which may be secrets, are left
// out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <absl/time/time.h>

#include "soleguard/arbiter.h"
#include "soleguard/guard.h"
#include "soleguard/holder.h"
#include "soleguard/process.h"

namespace soleguard {

// Several lines: who has the name (pid, since when, whose, what it executes and where), or why that
// is not known, and what each layer said. Reads /proc; does not block.
std::string ToString(const Verdict& verdict);

// The rest is for a program that composes its own text.

// "started", "2026-01-02 03:04:05 UTC (7s ago)".
struct Fact {
  std::string key;
  std::string value;
};

// What is known of one process.
struct ProcessFacts {
  std::vector<Fact> facts;  // its pid first
  // As it is now; nullopt: it has ended, or cannot be seen from here.
  std::optional<ProcessDescription> process;
};

// The process that the holder's record names, as it is now, or what the record says of it. Without
// such a record, each process that may be the holder; none: nobody is seen. Reads /proc; does not
// block.
std::vector<ProcessFacts> FactsOf(const Holder& holder);

// "what was seen; the holder is established".
std::string SeenText(const Holder& holder);
// "contested: …", as above, or "unavailable: why".
std::string LayerText(const LayerReport& report);

// Behind "NAME is already running": "; this start was refused.", or why the holder was not replaced
// or waited for.
std::string WhyRefused(const Duplicate& duplicate);

std::string TimeText(absl::Time time);  // "2026-01-02 03:04:05 UTC"
std::string AgeText(absl::Time time);   // how long ago that is: "2m3s"

}  // namespace soleguard
