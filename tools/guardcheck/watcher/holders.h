// Who holds the name, told when it changes.
#pragma once

#include <optional>
#include <vector>

#include "shown.h"
#include "watcher/voice.h"
#include <soleguard/census.h>
#include <soleguard/fd.h>
#include <soleguard/process_identity.h>

namespace guardcheck {

// Not thread-safe. Does not block.
class Holders {
 public:
  // Tells what is news in `census`, and knows the ends of its holders from then on.
  void Tell(const soleguard::Census& census, Voice& voice);

  // Who was told of as the holder.
  const std::optional<soleguard::ProcessIdentity>& holder() const { return told_.holder; }

  // Readable when a holder has ended.
  const std::vector<soleguard::UniqueFd>& ends() const { return ends_; }
  bool HasEnded() const;
  // One had ended before its end could be opened.
  bool has_missed_end() const { return has_missed_end_; }

 private:
  struct First {
    std::optional<soleguard::ProcessIdentity> holder;
    std::optional<Shown> evidence;  // of one that no record names
    bool operator==(const First&) const = default;
  };
  void TellFirst(const soleguard::Census& census, Voice& voice);
  void TellOthers(const soleguard::Census& census, Voice& voice);
  void OpenEnds(const soleguard::Census& census);

  bool has_told_ = false;
  First told_;
  std::vector<soleguard::ProcessIdentity> others_;
  std::vector<soleguard::UniqueFd> ends_;
  bool has_missed_end_ = false;
};

}  // namespace guardcheck
