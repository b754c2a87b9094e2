// The history of a name is a file in the state directory, SCOPE.history/NAME, and the generation
// before it is SCOPE.history.old/NAME. Each event is a line of JSON:
//
//   {"schema":1,"event":"refused","time":"2026-11-21T09:40:47.000000Z","slot":0,"pid":8301,…}
//
// A line is written by one write(2) with O_APPEND, so that lines of several processes do not mix. A
// writer that is killed, or finds the disk full, may leave a part of one. So a reader looks for the
// begin of an event, which no text inside of one can have (its quotation marks are escaped there),
// and needs no help from the next writer.
//
// Whoever finds the file full renames it, under a lock that nobody waits for. The race: another one
// has opened it before, and appends to what is the old generation by then: its line is read all the
// same, as long as that generation is there. A process that is stopped with the lock keeps others
// from renaming it: the file then grows up to kHistoryMost, and what comes after that is not noted.
#include "soleguard/history.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/time/time.h>
#include <boost/json.hpp>

#include "kit/ownership.h"
#include "kit/state_directory.h"
#include "os/file.h"
#include "os/kept_fd.h"
#include "os/lock.h"
#include "os/ownership.h"
#include "os/path.h"
#include "soleguard/first_bytes.h"
#include "soleguard/patience.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

namespace json = boost::json;
using Kind = HistoryEvent::Kind;

constexpr std::uint64_t kSchema = 1;
constexpr std::string_view kBegin = "{\"schema\":";
// Of texts, before they are escaped. A byte may need five in JSON (\\xNN), and an event has two
// parties: with these a line is shorter than kMaxLine, whatever the texts are.
constexpr std::size_t kMaxUser = 32;
constexpr std::size_t kMaxCommand = 256;
constexpr std::size_t kMaxDetail = 300;
constexpr std::size_t kMaxLine = 4096;
constexpr std::string_view kEllipsis = "…";

// Whoever notes something has better things to do than to wait for a server.
constexpr absl::Duration kPatience = absl::Milliseconds(200);

constexpr std::array<std::pair<Kind, std::string_view>, 17> kKinds = {
    {{Kind::kHeld, "held"},
     {Kind::kTakenOver, "taken_over"},
     {Kind::kRefused, "refused"},
     {Kind::kUndetermined, "undetermined"},
     {Kind::kWaiting, "waiting"},
     {Kind::kReplaced, "replaced"},
     {Kind::kStopAsked, "stop_asked"},
     {Kind::kLost, "lost"},
     {Kind::kCompromised, "compromised"},
     {Kind::kRepaired, "repaired"},
     {Kind::kExited, "exited"},
     {Kind::kReleased, "released"},
     {Kind::kDied, "died"},
     {Kind::kLeftBehind, "left_behind"},
     {Kind::kNoBeat, "no_beat"},
     {Kind::kBeatsAgain, "beats_again"},
     {Kind::kTooSoon, "too_soon"}}};

// The first bytes of `text`, with a mark if that is not all of it. No character is cut in two.
std::string Cut(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return std::string(text);
  return absl::StrCat(std::string(FirstBytes(text, limit)), std::string(kEllipsis));
}

// Encoding.

json::string Escaped(std::string_view text, std::size_t limit) {
  return json::string(EscapeBytes(Cut(text, limit)));
}

void Set(json::object& object, const HistoryParty& party) {
  object["pid"] = party.pid;
  if (party.instance != 0) object["instance"] = party.instance;
  if (!party.user.empty()) object["user"] = Escaped(party.user, kMaxUser);
  if (!party.command.empty()) object["command"] = Escaped(party.command, kMaxCommand);
  if (party.token != 0) object["token"] = party.token;
}

std::string LineOf(const HistoryEvent& event) {
  json::object object;
  object["schema"] = kSchema;  // first: kBegin
  object["event"] = json::string(ToString(event.kind));
  object["time"] = absl::FormatTime("%Y-%m-%d%ET%H:%M:%E6SZ", event.time, absl::UTCTimeZone());
  object["slot"] = event.slot;
  Set(object, event.who);
  if (event.by.has_value()) Set(object["by"].emplace_object(), *event.by);
  if (event.waited.has_value()) {
    object["waited_ms"] = absl::ToInt64Milliseconds(*event.waited);
  }
  if (event.exit_code.has_value()) object["exit_code"] = *event.exit_code;
  if (!event.detail.empty()) {
    object["detail"] = json::string(Cut(event.detail, kMaxDetail));
  }
  return json::serialize(object) + "\n";
}

// Decoding. Anybody who may write the file may have written anything.

const json::string* TextIn(const json::object& object, std::string_view key) {
  const json::value* const value = object.if_contains(key);
  return value != nullptr ? value->if_string() : nullptr;
}

std::string Text(const json::object& object, std::string_view key) {
  const json::string* const text = TextIn(object, key);
  return text != nullptr ? UnescapeBytes(std::string_view(*text)) : "";
}

template <typename Number>
std::optional<Number> NumberIn(const json::object& object, std::string_view key) {
  const json::value* const value = object.if_contains(key);
  if (value == nullptr) return std::nullopt;
  json::error_code error;
  const auto number = value->to_number<Number>(error);
  return error ? std::nullopt : std::optional(number);
}

HistoryParty PartyIn(const json::object& object) {
  return {.pid = NumberIn<std::int64_t>(object, "pid").value_or(0),
          .instance = NumberIn<std::int64_t>(object, "instance").value_or(0),
          .user = Text(object, "user"),
          .command = Text(object, "command"),
          .token = NumberIn<std::uint64_t>(object, "token").value_or(0)};
}

std::optional<Kind> KindOf(std::string_view word) {
  const auto* const found = std::find_if(kKinds.begin(), kKinds.end(),
                                         [word](const auto& kind) { return kind.second == word; });
  return found != kKinds.end() ? std::optional(found->first) : std::nullopt;
}

std::optional<HistoryEvent> EventIn(const json::object& object) {
  const json::string* const word = TextIn(object, "event");
  const std::optional<Kind> kind = word != nullptr ? KindOf(*word) : std::nullopt;
  HistoryEvent event;
  std::string error;
  const bool is_known =
      kind.has_value() && NumberIn<std::uint64_t>(object, "schema") == kSchema &&
      absl::ParseTime(absl::RFC3339_full, Text(object, "time"), &event.time, &error);
  if (!is_known) return std::nullopt;
  event.kind = *kind;
  event.slot = NumberIn<std::uint32_t>(object, "slot").value_or(0);
  event.who = PartyIn(object);
  const json::value* const by = object.if_contains("by");
  if (by != nullptr && by->is_object()) event.by = PartyIn(by->get_object());
  if (const auto waited = NumberIn<std::int64_t>(object, "waited_ms")) {
    event.waited = absl::Milliseconds(std::max<std::int64_t>(*waited, 0));
  }
  event.exit_code = NumberIn<int>(object, "exit_code");
  if (const json::string* detail = TextIn(object, "detail")) event.detail = std::string(*detail);
  return event;
}

// `text` has no newline and begins as an event does.
std::optional<HistoryEvent> ParseEvent(std::string_view text) {
  if (text.size() > kMaxLine) return std::nullopt;
  json::parse_options options;
  options.max_depth = 4;  // an event has 2
  json::error_code error;
  const json::value value = json::parse(text, error, {}, options);
  if (error || !value.is_object()) return std::nullopt;
  return EventIn(value.get_object());
}

// Of a line; what is torn may have another event behind it.
void ParseLine(std::string_view line, History& history) {
  std::size_t begin = line.find(kBegin);
  if (begin != 0 && !line.empty()) ++history.unreadable;
  while (begin < line.size()) {
    const std::size_t end = std::min(line.find(kBegin, begin + 1), line.size());
    std::optional<HistoryEvent> event = ParseEvent(line.substr(begin, end - begin));
    if (event.has_value()) {
      history.events.push_back(*std::move(event));
    } else {
      ++history.unreadable;
    }
    begin = end;
  }
}

// The files.

struct Place {
  std::string state;
  std::string present;  // the directory of the generation that is written
  std::string old;      // that of the one before
};

absl::StatusOr<Place> PlaceOf(const Scope& scope) {
  absl::StatusOr<std::string> state = SharedStateDirectory(scope);
  if (!state.ok()) {
    return absl::Status(state.status().code(),
                        absl::StrCat("no history is kept: ", state.status().message()));
  }
  const std::string key = StateKeyOf(StateNameOf(scope));
  return Place{.state = *state,
               .present = absl::StrCat(*state, "/", key, ".history"),
               .old = absl::StrCat(*state, "/", key, ".history.old")};
}

os::Entry At(const std::string& path) { return {.parent = -1, .name = path, .path = path}; }

// One generation of a history, opened and checked.
class Generation {
 public:
  absl::Status Open(const std::string& directory, const std::string& name,
                    const os::Ownership& ownership, os::Create create) {
    absl::Status opened = os::KeepDirectory(At(directory), ownership, create, directory_);
    if (!opened.ok()) return opened;
    entry_ = {.parent = directory_.get(), .name = name, .path = absl::StrCat(directory, "/", name)};
    return os::KeepFile(entry_, ownership, create, file_);
  }
  // Only the directory.
  absl::Status OpenPlace(const std::string& directory, const std::string& name,
                         const os::Ownership& ownership) {
    entry_ = {.parent = -1, .name = name, .path = absl::StrCat(directory, "/", name)};
    absl::Status opened = os::KeepDirectory(At(directory), ownership, os::Create::kYes, directory_);
    entry_.parent = directory_.get();
    return opened;
  }
  const os::Entry& entry() const { return entry_; }
  const os::KeptFd& file() const { return file_; }

 private:
  os::KeptFd directory_;
  os::Entry entry_;
  os::KeptFd file_;
};

class Files {
 public:
  Files(Place place, const InstanceName& name)
      : place_(std::move(place)), name_(name.text()), ownership_(OwnershipIn(place_.state)) {}

  absl::Status Append(std::string_view lines) {
    // Others may rename it again and again, and this one need not have its turn.
    constexpr int kMostRounds = 100;
    for (int round = 0; round < kMostRounds; ++round) {
      Generation present;
      absl::Status opened = OpenForWriting(present);
      if (!opened.ok()) return opened;
      const absl::StatusOr<std::uint64_t> size = os::SizeOf(present.file().get());
      if (!size.ok()) return size.status();
      const std::uint64_t end = *size + lines.size();
      if (end <= kHistoryGeneration) return os::Append(present.file().get(), lines);
      if (*size > 0 && IsAway(present)) continue;
      if (end <= kHistoryMost) return os::Append(present.file().get(), lines);
      return absl::ResourceExhaustedError(
          absl::StrCat(EscapeBytes(present.entry().path), " is full, and could not be renamed"));
    }
    return absl::UnavailableError("the history is renamed by others all the time");
  }

  absl::Status OpenPresent(Generation& generation) const {
    return generation.Open(place_.present, name_, ownership_, os::Create::kNo);
  }
  absl::Status OpenOld(Generation& generation) const {
    return generation.Open(place_.old, name_, ownership_, os::Create::kNo);
  }

 private:
  absl::Status OpenForWriting(Generation& generation) {
    absl::Status opened = generation.Open(place_.present, name_, ownership_, os::Create::kYes);
    if (!absl::IsNotFound(opened)) return opened;
    absl::Status made = os::MakeDirectories(place_.state);
    if (!made.ok()) return made;
    ownership_ = OwnershipIn(place_.state);
    return generation.Open(place_.present, name_, ownership_, os::Create::kYes);
  }

  // Whether another file than `full` is in its place by now, or none.
  bool IsAway(const Generation& full) const {
    const absl::StatusOr<bool> locked = os::TryFlock(full.file().get(), /*exclusive=*/true);
    if (!locked.ok() || !*locked) return false;
    // The race: another one has renamed it between the open and the lock. From here on nobody else
    // does: whoever has the lock of the file at this path is the one to rename it.
    const absl::StatusOr<bool> same = os::EntryIs(full.entry(), full.file().file());
    Generation old;
    const bool away = same.ok() && (!*same || (old.OpenPlace(place_.old, name_, ownership_).ok() &&
                                               os::MoveEntry(full.entry(), old.entry()).ok()));
    os::UnlockFlock(full.file().get());  // a child of clone(2) may have a copy of the descriptor
    return away;
  }

  const Place place_;
  const std::string name_;
  os::Ownership ownership_;
};

// Whether one notes it that has the name.
bool IsOfAHolder(const HistoryEvent& event) {
  constexpr std::array kOfOthers = {Kind::kRefused, Kind::kUndetermined, Kind::kWaiting,
                                    Kind::kStopAsked};
  return std::find(kOfOthers.begin(), kOfOthers.end(), event.kind) == kOfOthers.end();
}

absl::StatusOr<Files> FilesOf(const Scope& scope, const InstanceName& name) {
  absl::StatusOr<Place> place = PlaceOf(scope);
  if (!place.ok()) return place.status();
  return Files(*std::move(place), name);
}

absl::StatusOr<std::string> ContentOf(const os::KeptFd& file) {
  return file ? os::ReadAt(file.get(), kHistoryMost + kMaxLine) : std::string();
}

absl::Status Unless(bool expected, const absl::Status& status) {
  return expected ? absl::OkStatus() : status;
}

// The old generation and then the present one. The race: the present one is renamed between the two
// opens, and would be read twice, without what came after it: then both are opened again.
absl::StatusOr<std::string> ReadBoth(const Files& files) {
  constexpr int kMostRounds = 100;
  for (int round = 0; round < kMostRounds; ++round) {
    Generation present;
    Generation old;
    const absl::Status opened = files.OpenPresent(present);
    absl::Status readable = Unless(absl::IsNotFound(opened), opened);
    const absl::Status opened_old = files.OpenOld(old);
    readable.Update(Unless(absl::IsNotFound(opened_old), opened_old));
    if (!readable.ok()) return readable;
    if (!opened.ok() && !opened_old.ok()) return opened;
    if (opened.ok() && opened_old.ok() && present.file().file() == old.file().file()) continue;
    absl::StatusOr<std::string> text = ContentOf(old.file());
    if (!text.ok()) return text;
    const absl::StatusOr<std::string> rest = ContentOf(present.file());
    if (!rest.ok()) return rest;
    return *std::move(text) + *rest;
  }
  return absl::UnavailableError("the history is renamed again and again; ask once more");
}

}  // namespace

std::string_view ToString(Kind kind) {
  for (const auto& [known, word] : kKinds) {
    if (known == kind) return word;
  }
  return "unknown";
}

std::span<const Kind> HistoryKinds() {
  static constexpr auto kAll = [] {
    std::array<Kind, kKinds.size()> all{};
    std::transform(kKinds.begin(), kKinds.end(), all.begin(),
                   [](const auto& kind) { return kind.first; });
    return all;
  }();
  return kAll;
}

HistoryParty PartyOf(const HolderRecord& record) {
  const bool has_handed_on = record.instance.has_value() && *record.instance != record.identity;
  return {.pid = record.identity.pid,
          .instance = has_handed_on ? record.instance->pid : 0,
          .user = record.user,
          .command = has_handed_on ? std::string() : record.executable,
          .token = record.token};
}

std::string HistoryCommand(const std::vector<std::string>& argv) {
  return Cut(absl::StrJoin(MaskSecrets(argv), " "), kMaxCommand);
}

absl::StatusOr<std::string> HistoryPath(const Scope& scope, const InstanceName& name) {
  absl::StatusOr<Place> place = PlaceOf(scope);
  if (!place.ok()) return place.status();
  return absl::StrCat(place->present, "/", name.text());
}

absl::Status AppendToHistory(const Scope& scope, const InstanceName& name,
                             std::span<const HistoryEvent> events) {
  const Patience patience(kPatience);
  absl::StatusOr<Files> files = FilesOf(scope, name);
  if (!files.ok()) return files.status();
  // The state directory may be below the scope's, and a stranger's is left alone. A holder has seen
  // to it that it is none.
  if (!std::all_of(events.begin(), events.end(), IsOfAHolder)) {
    absl::Status may_start = OwnershipOf(scope, os::Create::kAsIf).status();
    if (!may_start.ok()) return may_start;
  }
  std::string lines;
  for (const HistoryEvent& event : events) lines += LineOf(event);
  return files->Append(lines);
}

absl::StatusOr<History> ReadHistory(const Scope& scope, const InstanceName& name) {
  const absl::StatusOr<Files> files = FilesOf(scope, name);
  if (!files.ok()) return files.status();
  const absl::StatusOr<std::string> text = ReadBoth(*files);
  if (!text.ok()) return text.status();
  return ParseHistory(*text);
}

absl::StatusOr<UniqueFd> OpenHistory(const Scope& scope, const InstanceName& name) {
  const absl::StatusOr<Files> files = FilesOf(scope, name);
  if (!files.ok()) return files.status();
  Generation present;
  absl::Status opened = files->OpenPresent(present);
  if (!opened.ok()) return opened;
  return present.file().Duplicate();
}

History ParseHistory(std::string_view text) {
  History history;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    ParseLine(text.substr(0, end), history);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return history;
}

absl::StatusOr<std::vector<InstanceName>> NamesWithHistory(const Scope& scope) {
  const absl::StatusOr<Place> place = PlaceOf(scope);
  if (!place.ok()) return place.status();
  std::vector<std::string> found;
  for (const std::string& path : {place->present, place->old}) {
    os::KeptFd directory;
    absl::Status opened =
        os::KeepDirectory(At(path), OwnershipIn(place->state), os::Create::kNo, directory);
    if (absl::IsNotFound(opened)) continue;
    if (!opened.ok()) return opened;
    const absl::StatusOr<std::vector<std::string>> names = os::NamesIn(directory.get());
    if (!names.ok()) return names.status();
    found.insert(found.end(), names->begin(), names->end());
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  std::vector<InstanceName> names;
  for (const std::string& text : found) {
    absl::StatusOr<InstanceName> name = InstanceName::Parse(text);
    if (name.ok()) names.push_back(*std::move(name));
  }
  return names;
}

absl::StatusOr<bool> RemoveHistory(const Scope& scope, const InstanceName& name,
                                   absl::Time before) {
  const absl::StatusOr<History> history = ReadHistory(scope, name);
  if (absl::IsNotFound(history.status())) return false;
  if (!history.ok()) return history.status();
  const bool is_recent = !history->events.empty() && history->events.back().time > before;
  if (is_recent) return false;
  const absl::StatusOr<Files> files = FilesOf(scope, name);
  if (!files.ok()) return files.status();
  for (const bool is_old : {true, false}) {
    Generation generation;
    const absl::Status opened =
        is_old ? files->OpenOld(generation) : files->OpenPresent(generation);
    if (opened.ok()) os::RemoveEntry(generation.entry());
  }
  return true;
}

}  // namespace soleguard
