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

// Files for tools that expect them, at absolute paths; empty: none.
struct SideFiles {
  std::string pid_file;   // the instance's pid and a newline
  std::string info_file;  // InfoText of the holder record
};

struct ConflictReport;  // soleguard/conflict.h
struct Unique;
struct Duplicate;
struct Undetermined;
// Exactly one of the three, never rounded to another.
using Verdict = std::variant<Unique, Duplicate, Undetermined>;

// Proof that this process is the only instance of a name in a scope, for as long as the object and
// the process live: the name is free again after Release, destruction, exit or SIGKILL, and nothing
// needs cleaning by hand.
//
// After fork the claim stays with the parent. The child's copy holds nothing (its descriptors are
// closed by pthread_atfork(3)), releases nothing, and Verify says "not the owner". A raw clone(2)
// skips atfork: its child may keep the name taken after the parent is gone, and a refused start
// names it. exec closes everything, unless KeepOverExec or ShareWithChild was called.
//
// A process may change after that: leave its root directory (chroot(2)) or a namespace (unshare(2),
// setns(2)), or drop privileges. What it then does not see any more is neither lost nor found:
// Verify says that it cannot tell, and nothing that stands is given up for something that only this
// process would see. Release frees the name in any case. docs/guarantees.md has a table of changes
// and calls. The kernel itself drops a claim of `mutex` when a process without other threads leaves
// its ipc namespace or unshares CLONE_SYSVSEM; Verify and Watch say so.
//
// No descriptor of a Guard is 0, 1 or 2, also if the program was started without these.
//
// A call that lacks memory throws std::bad_alloc, and no other exception; it has then reserved
// nothing and given up nothing that was held. Release and the destructors do not throw.
//
// Move-only. Several threads may use it at once, but for moving, assigning and destroying it, and
// for reading record() beside Follow.
class Guard {
 public:
  // Claims `name` under `policy`, or says who has it, or why nobody can tell. Tries, and waits for
  // what is about to change: a holder that is dying, deciding or releasing, at most
  // options.deadline, and a standby that goes first. For an established holder it waits only if
  // options.wait says so. An invalid name gives Undetermined with InvalidArgument, and so does what
  // CheckSlots refuses. A second Guard of the same name in one process is a Duplicate, whatever its
  // slot, and is not waited for. Thread-safe.
  //
  // With options.slots it claims the lowest slot that it can get, and is a Duplicate only if at one
  // moment all of them were held.
  static Verdict Acquire(std::string_view name, const Policy& policy, const Options& options = {});
  // Under Policy::Default.
  static Verdict Acquire(std::string_view name, const Options& options = {});

  Guard(Guard&&) noexcept;
  Guard& operator=(Guard&&) noexcept;
  ~Guard();  // as Release

  const std::string& name() const;
  // The slot of the name that this process has; 0 without slots. It is another's as soon as this
  // one has ended, also by SIGKILL.
  std::uint32_t slot() const;
  const Scope& scope() const;
  // What the holder record says now.
  const HolderRecord& record() const;
  // The layers' answers of the time of Acquire.
  const std::vector<LayerReport>& layers() const;

  // A number for whatever the instance writes to, so that a late write of an earlier instance can
  // be refused; of each slot apart. Every Guard has one, under every policy. It is larger than the
  // token of every Guard before if token_is_durable says so, and may otherwise repeat one.
  std::optional<std::uint64_t> token() const;
  // True: token() is larger than all that were given out before for this name and slot, durable or
  // not, over any history of policies, layers that were missing, deletions, gc, clock steps,
  // crashes and reboots, as long as the scope's state directory keeps what was written to it. False
  // when that could be neither read nor written, was lost or damaged since the last start, or is
  // not shared by all who may have the name (a group's scope without one of its own,
  // Scope::WithStateDirectory): then nothing claims an order.
  bool token_is_durable() const;

  // The record of an established holder before this one that ended without releasing (a crash, a
  // SIGKILL). Nothing is left to clean; this is for the log.
  const std::optional<HolderRecord>& predecessor() const;

  // OK while every claim stands. FailedPrecondition in a forked child ("not the owner") and after
  // Release; DataLoss names what was lost: a deleted or replaced file, a descriptor that the
  // program closed. Another code (Unavailable, PermissionDenied): nothing is known to be lost, and
  // it cannot be told whether a claim stands, as this thread does not see any more what others see,
  // or may not look. Does not block and disturbs nobody.
  absl::Status Verify() const;

  // Looks at everything that belongs to the claim, and puts right what is missing, also what
  // Verify has no need of as it only tells others who holds. What can be mended in place is; a
  // layer that is lost wholly is claimed anew, and whoever has it by now is waited for as in
  // Acquire (a candidate, a dying process: at most options.deadline) before it counts as another
  // instance. Gives what was found and what became of it, in the canonical order of the layers; of
  // an old loss only what has changed. Nothing in a forked child and after Release. One call at a
  // time does it, others wait.
  //
  // A layer that was claimed anew is this process's alone: a child that the claim was handed on to
  // before does not have it, unless ShareWithChild's `renewed` gives it to it. A claim that
  // somebody else may still meet (its directory was moved, or is hidden by a mount) is kept beside
  // the new one until Release. What cannot be told is degraded and stays as it is. Nothing is made
  // or claimed where this thread has another root directory, mount, ipc or network namespace or
  // effective user than when it acquired the name: others would not meet it, or would refuse it.
  std::vector<Incident> Repair();

  // Does that whenever something happens to an object of the claim (a file of it is deleted,
  // replaced, truncated or moved, a semaphore or segment removed, a socket shut down), and every
  // `period` for what has no event. `report` is called for each incident, within milliseconds,
  // unless somebody has to be waited for; the first look is at once. It is called from a thread of
  // the library's own, which has all signals blocked, one incident at a time, and may call
  // everything of this Guard, Release and its destructor included. What it throws ends the program.
  //
  // Ends with Release, which waits for a report that is going on in another thread. A forked child
  // is not watched, nor a program after exec.
  //
  // OK: watched by events. Unavailable: watched, but something gives no event (inotify instances
  // are used up) and is looked at every `period` only. FailedPrecondition: released, or a forked
  // child. AlreadyExists: it is watched already. ResourceExhausted: no thread can be started. These
  // three watch nothing.
  absl::Status Watch(std::function<void(const Incident&)> report,
                     absl::Duration period = absl::Minutes(1));

  // Takes messages from now on, such as those of refused starts (Send, guardcheck run --forward):
  // `answerer` is called in a thread of its own, one message at a time, until Release, which waits
  // for a call that has begun. It may use the Guard no more than any other thread may, and is not
  // to wait for one that releases it. Once more replaces the answerer. Does not block.
  // FailedPrecondition after Release, in a forked child, and without Options::takes_messages;
  // Unavailable where this thread does not see the name's directory as senders do (after chroot(2),
  // say), and an answerer of before then stays; ResourceExhausted without a thread or a descriptor;
  // otherwise why the socket `inbox` in the name's directory cannot be made.
  absl::Status Receive(Answerer answerer);

  // A remote says that another instance acts under the same key: verifies each claim, and looks on
  // this host for who that could be. `complaint` is what it said, for the report. Does not wait and
  // signals nobody; walks the process table. In a forked child and after Release it reports as one
  // who has no claim. The result is in soleguard/conflict.h.
  ConflictReport ReportConflict(std::string_view complaint) const;

  // Ends the claim. Waits for a report of Watch and for an answer that are going on in other
  // threads, and for nobody when it is called from one of these. A second call waits like the
  // first, and does nothing else; in a forked child it does nothing.
  void Release();

  // Hands the claim on to a child: duplicates of the descriptors that carry it, close-on-exec,
  // which the next fork leaves open. Clear close-on-exec in the child between fork and exec, then
  // call Follow in the parent; destroy the result in the parent once the child runs. The name stays
  // taken until the child and whoever inherited from it have closed them or ended, even if this
  // process is killed. FailedPrecondition when no layer of the policy can be handed on.
  //
  // `renewed` is called with the descriptors of each layer that is claimed anew later (Repair,
  // Watch), in the thread that does it, for whoever is to keep them as well. It must not block, nor
  // use the Guard.
  using Renewed = std::function<void(const std::vector<UniqueFd>&)>;
  absl::StatusOr<std::vector<UniqueFd>> ShareWithChild(Renewed renewed = nullptr);

  // Says in the holder record that `child`, which the claim was handed on to, is the instance.
  // After that, Release leaves the name with the child for as long as it lives. `guardian`: who
  // ends the child, with all that descends from it, if this process is killed. Once more when
  // another process does the work.
  absl::Status Follow(const ProcessIdentity& child,
                      const std::optional<ProcessIdentity>& guardian = std::nullopt);

  // Writes the files, and keeps them true when Follow names another instance. They decide nothing.
  // Release removes them while they are still this process's and say what it wrote; what somebody
  // else has written stays. After a SIGKILL they stay, and the next holder overwrites them. They
  // are found where they were written, whatever the root directory is by then; where the process
  // may not remove them any more, they stay. An error (a relative path, a directory that is not
  // there) says which; the claim stands all the same.
  absl::Status WriteSideFiles(const SideFiles& files);

  // Keeps the claim over execve(2): the new program holds the name until it ends.
  // FailedPrecondition names a layer that does not survive exec; a claim that does not stand, or
  // cannot be seen to, is as for Verify.
  absl::Status KeepOverExec();

 private:
  class Core;
  explicit Guard(std::unique_ptr<Core> core);

  std::unique_ptr<Core> core_;
};

// Says that this process is about to acquire `name`: for a program that needs longer than
// options.settle from its start to Acquire. Without it another start whose policy has `scan` waits
// for this process that long, and then takes it for an instance that runs unguarded. Acquire does
// the same by itself. Lasts as long as the process; does not block; thread-safe.
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
  // With options.replace: why the holder was not replaced.
  absl::Status not_replaced = absl::OkStatus();
};

// Nobody can tell: too few layers work, or somebody did not settle in time.
struct Undetermined {
  absl::Status status;  // why
  std::vector<LayerReport> layers;
};

}  // namespace soleguard
