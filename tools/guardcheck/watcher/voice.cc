#include "watcher/voice.h"

#include <cstdio>

#include <absl/time/clock.h>

#include "show/say.h"
#include "show/words.h"

namespace guardcheck {

absl::Status Voice::Begin() { return has_hook_ ? hook_.Begin() : absl::OkStatus(); }

void Voice::Emit(const Event& event) {
  const absl::Time now = absl::Now();
  const Moment moment = moment_();
  Json object = Json::Object({{"schema", 1},
                              {"event", event.kind},
                              {"time", Rfc3339(now)},
                              {"name", Name()},
                              {"scope", Escape(call_.common.options.scope.ToString())},
                              {"text", event.text},
                              {"holder", moment.holder},
                              {"duplicates", moment.duplicates},
                              {"unguarded", moment.unguarded}});
  for (const auto& [key, value] : event.more) object.Set(key, value);
  const std::string line = Line(object);
  if (has_hook_) hook_.Send(line);
  const std::string shown =
      (call_.common.json ? line : Text(Stamp(now), "  ", event.text).text()) + "\n";
  if (std::fputs(shown.c_str(), stdout) < 0 || std::fflush(stdout) != 0) is_heard_ = false;
}

Shown Voice::Name() const { return Escape(call_.operand); }

Shown Voice::Where() const {
  return Text(ShellWord(call_.operand), guardcheck::Where(call_.common));
}

void Voice::TellDropped() {
  const std::uint64_t dropped = hook_.dropped() - std::exchange(told_dropped_, hook_.dropped());
  if (dropped == 0) return;
  Say(Priority::kWarning, Text("--on-event: ", Count(static_cast<std::int64_t>(dropped), "event"),
                               " dropped, as the command does not read"));
}

void Voice::Finish(absl::Duration at_most) {
  if (!has_hook_) return;
  hook_.Finish(at_most);
  TellDropped();
}

}  // namespace guardcheck
