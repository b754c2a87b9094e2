// A mutex with a name of this ipc namespace, which the kernel gives back for a process that is
// gone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include "os/ownership.h"
#include "os/path.h"

namespace soleguard::os {

// A System V semaphore of one value: 0 is free, 1 is taken. A taken one belongs to the process, not
// to a thread; it survives exec, is not inherited by fork, and the kernel gives it back (SEM_UNDO)
// once the process is gone, after its memory is (exit_sem follows exit_mm). Lives in the ipc
// namespace.
//
// The kernel makes one with the caller's own group (semget(2)), and only its maker, or root, can
// give it another or remove it. Who has the scope's group as a supplementary one is killed between
// the two now and then. So what a group shares may stand at any of several keys. One that its maker
// has not given to the group (mode 0) is passed over; whoever takes one looks at the others once it
// has it, and gives it back when another is taken. Of two who do so at one time at most one sees
// the other's free.
class NamedMutex {
 public:
  // The names, eight hexadecimal digits each, of what a mutex called `key` may stand at. The first
  // one is the only one in a scope with one owner.
  static std::vector<std::string> NamesOf(std::uint64_t key);

  // The semaphore that decides, made free if that is asked for and there is none. NotFound when it
  // does not exist. FailedPrecondition: a user to whom the scope does not belong made it. One that
  // is taken goes before one that is free.
  static absl::StatusOr<NamedMutex> Open(std::uint64_t key, const Ownership& ownership,
                                         Create create);

  // Waits for zero and adds one, in one atomic operation that does not block. False when it is
  // taken, or another one that decides is: this is that one then. Aborted when it was removed
  // meanwhile.
  absl::StatusOr<bool> TryTake();
  // Of the process that has taken it, and of no other. The value is set, not taken back: that
  // clears the undo entries of all threads, whichever has taken it. A thread that is alone with its
  // undo list (unshare(2) with CLONE_SYSVSEM) would take it once more at its end.
  absl::Status Give();
  // From the ipc namespace: who waits for it or has opened it learns that it is gone.
  // PermissionDenied: it was made by another user.
  absl::Status RemoveOne();
  // The same with what stands at the other keys.
  absl::Status Remove();

  // Aborted when it was removed meanwhile.
  absl::StatusOr<bool> IsTaken() const;
  // Blocks until it is free or removed. Changes nothing.
  void WaitUntilFree() const;
  // The process that operated on it last, in the caller's pid namespace; 0 for one that is not in
  // it.
  absl::StatusOr<std::int64_t> LastProcess() const;
  // Whether the key still leads to it.
  bool IsAtKey() const;
  // Of the object that it stands at, one of NamesOf.
  std::string name() const;
  // "System V semaphore 0x0123abcd", for a person.
  std::string Where() const;
  // Whether this user may remove it: its owner, its creator or root.
  bool MayRemove() const;

 private:
  static constexpr std::size_t kKeys = 8;
  using Keys = std::array<std::int32_t, kKeys>;
  static Keys KeysOf(std::uint64_t key);

  NamedMutex(std::uint64_t key, const Ownership& ownership)
      : keys_(KeysOf(key)), ownership_(ownership) {}
  std::int32_t key() const { return keys_[at_]; }

  std::size_t count() const { return ownership_.rule == Ownership::Rule::kGroup ? kKeys : 1; }
  absl::Status Find(Create create);
  // What stands at the keys; what can be used is noted in at_ and id_.
  struct Seen {
    std::optional<std::size_t> vacant;  // the first key at which nothing stands
    absl::Status refused;               // one that an outsider made
    bool unsure = false;                // one changes just now: it is looked at again
  };
  // `patient`: a maker still has the time to finish what it has begun.
  absl::StatusOr<Seen> LookAtKeys(Create create, bool patient);
  absl::Status LookAtKey(std::size_t i, Create create, bool patient, Seen& seen);
  absl::StatusOr<bool> IsAnotherTaken();

  Keys keys_;
  Ownership ownership_;
  std::size_t at_ = 0;
  int id_ = -1;
};

}  // namespace soleguard::os
