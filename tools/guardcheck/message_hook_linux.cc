#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <string_view>
#include <utility>

#include <absl/strings/str_cat.h>

#include "message_hook.h"
#include <soleguard/text.h>

namespace guardcheck {
namespace {

using soleguard::Answer;
using soleguard::UniqueFd;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kLongest(30);

struct Pipe {
  UniqueFd read;
  UniqueFd write;

  bool Open() {
    std::array<int, 2> ends = {};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return false;
    read = UniqueFd(ends[0]);
    write = UniqueFd(ends[1]);
    return true;
  }
};

bool MakeNonBlocking(const UniqueFd& fd) {
  const int flags = fcntl(fd.get(), F_GETFL);
  return flags >= 0 && fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) == 0;
}

Answer No(const std::string& why) { return {.ok = false, .text = why}; }

// One that runs: a child that was not waited for, so its pid is its own.
class Running {
 public:
  // 0, or an errno.
  int Start(const std::string& program, const sigset_t& signals) {
    Pipe input;
    Pipe output;
    if (!input.Open() || !output.Open() || !MakeNonBlocking(input.write) ||
        !MakeNonBlocking(output.read)) {
      return errno;
    }
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, input.read.get(), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output.write.get(), STDOUT_FILENO);
    posix_spawnattr_setsigmask(&attributes, &signals);
    posix_spawnattr_setpgroup(&attributes, 0);
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes, &pipe);
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
    std::array<char*, 2> arguments = {const_cast<char*>(program.c_str()), nullptr};
    const int error =
        posix_spawn(&pid_, program.c_str(), &actions, &attributes, arguments.data(), environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) return error;
    input_ = std::move(input.write);
    output_ = std::move(output.read);
    ended_ = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0U)));
    if (ended_) return 0;
    const int unseen = errno;
    (void)End();
    return unseen;
  }

  // Until it has closed its output and ended: one that only closes it would hold the message, and
  // with it the guarded command's end. Empty: it has; else why not.
  std::string Talk(std::string_view said, std::string& answer, const UniqueFd& stop) {
    const Clock::time_point end = Clock::now() + kLongest;
    while (true) {
      if (said.empty()) input_.reset();
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
      if (left <= 0) {
        return absl::StrCat(output_ ? "did not answer" : "did not end", " within ",
                            kLongest.count(), " seconds");
      }
      std::array<pollfd, 3> polled = {
          pollfd{.fd = stop.get(), .events = POLLIN, .revents = 0},
          pollfd{.fd = output_ ? output_.get() : ended_.get(), .events = POLLIN, .revents = 0},
          pollfd{.fd = input_.get(), .events = POLLOUT, .revents = 0}};
      if (poll(polled.data(), polled.size(), static_cast<int>(left)) < 0) continue;
      if (polled[0].revents != 0) return "was ended with the guarded command";
      if (polled[2].revents != 0) Write(said);
      if (polled[1].revents != 0 && !output_) return "";
      if (polled[1].revents != 0 && !Read(answer)) output_.reset();
      if (answer.size() > soleguard::kMaxPayloadBytes) {
        return absl::StrCat("wrote more than ", soleguard::kMaxPayloadBytes, " bytes");
      }
    }
  }

  // Its status as an exit code; -1: it cannot be told. Kills what is left of it first.
  int End() const {
    // The group is its own until it is waited for.
    (void)kill(-pid_, SIGKILL);
    return Wait();
  }
  int Wait() const {
    int status = 0;
    pid_t waited = 0;
    do {
      waited = waitpid(pid_, &status, 0);
    } while (waited < 0 && errno == EINTR);
    if (waited < 0) return -1;
    constexpr int kSignalled = 128;
    return WIFSIGNALED(status) ? kSignalled + WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  // SIGPIPE is blocked in the thread that calls, as all signals are.
  void Write(std::string_view& said) {
    const ssize_t written = write(input_.get(), said.data(), said.size());
    if (written >= 0) {
      said.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno != EAGAIN && errno != EINTR) {
      said = {};  // it does not want to read more
    }
  }
  bool Read(std::string& answer) const {
    std::array<char, 65536> bytes{};
    const ssize_t got = read(output_.get(), bytes.data(), bytes.size());
    if (got > 0) answer.append(bytes.data(), static_cast<std::size_t>(got));
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
  }

  pid_t pid_ = -1;
  UniqueFd input_;
  UniqueFd output_;
  UniqueFd ended_;  // a pidfd
};

}  // namespace

MessageHook::MessageHook(std::string program) : program_(std::move(program)) {
  (void)pthread_sigmask(SIG_BLOCK, nullptr, &signals_);
}

absl::Status MessageHook::Check() const {
  if (program_.find('/') == std::string::npos) {
    return absl::InvalidArgumentError("expected a path, with a '/' in it");
  }
  const std::string failed = absl::StrCat("cannot run ", soleguard::EscapeBytes(program_));
  struct stat status = {};
  if (stat(program_.c_str(), &status) != 0 || access(program_.c_str(), X_OK) != 0) {
    return absl::ErrnoToStatus(errno, failed);
  }
  if (S_ISREG(status.st_mode)) return absl::OkStatus();
  return absl::InvalidArgumentError(failed + ": it is no regular file");
}

Answer MessageHook::Ask(const std::string& input) const {
  const std::string name = soleguard::EscapeBytes(program_);
  Running running;
  const int error = running.Start(program_, signals_);
  if (error != 0) {
    return No(std::string(absl::ErrnoToStatus(error, absl::StrCat("cannot run ", name)).message()));
  }
  std::string answer;
  const std::string failed = running.Talk(input, answer, stop_.fd());
  if (!failed.empty()) {
    (void)running.End();
    return No(absl::StrCat(name, " ", failed));
  }
  const int code = running.Wait();
  if (code == 0) return {.ok = true, .text = std::move(answer)};
  return No(answer.empty() ? absl::StrCat(name, " ended with ", code) : answer);
}

}  // namespace guardcheck
