#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>

#include <absl/time/time.h>

#include "system.h"
#include "watcher/event_feeder.h"
#include "watcher/event_hook.h"

namespace guardcheck {
namespace {

constexpr absl::Duration kLastWords = absl::Seconds(5);
constexpr std::size_t kMostBytes = 16384;  // of an event, which is much shorter

// In the process beside.

// Leaves only standard error and the socket, which gets the first number behind it.
int KeepOnly(int socket) {
  constexpr int kKept = STDERR_FILENO + 1;
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  (void)dup2(null, STDIN_FILENO);
  (void)dup2(null, STDOUT_FILENO);  // whoever reads it waits for its end
  if (socket != kKept) (void)dup3(socket, kKept, O_CLOEXEC);
  (void)syscall(SYS_close_range, kKept + 1, ~0U, 0);  // Linux 5.9; else they stay as long as this
  return kKept;
}

// Signals that end what is guarded come here too (a service that is stopped), before there is
// nothing more to tell: the end of the socket ends this process. A blocked signal is none of the
// hook's, which begins with none blocked.
int TakeChildSignals() {
  sigset_t all;
  sigfillset(&all);
  (void)sigprocmask(SIG_SETMASK, &all, nullptr);
  (void)signal(SIGCHLD, SIG_DFL);  // ignored, the kernel would reap the hook
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  return signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

// False: nobody sends any more.
bool Receive(int socket, EventHook& hook) {
  std::array<char, kMostBytes> line;
  const ssize_t got =
      RetryOnEintr([&] { return recv(socket, line.data(), line.size(), MSG_DONTWAIT); });
  if (got > 0) hook.Send(std::string(line.data(), static_cast<std::size_t>(got)));
  return got > 0 || (got < 0 && errno == EAGAIN);
}

void Feed(int socket, const std::vector<std::string>& argv) {
  const int children = TakeChildSignals();
  EventHook hook(argv);
  const absl::Status begun = hook.Begin();
  // An empty message would look like the end.
  const std::string said = begun.ok() ? " " : std::string(begun.message());
  if (send(socket, said.data(), said.size(), MSG_NOSIGNAL) < 0 || !begun.ok()) return;
  bool open = true;
  while (open) {
    std::array<pollfd, 3> waiting = {pollfd{.fd = socket, .events = POLLIN, .revents = 0},
                                     pollfd{.fd = hook.input(), .events = POLLOUT, .revents = 0},
                                     pollfd{.fd = children, .events = POLLIN, .revents = 0}};
    (void)Poll(waiting, hook.due());
    signalfd_siginfo child{};
    while (read(children, &child, sizeof child) > 0) {  // EventHook finds out who it was
    }
    open = Receive(socket, hook);
    hook.Pump();
  }
  hook.Finish(kLastWords);
}

[[noreturn]] void BecomeFeeder(int socket, const std::vector<std::string>& argv,
                               const std::function<void()>& begins) {
  (void)setsid();  // the terminal's Ctrl-C is not for it
  const pid_t feeder = fork();
  if (feeder == 0) {
    begins();
    Feed(KeepOnly(socket), argv);
  }
  _exit(feeder < 0 ? errno : 0);
}

}  // namespace

absl::Status EventFeeder::Begin(const std::vector<std::string>& argv,
                                const std::function<void()>& begins) {
  soleguard::UniqueFd theirs;
  if (!MakeSocketPair(socket_, theirs)) return absl::ErrnoToStatus(errno, "make a socket pair");
  const pid_t child = fork();
  if (child < 0) return absl::ErrnoToStatus(errno, "start a process that tells of events");
  if (child == 0) BecomeFeeder(theirs.get(), argv, begins);
  theirs.reset();
  (void)RetryOnEintr([child] { return waitpid(child, nullptr, 0); });
  std::array<char, kMostBytes> said;
  const ssize_t got =
      RetryOnEintr([&] { return recv(socket_.get(), said.data(), said.size(), 0); });
  const std::string answer(said.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  if (answer == " ") return absl::OkStatus();
  socket_.reset();
  return absl::UnavailableError(answer.empty() ? "no process that tells of events can be started"
                                               : answer);
}

void EventFeeder::Send(const std::string& line) const {
  if (!socket_) return;
  // As long as the process beside is behind, or gone, there is nobody to tell.
  (void)send(socket_.get(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace guardcheck
