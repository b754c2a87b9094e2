#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <variant>

#include <absl/strings/str_cat.h>
#include <absl/time/time.h>

#include "command.h"
#include "exit_code.h"
#include "report.h"
#include "supervise.h"
#include <soleguard/text.h>

namespace guardcheck {
namespace {

using soleguard::Guard;

void Say(const std::string& text) { (void)std::fprintf(stderr, "guardcheck: %s\n", text.c_str()); }

int Refuse(const Call& call, const soleguard::Duplicate& duplicate) {
  if (call.common.json) {
    Print(RefusalJson(call.operand, call.common, duplicate));
  } else {
    (void)std::fputs(RefusalText(call.operand, call.common, duplicate).c_str(), stderr);
  }
  return kTaken;
}

int CannotTell(const Call& call, const soleguard::Undetermined& undetermined) {
  if (call.common.json) {
    Print(UndeterminedJson(call.operand, call.common, undetermined));
  } else {
    (void)std::fputs(UndeterminedText(call.operand, undetermined).c_str(), stderr);
  }
  return kUndetermined;
}

// What the command may read of its claim.
void Export(const Guard& guard) {
  (void)setenv("SOLEGUARD_NAME", guard.name().c_str(), 1);  // one thread so far
  if (guard.token().has_value()) {
    (void)setenv("SOLEGUARD_TOKEN", std::to_string(*guard.token()).c_str(), 1);
  } else {
    (void)unsetenv("SOLEGUARD_TOKEN");  // an outer guard's
  }
}

void MentionPredecessor(const Guard& guard) {
  const auto& last = guard.predecessor();
  if (!last.has_value()) return;
  Say(absl::StrCat(soleguard::EscapeBytes(guard.name()), ": follows a holder that died: pid ",
                   last->identity.pid, ", started ",
                   absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", last->started, absl::UTCTimeZone()),
                   last->token == 0 ? "" : absl::StrCat(", token ", last->token),
                   ". Nothing was left to clean up."));
}

// Said once, so that a start that waits does not look like one that hangs.
void MentionWait(const Call& call) {
  std::string who = "another instance";
  soleguard::Options options = call.common.options;
  options.subject.unknown = true;
  const auto inspection = soleguard::Inspect(call.operand, call.common.policy, options);
  const soleguard::Holder* holder = inspection.ok() ? inspection->holder() : nullptr;
  if (holder != nullptr && holder->record.has_value()) {
    const auto& record = *holder->record;
    who = absl::StrCat("pid ", record.instance.value_or(record.identity).pid);
  }
  Say(absl::StrCat(soleguard::EscapeBytes(call.operand), " is held by ", who, "; waiting"));
}

class GuardedRun final : public Command {
 public:
  std::vector<Option> Options() override {
    return {{.name = "--grace",
             .value = "DURATION",
             .help = "how long what COMMAND leaves behind may take to end before it is killed",
             .read = Into(grace_),
             .standard = "5s"},
            {.name = "--wait",
             .value = "DURATION",
             .help = "wait until the name is free, first come first served; --wait=30s: not longer",
             .read =
                 [this](const std::string& text) {
                   wait_ = absl::InfiniteDuration();
                   return text == "forever" ? absl::OkStatus() : Into(wait_)(text);
                 },
             .bare = "forever"},
            {.name = "--exec",
             .help = "become COMMAND instead of watching over it: no guardian, nothing is ended "
                     "with it",
             .read = Into(exec_)}};
  }

  int Run(const Call& call) override {
    soleguard::Options options = call.common.options;
    options.wait = wait_;
    options.hand_on = true;
    options.subject = {.argv = call.command, .working_directory = ""};
    options.waiting = [&call] { MentionWait(call); };
    soleguard::Verdict verdict = Guard::Acquire(call.operand, call.common.policy, options);
    if (const auto* duplicate = std::get_if<soleguard::Duplicate>(&verdict)) {
      return Refuse(call, *duplicate);
    }
    if (const auto* undetermined = std::get_if<soleguard::Undetermined>(&verdict)) {
      return CannotTell(call, *undetermined);
    }
    Guard guard = std::move(std::get<soleguard::Unique>(verdict).guard);
    MentionPredecessor(guard);
    Export(guard);
    return exec_ ? BecomeGuarded(std::move(guard), call.command)
                 : RunGuarded(std::move(guard), call.command);
  }

 private:
  int RunGuarded(Guard guard, const std::vector<std::string>& command) const {
    auto claim = guard.ShareWithChild();
    if (!claim.ok()) {
      Say(std::string(claim.status().message()));
      return kInternal;
    }
    absl::StatusOr<int> code =
        Supervise({.command = command,
                   .claim = *std::move(claim),
                   .grace = grace_,
                   .started =
                       [&guard](const soleguard::ProcessIdentity& started) {
                         const absl::Status followed = guard.Follow(started);
                         if (!followed.ok()) {
                           Say(absl::StrCat("the holder record doesn't show the command: ",
                                            absl::string_view(followed.message())));
                         }
                       },
                   .ended = [&guard] { guard.Release(); }});
    if (code.ok()) return *code;
    Say(std::string(code.status().message()));
    return kInternal;
  }

  static int BecomeGuarded(Guard guard, const std::vector<std::string>& command) {
    const absl::Status kept = guard.KeepOverExec();
    if (!kept.ok()) {
      Say(absl::StrCat("--exec: ", absl::string_view(kept.message())));
      return kUsage;
    }
    return Become(command);
  }

  absl::Duration grace_ = absl::Seconds(5);
  absl::Duration wait_ = absl::ZeroDuration();
  bool exec_ = false;
};

}  // namespace

CommandKind RunCommand() {
  return {.name = "run",
          .help = "run NAME [options] -- COMMAND...: run COMMAND as the only instance of NAME",
          .operand = "NAME",
          .takes = CommandKind::Takes::kTimes,
          .behind = CommandKind::Behind::kCommand,
          .make = [] { return std::unique_ptr<Command>(std::make_unique<GuardedRun>()); }};
}

}  // namespace guardcheck
