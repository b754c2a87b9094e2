#include <fcntl.h>
#include <spawn.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>

#include "exit_code.h"
#include "guardian/background.h"
#include "show/say.h"
#include "system.h"

namespace guardcheck {
namespace {

using soleguard::UniqueFd;
using Clock = std::chrono::steady_clock;
using Outcome = Background::Outcome;

// From the runner to the starter.
struct Report {
  enum class Kind { kBegun, kReady } kind = Kind::kBegun;
  std::int64_t pid = 0;
};

constexpr absl::Duration kBetweenQuestions = absl::Milliseconds(200);
constexpr std::size_t kMostOutput = 4096;

int ExitCodeOf(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : kSignalled + WTERMSIG(status);
}

sigset_t EndingSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&set, signal);
  return set;
}

// The last whole lines that came into the log behind `from`.
std::string EndOf(const std::string& log, off_t from) {
  const UniqueFd file(open(log.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  struct stat status = {};
  if (!file || fstat(file.get(), &status) != 0 || status.st_size <= from) return "";
  const off_t begin = std::max(from, status.st_size - static_cast<off_t>(kMostOutput));
  std::string text(static_cast<std::size_t>(status.st_size - begin), '\0');
  const auto got = RetryOnEintr([&] { return pread(file.get(), text.data(), text.size(), begin); });
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  const std::size_t first = begin > from ? text.find('\n') : std::string::npos;
  return first == std::string::npos ? text : text.substr(first + 1);
}

// A child process, which ends with this object at the latest.
class Child {
 public:
  // Not soleguard::OpenPidfd, which gives none of a process that has ended: a child that nobody has
  // waited for keeps its number.
  explicit Child(pid_t pid)
      : pid_(pid), ended_(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (leaves_it_) return;
    Signal(SIGKILL);
    (void)Wait();
  }

  // Readable when it has ended (pidfd_open(2), Linux 5.3).
  int fd() const { return ended_.get(); }
  void Signal(int number) const {
    if (!status_.has_value()) (void)kill(pid_, number);
  }
  int Wait() {
    int status = 0;
    if (!status_.has_value()) {
      (void)RetryOnEintr([&] { return waitpid(pid_, &status, 0); });
      status_ = status;
    }
    return *status_;
  }
  // It lives on.
  void Leave() { leaves_it_ = true; }

 private:
  const pid_t pid_;
  const UniqueFd ended_;
  std::optional<int> status_;
  bool leaves_it_ = false;
};

class Starter {
 public:
  Starter(const Background::Settings& settings, pid_t runner, UniqueFd reports, UniqueFd signals,
          int log)
      : settings_(settings),
        runner_(runner),
        reports_(std::move(reports)),
        signals_(std::move(signals)) {
    struct stat status = {};
    if (fstat(log, &status) == 0) from_ = status.st_size;
  }

  Outcome Await() {
    // A start may wait for its turn as long as it likes.
    while (!outcome_.has_value() && pid_ == 0) Step(-1, absl::InfiniteDuration());
    const Clock::time_point begun = Clock::now();
    const absl::Duration most =
        settings_.ready.kind == Readiness::Kind::kLasts ? settings_.ready.time : settings_.within;
    const auto left = [&] { return most - absl::FromChrono(Clock::now() - begun); };
    while (!outcome_.has_value() && !is_ready_ && left() > absl::ZeroDuration()) {
      if (settings_.ready.kind == Readiness::Kind::kAnswers) {
        Ask(left());
      } else {
        Step(-1, left());
      }
    }
    if (outcome_.has_value()) return *outcome_;
    if (is_ready_ || settings_.ready.kind == Readiness::Kind::kLasts) {
      runner_.Leave();
      return {.kind = Outcome::Kind::kUp, .pid = pid_};
    }
    runner_.Signal(SIGTERM);  // which ends the command and all that it has started
    End(Outcome::Kind::kNotUp);
    return *outcome_;
  }

 private:
  // Waits until something has happened, and sees to it. True: `also` is readable.
  bool Step(int also, absl::Duration at_most) {
    std::array polled = {pollfd{.fd = reports_.get(), .events = POLLIN, .revents = 0},
                         pollfd{.fd = runner_.fd(), .events = POLLIN, .revents = 0},
                         pollfd{.fd = signals_.get(), .events = POLLIN, .revents = 0},
                         pollfd{.fd = also, .events = POLLIN, .revents = 0}};
    if (Poll(polled, at_most) <= 0) return false;
    if (polled[2].revents != 0) EndBySignal();
    if (polled[0].revents != 0) Read();
    if (polled[1].revents != 0 && !outcome_.has_value()) {
      End(pid_ == 0 ? Outcome::Kind::kNotBegun : Outcome::Kind::kEnded);
    }
    return polled[3].revents != 0;
  }

  void Read() {
    Report report;
    const auto got = RetryOnEintr([&] { return read(reports_.get(), &report, sizeof report); });
    if (got != sizeof report) {
      reports_.reset();  // the runner's end shows by itself
    } else if (report.kind == Report::Kind::kBegun) {
      pid_ = report.pid;
    } else {
      is_ready_ = settings_.ready.kind == Readiness::Kind::kNotifies;
    }
  }

  // Whether it is up: asks once, and waits a moment if not.
  void Ask(absl::Duration at_most) {
    const Clock::time_point end = Clock::now() + absl::ToChronoNanoseconds(at_most);
    const auto left = [&] { return absl::FromChrono(end - Clock::now()); };
    std::string shell = "sh";
    std::string option = "-c";
    std::string command = settings_.ready.command;
    std::array<char*, 4> words = {shell.data(), option.data(), command.data(), nullptr};
    pid_t pid = 0;
    // Its signals are those that the caller gave this process.
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    const int error = posix_spawn(&pid, "/bin/sh", nullptr, &attributes, words.data(), environ);
    posix_spawnattr_destroy(&attributes);
    if (error == 0) {
      Child question(pid);
      while (!outcome_.has_value() && left() > absl::ZeroDuration()) {
        if (!Step(question.fd(), left())) continue;
        is_ready_ = question.Wait() == 0;
        break;
      }
    }
    if (!is_ready_ && !outcome_.has_value()) Step(-1, std::min(left(), kBetweenQuestions));
  }

  void End(Outcome::Kind kind) {
    const int status = runner_.Wait();
    outcome_ = {.kind = kind,
                .pid = pid_,
                .exit_code = ExitCodeOf(status),
                .last_output = EndOf(settings_.log, from_)};
  }

  // Does not return.
  void EndBySignal() {
    signalfd_siginfo info = {};
    (void)RetryOnEintr([&] { return read(signals_.get(), &info, sizeof info); });
    runner_.Signal(SIGTERM);
    (void)runner_.Wait();
    const auto number = static_cast<int>(info.ssi_signo);
    const sigset_t all = EndingSignals();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
    (void)sigprocmask(SIG_UNBLOCK, &all, nullptr);
    _exit(kSignalled + number);
  }

  const Background::Settings& settings_;
  Child runner_;
  UniqueFd reports_;
  const UniqueFd signals_;
  off_t from_ = 0;        // where the log ended
  std::int64_t pid_ = 0;  // of the command, once it has begun
  bool is_ready_ = false;
  std::optional<Outcome> outcome_;
};

}  // namespace

absl::StatusOr<std::optional<Outcome>> Background::Begin(const Settings& settings) {
  settings_ = settings;
  absl::StatusOr<UniqueFd> log = OpenLogFile(settings.log);
  if (!log.ok()) return log.status();
  log_ = *std::move(log);
  UniqueFd reports;
  if (!MakePipe(reports, report_)) return absl::ErrnoToStatus(errno, "pipe");
  const sigset_t ending = EndingSignals();
  sigset_t original;
  (void)sigprocmask(SIG_BLOCK, &ending, &original);
  UniqueFd signals(signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK));
  const pid_t runner = signals ? fork() : -1;
  if (runner < 0) {
    const int error = errno;
    (void)sigprocmask(SIG_SETMASK, &original, nullptr);
    return absl::ErrnoToStatus(error, "start a process in the background");
  }
  if (runner == 0) {
    (void)sigprocmask(SIG_SETMASK, &original, nullptr);
    (void)setsid();
    return std::nullopt;
  }
  report_.reset();
  Outcome outcome =
      Starter(settings_, runner, std::move(reports), std::move(signals), log_.get()).Await();
  (void)sigprocmask(SIG_SETMASK, &original, nullptr);
  return outcome;
}

absl::Status Background::LeaveTerminal() {
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  // Not O_NONBLOCK: the command does not expect that.
  const int flags = fcntl(log_.get(), F_GETFL);
  if (!null || flags < 0 || fcntl(log_.get(), F_SETFL, flags & ~O_NONBLOCK) != 0 ||
      dup2(null.get(), STDIN_FILENO) < 0 || dup2(log_.get(), STDOUT_FILENO) < 0 ||
      dup2(log_.get(), STDERR_FILENO) < 0) {
    return absl::ErrnoToStatus(errno, "leave the terminal");
  }
  log_.reset();
  return absl::OkStatus();
}

void Background::Begun(std::int64_t pid) const {
  const Report report{.kind = Report::Kind::kBegun, .pid = pid};
  (void)RetryOnEintr([&] { return write(report_.get(), &report, sizeof report); });
}

void Background::SaysReady() const {
  const Report report{.kind = Report::Kind::kReady};
  (void)RetryOnEintr([&] { return write(report_.get(), &report, sizeof report); });
}

}  // namespace guardcheck
