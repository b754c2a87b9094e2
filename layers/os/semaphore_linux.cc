#include <sys/ipc.h>
#include <sys/sem.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <optional>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>

#include "os/os.h"
#include "soleguard/text.h"

namespace soleguard::os {
namespace {

union SemaphoreArgument {  // semctl(2): the caller defines it
  int value;
  semid_ds* status;
};

std::string NameOf(std::int32_t key) {
  return absl::StrFormat("System V semaphore 0x%08x", static_cast<std::uint32_t>(key));
}

// The owner of a semaphore that the caller may not read: /proc/sysvipc/sem lists all of the
// namespace.
std::optional<std::uint32_t> OwnerOf(std::int32_t key) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> list(std::fopen("/proc/sysvipc/sem", "re"),
                                                             &std::fclose);
  if (list == nullptr) return std::nullopt;
  std::array<char, 256> line{};
  while (std::fgets(line.data(), line.size(), list.get()) != nullptr) {
    int listed = 0;
    unsigned owner = 0;
    // NOLINTNEXTLINE(cert-err34-c): a line of the kernel's; the heading does not match
    if (std::sscanf(line.data(), "%d %*d %*o %*u %u", &listed, &owner) == 2 && listed == key) {
      return owner;
    }
  }
  return std::nullopt;
}

absl::Status Refused(std::int32_t key, std::uint32_t owner, std::string_view why) {
  return absl::FailedPreconditionError(
      absl::StrCat(NameOf(key), " ", std::string(why), "; it belongs to ",
                   EscapeBytes(UserName(owner)), " (uid ", owner, "). ipcs -s shows it"));
}

absl::Status CheckOwnership(std::int32_t key, int id, const Ownership& ownership) {
  semid_ds status = {};
  SemaphoreArgument argument = {};
  argument.status = &status;
  if (semctl(id, 0, IPC_STAT, argument) != 0) {
    return ErrnoStatus(errno, absl::StrCat("look at ", NameOf(key)));
  }
  const ipc_perm& permissions = status.sem_perm;
  if (status.sem_nsems != 1) {
    return Refused(key, permissions.uid, absl::StrCat("is a set of ", status.sem_nsems));
  }
  switch (ownership.rule) {
    case Ownership::Rule::kAnyone:
    case Ownership::Rule::kOwnerOrRoot:
      return absl::OkStatus();
    case Ownership::Rule::kOwner:
      if (permissions.uid != ownership.uid || permissions.cuid != ownership.uid) {
        return Refused(key, permissions.cuid, "was made by another user");
      }
      if ((permissions.mode & 0077) != 0) {
        return Refused(key, permissions.uid, "is open to other users");
      }
      return absl::OkStatus();
    case Ownership::Rule::kGroup:
      if (permissions.gid != ownership.gid) {
        return Refused(key, permissions.cuid, absl::StrCat("is not of the group ", ownership.gid));
      }
      if ((permissions.mode & 0007) != 0) {
        return Refused(key, permissions.uid, "is open to others than its group");
      }
      return absl::OkStatus();
  }
  return absl::InternalError("unknown ownership rule");
}

// A new one gets the creator's own group; the scope's must be able to use it.
void GiveToGroup(int id, const Ownership& ownership) {
  semid_ds status = {};
  SemaphoreArgument argument = {};
  argument.status = &status;
  if (semctl(id, 0, IPC_STAT, argument) != 0) return;
  if (status.sem_perm.cuid != geteuid() || status.sem_perm.gid == ownership.gid) return;
  status.sem_perm.gid = ownership.gid;
  (void)semctl(id, 0, IPC_SET, argument);  // fails: the check that follows says so
}

}  // namespace

absl::StatusOr<UndoSemaphore> UndoSemaphore::Open(std::int32_t key, const Ownership& ownership,
                                                  Create create) {
  const bool shared = ownership.rule == Ownership::Rule::kGroup;
  const int flags = create == Create::kYes ? IPC_CREAT | (shared ? 0660 : 0600) : 0;
  const int id = semget(key, 1, flags);
  if (id < 0) {
    const int error = errno;
    const std::optional<std::uint32_t> owner = error == EACCES ? OwnerOf(key) : std::nullopt;
    if (owner.has_value()) return Refused(key, *owner, "was made by another user");
    if (error == ENOSPC) {
      return absl::ResourceExhaustedError(
          absl::StrCat("cannot create ", NameOf(key),
                       ": the limit of kernel.sem is reached (ipcs -ls, sysctl)"));
    }
    return ErrnoStatus(error, absl::StrCat("open ", NameOf(key)));
  }
  if (create == Create::kYes && shared) GiveToGroup(id, ownership);
  absl::Status checked = CheckOwnership(key, id, ownership);
  if (!checked.ok()) return checked;
  return UndoSemaphore(key, id);
}

// NOLINTNEXTLINE(readability-make-member-function-const): changes the kernel's object
absl::StatusOr<bool> UndoSemaphore::TryTake() {
  std::array<sembuf, 2> operations = {
      sembuf{.sem_num = 0, .sem_op = 0, .sem_flg = IPC_NOWAIT},
      sembuf{.sem_num = 0, .sem_op = 1, .sem_flg = IPC_NOWAIT | SEM_UNDO}};
  if (RetryOnEintr([&] { return semop(id_, operations.data(), operations.size()); }) == 0) {
    return true;
  }
  if (errno == EAGAIN) return false;
  if (errno == EIDRM || errno == EINVAL) {
    return absl::AbortedError(absl::StrCat(NameOf(key_), " was removed"));
  }
  return ErrnoStatus(errno, absl::StrCat("take ", NameOf(key_)));
}

// NOLINTNEXTLINE(readability-make-member-function-const): changes the kernel's object
void UndoSemaphore::Give() {
  sembuf operation = {.sem_num = 0, .sem_op = -1, .sem_flg = IPC_NOWAIT | SEM_UNDO};
  (void)semop(id_, &operation, 1);  // fails when it was removed: then it is given back already
}

absl::Status UndoSemaphore::Remove() {
  if (semctl(id_, 0, IPC_RMID) == 0 || errno == EIDRM || errno == EINVAL) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("remove ", NameOf(key_)));
}

absl::StatusOr<bool> UndoSemaphore::IsTaken() const {
  const int value = semctl(id_, 0, GETVAL);
  if (value < 0) return ErrnoStatus(errno, absl::StrCat("look at ", NameOf(key_)));
  return value > 0;
}

void UndoSemaphore::WaitUntilFree() const {
  sembuf operation = {.sem_num = 0, .sem_op = 0, .sem_flg = 0};
  // Fails with EIDRM when it is removed.
  (void)RetryOnEintr([&] { return semop(id_, &operation, 1); });
}

absl::StatusOr<std::int64_t> UndoSemaphore::LastProcess() const {
  const int pid = semctl(id_, 0, GETPID);
  if (pid < 0) return ErrnoStatus(errno, absl::StrCat("look at ", NameOf(key_)));
  return pid;
}

bool UndoSemaphore::IsAtKey() const { return semget(key_, 1, 0) == id_; }

}  // namespace soleguard::os
