// The record of a claim, in the area that the claim keeps open: a file, or a segment of shared
// memory. Private to layers/.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "os/kept_fd.h"
#include "os/path.h"
#include "soleguard/layer.h"
#include "soleguard/record.h"
#include "soleguard/vantage.h"

namespace soleguard {

// The record in an open area. Read until it is whole: a plain pwrite is read torn (51,453 of 8.3
// million reads on ext4). One that stays invalid is an error, as in DecodeRecord.
absl::StatusOr<DecodedRecord> ReadRecord(const os::KeptFd& area);

// Layer::Disown for a record that `open` keeps. No other process writes it meanwhile: what it says
// refuses them.
void DisownRecord(const HolderRecord& record,
                  const std::function<absl::Status(os::Create, os::KeptFd&)>& open);

class RecordArea {
 public:
  // Opened by its claim, and closed by it.
  os::KeptFd& fd() { return area_; }
  const os::KeptFd& fd() const { return area_; }

  // Of who has just taken the layer: what its predecessor has left in the area, if `is_of_name`
  // says that it is of the same name. `candidate` then knows the predecessor's token, which the
  // next process must still find if this one dies.
  void Inherit(HolderRecord& candidate,
               const std::function<bool(const HolderRecord&)>& is_of_name = nullptr);
  const std::optional<HolderRecord>& predecessor() const { return predecessor_; }

  // Puts `record` there, whatever is there.
  absl::Status Write(const HolderRecord& record);
  // The same at each change of the holder. DataLoss when the program has closed the descriptor;
  // `path` is for that message. One who has lost the layer does not say of its next holder that it
  // is releasing: then nothing is written.
  absl::Status Publish(const HolderRecord& record, std::string_view path);
  // `record` as it was published last, into another area of this claim.
  absl::Status PublishIn(const os::KeptFd& another, const HolderRecord& record) const;

  // Whether others find the area at `entry`, as CheckPlace; DataLoss too if it cannot be read.
  // Whose record it is does not matter here: a place may be shared by the holders of two
  // namespaces.
  absl::Status Check(const os::Entry& entry, const Vantage& vantage) const;

  // Of what was written last.
  std::uint64_t sequence() const { return sequence_; }

 private:
  os::KeptFd area_;
  std::uint64_t sequence_ = 0;
  std::optional<HolderRecord> predecessor_;
};

}  // namespace soleguard
