#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include <absl/strings/str_cat.h>

#include "exit_code.h"
#include "supervise.h"
#include <soleguard/text.h>

namespace guardcheck {
namespace {

using soleguard::ProcessIdentity;
using soleguard::UniqueFd;
using Clock = std::chrono::steady_clock;

// What is passed on. TSTP only reaches the command here when it was sent to this process alone.
constexpr std::array kForwarded = {SIGTERM, SIGINT,  SIGHUP,  SIGQUIT,
                                   SIGUSR1, SIGUSR2, SIGCONT, SIGTSTP};

auto pipe_disposition = SIG_DFL;  // of SIGPIPE, when this process began

absl::Status SystemError(std::string_view what) {
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot ", std::string(what)));
}

// Between this process ("the wrapper") and the guardian, over a socket that keeps message
// boundaries. Its hang-up tells each that the other is gone: the kernel closes it, whatever way
// that one ended.
struct Message {
  enum class Kind : std::int32_t {
    kStarted,      // guardian: the command runs; `identity` fields are set
    kCannotStart,  // guardian: value is errno
    kEnded,        // guardian: value is the exit code; nothing is left of the command
    kForward,      // wrapper: value is the signal for the command
    kEnd,          // wrapper: end the command and all its descendants
  };
  Kind kind = Kind::kEnded;
  std::int32_t value = 0;
  std::int64_t pid = 0;
  std::uint64_t start_ticks = 0;
};

void Send(int socket, const Message& message) {
  // Fails when the other side is gone, which its hang-up says as well.
  (void)send(socket, &message, sizeof message, MSG_NOSIGNAL);
}

// nullopt: the other side is gone.
std::optional<Message> Receive(int socket) {
  Message message;
  ssize_t got = 0;
  // ECONNRESET, once: the other side ended with messages unread (a signal that was forwarded too
  // late). The kernel says so before it gives out what that side had sent, its last word perhaps.
  do {
    got = recv(socket, &message, sizeof message, 0);
  } while (got < 0 && (errno == EINTR || errno == ECONNRESET));
  return got == sizeof message ? std::optional(message) : std::nullopt;
}

std::vector<char*> Arguments(const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  return arguments;
}

int ExitCodeOf(int wait_status) {
  return WIFSIGNALED(wait_status) ? kSignalled + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

// The signals that this process handles through a descriptor, blocked for its lifetime. A signal
// that was ignored when this process began (nohup) stays ignored, here and in the command.
class SignalQueue {
 public:
  absl::Status Open() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (const int signal : kForwarded) {
      struct sigaction action = {};
      if (sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) continue;
      sigaddset(&set, signal);
    }
    // An inherited SIG_IGN would make the kernel reap children unseen (wait(2)).
    (void)signal(SIGCHLD, SIG_DFL);
    if (sigprocmask(SIG_BLOCK, &set, &original_) != 0) return SystemError("block signals");
    fd_ = UniqueFd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    return fd_ ? absl::OkStatus() : SystemError("open a signalfd");
  }
  int fd() const { return fd_.get(); }
  // The mask that the command gets.
  const sigset_t& original() const { return original_; }
  std::optional<signalfd_siginfo> Next() const {
    signalfd_siginfo info;
    const ssize_t got = read(fd_.get(), &info, sizeof info);
    return got == sizeof info ? std::optional(info) : std::nullopt;
  }

 private:
  UniqueFd fd_;
  sigset_t original_ = {};
};

// Each child was not waited for, so its pid is nobody else's.
void SignalChildren(int signal) {
  const auto children = soleguard::OwnChildren();
  if (!children.ok()) return;
  for (const std::int64_t child : *children) (void)kill(static_cast<pid_t>(child), signal);
}

// Kills every child, and with them what comes back to this subreaper when its parent dies, until
// none is left. A child that
// may not be killed (a setuid program) is waited for: it still holds the claim.
void KillDescendants() {
  do {
    SignalChildren(SIGKILL);
  } while (waitpid(-1, nullptr, 0) > 0 || errno == EINTR);
}

// The command's parent. Its life ends in this class.
class Guardian {
 public:
  Guardian(const Supervision& supervision, const SignalQueue& signals, int wrapper,
           std::optional<ProcessIdentity> wrapper_identity)
      : supervision_(supervision),
        signals_(signals),
        wrapper_(wrapper),
        wrapper_identity_(std::move(wrapper_identity)) {}

  [[noreturn]] void Live() {
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    const int error = Start();
    if (error != 0) {
      Send(wrapper_, {.kind = Message::Kind::kCannotStart, .value = error});
      _exit(kYes);
    }
    // A session of its own: what hits the terminal's process group, a SIGKILL included, leaves the
    // guardian to clean up. The command was forked before and stays where the user started it.
    (void)setsid();
    const auto identity = soleguard::IdentityOf(command_);
    Send(wrapper_, {.kind = Message::Kind::kStarted,
                    .value = 0,
                    .pid = command_,
                    .start_ticks = identity.ok() ? identity->start_ticks : 0});
    while (!ended_.has_value() && !shall_end_) Wait(-1);
    while (supervision_.until == Supervision::Until::kTree && !childless_ && !shall_end_) Wait(-1);
    // A job that was stopped and then killed is over, and its name shall be free.
    if (wrapper_is_stopped_) SignalWrapper(SIGCONT);
    EndRest();
    Send(wrapper_, {.kind = Message::Kind::kEnded, .value = ended_.value_or(kSignalled + SIGKILL)});
    _exit(kYes);
  }

 private:
  // 0, or the errno of what failed.
  int Start() {
    const int error = Spawn(supervision_.command);
    if (error != ENOEXEC) return error;
    // A script without "#!" is the shell's, as for execvp(3), which posix_spawnp does not follow
    // here. The shell looks it up once more, in the same PATH.
    std::vector<std::string> script = {"/bin/sh", "-c", "exec \"$0\" \"$@\""};
    script.insert(script.end(), supervision_.command.begin(), supervision_.command.end());
    return Spawn(script);
  }

  // 0, or an errno: posix_spawn gives that of exec itself.
  int Spawn(const std::vector<std::string>& command) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    for (const UniqueFd& claim : supervision_.claim) {
      // The same number twice clears close-on-exec in the child only (POSIX 2024, glibc 2.29).
      posix_spawn_file_actions_adddup2(&actions, claim.get(), claim.get());
    }
    posix_spawnattr_setsigmask(&attributes, &signals_.original());
    sigset_t defaults;
    sigemptyset(&defaults);
    if (pipe_disposition != SIG_IGN) sigaddset(&defaults, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    const std::vector<char*> arguments = Arguments(command);
    const int error =
        posix_spawnp(&command_, arguments[0], &actions, &attributes, arguments.data(), environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error;
  }

  // Handles what comes next, at most `timeout` milliseconds from now. False when nothing came.
  bool Wait(int timeout) {
    std::array<pollfd, 2> polled = {pollfd{.fd = signals_.fd(), .events = POLLIN, .revents = 0},
                                    pollfd{.fd = wrapper_, .events = POLLIN, .revents = 0}};
    const int ready = poll(polled.data(), polled.size(), timeout);
    if (ready == 0) return false;
    if (ready < 0) return true;
    if (polled[1].revents != 0) Listen();
    if (polled[0].revents != 0) {
      while (signals_.Next().has_value()) {
        // SIGCHLD merges; the others were aimed at the command's group, which has them already.
      }
      Reap();
    }
    return true;
  }

  void Listen() {
    const std::optional<Message> message = Receive(wrapper_);
    if (!message.has_value()) {
      // The wrapper was killed. Its claim lives in this process until everything is gone.
      KillDescendants();
      _exit(kYes);
    }
    if (message->kind == Message::Kind::kEnd) shall_end_ = true;
    if (message->kind != Message::Kind::kForward) return;
    Reap();  // the race: it has ended, SIGCHLD comes later, and the signal would go to a zombie
    if (!ended_.has_value()) {
      (void)kill(command_, message->value);  // not waited for yet: the pid is the command's
    } else if (supervision_.until == Supervision::Until::kTree) {
      SignalChildren(message->value);
    }
  }

  void Reap() {
    int status = 0;
    pid_t child = 0;
    while ((child = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0) {
      const bool ended = WIFEXITED(status) || WIFSIGNALED(status);
      if (ended) asked_.erase(child);                         // its pid may be another's by now
      if (child != command_ || ended_.has_value()) continue;  // an orphan that came back
      if (ended) {
        ended_ = ExitCodeOf(status);
      } else if (WIFCONTINUED(status)) {
        SignalWrapper(SIGCONT);
        wrapper_is_stopped_ = false;
      } else if (const int signal = WSTOPSIG(status);
                 signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU) {
        // By job control: the wrapper, which the shell knows, stops too. After a SIGSTOP from
        // elsewhere only who sent it knows when to go on.
        SignalWrapper(SIGSTOP);
        wrapper_is_stopped_ = true;
      }
    }
    childless_ = child < 0 && errno == ECHILD;
  }

  // Sent from here, stops and continues reach the wrapper in the order in which they were seen.
  // (One that is told to stop itself may do so after the SIGCONT that was meant to end the stop.)
  void SignalWrapper(int signal) {
    if (wrapper_identity_.has_value()) (void)soleguard::SendSignal(*wrapper_identity_, signal);
  }

  // Ends what the command left behind: politely, then not.
  void EndRest() {
    if (childless_) return;
    const auto end = Clock::now() + absl::ToChronoNanoseconds(supervision_.grace);
    while (!childless_) {
      AskChildren();
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
      if (left <= 0) break;
      (void)Wait(static_cast<int>(std::min<std::int64_t>(left, 1000)));
    }
    KillDescendants();
  }

  // Asks each child once. Those of a child come here when it has ended, and are asked then: before,
  // their parent may want to end them itself.
  void AskChildren() {
    const auto children = soleguard::OwnChildren();
    if (!children.ok()) return;
    for (const std::int64_t listed : *children) {
      const auto child = static_cast<pid_t>(listed);
      if (!asked_.insert(child).second) continue;
      (void)kill(child, SIGTERM);
      (void)kill(child, SIGCONT);
    }
  }

  const Supervision& supervision_;
  const SignalQueue& signals_;
  const int wrapper_;
  const std::optional<ProcessIdentity> wrapper_identity_;
  pid_t command_ = 0;
  std::optional<int> ended_;
  bool childless_ = false;
  bool shall_end_ = false;
  bool wrapper_is_stopped_ = false;  // by the guardian
  std::set<pid_t> asked_;            // children that got SIGTERM
};

// The wrapper's part: forwards signals, stops and continues with the command, waits for its end.
class Wrapper {
 public:
  Wrapper(const Supervision& supervision, const SignalQueue& signals, int guardian,
          pid_t guardian_pid)
      : supervision_(supervision),
        signals_(signals),
        guardian_(guardian),
        guardian_pid_(guardian_pid) {}

  absl::StatusOr<int> Watch(const std::optional<ProcessIdentity>& own) {
    while (true) {
      std::vector<pollfd> polled = {pollfd{.fd = signals_.fd(), .events = POLLIN, .revents = 0},
                                    pollfd{.fd = guardian_, .events = POLLIN, .revents = 0}};
      for (const Supervision::Meanwhile& meanwhile : supervision_.meanwhile) {
        polled.push_back({.fd = meanwhile.fd, .events = POLLIN, .revents = 0});
      }
      const int end =
          supervision_.end != nullptr && !told_to_end_ ? supervision_.end->fd().get() : -1;
      polled.push_back({.fd = end, .events = POLLIN, .revents = 0});
      const int ready = poll(polled.data(), polled.size(), UntilLasting());
      if (ready <= 0) continue;
      for (std::size_t i = 0; i < supervision_.meanwhile.size(); ++i) {
        if (polled[i + 2].revents != 0) supervision_.meanwhile[i].ready();
      }
      if (polled.back().revents != 0) {
        told_to_end_ = true;
        Send(guardian_, {.kind = Message::Kind::kEnd});
      }
      // Messages first: whether the terminal sent a signal to the command too can be told once it
      // is known. (One that is left over at the end had nobody to go to.)
      if (polled[1].revents == 0) {
        while (const std::optional<signalfd_siginfo> info = signals_.Next()) Forward(*info);
        continue;
      }

      const std::optional<Message> message = Receive(guardian_);
      if (!message.has_value()) {
        // Orphans of a killed guardian come to this subreaper.
        KillDescendants();
        return absl::AbortedError("the guardian process was killed; the command was ended with it");
      }
      switch (message->kind) {
        case Message::Kind::kStarted:
          command_ = static_cast<pid_t>(message->pid);
          lasting_at_ = Clock::now() + absl::ToChronoNanoseconds(Supervision::kLasting);
          if (own.has_value() && message->start_ticks != 0) {
            ProcessIdentity command = *own;
            command.pid = message->pid;
            command.start_ticks = message->start_ticks;
            supervision_.started(command);
          }
          break;
        case Message::Kind::kCannotStart:
          return SayCannotExecute(supervision_.command[0], message->value);
        case Message::Kind::kEnded:
          for (const Supervision::Meanwhile& meanwhile : supervision_.meanwhile) meanwhile.ready();
          return message->value;
        case Message::Kind::kForward:  // never come this way
        case Message::Kind::kEnd:
          break;
      }
    }
  }

 private:
  // Says once that the command lasts, when it does; gives the milliseconds until then, or -1.
  int UntilLasting() {
    if (!lasting_at_.has_value()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*lasting_at_ - Clock::now());
    if (left.count() > 0) return static_cast<int>(left.count());
    lasting_at_.reset();
    supervision_.lasting();
    return -1;
  }

  void Forward(const signalfd_siginfo& info) const {
    const auto signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGCHLD) return;  // the guardian's end shows on the socket
    // The guardian's SIGCONT follows one that the command has had.
    if (signal == SIGCONT && info.ssi_pid == static_cast<std::uint32_t>(guardian_pid_)) return;
    // The terminal sends to its whole foreground process group, as the kernel (SI_KERNEL, n_tty.c).
    // To a command that may not have been there yet it is passed on all the same: twice does no
    // harm.
    const bool by_terminal = info.ssi_code == SI_KERNEL;
    if (by_terminal && command_ != 0 && getpgid(command_) == getpgrp()) return;
    Send(guardian_, {.kind = Message::Kind::kForward, .value = signal});
  }

  const Supervision& supervision_;
  const SignalQueue& signals_;
  const int guardian_;
  const pid_t guardian_pid_;
  pid_t command_ = 0;
  std::optional<Clock::time_point> lasting_at_;  // until it was said
  bool told_to_end_ = false;
};

}  // namespace

absl::Status OccupyStandardStreams() {
  while (true) {
    const int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0) return SystemError("open /dev/null");
    if (fd <= STDERR_FILENO) continue;  // kept
    (void)close(fd);                    // was only opened
    return absl::OkStatus();
  }
}

absl::StatusOr<int> Supervise(const Supervision& supervision) {
  SignalQueue signals;
  absl::Status opened = signals.Open();
  if (!opened.ok()) return opened;
  std::array<int, 2> ends = {};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return SystemError("make a socket pair");
  }
  UniqueFd to_guardian(ends[0]);
  UniqueFd to_wrapper(ends[1]);
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return SystemError("become a subreaper");
  const auto read = soleguard::OwnIdentity();
  const std::optional<ProcessIdentity> own = read.ok() ? std::optional(*read) : std::nullopt;

  const pid_t guardian = fork();
  if (guardian < 0) return SystemError("fork the guardian");
  if (guardian == 0) {
    to_guardian.reset();
    Guardian(supervision, signals, to_wrapper.get(), own).Live();
  }
  to_wrapper.reset();
  absl::StatusOr<int> code = Wrapper(supervision, signals, to_guardian.get(), guardian).Watch(own);
  supervision.ended();
  while (waitpid(guardian, nullptr, 0) < 0 && errno == EINTR) {
  }
  return code;
}

void OutliveBrokenPipe() { pipe_disposition = signal(SIGPIPE, SIG_IGN); }

int Become(const std::vector<std::string>& command) {
  const std::vector<char*> arguments = Arguments(command);
  (void)signal(SIGPIPE, pipe_disposition);
  (void)execvp(arguments[0], arguments.data());
  return SayCannotExecute(command[0], errno);
}

int SayCannotExecute(const std::string& command, int error) {
  const bool missing = error == ENOENT || error == ENOTDIR;
  const absl::Status status = absl::ErrnoToStatus(error, "");
  (void)std::fprintf(stderr, "guardcheck: cannot run %s%s\n",
                     soleguard::EscapeBytes(command).c_str(),
                     std::string(status.message()).c_str());
  return missing ? kNotFound : kCannotExecute;
}

}  // namespace guardcheck
