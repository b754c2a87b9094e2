// The history of a name: who held it and how that ended, who was refused, who waited. It is for
// people and for programs that tell them; nothing is ever decided by it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "soleguard/fd.h"
#include "soleguard/name.h"
#include "soleguard/record.h"
#include "soleguard/scope.h"

namespace soleguard {

// A process, as the one that notes the event knows it. A plain value.
struct HistoryParty {
  std::int64_t pid = 0;       // the owner of a claim, or a start; 0: not known
  std::int64_t instance = 0;  // to which the owner has handed the claim on; 0: to nobody
  std::string user;
  // A line, secrets masked. Of a holder that another one notes it is the executable, or nothing if
  // the claim was handed on.
  std::string command;
  std::uint64_t token = 0;  // 0: it has none, or it is not known
};
// The holder that wrote `record`.
HistoryParty PartyOf(const HolderRecord& record);
// `argv` as the command of a party.
std::string HistoryCommand(const std::vector<std::string>& argv);

// Something that happened to a name. A plain value.
struct HistoryEvent {
  enum class Kind {
    kHeld,          // `who` has got the name
    kTakenOver,     // the same, of one that has waited for it
    kRefused,       // `who` was refused by the holder `by`
    kUndetermined,  // a start of `who` could not tell, or was cancelled; `detail` says why
    kWaiting,       // `who` begins to wait
    kReplaced,      // the holder `who` was ended by the start `by`, which has taken its place
    kStopAsked,     // the holder `who` was asked to end by `by` (StopRunning)
    kLost,          // a layer of the holder `who` was lost, and others keep starts out
    kCompromised,   // the same, and another instance has it or nothing keeps starts out
    kRepaired,      // what was lost is there again
    kExited,        // the guarded command of the holder `who` has ended with `exit_code`
    kReleased,      // the holder `who` has released the name
    kDied,          // the holder `who` ended without a release, as its successor `by` has found
    kLeftBehind,    // a holder that died left processes running; `detail` says which
    kNoBeat,        // the instance of `who` gives no beat any more (beat.h); `detail` says how long
    kBeatsAgain,    // and gives one again
    kTooSoon,       // `who` has got the name and runs nothing: `detail` says since when it may
  };
  Kind kind = Kind::kHeld;
  absl::Time time;  // by the wall clock of who noted it
  std::uint32_t slot = 0;
  HistoryParty who;
  std::optional<HistoryParty> by = std::nullopt;
  std::optional<absl::Duration> waited = std::nullopt;
  std::optional<int> exit_code = std::nullopt;
  std::string detail = {};  // one line for a person, escaped (text.h)
};
std::string_view ToString(HistoryEvent::Kind kind);  // "held", "taken_over", "refused", …
std::span<const HistoryEvent::Kind> HistoryKinds();

struct History {
  std::vector<HistoryEvent> events;  // in the order in which they were written
  std::size_t unreadable = 0;        // lines that are torn, foreign or of a newer soleguard
};

// What a generation of a history has at most before the next one begins, and what is never
// exceeded. There are two generations.
inline constexpr std::size_t kHistoryGeneration = std::size_t{64} * 1024;
inline constexpr std::size_t kHistoryMost = 4 * kHistoryGeneration;

// Where the history of `name` is: one file for all its slots, in the scope's state directory. An
// error says why there can be none: the users of the scope share no state directory
// (FailedPrecondition), or its server does not answer (DeadlineExceeded).
absl::StatusOr<std::string> HistoryPath(const Scope& scope, const InstanceName& name);

// Adds `events` behind all that were written before. Times and slots are those of the events. Long
// texts are cut. Waits for nobody but a filesystem's server, 200 ms at most. An error says why it
// could not be written; some of it may be there then. Thread-safe.
absl::Status AppendToHistory(const Scope& scope, const InstanceName& name,
                             std::span<const HistoryEvent> events);

// Both generations. NotFound: nothing was noted of the name yet. Other errors are those of
// HistoryPath, and say why a file cannot be read: it is not what a user of the scope has made, for
// example. Takes no lock. Thread-safe.
absl::StatusOr<History> ReadHistory(const Scope& scope, const InstanceName& name);
// The present generation, for reading. The same errors.
absl::StatusOr<UniqueFd> OpenHistory(const Scope& scope, const InstanceName& name);
// `text` may be anything. What is torn is passed over, and what stands behind it on the same line
// is found.
History ParseHistory(std::string_view text);

// The names that have a history in the scope, sorted. Errors as of HistoryPath.
absl::StatusOr<std::vector<InstanceName>> NamesWithHistory(const Scope& scope);
// Removes the history of `name`, which nobody may hold, unless its last event is later than
// `before`. Whether there was one that was removed. An event that somebody notes at this moment may
// go with it.
absl::StatusOr<bool> RemoveHistory(const Scope& scope, const InstanceName& name, absl::Time before);

}  // namespace soleguard
