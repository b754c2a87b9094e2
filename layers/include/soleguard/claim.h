// A layer that is held.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "soleguard/boot_time.h"
#include "soleguard/fd.h"
#include "soleguard/record.h"
#include "soleguard/watch.h"

namespace soleguard {

// A layer that this process holds. Ends at Release, at destruction, at exit and at SIGKILL; one of
// a leased kind when its lease runs out, which its owner keeps alive from the claim on. After fork
// the claim stays the parent's: the child's copy closes its descriptors at once (pthread_atfork(3))
// and never does anything. Not thread-safe.
//
// No call but Finish waits for anybody. What a remote kind has to tell its server is on its way
// when the call returns, and what it answers is what it knows without asking.
class Claim {
 public:
  virtual ~Claim() = default;

  // Writes `record` where lookers find it, and wakes those who wait for a decision. Does not block.
  virtual absl::Status Publish(const HolderRecord& record) = 0;

  // OK when the claim still stands and excludes others; otherwise what was lost, and how:
  // FailedPrecondition (this process is a forked child of the owner), DataLoss (deleted, replaced,
  // closed by the program, its lease has run out). Another code, such as Unavailable: whether it
  // stands is not known, because the process no longer sees what others see, or may not look
  // (chroot, namespaces, dropped privileges). Does not block and disturbs nobody.
  virtual absl::Status Verify() const = 0;

  // Until when it stands if it is not renewed once more; each renewal moves it on. From then on
  // Verify says DataLoss, and not before that does the server give the layer to another: the time
  // that a request was on its way and what two clocks may differ by are subtracted (kit/lease.h).
  // nullopt: until it is released. Does not block.
  virtual std::optional<BootTime> valid_until() const { return std::nullopt; }

  // The number that the server has given out with the claim, larger for each that comes after it.
  // nullopt: the layer has none, and the library's own counts (token.h).
  virtual std::optional<std::uint64_t> token() const { return std::nullopt; }

  // Adds to `alarm` where it shows that the claim may be lost. An error says what gives no event;
  // everything else is added all the same. What it adds is valid until Mend or Release. Does not
  // block.
  virtual absl::Status Watch(Alarm& alarm);

  // What Mend has found and done.
  struct Mended {
    // OK: nothing was missing. DataLoss: what was lost or damaged. FailedPrecondition: a forked
    // child of the owner, or released. Another code: not known.
    absl::Status lost;
    // Whether the layer has kept others out all the while, as far as is known. If not, all that can
    // be done with the claim is to release it.
    bool excludes = true;
    // The claim does not exclude processes that see what this one sees, but others may still meet
    // it (it was moved, or a mount hides it). It is kept beside a new claim until the release.
    bool may_exclude = false;
    // What could not be restored, and why.
    absl::Status left;
  };
  // Looks at everything that belongs to the claim, including what Verify leaves out because it only
  // informs others (the record, what wakes waiters). Restores what is missing where that leaves no
  // moment in which another process could take the layer. `record` is what others are told. Does
  // not block.
  virtual Mended Mend(const HolderRecord& record);

  // Frees the layer. Publish kReleasing first. A second call does nothing. Does not block, and does
  // not throw: what a server has to be told is ready before.
  virtual void Release() = 0;

  // After Release: OK once others can have the layer. Waits for the server's word, at most for
  // Patience::Left(). DeadlineExceeded: there is none yet, and the layer is free when the lease
  // ends at the latest. In a forked child it does nothing.
  virtual absl::Status Finish() { return absl::OkStatus(); }

  // Removes what Release leaves behind: files, a semaphore, a segment. The layer stays held until
  // Release, and the next holder makes them again. Call it for all exclusive layers of a name, in
  // reverse canonical order, while all are held, because one layer's files are in the directory of
  // another. `files`: what all held layers have there (LayerKind::files). If something else is in
  // the directory, nothing is removed: FailedPrecondition.
  virtual absl::Status RemoveObjects(const std::vector<std::string>& /*files*/) {
    return absl::OkStatus();
  }

  // The record that was found when the layer was claimed: the last holder's or candidate's.
  virtual std::optional<HolderRecord> Predecessor() const { return std::nullopt; }

  // Duplicates, close-on-exec, of the descriptors that carry the claim: while any process has one
  // of them open the layer stays taken. Empty when the mechanism cannot be handed on. From the
  // first call on, Release gives up this process's share only.
  virtual absl::StatusOr<std::vector<UniqueFd>> Share() { return std::vector<UniqueFd>{}; }

  // Lets the claim survive execve(2) of this process. FailedPrecondition where it cannot.
  virtual absl::Status KeepOverExec() = 0;
};

}  // namespace soleguard
