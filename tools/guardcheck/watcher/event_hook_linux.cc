#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>

#include "shown.h"
#include "system.h"
#include "watcher/event_hook.h"

namespace guardcheck {
namespace {

constexpr absl::Duration kBetweenStarts = absl::Seconds(1);

// With default signals, in a process group of its own: the terminal's Ctrl-C is for the watch,
// which still has events to give then.
class Attributes {
 public:
  Attributes() {
    (void)posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigemptyset(&none);
    (void)posix_spawnattr_setsigmask(&attributes_, &none);
    (void)posix_spawnattr_setpgroup(&attributes_, 0);
    (void)posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  ~Attributes() { (void)posix_spawnattr_destroy(&attributes_); }
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_{};
};

class Streams {
 public:
  explicit Streams(int input) {
    (void)posix_spawn_file_actions_init(&actions_);
    (void)posix_spawn_file_actions_adddup2(&actions_, input, STDIN_FILENO);
    (void)posix_spawn_file_actions_adddup2(&actions_, STDERR_FILENO, STDOUT_FILENO);
  }
  Streams(const Streams&) = delete;
  Streams& operator=(const Streams&) = delete;
  ~Streams() { (void)posix_spawn_file_actions_destroy(&actions_); }
  const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

}  // namespace

absl::Status EventHook::Start() {
  last_start_ = absl::Now();
  soleguard::UniqueFd read_end;
  soleguard::UniqueFd write_end;
  if (!MakePipe(read_end, write_end)) return absl::ErrnoToStatus(errno, "make a pipe");
  if (!MakeNonBlocking(write_end)) return absl::ErrnoToStatus(errno, "fcntl");
  std::vector<std::string> words = argv_;
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const int error = posix_spawnp(&pid_, argv[0], Streams(read_end.get()).get(), Attributes().get(),
                                 argv.data(), environ);
  if (error != 0) {
    pid_ = -1;
    return absl::ErrnoToStatus(error, absl::StrCat("start ", Escape(argv_[0]).text()));
  }
  input_ = std::move(write_end);
  written_ = 0;
  return absl::OkStatus();
}

absl::Status EventHook::Begin() { return Start(); }

void EventHook::Send(std::string line) {
  if (queue_.size() == kMaxQueued) {
    ++dropped_;
  } else {
    queue_.push_back(std::move(line) + "\n");
  }
  Pump();
}

void EventHook::Reap() {
  if (pid_ < 0) return;
  const pid_t waited = waitpid(pid_, nullptr, WNOHANG);
  // ECHILD: the kernel has reaped it (SIGCHLD is ignored), and the number may be another's.
  if (waited != pid_ && !(waited < 0 && errno == ECHILD)) return;
  pid_ = -1;
  input_.reset();
}

void EventHook::Pump() {
  Reap();
  if (pid_ < 0 && !queue_.empty() && due() <= absl::ZeroDuration()) (void)Start();
  while (input_ && !queue_.empty()) {
    const std::string& line = queue_.front();
    std::string_view rest = std::string_view(line).substr(written_);
    if (!WriteSome(input_.get(), rest)) {
      // It has closed its input (EPIPE), and what it did not read stays here.
      if (errno != EAGAIN) input_.reset();
      return;
    }
    written_ = line.size() - rest.size();
    if (!rest.empty()) return;
    queue_.pop_front();
    written_ = 0;
  }
}

absl::Duration EventHook::due() const {
  if (pid_ >= 0 || queue_.empty()) return absl::InfiniteDuration();
  return std::max(absl::ZeroDuration(), last_start_ + kBetweenStarts - absl::Now());
}

void EventHook::Finish(absl::Duration at_most) {
  const absl::Time deadline = absl::Now() + at_most;
  const auto left = [deadline] { return deadline - absl::Now(); };
  while (input() >= 0 && left() > absl::ZeroDuration()) {
    (void)AwaitOne(input(), POLLOUT, left());
    Pump();
  }
  dropped_ += queue_.size();
  queue_.clear();
  input_.reset();
  Reap();
  if (pid_ < 0) return;
  const soleguard::UniqueFd end(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0U)));
  if (!end || !AwaitOne(end.get(), POLLIN, left())) (void)kill(pid_, SIGKILL);
  (void)waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

}  // namespace guardcheck
