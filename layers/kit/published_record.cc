#include "kit/published_record.h"

#include <cstddef>
#include <utility>

#include <absl/status/statusor.h>
#include <absl/strings/str_cat.h>

#include "kit/claim.h"
#include "kit/holder.h"
#include "os/path.h"
#include "soleguard/text.h"

namespace soleguard {

PublishedRecord::PublishedRecord(const Scope& scope, const InstanceName& name,
                                 std::string_view layer)
    : directory_(scope, name), layer_(layer), record_file_("record." + layer_) {}

std::vector<std::string> PublishedRecord::Files(const std::string& layer) {
  std::vector<std::string> files = WakeFileNames(layer);
  files.push_back("record." + layer);
  return files;
}

absl::Status PublishedRecord::Begin(HolderRecord candidate) {
  absl::Status opened = directory_.Open(os::Create::kYes);
  if (!opened.ok()) return opened;
  vantage_.emplace(Vantage::kFiles | Vantage::kUser);
  wake_.Begin(WakeFilesIn(directory_, layer_));
  opened = os::KeepFile(directory_.EntryOf(record_file_), directory_.ownership(), os::Create::kYes,
                        record_.fd());
  directory_.Close();
  if (!opened.ok()) return opened;
  record_.Inherit(candidate);
  survivor_ = Survivor(record_.predecessor());
  if (survivor_.has_value()) return absl::AlreadyExistsError(survivor_->holder.evidence);
  return record_.Write(candidate);
}

absl::Status PublishedRecord::CheckMayBegin() {
  absl::Status opened = directory_.Open(os::Create::kAsIf);
  if (absl::IsNotFound(opened)) return absl::OkStatus();
  if (!opened.ok()) return opened;
  absl::Status checked =
      os::CheckFile(directory_.EntryOf(record_file_), directory_.ownership(), kRecordSize);
  directory_.Close();
  return checked;
}

std::optional<Contested> PublishedRecord::Survivor(const std::optional<HolderRecord>& last) const {
  return soleguard::Survivor(last, EscapeBytes(directory_.path() + "/" + record_file_));
}

void PublishedRecord::Disown(const HolderRecord& record) {
  if (!directory_.Open(os::Create::kNo).ok()) return;
  DisownRecord(record, [this](os::Create create, os::KeptFd& file) {
    return os::KeepFile(directory_.EntryOf(record_file_), directory_.ownership(), create, file);
  });
  directory_.Close();
}

absl::Status PublishedRecord::Write(const HolderRecord& record) {
  absl::Status written = record_.Publish(record, path());
  if (!written.ok()) return written;
  for (const os::KeptFd& former : former_) (void)record_.PublishIn(former, record);
  if (record.state == RecordState::kEstablished) wake_.Decide();
  return absl::OkStatus();
}

// Before another file is opened in its place: was it moved, or hidden by a mount, whoever looks
// from elsewhere still finds it, and is refused by what it says until it says something else.
absl::Status PublishedRecord::KeepAside() {
  if (!record_.fd().StillOurs() || record_.fd().IsDeleted()) return absl::OkStatus();
  const absl::StatusOr<bool> same = os::PathIs(path(), record_.fd().file());
  if (same.ok() && *same) return absl::OkStatus();
  // One that is moved again and again must not use up all descriptors.
  constexpr std::size_t kMost = 8;
  if (former_.size() >= kMost) former_.pop_front();
  absl::Status kept = former_.emplace_back().Keep(
      path(), [this] { return os::DuplicateDescriptor(record_.fd().get()); });
  if (!kept.ok()) former_.pop_back();
  return kept;
}

void PublishedRecord::Watch(Alarm& alarm) {
  wake_.MoveAbove(alarm.slow);
  alarm.files.push_back(path());
  if (wake_.end()) alarm.files.push_back(WakeFilesIn(directory_, layer_).end.path);
}

absl::Status PublishedRecord::Renew(const HolderRecord& record) {
  absl::Status opened = vantage_->Check();
  if (opened.ok()) opened = directory_.Open(os::Create::kYes);
  if (!opened.ok()) return opened;
  (void)wake_.Renew(WakeFilesIn(directory_, layer_));  // it only wakes
  opened = KeepAside();
  if (!opened.ok()) {
    directory_.Close();
    return opened;
  }
  opened = os::KeepFile(directory_.EntryOf(record_file_), directory_.ownership(), os::Create::kYes,
                        record_.fd());
  directory_.Close();
  if (!opened.ok()) return opened;
  return record_.Write(record);
}

void PublishedRecord::Mend(const HolderRecord& record, Claim::Mended& mended) {
  absl::Status lost =
      record_.Check({.parent = -1, .name = record_file_, .path = path()}, *vantage_);
  lost.Update(wake_.Check(WakeFilesIn(directory_, layer_), *vantage_));
  MendOne(
      lost, [&] { return Renew(record); }, mended);
}

void PublishedRecord::End() {
  record_.fd().Close();
  former_.clear();
  directory_.Close();
  wake_.End();
}

// The record below the directory, which is open.
absl::StatusOr<std::optional<HolderRecord>> PublishedRecord::ReadOpened() {
  absl::Status read = os::KeepFile(directory_.EntryOf(record_file_), directory_.ownership(),
                                   os::Create::kNo, record_.fd());
  std::optional<HolderRecord> record;
  if (read.ok()) {
    absl::StatusOr<DecodedRecord> decoded = ReadRecord(record_.fd());
    read = decoded.status();
    if (decoded.ok()) record = std::move(decoded->record);
  }
  End();
  if (read.ok() || absl::IsNotFound(read) || absl::IsDataLoss(read)) return record;
  return read;
}

std::optional<HolderRecord> PublishedRecord::Read() {
  absl::StatusOr<std::optional<HolderRecord>> last = Last();
  return last.ok() ? *std::move(last) : std::nullopt;
}

absl::StatusOr<std::optional<HolderRecord>> PublishedRecord::Last() {
  const absl::Status opened = directory_.Open(os::Create::kNo);
  if (absl::IsNotFound(opened)) return std::optional<HolderRecord>();
  if (!opened.ok()) return opened;
  return ReadOpened();
}

PublishedRecord::Watched PublishedRecord::ReadAndWatch() {
  if (!directory_.Open(os::Create::kNo).ok()) return {};
  // The watch is opened before the record is read: a decision in between is then in the record, a
  // later one hangs the watch up.
  soleguard::Watch watch = WatchOf(WakeFilesIn(directory_, layer_));
  absl::StatusOr<std::optional<HolderRecord>> record = ReadOpened();
  return {.record = record.ok() ? *std::move(record) : std::nullopt, .watch = std::move(watch)};
}

}  // namespace soleguard
