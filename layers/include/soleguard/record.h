// The holder record: what a holder says of itself to all that ask.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "soleguard/process_identity.h"

namespace soleguard {

enum class RecordState {
  kCandidate,    // still arbitrating
  kEstablished,  // its verdict was Unique
  kReleasing,    // has begun to give its claims back, after a release or a refusal
};
std::string_view ToString(RecordState state);

// The newest form of a record that this soleguard writes and reads; each record is written in the
// oldest form that can say what it says. Form 2 has processes that name their machine. Of a record
// of a newer form it reads what never changes (docs/decisions/0017-record-of-another-version.md):
// schema, state, name, slot, scope, identity, instance, token and version.
inline constexpr std::uint64_t kRecordSchema = 2;

// Written by its holder only, under the layer's claim. Strings are raw bytes. A record is a hint of
// who holds a name, never the lock itself: only the kernel object says whether somebody holds it.
struct HolderRecord {
  RecordState state = RecordState::kCandidate;
  std::string name;
  std::uint32_t slot = 0;    // of the name
  std::string scope;         // Scope::ToString()
  ProcessIdentity identity;  // the process whose claim it is
  // The process that the claim was handed on to (a guarded command), once it has started.
  std::optional<ProcessIdentity> instance;
  // The process that ends the instance and all its descendants when `identity` is killed, if there
  // is one. It keeps the claim until it has.
  std::optional<ProcessIdentity> guardian;
  std::string hostname;
  std::string user;
  std::string executable;
  std::string working_directory;
  absl::Time started;               // when the claim was taken, by the wall clock
  std::string policy;               // canonical text
  std::vector<std::string> layers;  // held, canonical text
  std::uint64_t token = 0;          // of this holder; of the last holder while a candidate
  std::string version;              // of soleguard
  // False: it has said that it takes no messages, and never will. True: it may, perhaps later.
  bool takes_messages = true;
  std::uint64_t schema = 1;  // as it was read; EncodeRecord writes what is needed

  // The process that runs as the instance: the owner itself, unless the claim was handed on.
  const ProcessIdentity& running() const { return instance.has_value() ? *instance : identity; }

  // Written by a newer soleguard, in whose records other members may mean something else: they are
  // empty here, and `started` is InfinitePast.
  bool is_newer() const { return schema > kRecordSchema; }
};

// "a newer soleguard (schema 3)", for a person.
std::string NewerSoleguard(const HolderRecord& record);

// The size of the area that a record fills, in a file or a segment. Always written whole.
inline constexpr std::size_t kRecordSize = 4096;

// `record` as exactly kRecordSize bytes: a header with sequence number, length and checksum, JSON,
// and blanks. A record that is too long is not refused: long texts are cut, paths first, and end in
// "…"; never name, identity, instance, guardian, state and token. Times are kept to the
// microsecond. A name longer than an InstanceName can be may not fit; the area is then blank, like
// one that was never written.
std::string EncodeRecord(const HolderRecord& record, std::uint64_t sequence);

// `record` as one line of JSON for other programs, with the instance's `pid` and `timestamp` in
// front, for programs that look for these. docs/guardcheck.md lists the keys.
std::string InfoText(const HolderRecord& record);

struct DecodedRecord {
  HolderRecord record;
  std::uint64_t sequence = 0;
};

// `bytes` may be anything: torn, truncated, hostile, of another version. DataLoss says what is
// wrong; a newer schema alone is not wrong. Bounded in time and memory by kRecordSize. An empty
// area or one that was never written is NotFound.
absl::StatusOr<DecodedRecord> DecodeRecord(std::string_view bytes);

}  // namespace soleguard
