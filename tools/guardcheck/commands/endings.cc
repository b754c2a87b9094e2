#include "commands/endings.h"

#include <utility>

#include "exit_code.h"
#include "show/say.h"
#include "show/words.h"

namespace guardcheck {

void Endings::End(const Shown& why, std::optional<int> instead) {
  why_ = Text("it was ended ", why).text();
  instead_ = instead;
}

void Endings::WhenLost(const soleguard::WaitFlag& lost) {
  all_.push_back({.fd = lost.fd().get(),
                  .told = [this] { End("because the claim was lost (--on-lost=stop)", kLost); }});
}

void Endings::WithParent(const Parent& parent) {
  all_.push_back({.fd = parent.ended().get(), .told = [this, &parent] {
                    End("with the process that had started it (--with-parent)", std::nullopt);
                    Say(Priority::kNotice,
                        Text(name_, ": pid ", parent.pid(),
                             ", which started it, has ended; ending the command"));
                  }});
}

absl::Status Endings::After(absl::Duration time) {
  absl::StatusOr<soleguard::UniqueFd> timer = OpenTimer(time);
  if (!timer.ok()) return timer.status();
  timer_ = *std::move(timer);
  all_.push_back({.fd = timer_.get(), .told = [this, time] {
                    const Shown text = Said(absl::FormatDuration(time));
                    End(Text("after ", text, " (--max-runtime)"), kTooLong);
                    Say(Priority::kWarning, Text(name_, ": has run for ", text,
                                                 " (--max-runtime); ending the command"));
                  }});
  return absl::OkStatus();
}

void Endings::WithoutBeat(const Heartbeat& heartbeat) {
  const bool for_other = heartbeat.is_for_other();
  const Shown option = for_other ? "--on-no-beat=replace-me" : Shown("--on-no-beat=stop");
  all_.push_back({.fd = heartbeat.end().fd().get(), .told = [this, for_other, option] {
                    End(Text("because it gave no beat (", option, ")"), kTooLong);
                    Say(Priority::kWarning,
                        Text(name_, ": gives no beat",
                             for_other ? Shown(", and another start waits") : Shown(), " (", option,
                             "); ending the command"));
                  }});
}

}  // namespace guardcheck
