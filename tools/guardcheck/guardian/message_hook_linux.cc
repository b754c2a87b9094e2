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
#include <absl/time/time.h>

#include "guardian/message_hook.h"
#include "shown.h"
#include "system.h"

namespace guardcheck {
namespace {

using soleguard::Answer;
using soleguard::UniqueFd;
using Clock = std::chrono::steady_clock;

constexpr absl::Duration kLongest = absl::Seconds(30);

Answer No(const std::string& why) { return {.ok = false, .text = why}; }

// One that the guardian runs. Its end of `life` is closed here to have it killed, unless it is
// done.
class Running {
 public:
  absl::Status Start(const GuardianLink& guardian) {
    UniqueFd input;
    UniqueFd output;
    UniqueFd life;
    if (!MakePipe(input, input_) || !MakePipe(output_, output) || !MakeNonBlocking(input_) ||
        !MakeNonBlocking(output_) || !MakeSocketPair(life_, life)) {
      return absl::ErrnoToStatus(errno, "");
    }
    return guardian.StartHook({.input = input, .output = output, .life = life});
  }

  // Until it has closed its output and ended: one that only closes it would hold the message, and
  // with it the guarded command's end. Empty: it has; else why not.
  std::string Talk(std::string_view said, std::string& answer, const UniqueFd& stop) {
    const Clock::time_point begin = Clock::now();
    while (!IsOver()) {
      if (said.empty()) input_.reset();
      const absl::Duration left = kLongest - absl::FromChrono(Clock::now() - begin);
      if (left <= absl::ZeroDuration()) {
        return absl::StrCat(output_ ? "did not answer" : "did not end", " within ",
                            absl::ToInt64Seconds(kLongest), " seconds");
      }
      std::array<pollfd, 4> polled = {
          pollfd{.fd = stop.get(), .events = POLLIN, .revents = 0},
          pollfd{.fd = output_.get(), .events = POLLIN, .revents = 0},
          pollfd{.fd = input_.get(), .events = POLLOUT, .revents = 0},
          pollfd{.fd = end_.has_value() ? -1 : life_.get(), .events = POLLIN, .revents = 0}};
      if (Poll(polled, left) < 0) return "cannot be waited for";
      if (polled[0].revents != 0 || (polled[3].revents != 0 && !HearOfItsEnd())) {
        return "was ended with the guarded command";
      }
      if (polled[2].revents != 0) Write(said);
      if (polled[1].revents != 0 && !Read(answer)) output_.reset();
      if (answer.size() > soleguard::kMaxPayloadBytes) {
        return absl::StrCat("wrote more than ", soleguard::kMaxPayloadBytes, " bytes");
      }
    }
    const HookDone done;
    (void)send(life_.get(), &done, sizeof done, MSG_NOSIGNAL | MSG_DONTWAIT);
    return "";
  }

  const HookEnd& end() const { return *end_; }

 private:
  bool IsOver() const { return end_.has_value() && (end_->error != 0 || !output_); }
  // False: nothing more is heard.
  bool HearOfItsEnd() {
    HookEnd end;
    if (recv(life_.get(), &end, sizeof end, MSG_DONTWAIT) != sizeof end) return false;
    end_ = end;
    return true;
  }
  // SIGPIPE is blocked in the thread that calls, as all signals are.
  void Write(std::string_view& said) {
    if (!WriteSome(input_.get(), said) && errno != EAGAIN) said = {};  // it reads no more
  }
  bool Read(std::string& answer) const {
    const ssize_t got = ReadSome(output_.get(), answer);
    return got > 0 || (got < 0 && errno == EAGAIN);
  }

  UniqueFd life_;
  UniqueFd input_;
  UniqueFd output_;
  std::optional<HookEnd> end_;
};

}  // namespace

absl::Status MessageHook::Check() const {
  if (program_.find('/') == std::string::npos) {
    const std::string name = Escape(program_).text();
    return absl::InvalidArgumentError(absl::StrCat("expected a path, with a '/' in it, found '",
                                                   name, "' (did you mean ./", name, "?)"));
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
