// The last beat is a line in SCOPE/names/NAME/beat:
//
//   soleguard-beat 1 TOKEN START BOOT AT EVERY COUNT HASH
//
// TOKEN, START (start_ticks) and BOOT (boot_id) say whose it is, in every pid namespace. AT is the
// moment in nanoseconds of CLOCK_MONOTONIC, EVERY is in nanoseconds too. HASH is that of what
// stands before it. The line is written over the one before, by one write(2). The race: it is read
// meanwhile. The hash shows that, and it is read again.
//
// The race: what an earlier holder has left running writes its beat after the name has gone to
// another one. That beat is nobody's, and the next one of the holder stands in its place.
#include "soleguard/beat.h"

#include <algorithm>
#include <chrono>
#include <string_view>
#include <vector>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "base/hash.h"
#include "kit/name_directory.h"
#include "os/file.h"
#include "os/kept_fd.h"
#include "os/path.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

constexpr std::string_view kForm = "soleguard-beat 1";
constexpr std::size_t kMost = 256;  // a line is shorter

struct Line {
  std::uint64_t token = 0;
  std::uint64_t start_ticks = 0;
  std::string boot_id;
  absl::Duration at;
  absl::Duration every;
  std::uint64_t count = 0;

  bool IsOf(const HolderRecord& holder) const {
    return token == holder.token && start_ticks == holder.identity.start_ticks &&
           boot_id == holder.identity.boot_id;
  }
};

absl::Duration Now() {
  return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

std::string HashText(std::string_view text) {
  return absl::StrCat(absl::Hex(HashOf(text), absl::kZeroPad16));
}

std::string Encode(const Line& line) {
  const std::string text =
      absl::StrCat(std::string(kForm), " ", line.token, " ", line.start_ticks, " ", line.boot_id,
                   " ", absl::ToInt64Nanoseconds(line.at), " ",
                   absl::ToInt64Nanoseconds(line.every), " ", line.count, " ");
  return absl::StrCat(text, HashText(text), "\n");
}

// `text` may be anything.
std::optional<Line> Decode(std::string_view text) {
  text = text.substr(0, text.find('\n'));
  const std::size_t hash = text.rfind(' ') + 1;
  if (text.substr(hash) != HashText(text.substr(0, hash))) return std::nullopt;
  const std::vector<std::string> words = absl::StrSplit(std::string(text), ' ');
  if (words.size() != 9 || absl::StrCat(words[0], " ", words[1]) != std::string(kForm)) {
    return std::nullopt;
  }
  Line line;
  line.boot_id = words[4];
  std::int64_t at = 0;
  std::int64_t every = 0;
  const bool reads = absl::SimpleAtoi(words[2], &line.token) &&
                     absl::SimpleAtoi(words[3], &line.start_ticks) &&
                     absl::SimpleAtoi(words[5], &at) && absl::SimpleAtoi(words[6], &every) &&
                     absl::SimpleAtoi(words[7], &line.count);
  if (!reads) return std::nullopt;
  line.at = absl::Nanoseconds(at);
  line.every = absl::Nanoseconds(every);
  return line;
}

absl::StatusOr<Line> Read(const os::Entry& entry, int fd, const HolderRecord& holder) {
  constexpr int kTries = 3;
  for (int i = 0; i < kTries; ++i) {
    const absl::StatusOr<std::string> text = os::ReadAt(fd, kMost);
    if (!text.ok()) return text.status();
    if (text->empty()) return absl::NotFoundError("no beat was noted yet");
    if (std::optional<Line> line = Decode(*text); line.has_value()) {
      if (line->IsOf(holder)) return *std::move(line);
      return absl::NotFoundError("the last beat is that of an earlier holder");
    }
  }
  return absl::DataLossError(
      absl::StrCat(EscapeBytes(entry.path), " has no beat, but other bytes"));
}

absl::Status OpenFile(NameDirectory& directory, os::Create create, os::KeptFd& file) {
  absl::Status opened = directory.Open(create);
  if (!opened.ok()) return opened;
  return os::KeepFile(directory.EntryOf(kBeat), directory.ownership(), create, file);
}

std::string TimeText(absl::Duration time) {
  const bool is_short = time < absl::Seconds(1);
  return absl::FormatDuration(
      absl::Trunc(time, is_short ? absl::Milliseconds(1) : absl::Seconds(1)));
}

}  // namespace

std::string BeatText(const Beat& beat) {
  const std::string expected =
      beat.every > absl::ZeroDuration()
          ? absl::StrCat(" (expected every ", absl::FormatDuration(beat.every), ")")
          : "";
  const std::string age = TimeText(beat.age);
  return beat.is_overdue() ? absl::StrCat("no beat for ", age, expected)
                           : absl::StrCat(age, " ago", expected);
}

absl::Status WriteBeat(const Scope& scope, const InstanceName& slot, const HolderRecord& holder,
                       std::optional<absl::Duration> every) {
  NameDirectory directory(scope, slot);
  os::KeptFd file;
  absl::Status opened = OpenFile(directory, os::Create::kYes, file);
  if (!opened.ok()) return opened;
  const os::Entry entry = directory.EntryOf(kBeat);
  const Line last = Read(entry, file.get(), holder).value_or(Line{});
  const Line line = {.token = holder.token,
                     .start_ticks = holder.identity.start_ticks,
                     .boot_id = holder.identity.boot_id,
                     .at = Now(),
                     .every = every.value_or(last.every),
                     .count = last.count + 1};
  absl::Status written = os::WriteAt(file.get(), Encode(line), 0);
  if (written.ok()) return written;
  return absl::Status(written.code(),
                      absl::StrCat(EscapeBytes(entry.path), ": ", written.message()));
}

absl::StatusOr<Beat> LastBeat(const Scope& scope, const InstanceName& slot,
                              const HolderRecord& holder) {
  if (!holder.identity.machine.empty()) {
    return absl::UnavailableError("the clock of another machine is not this one's");
  }
  NameDirectory directory(scope, slot);
  os::KeptFd file;
  absl::Status opened = OpenFile(directory, os::Create::kNo, file);
  if (!opened.ok()) return opened;
  const absl::StatusOr<Line> line = Read(directory.EntryOf(kBeat), file.get(), holder);
  if (!line.ok()) return line.status();
  // Below zero in another time namespace (time_namespaces(7)), whose clock was put back.
  return Beat{.age = std::max(Now() - line->at, absl::ZeroDuration()),
              .every = line->every,
              .count = line->count};
}

}  // namespace soleguard
