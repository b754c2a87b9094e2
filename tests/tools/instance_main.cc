// A command to be guarded. Says "ready PID" on standard output, then "got NAME" for each signal
// that it gets, and obeys the commands that it reads on standard input, until that ends.
//
//   instance [--referee FILE] [--ignore-stops] [--closefrom] [--report-all]
//   instance --own-group COMMAND...
//   instance --without-clone3 ERRNO COMMAND...
//
// --referee: FILE is locked by this process and by all that it forks. One that finds it locked says
// "overlap" and ends: two instances live at the same time.
// --closefrom: closes every descriptor that it inherited but the first three, as daemons do.
// --report-all: says so of every signal that can be caught, and not of some only.
// --own-group: becomes COMMAND, in a new process group.
// --without-clone3: becomes COMMAND, for which clone3(2) fails with ERRNO, as under the seccomp
// profile of a container.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

namespace {

constexpr std::array kReported = {SIGTERM, SIGINT,  SIGHUP,  SIGQUIT,
                                  SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH};

// One write(2) per line: several processes write to the same pipe.
void Say(const std::string& text) {
  const std::string line = text + "\n";
  if (write(STDOUT_FILENO, line.data(), line.size()) < 0) _exit(98);
}

bool IsIgnored(int signal) {
  struct sigaction action = {};
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

sigset_t Reported(bool all) {
  sigset_t set;
  sigemptyset(&set);
  for (int signal = 1; all && signal <= SIGRTMAX; ++signal) {
    if (!IsIgnored(signal)) (void)sigaddset(&set, signal);  // a blocked signal is never ignored
  }
  for (const int signal : kReported) {
    if (!IsIgnored(signal)) sigaddset(&set, signal);
  }
  return set;
}

// What is forked here does not outlive a test that failed for long.
constexpr unsigned kLongest = 120;

// Ends at the first signal, as any program that does nothing about it.
[[noreturn]] void Idle() {
  sigset_t none;
  sigemptyset(&none);
  (void)sigprocmask(SIG_SETMASK, &none, nullptr);
  (void)alarm(kLongest);
  while (true) (void)pause();
}

// With all signals blocked, so that one that comes early is not lost. Says that it was asked to
// end, and ends.
[[noreturn]] void EndWhenAsked() {
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  int signal = 0;
  (void)sigwait(&term, &signal);
  Say("asked " + std::to_string(getpid()));
  _exit(0);
}

[[noreturn]] void IgnoreRequests() {
  (void)signal(SIGTERM, SIG_IGN);
  (void)alarm(kLongest);
  sigset_t all;
  sigfillset(&all);
  sigdelset(&all, SIGALRM);
  (void)sigprocmask(SIG_SETMASK, &all, nullptr);
  while (true) (void)pause();
}

void BlockAll() {
  sigset_t all;
  sigfillset(&all);
  (void)sigprocmask(SIG_SETMASK, &all, nullptr);
}

template <typename Body>
pid_t Fork(Body body) {
  sigset_t before;
  (void)sigprocmask(SIG_SETMASK, nullptr, &before);
  BlockAll();
  const pid_t child = fork();
  if (child == 0) body();
  (void)sigprocmask(SIG_SETMASK, &before, nullptr);
  return child;
}

// The child of a child that has ended; ready when this returns.
template <typename Body>
pid_t ForkOrphan(Body body) {
  std::array<int, 2> ends = {};
  if (pipe(ends.data()) != 0) _exit(97);
  const pid_t middle = Fork([&] {
    const pid_t orphan = fork();
    if (orphan == 0) {
      (void)close(ends[0]);
      (void)close(ends[1]);
      body();
    }
    if (write(ends[1], &orphan, sizeof orphan) != sizeof orphan) _exit(97);
    _exit(0);
  });
  (void)waitpid(middle, nullptr, 0);
  pid_t orphan = 0;
  if (read(ends[0], &orphan, sizeof orphan) != sizeof orphan) _exit(97);
  (void)close(ends[0]);
  (void)close(ends[1]);
  return orphan;
}

[[noreturn]] void BecomeDaemon() {
  (void)setsid();
  const int null = open("/dev/null", O_RDWR);
  for (int fd = 0; fd <= 2; ++fd) (void)dup2(null, fd);
  if (chdir("/") != 0) _exit(97);
  Idle();
}

[[noreturn]] void LeadSession(int answer) {
  (void)setsid();
  const pid_t child = fork();
  if (child == 0) Idle();
  if (write(answer, &child, sizeof child) != sizeof child) _exit(97);
  Idle();
}

std::string Session() {
  std::array<int, 2> ends = {};
  if (pipe(ends.data()) != 0) _exit(97);
  const pid_t leader = Fork([&] { LeadSession(ends[1]); });
  pid_t child = 0;
  if (read(ends[0], &child, sizeof child) != sizeof child) _exit(97);
  return std::to_string(leader) + " " + std::to_string(child);
}

// A child that ends at SIGTERM, and a child of that one which is polite.
std::string Family() {
  std::array<int, 2> ends = {};
  if (pipe(ends.data()) != 0) _exit(97);
  (void)Fork([&] {
    const pid_t child = fork();
    if (child == 0) EndWhenAsked();
    if (write(ends[1], &child, sizeof child) != sizeof child) _exit(97);
    Idle();
  });
  pid_t child = 0;
  if (read(ends[0], &child, sizeof child) != sizeof child) _exit(97);
  return std::to_string(child);
}

std::string Obey(const std::string& command) {
  if (command == "ping") return "pong";
  if (command.starts_with("exit ")) std::exit(std::stoi(command.substr(5)));
  if (command.starts_with("ignores "))
    return IsIgnored(std::stoi(command.substr(8))) ? "yes" : "no";
  if (command == "worker") return std::to_string(Fork([] { Idle(); }));
  if (command == "polite") return std::to_string(Fork([] { EndWhenAsked(); }));
  if (command == "stubborn") return std::to_string(Fork([] { IgnoreRequests(); }));
  if (command == "daemon") return std::to_string(ForkOrphan([] { BecomeDaemon(); }));
  if (command == "orphan") return std::to_string(ForkOrphan([] { Idle(); }));
  if (command == "session") return Session();
  if (command == "family") return Family();
  return "unknown command " + command;
}

std::string NameOf(int signal) {
  if (signal >= SIGRTMIN) return "RT" + std::to_string(signal);
  const char* const name = sigabbrev_np(signal);
  return name == nullptr ? "?" : name;
}

// Without close-on-exec, and never closed.
int Referee(const char* path) {
  const int fd = open(path, O_RDWR | O_CREAT, 0600);
  if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  Say("overlap");
  std::exit(99);
}

void CloseAllBut(int one, int another) {
  constexpr int kMost = 1024;
  for (int fd = 3; fd < kMost; ++fd) {
    if (fd != one && fd != another) (void)close(fd);
  }
}

bool ForbidClone3(unsigned error) {
  std::array<sock_filter, 4> program = {{
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_clone3},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | error},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  }};
  const sock_fprog filter = {.len = program.size(), .filter = program.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 2 && std::string(argv[1]) == "--own-group") {
    (void)setpgid(0, 0);
    (void)execvp(argv[2], argv + 2);
    return 127;
  }
  if (argc > 3 && std::string(argv[1]) == "--without-clone3") {
    if (!ForbidClone3(static_cast<unsigned>(std::stoul(argv[2])))) return 127;
    (void)execvp(argv[3], argv + 3);
    return 127;
  }
  const bool report_all = argc > 1 && std::string(argv[argc - 1]) == "--report-all";
  const sigset_t reported = Reported(report_all);
  (void)sigprocmask(SIG_BLOCK, &reported, nullptr);
  const int signals = signalfd(-1, &reported, SFD_CLOEXEC | SFD_NONBLOCK);
  int referee = -1;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "--referee" && i + 1 < argc) referee = Referee(argv[++i]);
    if (option == "--closefrom") CloseAllBut(signals, referee);
    if (option == "--ignore-stops") (void)signal(SIGTSTP, SIG_IGN);
  }
  Say("ready " + std::to_string(getpid()));

  std::string line;
  while (true) {
    std::array<pollfd, 2> polled = {pollfd{.fd = signals, .events = POLLIN, .revents = 0},
                                    pollfd{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0}};
    if (poll(polled.data(), polled.size(), -1) < 0) continue;
    signalfd_siginfo info = {};
    while (read(signals, &info, sizeof info) == sizeof info) {
      std::string got = "got " + NameOf(static_cast<int>(info.ssi_signo));
      if (info.ssi_code == SI_QUEUE) got += " with " + std::to_string(info.ssi_int);
      Say(got);
    }
    if (polled[1].revents == 0) continue;
    char c = 0;
    if (read(STDIN_FILENO, &c, 1) <= 0) return 0;
    if (c != '\n') {
      line += c;
      continue;
    }
    Say(Obey(line));
    line.clear();
  }
}
