#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <vector>

#include "system.h"
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
  // Left unread: who waits for end() sees it too.
  asked_ = AwaitOne(end_.get(), POLLIN, absl::ZeroDuration());
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
  (void)Poll(waiting, at_most);
  signalfd_siginfo child{};
  while (child_ && read(child_.get(), &child, sizeof child) > 0) {
    // Who has ended is for the owner of the child to find out.
  }
}

}  // namespace guardcheck
