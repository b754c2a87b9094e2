// What the claims of the layers share. Private to layers/.
#pragma once

#include <functional>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "os/kept_fd.h"
#include "soleguard/fd.h"
#include "soleguard/layer.h"

namespace soleguard {

// Puts right by `renew` what `lost` says is gone, if anything is, and adds both to `mended`. What
// cannot be noted for lack of memory is not put right either: the next look finds it.
void MendOne(const absl::Status& lost, const std::function<absl::Status()>& renew,
             Claim::Mended& mended);

// A claim knows the process that took it: in a forked child its copy does nothing.
class OwnedClaim : public Claim {
 protected:
  // OK in the owner, as long as `taken_`. FailedPrecondition in a forked child ("not the owner"),
  // and after the release.
  absl::Status CheckOwner() const;
  bool IsOwner() const { return owner_.IsCurrent(); }

  // What Mend says where `standing`, as of Verify, is not OK.
  static Mended NotStanding(const absl::Status& standing);

  bool taken_ = false;

 private:
  const os::ProcessMark owner_;
};

// A claim that open descriptors carry: while any process has one of them open the layer stays
// taken.
class CarriedClaim : public OwnedClaim {
 public:
  absl::StatusOr<std::vector<UniqueFd>> Share() final;
  absl::Status KeepOverExec() final;

 protected:
  // Those that carry it, and those that tell others of it. What is not open is passed over.
  virtual std::vector<const os::KeptFd*> Carriers() const = 0;
  // Somebody else may have a share of it: this process must not free the layer for him.
  bool is_shared() const { return shared_; }

 private:
  bool shared_ = false;
};

}  // namespace soleguard
