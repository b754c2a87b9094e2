// send: hands a message to the holder of a name, who answers.
#include "commands/send.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/time/time.h>

#include "exit_code.h"
#include "input.h"
#include "look.h"
#include "show/json.h"
#include "show/other_names.h"
#include "show/say.h"
#include "show/terminal.h"
#include "shown.h"
#include <soleguard/guard.h>
#include <soleguard/send.h>

namespace guardcheck {
namespace {

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

Json AnswerJson(const Call& call, const soleguard::Answer& answer) {
  Json object = Head(call.operand, call.common);
  object.Set("delivered", true);
  object.Set("ok", answer.ok);
  object.Set("answer", Escape(answer.text));
  return object;
}

Json NotDeliveredJson(const Call& call, const absl::Status& why) {
  Json object = Head(call.operand, call.common);
  object.Set("delivered", false);
  object.Set("reason", Said(why.message()));
  return object;
}

class Send final : public Command {
 public:
  std::vector<Option> Options() override {
    return {{.name = "--timeout",
             .value = "DURATION",
             .help = "how long all of it may take, from standard input to the answer",
             .read = Into(timeout_),
             .standard = "10s",
             .is_setting = false,
             .bounds_call = true},
            {.name = "--stdin",
             .help = "send what stands on standard input too, at most 1 MiB",
             .read = Into(stdin_),
             .is_setting = false}};
  }

  int Run(const Call& call) override {
    soleguard::Message message = MessageOf(call.command);
    const absl::StatusOr<soleguard::Answer> answer = Deliver(call, message);
    if (answer.ok()) {
      ShowAnswer(call, *answer);
      return answer->ok ? kYes : kAnsweredNo;
    }
    if (call.common.json) Print(NotDeliveredJson(call, answer.status()));
    Say(Priority::kError,
        Text("not delivered to ", Escape(call.operand), ": ", Said(answer.status().message())));
    if (absl::IsNotFound(answer.status()) && !call.common.json) {
      Show(OtherNamesText(call.operand, call.common), stderr);
    }
    return ExitCodeOf(answer.status());
  }

 private:
  absl::StatusOr<soleguard::Answer> Deliver(const Call& call, soleguard::Message& message) const {
    const auto begin = std::chrono::steady_clock::now();
    if (stdin_) {
      // One byte more than a payload may have, at most: then it is refused.
      absl::StatusOr<std::string> input = ReadInput(soleguard::kMaxPayloadBytes + 1, timeout_);
      if (absl::IsDeadlineExceeded(input.status())) return input.status();
      if (!input.ok()) {
        throw UsageError(absl::StrCat("send: --stdin: ", std::string(input.status().message())));
      }
      message.payload = *std::move(input);
    }
    const absl::Duration left =
        timeout_ - absl::FromChrono(std::chrono::steady_clock::now() - begin);
    return soleguard::Send(call.operand, call.common.policy, ToLook(call.common), message,
                           std::max(left, absl::ZeroDuration()));
  }

  absl::Duration timeout_ = absl::Seconds(10);
  bool stdin_ = false;
};

}  // namespace

soleguard::Message MessageOf(const std::vector<std::string>& words) {
  const auto variable = [](const char* name) {
    const char* const value = std::getenv(name);
    return std::string(value != nullptr ? value : "");
  };
  std::error_code removed;  // then it is empty
  return {.argv = words,
          .working_directory = std::filesystem::current_path(removed).string(),
          .activation_token = variable("XDG_ACTIVATION_TOKEN"),
          .startup_id = variable("DESKTOP_STARTUP_ID")};
}

void ShowAnswer(const Call& call, const soleguard::Answer& answer) {
  if (call.common.json) return Print(AnswerJson(call, answer));
  std::FILE* const stream = answer.ok ? stdout : stderr;
  // On a terminal a foreign text must not give orders to it.
  const std::string text = IsTerminal(stream) ? Escape(answer.text).text() : answer.text;
  (void)std::fwrite(text.data(), 1, text.size(), stream);
  if (!text.empty() && !text.ends_with('\n')) (void)std::fputc('\n', stream);
}

CommandKind SendCommand() {
  return {.name = "send",
          .help = "hand a message to the holder, and show its answer",
          .operand = "NAME",
          .behind = CommandKind::Behind::kMayBeCommand,
          .behind_name = "WORDS",
          .make = [] { return std::unique_ptr<Command>(std::make_unique<Send>()); }};
}

}  // namespace guardcheck
