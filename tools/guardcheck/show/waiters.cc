#include "show/waiters.h"

#include "show/words.h"

namespace guardcheck {
namespace {

using soleguard::Waiter;

bool Replaces(const Waiter& waiter) { return waiter.line == soleguard::Queue::Line::kReplacers; }

}  // namespace

Shown WaitersText(const Waiters& waiters) {
  if (!waiters.ok()) {
    return Text("Cannot see who waits: ", Said(waiters.status().message()), "\n");
  }
  if (waiters->empty()) return "";
  Shown text = "Who waits, the next one first\n";
  for (std::size_t i = 0; i < waiters->size(); ++i) {
    const Waiter& waiter = (*waiters)[i];
    text += Text(PaddedLeft(Text(i + 1), 3), "  ",
                 waiter.processes.empty() ? Shown("a process that cannot be seen from here")
                                          : ProcessLine(waiter.processes.front()),
                 Replaces(waiter) ? Shown(" (replaces the holder)") : Shown(), "\n");
  }
  return text;
}

Json WaitersJson(const Waiters& waiters) {
  if (!waiters.ok()) return nullptr;
  return ArrayOf(*waiters, [](const Waiter& waiter) {
    return Json::Object(
        {{"replaces", Replaces(waiter)}, {"processes", ArrayOf(waiter.processes, &ProcessJson)}});
  });
}

}  // namespace guardcheck
