// The record of a layer whose mechanism has no place for one: the file record.LAYER in the name's
// directory and, beside it, the FIFOs of wake.h. They only tell, the layer's own object decides.
// Private to layers/.
#pragma once

#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "kit/name_directory.h"
#include "kit/record_area.h"
#include "kit/wake.h"
#include "os/kept_fd.h"
#include "soleguard/fd.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/record.h"
#include "soleguard/scope.h"
#include "soleguard/vantage.h"

namespace soleguard {

// The holder calls Begin, Write and End, in this order; everybody else Read or ReadAndWatch.
class PublishedRecord {
 public:
  PublishedRecord(const Scope& scope, const InstanceName& name, std::string_view layer);

  // What it has in the name's directory.
  static std::vector<std::string> Files(const std::string& layer);

  // As soon as the process has the layer: finds its predecessor's record and writes its own.
  // AlreadyExists: that one lives (holder.h), and nothing is written; the layer is to be given
  // back, and the start refused by who it is.
  absl::Status Begin(HolderRecord candidate);
  const std::optional<HolderRecord>& predecessor() const { return record_.predecessor(); }
  // Whether Begin would work, as far as that can be known without it. Makes nothing.
  absl::Status CheckMayBegin();
  std::optional<Contested> TakeSurvivor() { return std::exchange(survivor_, std::nullopt); }
  // The same for whoever looks, and finds the layer free. `last`: what Last gave.
  std::optional<Contested> Survivor(const std::optional<HolderRecord>& last) const;
  // Of one who has lost all of it: see Layer::Disown.
  void Disown(const HolderRecord& record);

  // At each change. Wakes those who wait for a decision. DataLoss when the program closed
  // the descriptor.
  absl::Status Write(const HolderRecord& record);

  // Where it shows that the record or the FIFO is gone.
  void Watch(Alarm& alarm);
  // Puts right what is missing of them.
  void Mend(const HolderRecord& record, Claim::Mended& mended);

  // When the layer is free, and not before: whoever waits for it is woken.
  void End();

  // Open until then.
  const os::KeptFd& end() const { return wake_.end(); }

  // The last one that was written; nothing when there is none, or none that can be read.
  std::optional<HolderRecord> Read();
  // The same, but an error that would keep the next holder from writing its own is one here too.
  absl::StatusOr<std::optional<HolderRecord>> Last();
  struct Watched {
    std::optional<HolderRecord> record;
    soleguard::Watch watch;
  };
  Watched ReadAndWatch();

 private:
  absl::StatusOr<std::optional<HolderRecord>> ReadOpened();
  absl::Status KeepAside();
  absl::Status Renew(const HolderRecord& record);
  std::string path() const { return directory_.path() + "/" + record_file_; }

  NameDirectory directory_;
  const std::string layer_;
  const std::string record_file_;
  std::optional<Vantage> vantage_;  // the holder's, when it began
  Wake wake_;
  RecordArea record_;
  std::list<os::KeptFd> former_;  // records that only others may still find, told as record_ is
  std::optional<Contested> survivor_;
};

}  // namespace soleguard
