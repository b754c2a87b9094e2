#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string_view>
#include <utility>

#include <absl/strings/str_cat.h>

#include "guardian/message_hook.h"
#include "shown.h"

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

// One that the guardian runs. Its end of `life` is closed here to have it killed, unless it is
// done.
class Running {
 public:
  absl::Status Start(const GuardianLink& guardian) {
    Pipe input;
    Pipe output;
    std::array<int, 2> life = {};
    if (!input.Open() || !output.Open() || !MakeNonBlocking(input.write) ||
        !MakeNonBlocking(output.read) ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, life.data()) != 0) {
      return absl::ErrnoToStatus(errno, "");
    }
    life_ = UniqueFd(life[0]);
    const UniqueFd theirs(life[1]);
    input_ = std::move(input.write);
    output_ = std::move(output.read);
    return guardian.StartHook({.input = input.read, .output = output.write, .life = theirs});
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
      std::array<pollfd, 4> polled = {
          pollfd{.fd = stop.get(), .events = POLLIN, .revents = 0},
          pollfd{.fd = output_.get(), .events = POLLIN, .revents = 0},
          pollfd{.fd = input_.get(), .events = POLLOUT, .revents = 0},
          pollfd{.fd = end_.has_value() ? -1 : life_.get(), .events = POLLIN, .revents = 0}};
      if (poll(polled.data(), polled.size(), static_cast<int>(left)) < 0) {
        if (errno != EINTR) return "cannot be waited for";
        continue;
      }
      if (polled[0].revents != 0 || (polled[3].revents != 0 && !HearOfItsEnd())) {
        return "was ended with the guarded command";
      }
      if (polled[2].revents != 0) Write(said);
      if (polled[1].revents != 0 && !Read(answer)) output_.reset();
      if (answer.size() > soleguard::kMaxPayloadBytes) {
        return absl::StrCat("wrote more than ", soleguard::kMaxPayloadBytes, " bytes");
      }
      if (end_.has_value() && (end_->error != 0 || !output_)) {
        const HookDone done;
        (void)send(life_.get(), &done, sizeof done, MSG_NOSIGNAL | MSG_DONTWAIT);
        return "";
      }
    }
  }

  const HookEnd& end() const { return *end_; }

 private:
  // False: nothing more is heard.
  bool HearOfItsEnd() {
    HookEnd end;
    if (recv(life_.get(), &end, sizeof end, MSG_DONTWAIT) != sizeof end) return false;
    end_ = end;
    return true;
  }
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

  UniqueFd life_;
  UniqueFd input_;
  UniqueFd output_;
  std::optional<HookEnd> end_;
};

}  // namespace

absl::Status MessageHook::Check() const {
  if (program_.find('/') == std::string::npos) {
    return absl::InvalidArgumentError("expected a path, with a '/' in it");
  }
  const std::string failed = absl::StrCat("cannot run ", Escape(program_).text());
  struct stat status = {};
  if (stat(program_.c_str(), &status) != 0 || access(program_.c_str(), X_OK) != 0) {
    return absl::ErrnoToStatus(errno, failed);
  }
  if (S_ISREG(status.st_mode)) return absl::OkStatus();
  return absl::InvalidArgumentError(failed + ": it is no regular file");
}

Answer MessageHook::Ask(const std::string& input, const GuardianLink& guardian) const {
  const std::string name = Escape(program_).text();
  const auto cannot_run = [&name](const absl::Status& why) {
    return No(absl::StrCat("cannot run ", name, why.message()));
  };
  Running running;
  const absl::Status started = running.Start(guardian);
  if (!started.ok()) return cannot_run(started);
  std::string answer;
  const std::string failed = running.Talk(input, answer, stop_.fd());
  if (!failed.empty()) return No(absl::StrCat(name, " ", failed));
  if (running.end().error != 0) return cannot_run(absl::ErrnoToStatus(running.end().error, ""));
  const int code = running.end().exit_code;
  if (code == 0) return {.ok = true, .text = std::move(answer)};
  return No(answer.empty() ? absl::StrCat(name, " ended with ", code) : answer);
}

}  // namespace guardcheck
