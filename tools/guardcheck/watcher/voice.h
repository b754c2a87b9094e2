// What the watch says: each event is a line on standard output, and one for the event hook.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <absl/status/status.h>
#include <absl/time/time.h>

#include "command.h"
#include "show/json.h"
#include "shown.h"
#include "watcher/event_hook.h"

namespace guardcheck {

// Not thread-safe. Blocks only where standard output does.
class Voice {
 public:
  // What each event says of the moment as well.
  struct Moment {
    std::optional<std::int64_t> holder;  // its pid
    std::size_t duplicates = 0;
    std::size_t unguarded = 0;
  };
  // `on_event`: the hook's words; none: there is no hook.
  Voice(const Call& call, const std::vector<std::string>& on_event, std::function<Moment()> moment)
      : call_(call), has_hook_(!on_event.empty()), hook_(on_event), moment_(std::move(moment)) {}

  // Starts the hook. An error: it cannot be started.
  absl::Status Begin();

  struct Event {
    Shown kind;  // a word of a-z and _
    Shown text;  // one line for a person
    std::vector<Json::Member> more = {};
  };
  void Emit(const Event& event);
  // False: standard output is gone.
  bool IsHeard() const { return is_heard_; }

  // The name for a person, and what a command needs to look at it.
  Shown Name() const;
  Shown Where() const;

  // For waits, as of EventHook.
  EventHook& hook() { return hook_; }
  // Says on standard error what the hook did not read, if that is news.
  void TellDropped();
  // Gives the hook the rest, which may take so long.
  void Finish(absl::Duration at_most);

 private:
  const Call& call_;
  const bool has_hook_;
  EventHook hook_;
  const std::function<Moment()> moment_;
  std::uint64_t told_dropped_ = 0;
  bool is_heard_ = true;
};

}  // namespace guardcheck
