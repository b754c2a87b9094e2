// The ceiling of a name is a file in the state directory:
//
//   soleguard-ceiling 2 <limit> <base> <boot id>\n
//   <scope>\n<name>\n<XXH64 of all that, 16 hex digits>\n
//
// No token is beyond the limit. Within the boot the next one is base + microseconds since the
// boot, which grows by itself, whatever becomes of records and clocks, and without a write; in
// another boot it begins again beyond the limit. Before soleguard knew the base, it wrote
// "soleguard-ceiling 1 <limit>": the same as one of another boot.
#include "kit/token.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <absl/time/clock.h>

#include "base/hash.h"
#include "kit/state_directory.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/kept_fd.h"
#include "os/lock.h"
#include "os/ownership.h"
#include "os/path.h"
#include "soleguard/patience.h"
#include "soleguard/process.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

constexpr std::uint64_t kAhead = 3'600'000'000;  // an hour, in the tokens' microseconds
// Of the limit, what is left for tokens that are not durable: while the ceiling cannot be raised
// they go on from the last durable one, and must not reach what a durable one may be later.
constexpr std::uint64_t kReserve = 1'800'000'000;
constexpr std::uint64_t kLargest = std::numeric_limits<std::uint64_t>::max();
constexpr std::size_t kMaxCeilingFile = 8192;
constexpr char kMagic[] = "soleguard-ceiling";

// Of the ceilings of one slot number; "." in no scope's key, so that no name's ceiling is in the
// way.
std::string SlotKey(const InstanceName& name) {
  return name.slot() == 0 ? "" : absl::StrCat(".slot.", name.slot());
}

// What a record or a ceiling says may be anything; past the end of the range a token would start
// again.
std::uint64_t Plus(std::uint64_t token, std::uint64_t more) {
  return token > kLargest - more ? kLargest : token + more;
}

struct Ceiling {
  std::uint64_t limit = 0;
  std::uint64_t base = 0;
  std::string boot;  // in which the base is good; empty: in none
};

std::string Encode(const Ceiling& ceiling, const std::string& owner) {
  const std::string line = ceiling.boot.empty() ? absl::StrCat(kMagic, " 1 ", ceiling.limit)
                                                : absl::StrCat(kMagic, " 2 ", ceiling.limit, " ",
                                                               ceiling.base, " ", ceiling.boot);
  const std::string body = absl::StrCat(line, "\n", owner, "\n");
  return absl::StrCat(body, absl::Hex(HashOf(body), absl::kZeroPad16), "\n");
}

std::optional<Ceiling> Decode(const std::string& text, const std::string& owner) {
  const std::vector<std::string> words = absl::StrSplit(text.substr(0, text.find('\n')), ' ');
  Ceiling ceiling;
  if (words.size() < 3 || !absl::SimpleAtoi(words[2], &ceiling.limit)) return std::nullopt;
  if (words.size() == 5) {
    if (!absl::SimpleAtoi(words[3], &ceiling.base)) return std::nullopt;
    ceiling.boot = words[4];
  }
  // Compared as text, so that there is one way only to write it.
  return text == Encode(ceiling, owner) ? std::optional(std::move(ceiling)) : std::nullopt;
}

// The ceiling of one name and slot.
class CeilingFile {
 public:
  CeilingFile(const std::string& state, const Scope& scope, const InstanceName& name)
      : state_(state),
        called_(StateNameOf(scope)),
        directory_(absl::StrCat(state, "/", StateKeyOf(called_), SlotKey(name))),
        file_(name.text()),
        owner_(absl::StrCat(EscapeBytes(called_), "\n", EscapeBytes(name.key()))) {}

  // NotFound: this name never had one, or it was removed. DataLoss: what stands there is not it.
  absl::StatusOr<Ceiling> Read() const {
    os::KeptFd file;
    absl::Status opened = os::KeepFile({.parent = -1, .name = path(), .path = path()},
                                       OwnershipIn(state_), os::Create::kNo, file);
    if (!opened.ok()) return opened;
    absl::StatusOr<std::string> text = os::ReadAt(file.get(), kMaxCeilingFile);
    if (!text.ok()) return text.status();
    if (text->empty()) return absl::NotFoundError("made for its lock, and not written yet");
    std::optional<Ceiling> ceiling = Decode(*text, owner_);
    if (!ceiling.has_value()) {
      return absl::DataLossError(absl::StrCat(EscapeBytes(path()), " is damaged"));
    }
    return *std::move(ceiling);
  }

  // Whether nobody else writes this ceiling until the object ends: a lock on what is in its place
  // now, which is made if nothing is.
  bool Lock() {
    if (!os::MakeDirectories(state_).ok()) return false;
    ownership_ = OwnershipIn(state_);
    const os::Entry directory{.parent = -1, .name = directory_, .path = directory_};
    os::KeptFd kept;
    if (!os::KeepDirectory(directory, ownership_, os::Create::kYes, kept).ok()) return false;
    const os::Entry entry{.parent = -1, .name = path(), .path = path()};
    // The race: another one replaces it, under its lock, between the open and the lock here.
    constexpr int kMaxReplacements = 100;
    for (int i = 0; i < kMaxReplacements; ++i) {
      if (!os::KeepFile(entry, ownership_, os::Create::kYes, lock_).ok()) return false;
      const absl::StatusOr<bool> locked = os::TryFlock(lock_.get(), /*exclusive=*/true);
      if (!locked.ok() || !*locked) return false;
      const absl::StatusOr<bool> same = os::PathIs(path(), lock_.file());
      if (!same.ok() || *same) return same.ok();
      lock_.Close();
    }
    return false;
  }

  // Under the lock. Once it has returned the ceiling is on the disk.
  absl::Status Write(const Ceiling& ceiling) const {
    const bool shared = ownership_.rule == os::Ownership::Rule::kGroup;
    return os::WriteDurably(directory_, file_, Encode(ceiling, owner_),
                            shared ? os::Readers::kGroup : os::Readers::kOwner);
  }

 private:
  std::string path() const { return absl::StrCat(directory_, "/", file_); }

  const std::string state_;
  const std::string called_;
  const std::string directory_;
  const std::string file_;
  const std::string owner_;
  os::Ownership ownership_;
  os::KeptFd lock_;
};

// One that no ceiling proves. `limit`: nothing durable was beyond it; 0: that is not known.
Token Unproved(std::uint64_t last, std::uint64_t limit, const TokenClock& clock) {
  if (limit == 0) return {.value = std::max(Plus(last, 1), clock.wall / 1000)};
  return {.value = std::max(Plus(last, 1), limit - std::min(limit, kReserve) + 1)};
}

struct Step {
  Token token;
  std::optional<Ceiling> raised;  // to be written before the token is given out
};

// The token that comes after `last` and after all that `found` forbids.
Step Next(const absl::StatusOr<Ceiling>& found, std::uint64_t last, const TokenClock& clock) {
  // A ceiling that does not know the last token was put back to an older version, or was not there
  // when that was given out: others may be missing too.
  const bool proved =
      found.ok() ? last <= found->limit : absl::IsNotFound(found.status()) && last == 0;
  Step step;
  const std::uint64_t running = found.ok() ? Plus(found->base, clock.since_boot) : 0;
  // The race: somebody has raised it after this process had read its clock, for a token that is not
  // less than the running one. Closed by beginning again beyond the limit.
  const std::uint64_t raised_for =
      found.ok() ? found->limit - std::min(found->limit, kAhead + kReserve) : 0;
  const bool runs = found.ok() && !clock.boot.empty() && found->boot == clock.boot &&
                    running > std::max(last, raised_for);
  if (runs) {
    step.token = {.value = running, .durable = proved};
    if (Plus(running, kReserve) <= found->limit) return step;
  } else {
    step.token = {.value = std::max({Plus(last, 1), clock.wall, kLeastDurableToken,
                                     found.ok() ? Plus(found->limit, 1) : 0}),
                  .durable = proved};
  }
  const std::uint64_t value = step.token.value;
  if (value == kLargest) step.token.durable = false;  // there is no larger one
  step.raised = Ceiling{.limit = Plus(value, kAhead + kReserve)};
  if (!clock.boot.empty() && value >= clock.since_boot) {
    step.raised->base = value - clock.since_boot;
    step.raised->boot = clock.boot;
  }
  return step;
}

TokenClock Now() {
  TokenClock clock;
  clock.wall =
      static_cast<std::uint64_t>(std::max<std::int64_t>(absl::ToUnixMicros(absl::Now()), 1));
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  const absl::StatusOr<std::uint64_t> since_boot = os::MicrosSinceBoot();
  if (!own.ok() || !since_boot.ok()) return clock;
  clock.boot = own->boot_id;
  clock.since_boot = *since_boot;
  return clock;
}

}  // namespace

Token NextTokenIn(const absl::StatusOr<std::string>& state, const Scope& scope,
                  const InstanceName& name, std::uint64_t last, const TokenClock& clock) {
  if (!state.ok()) return Unproved(last, 0, clock);
  CeilingFile file(*state, scope, name);
  absl::StatusOr<Ceiling> found = file.Read();
  const auto unreadable = [&found] {
    return !found.ok() && !absl::IsNotFound(found.status()) && !absl::IsDataLoss(found.status());
  };
  if (unreadable()) return Unproved(last, 0, clock);
  if (const Step step = Next(found, last, clock); !step.raised.has_value()) return step.token;
  // The race: two holders that no layer keeps apart raise it at one time, to the same. Closed by
  // reading it again under a lock; who does not get that is not alone.
  if (file.Lock()) {
    found = file.Read();
    if (unreadable()) return Unproved(last, 0, clock);
    const Step step = Next(found, last, clock);
    if (!step.raised.has_value() || file.Write(*step.raised).ok()) return step.token;
  }
  return Unproved(last, found.ok() ? found->limit : 0, clock);
}

Token NextToken(const Scope& scope, const InstanceName& name, std::uint64_t last) {
  const TokenClock clock = Now();
  // Without a state directory a start is as good, and its token only not durable.
  const Token token = NextTokenIn(SharedStateDirectory(scope), scope, name, last, clock);
  // The race: the next holder, which none of this one's layers kept waiting, reads the clock within
  // the same microsecond. Closed by not returning before that is over: it has begun after this.
  for (absl::StatusOr<std::uint64_t> now = clock.since_boot;
       now.ok() && *now == clock.since_boot;) {
    now = os::MicrosSinceBoot();
  }
  return token;
}

}  // namespace soleguard
