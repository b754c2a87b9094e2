// The FIFO that wakes those who wait for a layer's holder. Private to layers/.
#pragma once

#include <string>
#include <string_view>

#include "name_directory.h"
#include "os/os.h"
#include "soleguard/fd.h"

namespace soleguard {

// Its holder has it open for writing from the moment it has the layer until it is decided, and
// again from before it says that it is releasing until the layer is free. It only wakes, it decides
// nothing: where it cannot be made, waiters look again after a while. See
// docs/decisions/0001-wake-by-fifo.md.
class Wake {
 public:
  explicit Wake(std::string_view layer) : file_("wake." + std::string(layer)) {}

  // In a name's directory that was opened to create in it. A program that closed all descriptors
  // may have another one at that number by now: nothing is made there.
  void Open(const NameDirectory& directory) {
    if (!directory.fd().StillOurs()) return;
    (void)os::KeepFifo(directory.EntryOf(file_), directory.ownership(), writer_);
  }
  void Close() { writer_.Close(); }

  // Hangs up when the holder has decided, is free of the layer, or was killed; empty when nobody
  // has the FIFO open for writing.
  UniqueFd Watch(const NameDirectory& directory) const {
    return os::WatchFifo(directory.EntryOf(file_), directory.ownership());
  }

 private:
  const std::string file_;
  os::KeptFd writer_;
};

}  // namespace soleguard
