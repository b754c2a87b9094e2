#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "watcher/wakeups.h"

namespace guardcheck {
namespace {

soleguard::UniqueFd Read(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  (void)sigprocmask(SIG_BLOCK, &set, nullptr);
  return soleguard::UniqueFd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

}  // namespace

Wakeups::Wakeups() : end_(Read({SIGINT, SIGTERM})), child_(Read({SIGCHLD})) {
  // Ignored, as a caller may leave it, the kernel would reap children before their owner does.
  (void)signal(SIGCHLD, SIG_DFL);
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  (void)sigprocmask(SIG_BLOCK, &pipe, nullptr);
}

bool Wakeups::asked_to_end() {
  if (asked_ || !end_) return asked_;
  pollfd waiting{.fd = end_.get(), .events = POLLIN, .revents = 0};
  // Left unread: who waits for end() sees it too.
  asked_ = poll(&waiting, 1, 0) > 0;
  return asked_;
}

void Wakeups::Wait(std::span<const soleguard::UniqueFd* const> readable, int writable,
                   absl::Duration at_most) {
  std::vector<pollfd> waiting = {{.fd = end_.get(), .events = POLLIN, .revents = 0},
                                 {.fd = child_.get(), .events = POLLIN, .revents = 0},
                                 {.fd = writable, .events = POLLOUT, .revents = 0}};
  for (const soleguard::UniqueFd* fd : readable) {  // a negative number is passed over (poll(2))
    waiting.push_back({.fd = fd->get(), .events = POLLIN, .revents = 0});
  }
  // Rounded up, or the last millisecond would be spent in a loop.
  constexpr std::int64_t kLongest = 3'600'000;
  const std::int64_t milliseconds =
      at_most > absl::Hours(1)
          ? kLongest
          : absl::ToInt64Milliseconds(
                absl::Ceil(std::max(at_most, absl::ZeroDuration()), absl::Milliseconds(1)));
  (void)poll(waiting.data(), waiting.size(), static_cast<int>(milliseconds));
  signalfd_siginfo child{};
  while (child_ && read(child_.get(), &child, sizeof child) > 0) {
    // Who has ended is for the owner of the child to find out.
  }
}

}  // namespace guardcheck
