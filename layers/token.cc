#include "token.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <absl/time/clock.h>

#include "hash.h"
#include "os/os.h"
#include "soleguard/patience.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

constexpr std::uint64_t kAhead = 3'600'000'000;  // an hour, in the tokens' microseconds
constexpr std::uint64_t kLargest = std::numeric_limits<std::uint64_t>::max();
constexpr std::size_t kMaxCeilingFile = 8192;
constexpr char kMagic[] = "soleguard-ceiling 1";

// Tells scope directories apart in a file name of bounded length. A collision is no harm: the file
// says whose it is.
std::string DirectoryKey(const std::string& path) {
  return absl::StrCat("directory-", absl::Hex(HashOf(path), absl::kZeroPad16));
}

std::string ScopeKey(const Scope& scope) {
  return scope.kind() == Scope::Kind::kDirectory ? DirectoryKey(scope.directory())
                                                 : scope.ToString();
}

// Of the ceilings of one slot number; "." in no scope's key, so that no name's ceiling is in the
// way.
std::string SlotKey(const InstanceName& name) {
  return name.slot() == 0 ? "" : absl::StrCat(".slot.", name.slot());
}

std::string Checksum(const std::string& text) {
  return absl::StrCat(absl::Hex(HashOf(text), absl::kZeroPad16));
}

std::string Encode(std::uint64_t ceiling, const std::string& owner) {
  const std::string body = absl::StrCat(kMagic, " ", ceiling, "\n", owner, "\n");
  return absl::StrCat(body, Checksum(body), "\n");
}

// NotFound: this name never had a ceiling. DataLoss: it had one, and what stands there is not it.
absl::StatusOr<std::uint64_t> ReadCeiling(const std::string& path, const std::string& owner) {
  os::KeptFd file;
  absl::Status opened = os::KeepFile(
      {.parent = -1, .name = path, .path = path},
      {.rule = os::Ownership::Rule::kOwnerOrRoot, .uid = os::OwnUid()}, os::Create::kNo, file);
  if (!opened.ok()) return opened;
  absl::StatusOr<std::string> text = os::ReadAt(file.get(), kMaxCeilingFile);
  if (!text.ok()) return text.status();

  const std::vector<std::string> words = absl::StrSplit(text->substr(0, text->find('\n')), ' ');
  std::uint64_t ceiling = 0;
  if (words.size() != 3 || !absl::SimpleAtoi(words[2], &ceiling) ||
      *text != Encode(ceiling, owner)) {
    return absl::DataLossError(absl::StrCat(EscapeBytes(path), " is damaged"));
  }
  return ceiling;
}

// What a record or a ceiling says may be anything; past the end of the range a token would start
// again.
std::uint64_t Plus(std::uint64_t token, std::uint64_t more) {
  return token > kLargest - more ? kLargest : token + more;
}

// Whether the record's token can be behind one that was given out: written before this boot, it may
// be an older version of a file whose last write did not reach the disk; and who could not read the
// record before it has written none.
bool MayBeBehind(const std::optional<HolderRecord>& previous) {
  if (!previous.has_value() || previous->token == 0) return true;
  absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  return !own.ok() || own->boot_id != previous->identity.boot_id;
}

}  // namespace

Claim::Token NextToken(const Scope& scope, const InstanceName& name,
                       const std::optional<HolderRecord>& previous) {
  const auto clock =
      static_cast<std::uint64_t>(std::max<std::int64_t>(absl::ToUnixMicros(absl::Now()), 1));
  const std::uint64_t last = previous.has_value() ? previous->token : 0;
  Claim::Token token{.value = std::max(Plus(last, 1), clock), .durable = false};

  absl::StatusOr<std::string> state =
      scope.state_directory().empty() ? os::StateDirectory() : scope.state_directory();
  // Without it a start is as good, and its token only not durable: a server is not waited for.
  if (!state.ok() || !AwaitFilesystem(*state).ok()) return token;
  const std::string directory = absl::StrCat(*state, "/", ScopeKey(scope), SlotKey(name));
  const std::string path = absl::StrCat(directory, "/", name.text());
  const std::string owner =
      absl::StrCat(EscapeBytes(scope.ToString()), "\n", EscapeBytes(name.key()));

  const absl::StatusOr<std::uint64_t> ceiling = ReadCeiling(path, owner);
  const bool first = absl::IsNotFound(ceiling.status());
  if (!ceiling.ok() && !first && !absl::IsDataLoss(ceiling.status())) return token;
  if (ceiling.ok() && MayBeBehind(previous)) token.value = std::max(token.value, Plus(*ceiling, 1));

  if (!ceiling.ok() || token.value > *ceiling) {
    if (!os::MakeDirectories(directory).ok()) return token;
    if (!os::WriteDurably(directory, name.text(), Encode(Plus(token.value, kAhead), owner)).ok()) {
      return token;
    }
  }
  // What a damaged ceiling forbade is not known: this token may repeat one; the next ones won't.
  token.durable = !absl::IsDataLoss(ceiling.status()) && token.value != kLargest;
  return token;
}

}  // namespace soleguard
