#include <sched.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <new>
#include <optional>

#include <absl/strings/str_cat.h>

#include "os/error.h"
#include "os/named_mutex.h"
#include "os/ownership.h"
#include "os/path.h"
#include "soleguard/text.h"

namespace soleguard::os {
namespace {

#ifndef SEM_STAT_ANY
constexpr int SEM_STAT_ANY = 20;
#endif

union SemaphoreArgument {  // semctl(2): the caller defines it
  int value;
  semid_ds* status;
};

std::string Digits(std::int32_t key) { return absl::StrCat(absl::Hex(key, absl::kZeroPad8)); }

std::string NameOf(std::int32_t key) { return absl::StrCat("System V semaphore 0x", Digits(key)); }

bool IsRemoved(int error) { return error == EIDRM || error == EINVAL; }

// Also of one that the caller may not read (SEM_STAT_ANY, Linux 4.17, which takes the index that
// the id ends in and gives the id of what stands there now). Aborted: it was removed.
absl::StatusOr<semid_ds> StatusOf(std::int32_t key, int id) {
  semid_ds status = {};
  SemaphoreArgument argument = {};
  argument.status = &status;
  if (semctl(id, 0, SEM_STAT_ANY, argument) == id) return status;
  if (semctl(id, 0, IPC_STAT, argument) == 0) return status;
  const int error = errno;
  if (IsRemoved(error)) return absl::AbortedError(absl::StrCat(NameOf(key), " was removed"));
  return ErrnoStatus(error, absl::StrCat("look at ", NameOf(key)));
}

absl::Status Refused(std::int32_t key, std::uint32_t owner, std::string_view why) {
  return absl::FailedPreconditionError(absl::StrCat(
      NameOf(key), " ", std::string(why), "; it belongs to ", Who(owner), ". ipcs -s shows it"));
}

// FailedPrecondition: it is not what the scope's users would have made. NotFound: a member of the
// group made it and has not given it to the group, or never will: it decides nothing.
absl::Status CheckOwnership(std::int32_t key, const semid_ds& status, const Ownership& ownership) {
  const ipc_perm& permissions = status.sem_perm;
  if (status.sem_nsems != 1) {
    return Refused(key, permissions.uid, absl::StrCat("is a set of ", status.sem_nsems));
  }
  if (ownership.rule != Ownership::Rule::kGroup) {
    if (!MayOwn(permissions.uid, ownership) || !MayOwn(permissions.cuid, ownership)) {
      return Refused(key, permissions.cuid, "was made by another user");
    }
    if ((permissions.mode & 0077) != 0) {
      return Refused(key, permissions.uid, "is open to other users");
    }
    return absl::OkStatus();
  }
  // Its maker stays its owner for ever, whatever group it shows: he can free it under its holder.
  // The group that he had when he made it is a proof (cgid, which nothing changes).
  const bool by_member = (permissions.cgid == ownership.gid && !IsHiddenGroup(ownership.gid)) ||
                         MayOwn(permissions.cuid, ownership);
  const bool of_member = permissions.uid == permissions.cuid || MayOwn(permissions.uid, ownership);
  if (!by_member || !of_member) {
    return Refused(key, by_member ? permissions.uid : permissions.cuid,
                   absl::StrCat("was made by a user who is not of the group ", ownership.gid));
  }
  if ((permissions.mode & 0007) != 0) {
    return Refused(key, permissions.uid, "is open to others than its group");
  }
  constexpr int kShared = 0660;
  if (permissions.gid == ownership.gid && (permissions.mode & kShared) == kShared) {
    return absl::OkStatus();
  }
  return absl::NotFoundError(absl::StrCat(NameOf(key), " is not of the group yet"));
}

// What its maker does with one that was not born right, and whoever finds it so. It may be done
// twice, and to one that is taken: it changes nothing then.
absl::Status GiveToGroup(std::int32_t key, int id, const Ownership& ownership) {
  absl::StatusOr<semid_ds> status = StatusOf(key, id);
  if (!status.ok()) return status.status();
  status->sem_perm.gid = ownership.gid;
  status->sem_perm.mode = 0660;
  SemaphoreArgument argument = {};
  argument.status = &*status;
  if (semctl(id, 0, IPC_SET, argument) == 0) return absl::OkStatus();
  const int error = errno;
  if (IsRemoved(error)) return absl::AbortedError("another process removed it");
  return ErrnoStatus(error, absl::StrCat("give ", NameOf(key), " to the group"));
}

// Free from the begin: Linux makes it with value 0 (semget(2)). Aborted: another was faster.
absl::Status Make(std::int32_t key, const Ownership& ownership) {
  const bool shared = ownership.rule == Ownership::Rule::kGroup;
  const bool born_right = !shared || getegid() == ownership.gid;
  const int mode = !shared ? 0600 : born_right ? 0660 : 0;
  const int id = semget(key, 1, IPC_CREAT | IPC_EXCL | mode);
  if (id < 0 && errno == EEXIST) return absl::AbortedError("another process made it");
  if (id < 0 && errno == ENOSPC) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "cannot create ", NameOf(key), ": the limit of kernel.sem is reached (ipcs -ls, sysctl)"));
  }
  if (id < 0) return ErrnoStatus(errno, absl::StrCat("create ", NameOf(key)));
  return born_right ? absl::OkStatus() : GiveToGroup(key, id, ownership);
}

}  // namespace

NamedMutex::Keys NamedMutex::KeysOf(std::uint64_t key) {
  constexpr std::uint64_t kRange = 0x7ffffffe;
  constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15;
  Keys keys{};
  for (std::int32_t& each : keys) {
    each = static_cast<std::int32_t>(key % kRange) + 1;  // positive, so never IPC_PRIVATE
    key += kStep;
  }
  return keys;
}

std::vector<std::string> NamedMutex::NamesOf(std::uint64_t key) {
  std::vector<std::string> names;
  for (const std::int32_t each : KeysOf(key)) names.push_back(Digits(each));
  return names;
}

std::string NamedMutex::name() const { return Digits(key()); }

std::string NamedMutex::Where() const { return NameOf(key()); }

absl::StatusOr<NamedMutex> NamedMutex::Open(std::uint64_t key, const Ownership& ownership,
                                            Create create) {
  NamedMutex semaphore(key, ownership);
  absl::Status found = semaphore.Find(create);
  if (!found.ok()) return found;
  return semaphore;
}

absl::Status NamedMutex::Find(Create create) {
  constexpr int kPatience = 100;  // looks, far more than a maker needs for its next system call
  constexpr int kMostLooks = 1000;
  for (int look = 0; look < kMostLooks; ++look) {
    const absl::StatusOr<Seen> seen = LookAtKeys(create, look < kPatience);
    if (!seen.ok()) return seen.status();
    if (seen->unsure) {
      (void)sched_yield();
      continue;
    }
    if (id_ >= 0) return absl::OkStatus();
    if (!seen->refused.ok()) return seen->refused;
    if (create != Create::kYes) return absl::NotFoundError("nobody has made the semaphore");
    if (!seen->vacant.has_value()) {
      return absl::FailedPreconditionError(absl::StrCat(
          NameOf(keys_.front()),
          " and those in its place were left by members of the group who have not given them to "
          "it; root's next start does that (ipcs -s shows them)"));
    }
    absl::Status made = Make(keys_[*seen->vacant], ownership_);
    if (!made.ok() && !absl::IsAborted(made)) return made;
  }
  return absl::AbortedError(
      absl::StrCat(NameOf(keys_.front()), " was made and removed ", kMostLooks, " times"));
}

absl::StatusOr<NamedMutex::Seen> NamedMutex::LookAtKeys(Create create, bool patient) {
  Seen seen;
  id_ = -1;
  for (std::size_t i = 0; i < count() && !seen.unsure; ++i) {
    absl::Status looked = LookAtKey(i, create, patient, seen);
    if (!looked.ok()) return looked;
  }
  return seen;
}

absl::Status NamedMutex::LookAtKey(std::size_t i, Create create, bool patient, Seen& seen) {
  const int id = semget(keys_[i], 1, 0);
  if (id < 0 && errno == ENOENT) {
    if (!seen.vacant.has_value()) seen.vacant = i;
    return absl::OkStatus();
  }
  if (id < 0) return ErrnoStatus(errno, absl::StrCat("open ", NameOf(keys_[i])));
  const absl::StatusOr<semid_ds> status = StatusOf(keys_[i], id);
  const absl::Status usable =
      status.ok() ? CheckOwnership(keys_[i], *status, ownership_) : status.status();
  if (usable.ok()) {
    if (id_ >= 0 && semctl(id, 0, GETVAL) <= 0) return absl::OkStatus();
    at_ = i;
    id_ = id;
  } else if (absl::IsAborted(usable)) {
    seen.unsure = true;
  } else if (!absl::IsNotFound(usable)) {
    seen.refused.Update(usable);
  } else if (create == Create::kYes) {
    // Its maker is at work, or was killed. Only he and root can finish it; for others the next key
    // serves. The race: its maker goes on and takes it meanwhile, so it is not removed.
    seen.unsure = patient || GiveToGroup(keys_[i], id, ownership_).ok();
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> NamedMutex::IsAnotherTaken() {
  for (std::size_t i = 0; i < count(); ++i) {
    const int id = i == at_ ? -1 : semget(keys_[i], 1, 0);
    if (id < 0) continue;
    const absl::StatusOr<semid_ds> status = StatusOf(keys_[i], id);
    if (!status.ok() && !absl::IsAborted(status.status())) return status.status();
    if (!status.ok() || !CheckOwnership(keys_[i], *status, ownership_).ok()) continue;
    const int value = semctl(id, 0, GETVAL);
    if (value < 0 && !IsRemoved(errno)) {
      return ErrnoStatus(errno, absl::StrCat("look at ", NameOf(keys_[i])));
    }
    if (value <= 0) continue;
    (void)Give();
    at_ = i;
    id_ = id;
    return true;
  }
  return false;
}

// NOLINTNEXTLINE(readability-make-member-function-const): changes the kernel's object
absl::StatusOr<bool> NamedMutex::TryTake() {
  std::array<sembuf, 2> operations = {
      sembuf{.sem_num = 0, .sem_op = 0, .sem_flg = IPC_NOWAIT},
      sembuf{.sem_num = 0, .sem_op = 1, .sem_flg = IPC_NOWAIT | SEM_UNDO}};
  if (RetryOnEintr([&] { return semop(id_, operations.data(), operations.size()); }) == 0) {
    // Once it is taken, as all others do: of two who hold two of them the later one sees the
    // other's.
    absl::StatusOr<bool> another = absl::CancelledError();
    try {
      another = IsAnotherTaken();
    } catch (const std::bad_alloc&) {
      (void)Give();
      throw;
    }
    if (another.ok()) return !*another;
    (void)Give();
    return another.status();
  }
  if (errno == EAGAIN) return false;
  if (IsRemoved(errno)) return absl::AbortedError(absl::StrCat(NameOf(key()), " was removed"));
  return ErrnoStatus(errno, absl::StrCat("take ", NameOf(key())));
}

// NOLINTNEXTLINE(readability-make-member-function-const): changes the kernel's object
absl::Status NamedMutex::Give() {
  SemaphoreArgument free = {};
  free.value = 0;
  if (semctl(id_, 0, SETVAL, free) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("give back ", NameOf(key())));
}

// The one that is held last: until then it keeps out who comes for one of the others.
absl::Status NamedMutex::Remove() {
  for (std::size_t i = 0; i < count(); ++i) {
    const int id = i == at_ ? -1 : semget(keys_[i], 1, 0);
    if (id < 0) continue;
    const absl::StatusOr<semid_ds> status = StatusOf(keys_[i], id);
    if (absl::IsAborted(status.status())) continue;
    if (!status.ok()) return status.status();
    // A stranger's is none of ours.
    if (absl::IsFailedPrecondition(CheckOwnership(keys_[i], *status, ownership_))) continue;
    if (semctl(id, 0, IPC_RMID) == 0 || IsRemoved(errno)) continue;
    return ErrnoStatus(errno, absl::StrCat("remove ", NameOf(keys_[i])));
  }
  return RemoveOne();
}

absl::Status NamedMutex::RemoveOne() {
  if (semctl(id_, 0, IPC_RMID) == 0 || IsRemoved(errno)) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("remove ", NameOf(key())));
}

absl::StatusOr<bool> NamedMutex::IsTaken() const {
  const int value = semctl(id_, 0, GETVAL);
  if (value < 0 && IsRemoved(errno)) {
    return absl::AbortedError(absl::StrCat(NameOf(key()), " was removed"));
  }
  if (value < 0) return ErrnoStatus(errno, absl::StrCat("look at ", NameOf(key())));
  return value > 0;
}

void NamedMutex::WaitUntilFree() const {
  sembuf operation = {.sem_num = 0, .sem_op = 0, .sem_flg = 0};
  // Fails with EIDRM when it is removed.
  (void)RetryOnEintr([&] { return semop(id_, &operation, 1); });
}

absl::StatusOr<std::int64_t> NamedMutex::LastProcess() const {
  const int pid = semctl(id_, 0, GETPID);
  if (pid < 0) return ErrnoStatus(errno, absl::StrCat("look at ", NameOf(key())));
  return pid;
}

bool NamedMutex::MayRemove() const {
  const absl::StatusOr<semid_ds> status = StatusOf(key(), id_);
  const uid_t own = geteuid();
  return status.ok() && (own == 0 || status->sem_perm.uid == own || status->sem_perm.cuid == own);
}

bool NamedMutex::IsAtKey() const { return semget(key(), 1, 0) == id_; }

}  // namespace soleguard::os
