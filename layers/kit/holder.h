// Who has a layer, read from its record. Private to layers/.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kit/place.h"
#include "kit/wake.h"
#include "os/kept_fd.h"
#include "os/path.h"
#include "soleguard/fd.h"
#include "soleguard/layer.h"
#include "soleguard/record.h"
#include "soleguard/vantage.h"

namespace soleguard {

// Reads until a record is whole: a plain pwrite is read torn (51,453 of 8.3 million reads on ext4).
// `read` returns the area's bytes. A record that stays invalid is an error, as in DecodeRecord.
template <typename Read>
absl::StatusOr<DecodedRecord> ReadRecord(Read read) {
  constexpr int kTries = 64;  // a writer that is killed half-way leaves it torn for good
  absl::StatusOr<DecodedRecord> decoded = absl::NotFoundError("no record");
  for (int i = 0; i < kTries; ++i) {
    absl::StatusOr<std::string> bytes = read();
    if (!bytes.ok()) return bytes.status();
    decoded = DecodeRecord(*bytes);
    if (decoded.ok() || absl::IsNotFound(decoded.status())) return decoded;
  }
  return decoded;
}

// OK in the process that took a claim, until it has released it. FailedPrecondition in a forked
// child: "not the owner".
absl::Status CheckOwner(const os::ProcessMark& owner, bool released);

// CheckPlace of the record that a claim keeps open; DataLoss too if it cannot be read. Whose it is
// does not matter here: a place may be shared by the holders of two namespaces.
absl::Status CheckRecord(const os::KeptFd& record, const os::Entry& entry, const Vantage& vantage);

// Writes `record` into the area that a claim keeps open, unless that says by now that somebody else
// is there: one who has lost a layer must not say of its next holder that it is releasing.
absl::Status WriteRecord(const os::KeptFd& area, const HolderRecord& record,
                         std::uint64_t sequence);

// The last token stays in the record of a candidate: the next process must still find it if this
// one dies.
void Remember(const HolderRecord& last, HolderRecord& candidate);

// Puts right by `renew` what `lost` says is gone, if anything is, and adds both to `mended`. What
// cannot be noted for want of memory is not put right either: the next look finds it.
void MendOne(const absl::Status& lost, const std::function<absl::Status()>& renew,
             Claim::Mended& mended);

// Of one who finds a layer free, or has just taken it: the holder that `last`, the layer's record,
// says is established, and that lives all the same, whatever the kernel has freed (a program closed
// its descriptors, or its guards were killed). Then the layer is not to be had: a record that was
// released never says so, and one of a process that is gone, or is the caller, refuses nobody.
// nullopt: there is none. `where` is the record's place, for the evidence.
std::optional<Contested> Survivor(const std::optional<HolderRecord>& last, std::string_view where);

// Layer::Disown for a record file that `open` keeps. No other process writes it meanwhile: what it
// says refuses them.
void DisownRecord(const HolderRecord& record,
                  const std::function<absl::Status(os::Create, os::KeptFd&)>& open);

// The holder of a layer that the kernel says is taken, and whose last valid record is `record`.
// `evidence` says what was seen and where.
Holder JudgeHolder(std::optional<HolderRecord> record, std::string evidence);

// What tells a waiter that this holder decided, gave up or ended. Empty: nothing does.
std::vector<UniqueFd> WakeUps(const Holder& holder, Watch watch);

}  // namespace soleguard
