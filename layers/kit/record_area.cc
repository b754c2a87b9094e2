#include "kit/record_area.h"

#include <algorithm>
#include <string>
#include <utility>

#include <absl/strings/str_cat.h>

#include "kit/place.h"
#include "os/file.h"
#include "soleguard/process.h"
#include "soleguard/text.h"

namespace soleguard {
namespace {

// One who has lost a layer must not say of its next holder that it is releasing.
bool IsOfNextHolder(const os::KeptFd& area, const HolderRecord& record) {
  if (record.state != RecordState::kReleasing) return false;
  const absl::StatusOr<DecodedRecord> there = ReadRecord(area);
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  return there.ok() && own.ok() && there->record.identity != *own;
}

}  // namespace

absl::StatusOr<DecodedRecord> ReadRecord(const os::KeptFd& area) {
  constexpr int kTries = 64;  // a writer that is killed half-way leaves it torn for good
  absl::StatusOr<DecodedRecord> decoded = absl::NotFoundError("no record");
  for (int i = 0; i < kTries; ++i) {
    const absl::StatusOr<std::string> bytes = os::ReadAt(area.get(), kRecordSize);
    if (!bytes.ok()) return bytes.status();
    decoded = DecodeRecord(*bytes);
    if (decoded.ok() || absl::IsNotFound(decoded.status())) return decoded;
  }
  return decoded;
}

void DisownRecord(const HolderRecord& record,
                  const std::function<absl::Status(os::Create, os::KeptFd&)>& open) {
  os::KeptFd file;
  if (!open(os::Create::kNo, file).ok()) return;
  const absl::StatusOr<DecodedRecord> last = ReadRecord(file);
  if (!last.ok() || last->record.identity != record.identity || last->record.name != record.name ||
      last->record.state != RecordState::kEstablished) {
    return;
  }
  file.Close();
  if (!open(os::Create::kYes, file).ok()) return;  // for writing
  (void)os::WriteAt(file.get(), EncodeRecord(record, last->sequence + 1));
}

void RecordArea::Inherit(HolderRecord& candidate,
                         const std::function<bool(const HolderRecord&)>& is_of_name) {
  absl::StatusOr<DecodedRecord> last = ReadRecord(area_);
  if (!last.ok()) return;
  sequence_ = last->sequence;
  if (is_of_name != nullptr && !is_of_name(last->record)) return;
  predecessor_ = std::move(last->record);
  candidate.token = std::max(candidate.token, predecessor_->token);
}

absl::Status RecordArea::Write(const HolderRecord& record) {
  return os::WriteAt(area_.get(), EncodeRecord(record, ++sequence_));
}

absl::Status RecordArea::Publish(const HolderRecord& record, std::string_view path) {
  // A program that closed all descriptors may have a file of its own at this number by now.
  absl::Status ours = area_.CheckStillOurs(path);
  if (!ours.ok()) return ours;
  if (IsOfNextHolder(area_, record)) return absl::OkStatus();
  return Write(record);
}

absl::Status RecordArea::PublishIn(const os::KeptFd& another, const HolderRecord& record) const {
  if (!another.StillOurs() || IsOfNextHolder(another, record)) return absl::OkStatus();
  return os::WriteAt(another.get(), EncodeRecord(record, sequence_));
}

absl::Status RecordArea::Check(const os::Entry& entry, const Vantage& vantage) const {
  absl::Status placed = CheckPlace(area_, entry, vantage);
  if (!placed.ok()) return placed;
  const absl::Status read = ReadRecord(area_).status();
  if (!absl::IsNotFound(read) && !absl::IsDataLoss(read)) return read;
  return absl::DataLossError(
      absl::StrCat(EscapeBytes(entry.path), " was truncated or overwritten"));
}

}  // namespace soleguard
