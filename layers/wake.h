// The FIFO that wakes those who wait for a layer's holder. Private to layers/.
#pragma once

#include <string>

#include "name_directory.h"
#include "os/os.h"
#include "soleguard/fd.h"
#include "soleguard/name.h"
#include "soleguard/scope.h"

namespace soleguard {

// Its holder has it open for writing from the moment it has the layer until it is decided, and
// again from before it says that it is releasing until the layer is free. It only wakes, it decides
// nothing: where it cannot be made, waiters look again after a while. See
// docs/decisions/0001-wake-by-fifo.md.
class Wake {
 public:
  Wake(const Scope& scope, const InstanceName& name, std::string_view layer)
      : directory_(scope, name), file_("wake." + std::string(layer)) {}

  void Open() {
    if (directory_.Open(os::Create::kYes).ok()) {
      (void)os::KeepFifo(directory_.EntryOf(file_), directory_.ownership(), writer_);
    }
    directory_.Close();
  }
  void Close() { writer_.Close(); }

  // Hangs up when the holder has decided, is free of the layer, or was killed; empty when nobody
  // has the FIFO open for writing.
  UniqueFd Watch() {
    UniqueFd watch;
    if (directory_.Open(os::Create::kNo).ok()) {
      watch = os::WatchFifo(directory_.EntryOf(file_), directory_.ownership());
    }
    directory_.Close();
    return watch;
  }

 private:
  NameDirectory directory_;
  const std::string file_;
  os::KeptFd writer_;
};

}  // namespace soleguard
