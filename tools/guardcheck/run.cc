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

int Refuse(const RunRequest& request, const soleguard::Duplicate& duplicate) {
  if (request.common.json) {
    Print(RefusalJson(request.name, request.common, duplicate));
  } else {
    (void)std::fputs(RefusalText(request.name, request.common, duplicate).c_str(), stderr);
  }
  return kTaken;
}

int CannotTell(const RunRequest& request, const soleguard::Undetermined& undetermined) {
  if (request.common.json) {
    Print(UndeterminedJson(request.name, request.common, undetermined));
  } else {
    (void)std::fputs(UndeterminedText(request.name, undetermined).c_str(), stderr);
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
void MentionWait(const RunRequest& request) {
  std::string who = "another instance";
  soleguard::Options options = request.common.options;
  options.subject.unknown = true;
  const auto inspection = soleguard::Inspect(request.name, request.common.policy, options);
  const soleguard::Holder* holder = inspection.ok() ? inspection->holder() : nullptr;
  if (holder != nullptr && holder->record.has_value()) {
    const auto& record = *holder->record;
    who = absl::StrCat("pid ", record.instance.value_or(record.identity).pid);
  }
  Say(absl::StrCat(soleguard::EscapeBytes(request.name), " is held by ", who, "; waiting"));
}

int RunGuarded(Guard guard, const RunRequest& request) {
  auto claim = guard.ShareWithChild();
  if (!claim.ok()) {
    Say(std::string(claim.status().message()));
    return kInternal;
  }
  absl::StatusOr<int> code =
      Supervise({.command = request.command,
                 .claim = *std::move(claim),
                 .grace = request.grace,
                 .started =
                     [&guard](const soleguard::ProcessIdentity& command) {
                       const absl::Status followed = guard.Follow(command);
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

int BecomeGuarded(Guard guard, const RunRequest& request) {
  const absl::Status kept = guard.KeepOverExec();
  if (!kept.ok()) {
    Say(absl::StrCat("--exec: ", absl::string_view(kept.message())));
    return kUsage;
  }
  return Become(request.command);
}

}  // namespace

int Run(const RunRequest& request) {
  soleguard::Options options = request.common.options;
  options.hand_on = true;
  options.subject = {.argv = request.command, .working_directory = ""};
  options.waiting = [&request] { MentionWait(request); };
  soleguard::Verdict verdict = Guard::Acquire(request.name, request.common.policy, options);
  if (const auto* duplicate = std::get_if<soleguard::Duplicate>(&verdict)) {
    return Refuse(request, *duplicate);
  }
  if (const auto* undetermined = std::get_if<soleguard::Undetermined>(&verdict)) {
    return CannotTell(request, *undetermined);
  }
  Guard guard = std::move(std::get<soleguard::Unique>(verdict).guard);
  MentionPredecessor(guard);
  Export(guard);
  return request.exec ? BecomeGuarded(std::move(guard), request)
                      : RunGuarded(std::move(guard), request);
}

}  // namespace guardcheck
