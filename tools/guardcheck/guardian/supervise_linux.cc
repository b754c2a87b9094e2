#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>

#include "exit_code.h"
#include "guardian/cannot_execute.h"
#include "guardian/supervise.h"
#include "soleguard/process.h"
#include "system.h"

namespace guardcheck {
namespace {

using soleguard::ProcessIdentity;
using soleguard::UniqueFd;
using Clock = std::chrono::steady_clock;

// What a write that fails may send, with the disposition that this process began with.
struct FailedWrite {
  int signal;
  decltype(SIG_DFL) at_start = SIG_DFL;
};
std::array failed_writes = {FailedWrite{SIGPIPE}, FailedWrite{SIGXFSZ}};

void RestoreFailedWrites() {
  for (const FailedWrite& write : failed_writes) (void)signal(write.signal, write.at_start);
}

absl::Status SystemError(std::string_view what) {
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot ", std::string(what)));
}

// Between this process ("the wrapper") and the guardian, over a socket that keeps message
// boundaries. Its hang-up tells each that the other is gone: the kernel closes it, whatever way
// that one ended.
struct Message {
  enum class Kind : std::int32_t {
    kStarted,      // guardian: the command runs; value is its own pid, the processes are set
    kMoved,        // guardian: the main process is another one now
    kLeft,         // guardian: the instance is one that the command left; there are value more
    kCannotStart,  // guardian: value is errno
    kEnded,        // guardian: value is the wait status; nothing is left that shall not be left
    kForward,      // wrapper: value is the signal for the command
    kEnd,          // wrapper: end the command and all its descendants
    kKeep,         // wrapper: with descriptors to keep
    kHook,         // wrapper: start the hook, with its input, output and life
  };
  static constexpr std::size_t kMostWords = 256;  // bytes
  struct Process {
    std::int64_t pid = 0;  // 0: it cannot be told
    std::uint64_t start_ticks = 0;
  };
  Kind kind = Kind::kEnded;
  std::int32_t value = 0;
  Process instance;
  Process guardian;
  bool is_queued = false;                // kForward: by sigqueue(3),
  std::uint64_t queued = 0;              // with this value
  std::array<char, kMostWords> words{};  // kLeft: its arguments, each with a byte 0 behind it
};

// Of what the command left; of the others is said how many they are.
constexpr std::size_t kMostLeftSaid = 8;

// What Linux lets go with one message (SCM_MAX_FD).
constexpr std::size_t kMostDescriptors = 253;

// False: the other side is gone, which its hang-up says as well; or, where it shall not wait for
// one that is stopped, a hundred messages are unread.
enum class WhenFull { kDrop, kWait };
bool Send(int socket, const Message& message, WhenFull when_full,
          std::span<const int> descriptors = {}) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostDescriptors * sizeof(int))> control{};
  Message copy = message;
  iovec bytes{.iov_base = &copy, .iov_len = sizeof copy};
  msghdr header{};
  header.msg_iov = &bytes;
  header.msg_iovlen = 1;
  if (!descriptors.empty()) {
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* const attached = CMSG_FIRSTHDR(&header);
    attached->cmsg_level = SOL_SOCKET;
    attached->cmsg_type = SCM_RIGHTS;
    attached->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(attached), descriptors.data(), descriptors.size_bytes());
  }
  const int flags = when_full == WhenFull::kWait ? MSG_NOSIGNAL : MSG_NOSIGNAL | MSG_DONTWAIT;
  return sendmsg(socket, &header, flags) >= 0;
}

struct Received {
  enum class What { kMessage, kNothing, kGone } what = What::kNothing;
  Message message = {};
  std::vector<UniqueFd> descriptors = {};
};

Received Receive(int socket) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostDescriptors * sizeof(int))> control{};
  Received received;
  iovec bytes{.iov_base = &received.message, .iov_len = sizeof received.message};
  msghdr header{};
  header.msg_iov = &bytes;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  ssize_t got = 0;
  // ECONNRESET, once: the other side ended with messages unread (a signal that was forwarded too
  // late). The kernel says so before it gives out what that side had sent, its last word perhaps.
  do {
    got = RetryOnEintr([&] { return recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC); });
  } while (got < 0 && errno == ECONNRESET);
  for (cmsghdr* part = got < 0 ? nullptr : CMSG_FIRSTHDR(&header); part != nullptr;
       part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    std::vector<int> numbers((part->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    std::memcpy(numbers.data(), CMSG_DATA(part), numbers.size() * sizeof(int));
    for (const int fd : numbers) received.descriptors.emplace_back(fd);
  }
  const bool nothing_yet = got < 0 && errno == EAGAIN;
  received.what = got == sizeof received.message ? Received::What::kMessage
                  : nothing_yet                  ? Received::What::kNothing
                                                 : Received::What::kGone;
  return received;
}

// Until one of them is readable, but not longer than `at_most`; false: nothing is. Where poll(2)
// itself fails (RLIMIT_NOFILE was lowered below their count: EINVAL) all may be, after a moment
// that keeps this from spinning: whoever reads here does not block.
bool AwaitReadable(std::span<pollfd> polled, absl::Duration at_most) {
  constexpr absl::Duration kMoment = absl::Milliseconds(20);
  const int ready = Poll(polled, at_most);
  if (ready >= 0) return ready > 0;
  (void)Poll({}, std::min(at_most, kMoment));
  for (pollfd& each : polled) each.revents = POLLIN;
  return true;
}

Message::Process Told(pid_t pid) {
  const auto identity = soleguard::IdentityOf(pid);
  if (!identity.ok()) return {};
  return {.pid = pid, .start_ticks = identity->start_ticks};
}

std::optional<ProcessIdentity> Identity(const std::optional<ProcessIdentity>& own,
                                        const Message::Process& told) {
  if (!own.has_value() || told.pid == 0) return std::nullopt;
  ProcessIdentity identity = *own;
  identity.pid = told.pid;
  identity.start_ticks = told.start_ticks;
  return identity;
}

std::span<char> arguments_of_main;

void SayWhatThisIs(pid_t wrapper) { ShowAs(absl::StrCat("guardcheck: guardian of pid ", wrapper)); }

std::vector<char*> Arguments(const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  return arguments;
}

int ExitCodeOf(int wait_status) {
  return WIFSIGNALED(wait_status) ? kSignalled + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

// All signals that this process can take through a descriptor, blocked for its lifetime. One that
// was ignored when this process began (nohup) stays ignored, here and in the command. One that has
// a handler is a sanitizer's: exec(2) leaves none. (A fault of this process ends it although the
// signal is blocked.)
class SignalQueue {
 public:
  absl::Status Open() {
    sigset_t all;
    sigfillset(&all);
    if (sigprocmask(SIG_BLOCK, &all, &original_) != 0) return SystemError("block signals");
    // Blocked, they no longer need to be ignored, and can be passed on.
    RestoreFailedWrites();
    // An inherited SIG_IGN would make the kernel reap children unseen (wait(2)).
    (void)signal(SIGCHLD, SIG_DFL);
    sigset_t set = original_;
    for (int signal = 1; signal <= SIGRTMAX; ++signal) {
      struct sigaction action = {};
      // What the C library keeps for itself (signal(7)) it does not show.
      if (sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) {
        sigaddset(&set, signal);
      }
    }
    if (sigprocmask(SIG_SETMASK, &set, nullptr) != 0) return SystemError("block signals");
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

// What claims of one layer have in common, as far as their descriptors show it: their kinds, and
// which sockets they are.
std::string LayerOf(const std::vector<UniqueFd>& claim) {
  std::string layer;
  for (const UniqueFd& fd : claim) {
    struct stat status = {};
    (void)fstat(fd.get(), &status);
    absl::StrAppend(&layer, status.st_mode & S_IFMT, " ");
    sockaddr_storage address = {};
    socklen_t size = sizeof address;
    if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0) {
      layer.append(reinterpret_cast<const char*>(&address),
                   std::min<std::size_t>(size, sizeof address));
    }
  }
  return layer;
}

// In the environment of a hook: the pid of its guardian.
constexpr char kHookVariable[] = "SOLEGUARD_HOOK";

// With a byte 0 before and behind each variable. nullopt: it may not be read.
std::optional<std::string> EnvironmentOf(std::int64_t pid) {
  const std::string path = absl::StrCat("/proc/", pid, "/environ");
  std::ifstream file(path, std::ios::binary);
  if (!file && (errno == EACCES || errno == EPERM)) return std::nullopt;
  std::string environment(1, '\0');
  environment.append(std::istreambuf_iterator<char>(file), {});
  return environment;
}

bool Has(const std::string& environment, const std::string& variable) {
  return environment.find(absl::StrCat(std::string(1, '\0'), variable, std::string(1, '\0'))) !=
         std::string::npos;
}

// Returns only where that signal is ignored.
void DieOf(int number) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, number);
  (void)raise(number);
  (void)sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

bool HasChildren() {
  siginfo_t info = {};
  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

// A program to be started as a child, and what that has beside what this process has.
struct Child {
  std::vector<std::string> words;
  bool is_path = false;          // else the first word is looked for in PATH
  std::vector<int> shared = {};  // descriptors, close-on-exec here
  sigset_t mask = {};
  // Of a hook:
  std::vector<std::string> variables = {};  // in place of those of this process
  int input = -1;
  int output = -1;
  std::string directory = "";
  bool leads_group = false;
};

// What the child does until it is that program; gives the errno of what failed.
int Become(const Child& child, char* const* arguments, char* const* variables) {
  if (child.input >= 0 && dup2(child.input, STDIN_FILENO) < 0) return errno;
  if (child.output >= 0 && dup2(child.output, STDOUT_FILENO) < 0) return errno;
  for (const int fd : child.shared) {
    if (fcntl(fd, F_SETFD, 0) != 0) return errno;
  }
  if (!child.directory.empty() && chdir(child.directory.c_str()) != 0) return errno;
  if (child.leads_group) {
    if (setpgid(0, 0) != 0) return errno;
    (void)signal(SIGPIPE, SIG_DFL);
  }
  if (sigprocmask(SIG_SETMASK, &child.mask, nullptr) != 0) return errno;
  if (child.is_path) {
    (void)execve(arguments[0], arguments, variables);
  } else {
    (void)execvp(arguments[0], arguments);  // which gives a script without "#!" to the shell
  }
  return errno;
}

// 0, or the errno of what failed. Not posix_spawn(3): it asks for clone3(2), and takes the EPERM of
// an older container's seccomp profile, which does not know that call, for the last word (glibc
// 2.36). vfork(2) copies no page tables, 0.5 ms of each start, and calls none of the handlers of
// pthread_atfork(3), by which the library gives up a claim in a child. The child borrows this
// process's memory until it is the program: it only makes system calls, and leaves its errno here.
int Spawn(const Child& child, pid_t& pid) {
  const std::vector<char*> arguments = Arguments(child.words);
  const std::vector<char*> variables = Arguments(child.variables);
  volatile int error = 0;
  pid = vfork();  // NOLINT(clang-analyzer-security.insecureAPI.vfork): as posix_spawn(3) does
  if (pid == 0) {
    error = Become(child, arguments.data(), variables.data());
    _exit(kNotFound);
  }
  if (pid < 0) return errno;
  if (error != 0) (void)RetryOnEintr([pid] { return waitpid(pid, nullptr, 0); });
  return error;
}

// Gives nothing to read, and takes what is written; one that can do neither where there is no /dev.
int OpenNowhere() {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  return null >= 0 ? null : open("/", O_PATH | O_CLOEXEC);
}

// The descriptors of this process. To list them makes an inode of each, 0.1 ms in all; Linux 6.2
// says how many there are, and then they are looked for.
std::vector<int> OpenDescriptors() {
  constexpr int kMostLooked = 1024;
  std::vector<int> open;
  struct stat all = {};
  if (stat("/proc/self/fd", &all) == 0 && all.st_size > 0) {
    for (int fd = 0; fd < kMostLooked; ++fd) {
      if (fcntl(fd, F_GETFD) >= 0) open.push_back(fd);
      if (std::cmp_equal(open.size(), all.st_size)) return open;
    }
    open.clear();
  }
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", ignored)) {
    int& fd = open.emplace_back(-1);
    if (!absl::SimpleAtoi(entry.path().filename().string(), &fd)) open.pop_back();
  }
  return open;
}

// What the command lets go of is not to be kept busy by those who watch over it: a directory that
// is to be unmounted, a pipe whose reader waits for its end, a socket that is to refuse. What is
// close-on-exec is this process's own, the rest was inherited.
enum class Keep {
  kNothing,
  kStandardError,
  kForHooks,  // standard error, and all that was inherited beside the standard streams
};
void LetGoOfTheSurroundings(Keep keep) {
  std::error_code ignored;
  std::filesystem::current_path("/", ignored);
  const UniqueFd nowhere(OpenNowhere());
  const int last = keep == Keep::kNothing ? STDERR_FILENO : STDOUT_FILENO;
  for (int fd = 0; nowhere && fd <= last; ++fd) (void)dup3(nowhere.get(), fd, O_CLOEXEC);
  if (keep == Keep::kForHooks) return;
  for (const int fd : OpenDescriptors()) {
    const int flags = fd > STDERR_FILENO ? fcntl(fd, F_GETFD) : -1;
    if (flags >= 0 && (flags & FD_CLOEXEC) == 0) (void)close(fd);
  }
}

// The command's parent. Its life ends in this class.
class Guardian {
 public:
  // `recorded`: the one of ours that is the guardian to others: itself, or its parent.
  Guardian(const Supervision& supervision, const SignalQueue& signals, pid_t wrapper,
           std::optional<ProcessIdentity> wrapper_identity, pid_t recorded)
      : supervision_(supervision),
        signals_(signals),
        wrapper_(supervision.link->guardian_end().get()),
        wrapper_pid_(wrapper),
        wrapper_identity_(std::move(wrapper_identity)),
        guardian_(recorded) {}

  [[noreturn]] void Live() {
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    SayWhatThisIs(wrapper_pid_);
    const int error = Start();
    if (error != 0) {
      (void)Send(wrapper_, {.kind = Message::Kind::kCannotStart, .value = error}, WhenFull::kWait);
      _exit(kYes);
    }
    // A session of its own: what hits the terminal's process group, a SIGKILL included, leaves the
    // guardian to clean up. The command was forked before and stays where the user started it. (A
    // process in between has left for a session of its own after it forked this one.)
    (void)setsid();
    if (!supervision_.hook.empty()) directory_ = CurrentDirectory();
    LetGoOfTheSurroundings(supervision_.hook.empty() ? Keep::kNothing : Keep::kForHooks);
    main_ = command_;
    SayWho(Message::Kind::kStarted);
    while (!ended_.has_value() && !shall_end_) Wait(absl::InfiniteDuration());
    while (supervision_.until == Supervision::Until::kTree && !childless_ && !shall_end_) {
      Wait(absl::InfiniteDuration());
    }
    // A job that was stopped and then killed is over, and its name shall be free.
    if (wrapper_is_stopped_) SignalWrapper(SIGCONT);
    EndHooks();
    if (supervision_.until == Supervision::Until::kDetach) {
      EndCommand();
    } else {
      EndRest();
    }
    (void)Send(wrapper_, {.kind = Message::Kind::kEnded, .value = ended_.value_or(SIGKILL)},
               WhenFull::kWait);
    _exit(kYes);
  }

 private:
  // 0, or the errno of what failed.
  int Start() {
    return Spawn({.words = supervision_.command, .shared = Shared(), .mask = signals_.original()},
                 command_);
  }

  // What a process inherits that keeps the name: nothing where what the command starts is to live
  // on without it.
  std::vector<int> Shared() const {
    std::vector<int> shared;
    if (supervision_.until == Supervision::Until::kDetach) return shared;
    for (const UniqueFd& fd : supervision_.claim) shared.push_back(fd.get());
    for (const auto& [layer, claims] : renewed_) {
      for (const std::vector<UniqueFd>& claim : claims) {
        for (const UniqueFd& fd : claim) shared.push_back(fd.get());
      }
    }
    return shared;
  }

  // Empty: it cannot be told, such as one that was removed.
  static std::string CurrentDirectory() {
    std::error_code unknown;
    return std::filesystem::current_path(unknown).string();
  }

  // A hook, by its pid, until that is waited for: not before its group is nobody's concern any
  // more, since afterwards the group's number may be another's.
  struct Hook {
    UniqueFd life;  // none: it was given up
    bool has_ended = false;
  };
  using Hooks = std::map<pid_t, Hook>;

  void StartHook(std::vector<UniqueFd> ends) {
    constexpr std::size_t kEnds = 3;
    if (ends.size() != kEnds) return;  // no descriptor is left for them; the other end hangs up
    UniqueFd& life = ends.back();
    std::vector<std::string> variables = {HookMark()};
    for (char** variable = environ; *variable != nullptr; ++variable) {
      if (!std::string_view(*variable).starts_with(absl::StrCat(kHookVariable, "="))) {
        variables.emplace_back(*variable);
      }
    }
    pid_t pid = 0;
    const int error = Spawn({.words = {supervision_.hook},
                             .is_path = true,
                             .shared = Shared(),
                             .mask = signals_.original(),
                             .variables = std::move(variables),
                             .input = ends[0].get(),
                             .output = ends[1].get(),
                             .directory = directory_,
                             .leads_group = true},
                            pid);
    if (error == 0) {
      hooks_[pid].life = std::move(life);
    } else {
      SayEnd(life, {.error = error});
    }
  }

  static void SayEnd(const UniqueFd& life, const HookEnd& end) {
    (void)send(life.get(), &end, sizeof end, MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  // The other end of its life was closed, or the guardian ends.
  void GiveUp(pid_t pid, Hook& hook) {
    HookDone done;
    const bool is_done =
        hook.has_ended && recv(hook.life.get(), &done, sizeof done, MSG_DONTWAIT) == sizeof done;
    if (!is_done) (void)kill(-pid, SIGKILL);
    hook.life.reset();
  }

  void EndHooks() {
    for (auto& [pid, hook] : hooks_) GiveUp(pid, hook);  // its answer is nobody's any more
    Reap();
  }

  // Waits for the hooks that have ended and were given up. True: there were some.
  bool ReapHooks() {
    return std::erase_if(hooks_, [](const Hooks::value_type& hook) {
             const bool is_over = hook.second.has_ended && !hook.second.life;
             if (is_over) (void)waitpid(hook.first, nullptr, 0);
             return is_over;
           }) > 0;
  }

  // Handles what comes next, if it comes within `at_most`.
  void Wait(absl::Duration at_most) {
    std::vector<pollfd> polled = {{.fd = signals_.fd(), .events = POLLIN, .revents = 0},
                                  {.fd = wrapper_, .events = POLLIN, .revents = 0}};
    for (const auto& [pid, hook] : hooks_) {
      polled.push_back({.fd = hook.life.get(), .events = 0, .revents = 0});
    }
    if (!AwaitReadable(polled, at_most)) return;
    std::size_t next = 2;
    for (auto& [pid, hook] : hooks_) {
      if ((polled[next++].revents & POLLHUP) != 0) GiveUp(pid, hook);
    }
    if (ReapHooks()) Reap();
    if (polled[1].revents != 0) Listen();
    if (polled[0].revents != 0) {
      while (signals_.Next().has_value()) {
        // SIGCHLD merges; the others were aimed at the command's group, which has them already.
      }
      Reap();
    }
  }

  void Listen() {
    Received received = Receive(wrapper_);
    if (received.what == Received::What::kNothing) return;
    if (received.what == Received::What::kGone) {
      // The wrapper was killed. Its claim lives in this process until everything is gone.
      EndAtOnce();
      _exit(kYes);
    }
    const Message& message = received.message;
    if (message.kind == Message::Kind::kEnd) shall_end_ = true;
    if (message.kind == Message::Kind::kHook) StartHook(std::move(received.descriptors));
    if (message.kind == Message::Kind::kKeep) {
      constexpr std::size_t kMost = 8;  // as the library keeps of a layer in the wrapper
      auto& claims = renewed_[LayerOf(received.descriptors)];
      if (claims.size() >= kMost) claims.pop_front();
      claims.push_back(std::move(received.descriptors));
    }
    if (message.kind != Message::Kind::kForward) return;
    Reap();  // the race: it has ended, SIGCHLD comes later, and the signal would go to a zombie
    if (!ended_.has_value()) {
      PassOn(message, command_);  // not waited for yet: the pid is the command's
      constexpr std::array kRequests = {SIGTERM, SIGINT, SIGQUIT};
      was_asked_ |= std::count(kRequests.begin(), kRequests.end(), message.value) > 0;
    } else if (supervision_.until == Supervision::Until::kTree) {
      // Each child was not waited for, so its pid is nobody else's.
      for (const std::int64_t child : soleguard::OwnChildren()) {
        if (!IsOfHook(child)) PassOn(message, static_cast<pid_t>(child));
      }
    }
  }

  static void PassOn(const Message& message, pid_t child) {
    if (message.is_queued) {
      sigval value = {};
      std::memcpy(&value, &message.queued, sizeof value);
      (void)sigqueue(child, message.value, value);
    } else {
      (void)kill(child, message.value);
    }
  }

  // Whether that child is a hook or was left behind by one. A hook is started in the session of
  // this process, where nothing of the command is; what has left for a session of its own has the
  // hook's environment. (One that has cleaned that, too, is taken for the command's.)
  bool IsOfHook(std::int64_t child) const {
    if (supervision_.hook.empty()) return false;
    const auto pid = static_cast<pid_t>(child);
    if (hooks_.contains(pid) || getsid(pid) == getsid(0)) return true;
    std::array<char, 16> self{};
    const ssize_t size = readlink("/proc/self", self.data(), self.size());
    const std::string shown(self.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    if (shown != std::to_string(getpid())) return false;  // /proc shows the pids of others
    const std::optional<std::string> environment = EnvironmentOf(child);
    return environment.has_value() && Has(*environment, HookMark());
  }
  static std::string HookMark() { return absl::StrCat(kHookVariable, "=", getpid()); }

  void Reap() {
    // Whoever is kept would be told of again and again, in place of the others.
    const auto is_kept = [this](std::int64_t child) {
      const auto hook = hooks_.find(static_cast<pid_t>(child));
      return hook != hooks_.end() && hook->second.has_ended;
    };
    const auto is_any_kept = [this] {
      return std::any_of(hooks_.begin(), hooks_.end(),
                         [](const Hooks::value_type& hook) { return hook.second.has_ended; });
    };
    while (!is_any_kept() && ReapOne(P_ALL, 0)) {
    }
    if (is_any_kept()) {
      for (const std::int64_t child : soleguard::OwnChildren()) {
        while (!is_kept(child) && ReapOne(P_PID, static_cast<id_t>(child))) {
        }
      }
      (void)ReapHooks();
    }
    childless_ = !HasChildren();
    FollowMain();
  }

  // The next thing that has happened to one of these children; false: nothing has.
  bool ReapOne(idtype_t type, id_t id) {
    siginfo_t info = {};
    if (waitid(type, id, &info, WEXITED | WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid == 0) {
      return false;
    }
    const pid_t child = info.si_pid;
    const auto hook = hooks_.find(child);
    if (hook != hooks_.end()) {
      if (info.si_code == CLD_STOPPED || info.si_code == CLD_CONTINUED) {
        (void)waitid(P_PID, static_cast<id_t>(child), &info, WSTOPPED | WCONTINUED | WNOHANG);
        return true;
      }
      const bool exited = info.si_code == CLD_EXITED;
      hook->second.has_ended = true;
      SayEnd(hook->second.life, {.exit_code = info.si_status + (exited ? 0 : kSignalled)});
      return true;
    }
    int status = 0;
    if (waitpid(child, &status, WNOHANG | WUNTRACED | WCONTINUED) != child) return true;
    const bool ended = WIFEXITED(status) || WIFSIGNALED(status);
    if (ended) {  // its pid may be another's from now on
      asked_.erase(child);
      if (child == main_) main_ = 0;
    }
    if (child != command_ || ended_.has_value()) return true;  // an orphan that came back
    if (ended) {
      ended_ = status;
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
    return true;
  }

  // A daemon's first process ends and leaves the work to another: the oldest that is left. So does
  // one that crashes, for as long as the rest takes to end.
  void FollowMain() {
    if (main_ != 0 || childless_ || !follows_rest_) return;
    std::optional<ProcessIdentity> oldest;
    for (const std::int64_t child : soleguard::OwnChildren()) {
      if (IsOfHook(child)) continue;
      const auto identity = soleguard::IdentityOf(child);
      if (!identity.ok() || soleguard::LivenessOf(*identity) == soleguard::Liveness::kGone)
        continue;
      if (!oldest.has_value() || identity->start_ticks < oldest->start_ticks) oldest = *identity;
    }
    if (!oldest.has_value()) return;
    main_ = static_cast<pid_t>(oldest->pid);
    SayWho(Message::Kind::kMoved);
  }

  void SayWho(Message::Kind kind) const {
    (void)Send(
        wrapper_,
        {.kind = kind, .value = getpid(), .instance = Told(main_), .guardian = Told(guardian_)},
        WhenFull::kWait);
  }

  // Sent from here, stops and continues reach the wrapper in the order in which they were seen.
  // (One that is told to stop itself may do so after the SIGCONT that was meant to end the stop.)
  void SignalWrapper(int signal) {
    if (wrapper_identity_.has_value()) (void)soleguard::SendSignal(*wrapper_identity_, signal);
  }

  // Ends what the command left behind: politely, then not.
  void EndRest() {
    if (childless_) return;
    if (HasEndedByItself()) {
      // A pipeline's last process writes what it still has, and nobody needs to hear of it.
      constexpr absl::Duration kMoment = absl::Milliseconds(100);
      WaitForRest(std::min(kMoment, supervision_.grace));
      if (!childless_) SayLeft();
    }
    follows_rest_ = true;
    FollowMain();
    WaitForRest(supervision_.grace, [this] { AskChildren(); });
    if (!childless_) soleguard::EndOwnDescendants();
  }

  // Until nothing is left; `each_time` before each wait.
  void WaitForRest(
      absl::Duration at_most, const std::function<void()>& each_time = [] {}) {
    const auto end = Clock::now() + absl::ToChronoNanoseconds(at_most);
    while (!childless_) {
      each_time();
      const absl::Duration left = absl::FromChrono(end - Clock::now());
      if (left <= absl::ZeroDuration()) return;
      Wait(std::min(left, absl::Seconds(1)));
    }
  }

  // Nobody has asked it to end: who did knows that the rest ends too.
  bool HasEndedByItself() const {
    if (!ended_.has_value() || shall_end_ || was_asked_) return false;
    constexpr std::array kRequests = {SIGHUP, SIGINT, SIGQUIT, SIGKILL, SIGPIPE, SIGTERM};
    return std::none_of(kRequests.begin(), kRequests.end(), [this](int signal) {
      return ExitCodeOf(*ended_) == kSignalled + signal;  // also a shell's word for its child
    });
  }

  void SayLeft() const {
    std::vector<std::int64_t> left = soleguard::OwnChildren();
    std::erase_if(left, [this](std::int64_t child) { return IsOfHook(child); });
    const std::size_t said = std::min(left.size(), kMostLeftSaid);
    for (std::size_t i = 0; i < said; ++i) {
      Message message{.kind = Message::Kind::kLeft,
                      .value = static_cast<std::int32_t>(left.size() - i - 1),
                      .instance = {.pid = left[i], .start_ticks = 0}};
      const auto identity = soleguard::IdentityOf(left[i]);
      const auto process = identity.ok() ? soleguard::Describe(*identity) : identity.status();
      const std::string words =
          process.ok() ? absl::StrJoin(process->argv, std::string(1, '\0')) : "";
      std::copy_n(words.begin(), std::min(words.size(), message.words.size()),
                  message.words.begin());
      (void)Send(wrapper_, message, WhenFull::kWait);
    }
  }

  // Ends the command alone, if it still runs: politely, then not.
  void EndCommand() {
    if (ended_.has_value()) return;
    (void)kill(command_, SIGTERM);
    (void)kill(command_, SIGCONT);
    const auto end = Clock::now() + absl::ToChronoNanoseconds(supervision_.grace);
    while (!ended_.has_value() && Clock::now() < end) {
      Wait(std::min(absl::FromChrono(end - Clock::now()), absl::Seconds(1)));
    }
    if (!ended_.has_value()) (void)kill(command_, SIGKILL);
    while (!ended_.has_value()) Wait(absl::InfiniteDuration());
  }

  // Whatever would keep the name.
  void EndAtOnce() {
    if (supervision_.until != Supervision::Until::kDetach) {
      soleguard::EndOwnDescendants();
      return;
    }
    for (auto& [pid, hook] : hooks_) GiveUp(pid, hook);
    if (ended_.has_value()) return;
    (void)kill(command_, SIGKILL);
    (void)RetryOnEintr([this] { return waitpid(command_, nullptr, 0); });
  }

  // Asks each child once. Those of a child come here when it has ended, and are asked then: before,
  // their parent may want to end them itself.
  void AskChildren() {
    for (const std::int64_t listed : soleguard::OwnChildren()) {
      const auto child = static_cast<pid_t>(listed);
      if (!asked_.insert(child).second) continue;
      (void)kill(child, SIGTERM);
      (void)kill(child, SIGCONT);
    }
  }

  const Supervision& supervision_;
  const SignalQueue& signals_;
  const int wrapper_;
  const pid_t wrapper_pid_;
  const std::optional<ProcessIdentity> wrapper_identity_;
  const pid_t guardian_;
  pid_t command_ = 0;
  pid_t main_ = 0;            // the command or, once that has ended, who does its work; 0: nobody
  std::optional<int> ended_;  // the command, with this wait status
  bool childless_ = false;
  bool shall_end_ = false;
  bool was_asked_ = false;  // the command was, through the wrapper, to end
  bool follows_rest_ = supervision_.until == Supervision::Until::kTree;
  std::string directory_;            // for hooks
  bool wrapper_is_stopped_ = false;  // by the guardian
  std::set<pid_t> asked_;            // children that got SIGTERM
  Hooks hooks_;
  std::map<std::string, std::deque<std::vector<UniqueFd>>> renewed_;  // of the claim, by layer
};

// How long a process may take to end that was killed.
constexpr absl::Duration kLongest = absl::Seconds(5);

// Kills that process alone. False: it may live.
bool End(const ProcessIdentity& process) {
  const absl::StatusOr<UniqueFd> end = soleguard::OpenPidfd(process);
  if (!end.ok()) return absl::IsNotFound(end.status());
  return soleguard::SendSignal(process, SIGKILL).ok() &&
         soleguard::WaitForAny({&*end, 1}, kLongest);
}

// Kills that process, stopped meanwhile so that it starts nobody, and what descends from it: by
// their identities, as they are no children of this one. True: none of them is left that was seen.
bool EndWithDescendants(const ProcessIdentity& process) {
  if (!soleguard::SendSignal(process, SIGSTOP).ok()) return false;
  std::vector<UniqueFd> ends;
  constexpr int kRounds = 100;
  for (int i = 0; i < kRounds; ++i) {
    const auto descendants = soleguard::DescendantsOf(process);
    bool is_new = false;
    for (const ProcessIdentity& one :
         descendants.ok() ? *descendants : std::vector<ProcessIdentity>()) {
      if (soleguard::LivenessOf(one) != soleguard::Liveness::kAlive) continue;
      absl::StatusOr<UniqueFd> end = soleguard::OpenPidfd(one);
      if (!soleguard::SendSignal(one, SIGKILL).ok() || !end.ok()) continue;
      ends.push_back(*std::move(end));
      is_new = true;
    }
    if (!is_new) break;
  }
  absl::StatusOr<UniqueFd> end = soleguard::OpenPidfd(process);
  if (!soleguard::SendSignal(process, SIGKILL).ok() || !end.ok()) return false;
  ends.push_back(*std::move(end));
  return std::all_of(ends.begin(), ends.end(), [](const UniqueFd& one) {
    return soleguard::WaitForAny({&one, 1}, kLongest);
  });
}

// The wrapper's part: forwards signals, stops and continues with the command. It is in one of three
// states. The command *starts* until the guardian says that it runs (`command_` is 0). It *runs*
// until the guardian says how it ended. Then it is *over*, as it is when the command could not be
// started or when the guardian is gone.
class Wrapper {
 public:
  // `own`: the identity of this process, if it can be told. `end_orphans`: of a guardian that was
  // killed. False: it may be that some are left.
  Wrapper(const Supervision& supervision, const SignalQueue& signals,
          const std::optional<ProcessIdentity>& own, std::function<bool()> end_orphans)
      : supervision_(supervision),
        signals_(signals),
        own_(own),
        guardian_(supervision.link->wrapper_end().get()),
        end_orphans_(std::move(end_orphans)) {}

  // Whether the command has died of the terminal's SIGINT.
  bool has_ended_by_key() const { return has_ended_by_key_; }

  // Until it is over.
  absl::StatusOr<int> Watch() {
    std::optional<absl::StatusOr<int>> end;
    while (!end.has_value()) end = Step();
    return *std::move(end);
  }

 private:
  // nullopt: it is not over.
  using Over = std::optional<absl::StatusOr<int>>;

  // Waits for what happens next, and sees to it.
  Over Step() {
    std::vector<pollfd> polled = {pollfd{.fd = signals_.fd(), .events = POLLIN, .revents = 0},
                                  pollfd{.fd = guardian_, .events = POLLIN, .revents = 0}};
    for (const Supervision::Meanwhile& meanwhile : supervision_.meanwhile) {
      polled.push_back({.fd = meanwhile.fd, .events = POLLIN, .revents = 0});
    }
    const std::size_t ends = polled.size();
    for (const Supervision::End& end : supervision_.ends) {
      polled.push_back({.fd = is_being_ended_ ? -1 : end.fd, .events = POLLIN, .revents = 0});
    }
    if (!AwaitReadable(polled, UntilLasting())) return std::nullopt;
    for (std::size_t i = 0; i < supervision_.meanwhile.size(); ++i) {
      if (polled[i + 2].revents != 0) supervision_.meanwhile[i].ready();
    }
    for (std::size_t i = 0; i < supervision_.ends.size() && !is_being_ended_; ++i) {
      const Supervision::End& end = supervision_.ends[i];
      const bool is_so = polled[ends + i].revents != 0 &&  // which a failed poll(2) says too
                         AwaitOne(end.fd, POLLIN, absl::ZeroDuration());
      if (!is_so) continue;
      is_being_ended_ = Send(guardian_, {.kind = Message::Kind::kEnd}, WhenFull::kDrop);
      if (is_being_ended_) end.told();
    }
    // Messages first: whether the terminal sent a signal to the command too can be told once it is
    // known. (One that is left over at the end had nobody to go to.)
    const Received received = polled[1].revents != 0 ? Receive(guardian_) : Received{};
    switch (received.what) {
      case Received::What::kMessage:
        return Heed(received.message);
      case Received::What::kGone:
        return EndWithoutGuardian();
      case Received::What::kNothing:
        break;
    }
    while (const std::optional<signalfd_siginfo> info = signals_.Next()) Forward(*info);
    return std::nullopt;
  }

  Over Heed(const Message& message) {
    switch (message.kind) {
      case Message::Kind::kStarted:
        command_ = static_cast<pid_t>(message.instance.pid);
        guardian_pid_ = static_cast<pid_t>(message.value);
        lasting_at_ = Clock::now() + absl::ToChronoNanoseconds(Supervision::kLasting);
        LetGoOfTheSurroundings(Keep::kStandardError);  // what happens to the claim is said there
        supervision_.started(CrewOf(message));
        break;
      case Message::Kind::kMoved:
        supervision_.moved(CrewOf(message));
        break;
      case Message::Kind::kLeft:
        NoteLeft(message);
        break;
      case Message::Kind::kCannotStart:
        return SayCannotExecute(supervision_.command, message.value);
      case Message::Kind::kEnded:
        for (const Supervision::Meanwhile& meanwhile : supervision_.meanwhile) meanwhile.ready();
        while (const std::optional<signalfd_siginfo> info = signals_.Next()) NoteKey(*info);
        has_ended_by_key_ =
            key_was_typed_ && WIFSIGNALED(message.value) && WTERMSIG(message.value) == SIGINT;
        return ExitCodeOf(message.value);
      case Message::Kind::kForward:  // never come this way
      case Message::Kind::kEnd:
      case Message::Kind::kKeep:
      case Message::Kind::kHook:
        break;
    }
    return std::nullopt;
  }

  Supervision::Crew CrewOf(const Message& message) {
    const Supervision::Crew crew = {.instance = Identity(own_, message.instance),
                                    .guardian = Identity(own_, message.guardian)};
    if (crew.instance.has_value()) instance_ = crew.instance;
    return crew;
  }

  void NoteLeft(const Message& message) {
    const std::string_view padded(message.words.data(), message.words.size());
    const std::string words(padded.substr(0, padded.find_last_not_of('\0') + 1));
    is_being_ended_ = true;  // by the guardian, which was not told to
    left_.push_back(
        {.pid = message.instance.pid, .argv = absl::StrSplit(words, absl::ByChar('\0'))});
    if (message.value > 0 && left_.size() < kMostLeftSaid) return;
    supervision_.left(left_, message.value);
  }

  absl::Status EndWithoutGuardian() const {
    // What the command has started is to live on. It has started nothing before it was known here.
    if (supervision_.until == Supervision::Until::kDetach && instance_.has_value()) {
      const bool ended = End(*instance_);
      return absl::AbortedError(
          absl::StrCat("the guardian process was killed; the command ",
                       ended ? "was ended with it"
                             : "may run on and keeps the name as long: guardcheck status "
                               "shows it"));
    }
    if (end_orphans_()) {
      return absl::AbortedError("the guardian process was killed; the command was ended with it");
    }
    const bool ended = instance_.has_value() && EndWithDescendants(*instance_);
    return absl::AbortedError(
        absl::StrCat("the guardian process was killed, and the one above it; the command ",
                     ended ? "was ended, but what it had left to itself may run on" : "may run on",
                     " and keeps the name as long: guardcheck status shows it"));
  }

  // Says once that the command lasts, when it does; gives the time until then.
  absl::Duration UntilLasting() {
    if (!lasting_at_.has_value()) return absl::InfiniteDuration();
    const absl::Duration left = absl::FromChrono(*lasting_at_ - Clock::now());
    if (left > absl::ZeroDuration()) return left;
    lasting_at_.reset();
    supervision_.lasting();
    return absl::InfiniteDuration();
  }

  // The terminal's key for SIGINT.
  void NoteKey(const signalfd_siginfo& info) {
    key_was_typed_ |= info.ssi_signo == SIGINT && info.ssi_code == SI_KERNEL;
  }

  // Whether a signal that the kernel has sent to this process went to its whole process group.
  // (Kernel 6.1: isig and pty_resize for the terminal's keys and size; job_control and
  // tty_check_change for reading and writing in the background; disassociate_ctty when the leader
  // of the session ends; kill_orphaned_pgrp.) The hang-up itself is told to the leader alone
  // (tty_signal_session_leader), with SIGCONT. What is left is for one process, such as SIGALRM: a
  // timer outlives exec(2).
  static bool IsForTheGroup(int signal) {
    constexpr std::array kKeys = {SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH};
    if (std::count(kKeys.begin(), kKeys.end(), signal) > 0) return true;
    return (signal == SIGHUP || signal == SIGCONT) && getsid(0) != getpid();
  }

  void Forward(const signalfd_siginfo& info) {
    NoteKey(info);
    const auto signal = static_cast<int>(info.ssi_signo);
    // The guardian's end shows on the socket.
    if (signal == SIGCHLD && info.ssi_code > 0) return;
    // A write of its own has failed: the kernel says that a process sends it to itself.
    const bool is_of_write = signal == SIGPIPE || signal == SIGXFSZ;
    if (is_of_write && info.ssi_pid == static_cast<std::uint32_t>(getpid())) return;
    // The guardian's SIGCONT follows one that the command has had.
    if (signal == SIGCONT && info.ssi_pid == static_cast<std::uint32_t>(guardian_pid_)) return;
    // To a command that may not have been there yet it is passed on all the same: better twice than
    // never. So is what somebody has sent to the whole group, which nothing tells here.
    if (info.ssi_code == SI_KERNEL && IsForTheGroup(signal) && command_ != 0 &&
        getpgid(command_) == getpgrp()) {
      return;
    }
    (void)Send(guardian_,
               {.kind = Message::Kind::kForward,
                .value = signal,
                .is_queued = info.ssi_code == SI_QUEUE,
                .queued = info.ssi_ptr},
               WhenFull::kDrop);
  }

  const Supervision& supervision_;
  const SignalQueue& signals_;
  const std::optional<ProcessIdentity>& own_;
  const int guardian_;
  const std::function<bool()> end_orphans_;
  std::optional<ProcessIdentity> instance_;  // who does the work, as far as it was told
  pid_t guardian_pid_ = 0;
  pid_t command_ = 0;
  std::optional<Clock::time_point> lasting_at_;  // until it was said
  bool is_being_ended_ = false;
  std::vector<Supervision::LeftProcess> left_;
  bool key_was_typed_ = false;
  bool has_ended_by_key_ = false;
};

}  // namespace

absl::Status OccupyStandardStreams() {
  while (true) {
    const int fd = OpenNowhere();
    if (fd < 0) return SystemError("open /dev/null or /");
    if (fd <= STDERR_FILENO) continue;  // kept
    (void)close(fd);                    // was only opened
    return absl::OkStatus();
  }
}

absl::Status GuardianLink::Open() {
  return MakeSocketPair(wrapper_end_, guardian_end_) ? absl::OkStatus()
                                                     : SystemError("make a socket pair");
}

void GuardianLink::Keep(const std::vector<UniqueFd>& claim) const {
  std::vector<int> numbers;
  for (const UniqueFd& fd : claim) numbers.push_back(fd.get());
  (void)Send(wrapper_end_.get(), {.kind = Message::Kind::kKeep}, WhenFull::kDrop, numbers);
}

absl::Status GuardianLink::StartHook(const HookEnds& ends) const {
  const std::array numbers = {ends.input.get(), ends.output.get(), ends.life.get()};
  const Message message{.kind = Message::Kind::kHook};
  if (Send(wrapper_end_.get(), message, WhenFull::kDrop, numbers)) return absl::OkStatus();
  return SystemError("reach the guardian");
}

absl::StatusOr<int> Supervise(const Supervision& supervision) {
  SignalQueue signals;
  absl::Status opened = signals.Open();
  if (!opened.ok()) return opened;
  GuardianLink& link = *supervision.link;
  const auto read = soleguard::OwnIdentity();
  const std::optional<ProcessIdentity> own = read.ok() ? std::optional(*read) : std::nullopt;
  const pid_t wrapper = getpid();
  // What a killed guardian leaves comes to this process, unless it has children of its own, and may
  // get orphans of theirs: these are not to be taken for the command's. Then it comes to a process
  // in between, which does nothing else.
  const bool is_between_needed = HasChildren();
  if (!is_between_needed && prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
    return SystemError("become a subreaper");
  }
  pid_t child = fork();
  if (child < 0) return SystemError("fork the guardian");
  if (child == 0) {
    link.wrapper_end().reset();
    const pid_t recorded = getpid();
    if (is_between_needed) {
      (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
      SayWhatThisIs(wrapper);
      child = fork();
      if (child != 0) {
        (void)setsid();  // as the guardian; not before the fork: the command is below
        LetGoOfTheSurroundings(Keep::kNothing);
        link.guardian_end().reset();  // the guardian's end shows on it
        if (child < 0) _exit(kInternal);
        (void)RetryOnEintr([child] { return waitpid(child, nullptr, 0); });
        if (supervision.until != Supervision::Until::kDetach) soleguard::EndOwnDescendants();
        _exit(kYes);
      }
    }
    Guardian(supervision, signals, wrapper, own, recorded).Live();
  }
  link.guardian_end().reset();
  // Whether it has ended by itself.
  const auto await_child = [child] {
    int status = 0;
    (void)RetryOnEintr([&] { return waitpid(child, &status, 0); });
    return WIFEXITED(status);
  };
  const auto end_orphans = [&] {
    // The one in between leaves them alone under kDetach.
    if (is_between_needed) return await_child() && supervision.until != Supervision::Until::kDetach;
    soleguard::EndOwnDescendants();
    return true;
  };
  Wrapper watcher(supervision, signals, own, end_orphans);
  absl::StatusOr<int> code = watcher.Watch();
  supervision.ended();
  (void)await_child();
  // A shell that runs a script goes on after a Ctrl-C whose command ended otherwise (bash).
  if (watcher.has_ended_by_key()) DieOf(SIGINT);
  return code;
}

void RememberArguments(int argc, char** argv) {
  if (argc < 1) return;
  const std::size_t last = static_cast<std::size_t>(argc) - 1;
  arguments_of_main = std::span(argv[0], argv[last] + std::strlen(argv[last]) + 1);
}

void ShowAs(std::string_view title) {
  if (arguments_of_main.empty()) return;
  std::fill(arguments_of_main.begin(), arguments_of_main.end(), '\0');
  // The last byte stays 0: else the kernel takes the environment for more of it (proc(5)).
  std::copy_n(title.begin(), std::min(title.size(), arguments_of_main.size() - 1),
              arguments_of_main.begin());
}

void OutliveFailedWrites() {
  for (FailedWrite& write : failed_writes) write.at_start = signal(write.signal, SIG_IGN);
}

Left LeftBy(const std::string& name, std::uint64_t token, std::uint64_t since_ticks) {
  const auto pids = soleguard::AllPids();
  if (!pids.ok()) return {};
  // Of a /proc that hides others' processes, the first one is hidden too (proc(5), hidepid).
  Left left{.pids = {}, .is_all = soleguard::IdentityOf(1).ok()};
  for (const std::int64_t pid : *pids) {
    if (pid == getpid()) continue;
    const std::optional<std::string> environment = EnvironmentOf(pid);
    if (!environment.has_value()) {
      const auto identity = soleguard::IdentityOf(pid);
      // One that is older is nobody's whom that instance has started.
      const bool is_older = identity.ok() && identity->start_ticks < since_ticks;
      if (!is_older && !absl::IsNotFound(identity.status())) left.is_all = false;
      continue;
    }
    if (Has(*environment, absl::StrCat("SOLEGUARD_TOKEN=", token)) &&
        Has(*environment, absl::StrCat("SOLEGUARD_NAME=", name))) {
      left.pids.push_back(pid);
    }
  }
  return left;
}

int Become(const std::vector<std::string>& command) {
  const std::vector<char*> arguments = Arguments(command);
  RestoreFailedWrites();
  (void)execvp(arguments[0], arguments.data());
  return SayCannotExecute(command, errno);
}

}  // namespace guardcheck
