// The public call: am I the only running instance of NAME?
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include "soleguard/arbiter.h"
#include "soleguard/boot_time.h"
#include "soleguard/fd.h"
#include "soleguard/holder.h"
#include "soleguard/incident.h"
#include "soleguard/message.h"
#include "soleguard/options.h"
#include "soleguard/policy.h"
#include "soleguard/process_identity.h"
#include "soleguard/record.h"
#include "soleguard/scope.h"

namespace soleguard {

struct ConflictReport;  // soleguard/conflict.h
struct Unique;
struct Duplicate;
struct Undetermined;
// It is exactly one of the three, and is never rounded to another.
using Verdict = std::variant<Unique, Duplicate, Undetermined>;

// Proof that this process is the only instance of a name in a scope, for as long as the object and
// the process live: the name is free after Release, destruction, exit or SIGKILL, without cleaning.
//
// After fork the claim stays with the parent. The child's copy holds nothing (its descriptors are
// closed by pthread_atfork(3)), releases nothing, and Verify says "not the owner". A raw clone(2)
// skips atfork: its child may keep the name taken after the parent is gone, and a refused start
// names it. exec closes everything, unless KeepOverExec or ShareWithChild was called.
//
// A process may change after that: it may leave its root directory (chroot(2)) or a namespace
// (unshare(2), setns(2)), or drop privileges. What it then no longer sees does not count as lost:
// Verify says that it cannot tell, and nothing that stands is given up for something that only this
// process would see. Release frees the name in any case. docs/guarantees.md has a table of changes
// and calls, and says of which the kernel itself drops a claim of `mutex`.
//
// No descriptor of a Guard is 0, 1 or 2, even if the program was started without these.
//
// A call that lacks memory throws std::bad_alloc, and no other exception; it has then reserved
// nothing and given up nothing that was held. Release and the destructors do not throw.
//
// Move-only. Several threads may use it at once, except to move, assign or destroy it, or to read
// record() while Follow is called.
class Guard {
 public:
  // Claims `name` under `policy`, or says who has it, or why that cannot be determined. It waits
  // for what is about to change: a holder that is dying, deciding or releasing, at most
  // options.deadline, and a standby that goes first. It waits for an established holder only if
  // options.wait says so. An invalid name gives Undetermined with InvalidArgument, and so do slots
  // that CheckSlots refuses. A second Guard of the same name in one process is a Duplicate,
  // whatever its slot, and is not waited for. Thread-safe.
  //
  // With options.slot_count it claims the lowest slot that it can get, and the verdict is Duplicate
  // only if at one moment all of them were held.
  static Verdict Acquire(std::string_view name, const Policy& policy, const Options& options = {});
  // Under Policy::Default.
  static Verdict Acquire(std::string_view name, const Options& options = {});

  Guard(Guard&&) noexcept;
  Guard& operator=(Guard&&) noexcept;
  ~Guard();  // as Release

  const std::string& name() const;
  // The slot of the name that this process has; 0 without slots. Another process can have it as
  // soon as this one has ended, even by SIGKILL.
  std::uint32_t slot() const;
  const Scope& scope() const;
  // What the holder record says now.
  const HolderRecord& record() const;
  // The layers' answers to Acquire.
  const std::vector<LayerReport>& layers() const;

  // A number for whatever the instance writes to, so that a late write of an earlier instance can
  // be refused. Each slot has tokens of its own. Every Guard has one, under every policy. It is
  // larger than the token of every Guard before if token_is_durable says so, and may otherwise
  // repeat one. If a server gives out a number with its layer it is that one, and is larger than
  // those of every Guard before that held the layer, on all machines.
  std::optional<std::uint64_t> token() const;
  // True: token() is larger than all tokens that were given out before for this name and slot,
  // durable or not, over any history of policies, layers that were missing, deletions, gc, clock
  // steps, crashes and reboots, as long as the scope's state directory keeps what was written to
  // it. False when that could be neither read nor written, was lost or damaged since the last
  // start, or is not shared by all users that may have the name (a group's scope without a state
  // directory of its own, Scope::WithStateDirectory): then nothing claims an order. Of a server's
  // number it is true, and says so of the Guards that held the server's layer, and of no others.
  bool token_is_durable() const;

  // The record of an established holder before this one that ended without releasing (a crash, a
  // SIGKILL). Nothing has to be cleaned up; this is for the log.
  const std::optional<HolderRecord>& predecessor() const;

  // OK while every claim stands. FailedPrecondition in a forked child ("not the owner") and after
  // Release; DataLoss names what was lost: a deleted or replaced file, a descriptor that the
  // program closed. Another code (Unavailable, PermissionDenied): nothing is known to be lost, and
  // it is not known whether a claim stands, because this thread no longer sees what others see, or
  // may not look. Does not block and disturbs nobody.
  absl::Status Verify() const;

  // Until when the claim surely stands if no lease is renewed once more; past when one was lost,
  // and after Release. nullopt: no layer is leased. The instance may act until then and no longer;
  // for one that is stopped between its look at this and its act there is token(). Does not block.
  std::optional<BootTime> valid_until() const;

  // Looks at everything that belongs to the claim, and restores what is missing, including what
  // Verify leaves out because it only tells others who holds. What can be mended in place is
  // mended. A layer that is lost wholly is claimed again; a process that has it by then is waited
  // for as in Acquire (a candidate, a dying process: at most options.deadline) before it counts as
  // another instance. Returns what was found and what became of it, in the canonical order of the
  // layers; of an old loss only what has changed. Returns nothing in a forked child and after
  // Release. One call runs at a time, others wait.
  //
  // A layer that was claimed again belongs to this process alone: a child to which the claim was
  // handed on before does not have it, unless ShareWithChild's `renewed` passes it on. A claim that
  // other processes may still meet (its directory was moved, or is hidden by a mount) is kept
  // beside the new one until Release. A layer of which nothing is known counts as degraded and
  // stays as it is. Nothing is made or claimed where this thread has another root directory, mount,
  // ipc or network namespace or effective user than when it acquired the name: others would not
  // meet it, or would refuse it.
  std::vector<Incident> Repair();

  // Repairs, as above, whenever something happens to an object of the claim (a file of it is
  // deleted, replaced, truncated or moved, a semaphore or segment removed, a socket shut down), and
  // every `period` for what has no event. The first look is at once. `report` is called for each
  // incident, within milliseconds, unless another process has to be waited for; the loss of a
  // remote layer before its server is asked for it again. It is called from a thread of the
  // library's own, which has all signals blocked, one incident at a time, and may call everything
  // of this Guard, Release and its destructor included. What it throws ends the program.
  //
  // The watch ends with Release, which waits for a report that is going on in another thread.
  // Neither a forked child nor a program after exec is watched.
  //
  // OK: the claim is watched by events. Unavailable: it is watched, but something gives no event
  // (inotify instances are used up) and is looked at only every `period`. FailedPrecondition:
  // released, or a forked child. AlreadyExists: it is watched already. ResourceExhausted: no thread
  // can be started. With these three errors the call starts no watch.
  absl::Status Watch(std::function<void(const Incident&)> report,
                     absl::Duration period = absl::Minutes(1));

  // Takes messages from now on, such as those of refused starts (Send, guardcheck run --forward):
  // `answerer` is called in a thread of its own, one message at a time, until Release, which waits
  // for a call that has begun. It may use the Guard as any other thread may, and must not wait for
  // a thread that releases it. A second call replaces the answerer. Does not block.
  // FailedPrecondition after Release, in a forked child, and without Options::takes_messages;
  // Unavailable where this thread does not see the name's directory as senders do (after chroot(2),
  // for example), and an earlier answerer then stays; ResourceExhausted without a thread or a
  // descriptor. Other errors say why the socket `inbox` in the name's directory cannot be made.
  absl::Status Receive(Answerer answerer);

  // Notes that this instance gets on with its work (beat.h), for those who look or are refused.
  // Call it in the loop that does the work, not from a timer, which goes on when that hangs.
  // `every`: how soon the next comes; nullopt: as said before. No missing beat loses a name. Waits
  // for nobody but a filesystem's server (Patience). FailedPrecondition after Release and in a
  // forked child; Unavailable where others would not find it (after chroot(2), for example).
  absl::Status Beat(std::optional<absl::Duration> every = std::nullopt);

  // For use when a remote says that another instance acts under the same key. Verifies each claim,
  // and looks on this host for processes that could be that instance. `complaint` is what the
  // remote said, for the report. Waits for nobody but a remote layer's server (Patience) and
  // signals nobody; walks the process table. In a forked child and after Release it reports as for
  // a process without a claim. The result is in soleguard/conflict.h.
  ConflictReport ReportConflict(std::string_view complaint) const;

  // Ends the claim. Waits for a report of Watch and for an answer that are going on in other
  // threads, but does not wait when it is called from one of these; and for the server of a remote
  // layer, two seconds at most (Patience). A second call waits like the first and does nothing
  // else; in a forked child it does nothing.
  void Release();
  // As Release. OK: others can have the name. DeadlineExceeded names a remote layer whose server
  // has not confirmed it: it is free when its lease ends. FailedPrecondition: another thread
  // releases it, or a forked child called.
  absl::Status ReleaseAndConfirm();

  // Hands the claim on to a child. Returns duplicates of the descriptors that carry it, which are
  // close-on-exec and which the next fork leaves open. Clear close-on-exec in the child between
  // fork and exec, then call Follow in the parent; destroy the result in the parent once the child
  // runs. The name stays taken until the child and all processes that inherited from it have closed
  // them or ended, even if this process is killed. FailedPrecondition: no layer can be.
  //
  // `renewed` is called with the descriptors of each layer that is claimed again later (Repair,
  // Watch), in the thread that claims it, so that they can be passed on to another process. It must
  // neither block nor use the Guard.
  using Renewed = std::function<void(const std::vector<UniqueFd>&)>;
  absl::StatusOr<std::vector<UniqueFd>> ShareWithChild(Renewed renewed = nullptr);

  // Says in the holder record that `child`, to which the claim was handed on, is the instance.
  // After that, Release leaves the name with the child for as long as it lives. `guardian` is the
  // process that ends the child, with all its descendants, if this process is killed. Call it again
  // when another process does the work.
  absl::Status Follow(const ProcessIdentity& child,
                      const std::optional<ProcessIdentity>& guardian = std::nullopt);

  // Writes the files (side_file.h), which decide nothing, and updates them when Follow names
  // another instance; Release removes them. An error (a relative path, a directory that is not
  // there) names the file; the claim stands all the same.
  absl::Status WriteSideFiles(const SideFiles& files);

  // Keeps the claim over execve(2): the new program holds the name until it ends.
  // FailedPrecondition names a layer that does not survive exec; for a claim that does not stand,
  // or of which that is not known, the status is that of Verify.
  absl::Status KeepOverExec();

 private:
  class Core;
  explicit Guard(std::unique_ptr<Core> core);

  std::unique_ptr<Core> core_;
};

// Says that this process is about to acquire `name`. It is for a program that needs longer than
// options.settle from its start to Acquire: without it, another start whose policy has `scan` waits
// for this process that long, and then takes it for an instance that runs unguarded. Acquire does
// the same itself. It lasts as long as the process. Does not block; thread-safe.
absl::Status Announce(std::string_view name, const Options& options = {});

// This process is the only instance.
struct Unique {
  Guard guard;
};

// Another instance has the name.
struct Duplicate {
  Holder holder;
  std::vector<LayerReport> layers;  // in the order they were asked, up to the one that decided
  std::vector<Holder> others = {};  // of the other slots, in their order
  absl::Status not_replaced = absl::OkStatus();  // with options.replace: why the holder was not
  absl::Status not_awaited = absl::OkStatus();   // with options.wait: why it was not
};

// It could not be determined: too few layers work, or another process did not settle in time.
struct Undetermined {
  absl::Status status;  // why
  std::vector<LayerReport> layers;
};

}  // namespace soleguard
