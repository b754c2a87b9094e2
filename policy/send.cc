#include "soleguard/send.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>

#include "drive.h"
#include "retry.h"
#include "soleguard/coverage.h"
#include "soleguard/fd.h"
#include "soleguard/inspect.h"
#include "soleguard/name.h"
#include "soleguard/names.h"
#include "soleguard/patience.h"
#include "soleguard/process.h"

namespace soleguard {
namespace {

// A holder that takes no messages now, and does not say that it never will.
bool MayTakeMessages(const absl::Status& refused, const Holder& holder) {
  return absl::IsFailedPrecondition(refused) && holder.record->takes_messages;
}

// One try of a Send.
struct SendTry {
  absl::StatusOr<Answer> answer = absl::NotFoundError("nobody has the name");
  // It is not yet said that there will be no answer.
  std::optional<Holder> starts = std::nullopt;
};

SendTry TrySend(const std::vector<InstanceName>& slots, const Policy& policy,
                const Options& options, const Message& message, absl::Duration left) {
  SendTry tried;
  for (const InstanceName& slot : slots) {
    const Inspection inspection = Inspect(slot, policy, options);
    const Holder* holder = inspection.holder();
    if (holder != nullptr && holder->standing == Standing::kEstablished) {
      tried.answer = Deliver(options.scope, slot, holder->record->identity, message, left);
      tried.starts.reset();
      if (MayTakeMessages(tried.answer.status(), *holder)) tried.starts = *holder;
      if (!tried.answer.ok() && holder->record->is_newer()) {
        tried.answer =
            absl::Status(tried.answer.status().code(),
                         absl::StrCat(tried.answer.status().message(), "; the holder is ",
                                      NewerSoleguard(*holder->record)));
      }
      return tried;
    }
    if (holder != nullptr) {
      tried.answer = absl::UnavailableError(absl::StrCat(
          "the holder is ", std::string(ToString(holder->standing)), ": ", holder->evidence));
      if (holder->standing != Standing::kUnguarded) tried.starts = *holder;
    } else if (inspection.blind() && absl::IsNotFound(tried.answer.status())) {
      tried.answer = absl::UnavailableError("a layer cannot tell whether somebody has the name");
    }
  }
  return tried;
}

}  // namespace

absl::StatusOr<Answer> Send(std::string_view name, const Policy& policy, const Options& options,
                            const Message& message, absl::Duration timeout) {
  const Clock::time_point begin = Clock::now();
  const Patience patience(timeout);
  absl::StatusOr<InstanceName> instance = InstanceName::Parse(name);
  if (!instance.ok()) return instance.status();
  Options looking = options;
  looking.hand_on = true;  // as the holder may be a guarded command
  looking.subject = {.unknown = true};
  absl::Status refused;  // the last time
  for (int round = 0;; ++round) {
    const absl::StatusOr<std::vector<InstanceName>> slots = KnownSlots(options.scope, *instance);
    if (!slots.ok()) return slots.status();
    // The race: the holder makes its inbox, decides or ends between the try and the wait. Closed by
    // opening what wakes before the try, after a first one that most need no more than.
    std::vector<UniqueFd> wake;
    for (const InstanceName& slot : *slots) {
      if (round == 0) break;
      for (UniqueFd& event : WatchChange(options.scope, slot)) wake.push_back(std::move(event));
    }
    bool has_events = !wake.empty();
    const absl::Duration left = timeout - absl::FromChrono(Clock::now() - begin);
    if (!refused.ok() && left <= absl::ZeroDuration()) {
      const std::string waited = absl::FormatDuration(absl::Trunc(timeout, absl::Milliseconds(1)));
      return absl::Status(refused.code(),
                          absl::StrCat(refused.message(), " (waited ", waited, ")"));
    }
    SendTry tried = TrySend(*slots, policy, looking, message, left);
    if (!tried.starts.has_value()) return std::move(tried.answer);
    refused = tried.answer.status();
    if (round == 0) continue;
    if (tried.starts->record.has_value()) {
      absl::StatusOr<UniqueFd> end = OpenPidfd(tried.starts->record->identity);
      if (end.ok()) wake.push_back(*std::move(end));
      // The race: it ended after the try, and its end wakes nobody any more.
      if (absl::IsNotFound(end.status())) has_events = false;
    }
    (void)WaitForAny(wake, std::min(left, has_events ? kLookAgain : RetryAfter(round)));
  }
}

}  // namespace soleguard
