#include "kit/place.h"

#include <absl/strings/str_cat.h>

#include "soleguard/text.h"

namespace soleguard {

absl::Status CheckPlace(const os::KeptFd& kept, const os::Entry& entry, const Vantage& vantage) {
  absl::Status ours = kept.CheckStillOurs(entry.path);
  if (!ours.ok()) return ours;
  const absl::StatusOr<bool> same = os::EntryIs(entry, kept.file());
  if (same.ok() && *same) return absl::OkStatus();
  absl::Status lost =
      absl::DataLossError(absl::StrCat(EscapeBytes(entry.path), " was deleted or replaced"));
  // Without a name it is gone for everybody, from wherever they look.
  if (kept.IsDeleted()) return lost;
  if (!same.ok()) return same.status();
  // The race: the process changes its root directory between the look and this question. The answer
  // is then that nobody can tell, whatever was seen: asked the other way round, a jail could pass
  // for the place that others see.
  absl::Status here = vantage.Check(Vantage::kFiles);
  return here.ok() ? lost : here;
}

}  // namespace soleguard
