// send: hands a message to the holder of a name, who answers.
#include "send.h"

#include <array>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/time/time.h>

#include "exit_code.h"
#include "look.h"
#include "report.h"
#include "terminal.h"
#include <soleguard/guard.h>
#include <soleguard/text.h>

namespace guardcheck {
namespace {

// One byte more than a payload may have, at most: then it is refused.
std::string ReadInput() {
  std::string input;
  std::array<char, 65536> bytes{};
  while (input.size() <= soleguard::kMaxPayloadBytes) {
    const std::size_t got = std::fread(bytes.data(), 1, bytes.size(), stdin);
    if (got == 0) break;
    input.append(bytes.data(), got);
  }
  return input;
}

int ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return kNotRunning;
    case absl::StatusCode::kInvalidArgument:
      return kUsage;
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAborted:
      return kTaken;
    default:
      return kUndetermined;
  }
}

class Send final : public Command {
 public:
  std::vector<Option> Options() override {
    return {{.name = "--timeout",
             .value = "DURATION",
             .help = "how long the holder may take to answer",
             .read = Into(timeout_),
             .standard = "10s",
             .is_setting = false},
            {.name = "--stdin",
             .help = "send what stands on standard input too, at most 1 MiB",
             .read = Into(stdin_),
             .is_setting = false}};
  }

  int Run(const Call& call) override {
    soleguard::Message message = MessageOf(call.command);
    if (stdin_) message.payload = ReadInput();
    const absl::StatusOr<soleguard::Answer> answer =
        soleguard::Send(call.operand, call.common.policy, ToLook(call.common), message, timeout_);
    if (answer.ok()) {
      ShowAnswer(call, *answer);
      return answer->ok ? kYes : kAnsweredNo;
    }
    if (call.common.json) Print(NotDeliveredJson(call.operand, call.common, answer.status()));
    (void)std::fprintf(stderr, "guardcheck: not delivered to %s: %s\n",
                       soleguard::EscapeBytes(call.operand).c_str(),
                       std::string(answer.status().message()).c_str());
    return ExitCodeOf(answer.status());
  }

 private:
  absl::Duration timeout_ = absl::Seconds(10);
  bool stdin_ = false;
};

}  // namespace

soleguard::Message MessageOf(const std::vector<std::string>& words) {
  std::error_code removed;  // then it is empty
  return {.argv = words, .working_directory = std::filesystem::current_path(removed).string()};
}

void ShowAnswer(const Call& call, const soleguard::Answer& answer) {
  if (call.common.json) return Print(AnswerJson(call.operand, call.common, answer));
  std::FILE* const stream = answer.ok ? stdout : stderr;
  // On a terminal a foreign text must not give orders to it.
  const std::string text = IsTerminal(stream) ? soleguard::EscapeBytes(answer.text) : answer.text;
  (void)std::fwrite(text.data(), 1, text.size(), stream);
  if (!text.empty() && !text.ends_with('\n')) (void)std::fputc('\n', stream);
}

CommandKind SendCommand() {
  return {.name = "send",
          .help = "hand a message to the holder, and show its answer",
          .operand = "NAME",
          .behind = CommandKind::Behind::kMayBeCommand,
          .make = [] { return std::unique_ptr<Command>(std::make_unique<Send>()); }};
}

}  // namespace guardcheck
