#include "commands/came_up.h"

#include <cstdio>

#include <absl/strings/str_split.h>

#include "exit_code.h"
#include "show/json.h"
#include "show/say.h"
#include "show/terminal.h"

namespace guardcheck {
namespace {

using Kind = Background::Outcome::Kind;

int ExitCodeOf(const Background::Outcome& outcome) {
  switch (outcome.kind) {
    case Kind::kUp:
      return kYes;
    case Kind::kNotBegun:
      return outcome.exit_code;
    case Kind::kEnded:
      return outcome.exit_code != 0 ? outcome.exit_code : kNotRunning;
    case Kind::kNotUp:
      break;
  }
  return kTooLong;
}

Shown WhatHappened(const Call& call, const Background::Settings& settings,
                   const Background::Outcome& outcome) {
  const Shown name = Escape(call.operand);
  switch (outcome.kind) {
    case Kind::kUp:
      return Text(name, " runs: pid ", outcome.pid, "; it writes to ", Escape(settings.log));
    case Kind::kNotBegun:
      return Text(name, " was not started");
    case Kind::kEnded:
      return Text(name, " has ended with exit code ", outcome.exit_code, " before it was up");
    case Kind::kNotUp:
      break;
  }
  return Text(name, " was not up within ", Said(absl::FormatDuration(settings.within)),
              ", and was ended");
}

// With what the log has of it.
Shown Why(const Background::Settings& settings, const Background::Outcome& outcome) {
  if (outcome.last_output.empty()) return "";
  Shown text = Text("\nThe last that it wrote to ", Escape(settings.log), "\n");
  for (const auto& line : absl::StrSplit(outcome.last_output, '\n', absl::SkipEmpty())) {
    text += Text("  ", Escape(std::string_view(line.data(), line.size())), "\n");
  }
  return text;
}

}  // namespace

int TellCameUp(const Call& call, const Background::Settings& settings,
               const Background::Outcome& outcome, bool quiet) {
  const bool is_up = outcome.kind == Kind::kUp;
  // The runner has said it already: the refusal, or what was wrong with the call.
  const bool is_said = outcome.kind == Kind::kNotBegun && outcome.last_output.empty();
  const int code = ExitCodeOf(outcome);
  if (is_said) return code;
  const Shown what = WhatHappened(call, settings, outcome);
  if (call.common.json) {
    Json object = Head(call.operand, call.common);
    object.Set("ready", is_up);
    object.Set("pid", outcome.pid != 0 ? Json(outcome.pid) : Json());
    object.Set("exit_code", is_up ? Json() : Json(outcome.exit_code));
    object.Set("log", Escape(settings.log));
    object.Set("last_output", Escape(outcome.last_output));
    Print(object);
  } else if (!is_up) {
    Say(Priority::kError, Text(what, ".\n", Why(settings, outcome)));
  } else if (!quiet) {
    Show(Text(what, "\n"), stdout);
  }
  return code;
}

}  // namespace guardcheck
