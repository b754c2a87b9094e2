#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <new>
#include <utility>

#include <absl/strings/str_cat.h>

#include "os/answer.h"
#include "os/denied.h"
#include "os/error.h"
#include "os/file.h"
#include "os/kept_fd.h"
#include "os/ownership.h"
#include "os/path.h"
#include "os/umask.h"
#include "os/user_scope.h"
#include "os/view.h"
#include "soleguard/process.h"
#include "soleguard/scope_view.h"
#include "soleguard/text.h"

namespace soleguard::os {
namespace {

// O_NONBLOCK: a planted FIFO or device must not hang the caller.
constexpr int kSafe = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;

std::string_view TypeName(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "a regular file";
    case S_IFDIR:
      return "a directory";
    case S_IFLNK:
      return "a symbolic link";
    case S_IFIFO:
      return "a FIFO";
    case S_IFSOCK:
      return "a socket";
    default:
      return "a device";
  }
}

absl::Status Refused(const std::string& path, const struct stat& status, std::string_view why) {
  return absl::FailedPreconditionError(
      absl::StrCat(EscapeBytes(path), " ", std::string(why), "; it belongs to ", Who(status.st_uid),
                   ". Find out who put it there before you remove it"));
}

mode_t DirectoryMode(const Ownership& ownership) {
  return ownership.rule == Ownership::Rule::kGroup ? 02770 : 0700;
}
mode_t FileMode(const Ownership& ownership) {
  return ownership.rule == Ownership::Rule::kGroup ? 0660 : 0600;
}

absl::Status CheckOwnership(const std::string& path, const struct stat& status,
                            const Ownership& ownership) {
  // A file in a directory of the right mode cannot be reached by others, whatever its own mode; one
  // that others may write was not made here.
  const mode_t forbidden = S_ISDIR(status.st_mode) ? 0077 : 0022;
  switch (ownership.rule) {
    case Ownership::Rule::kOwnerOrRoot:
      if (MayOwn(status.st_uid, ownership) || status.st_uid == 0) return absl::OkStatus();
      return Refused(path, status, absl::StrCat("was not made by ", Who(ownership.uid)));
    case Ownership::Rule::kOwner:
      if (!MayOwn(status.st_uid, ownership)) {
        return Refused(path, status, absl::StrCat("was not made by ", Who(ownership.uid)));
      }
      if ((status.st_mode & forbidden) != 0) {
        return Refused(path, status, "is open to other users (chmod go= mends that)");
      }
      return absl::OkStatus();
    case Ownership::Rule::kGroup:
      // Nobody can give his file to a group that he is not in (chown(2)).
      if (status.st_gid != ownership.gid || IsHiddenGroup(ownership.gid)) {
        return Refused(path, status, absl::StrCat("is not of the group ", ownership.gid));
      }
      if ((status.st_mode & 0007) != 0) {
        return Refused(path, status, "is open to others than its group (chmod o= mends that)");
      }
      return absl::OkStatus();
  }
  return absl::InternalError("unknown ownership rule");
}

// `status` is what was looked at.
absl::Status CheckOpened(const KeptFd& kept, mode_t type, const std::string& path,
                         const Ownership* ownership, struct stat& status) {
  if (fstat(kept.get(), &status) != 0) {
    return ErrnoStatus(errno, absl::StrCat("fstat ", EscapeBytes(path)));
  }
  if ((status.st_mode & S_IFMT) != type) {
    return Refused(path, status,
                   absl::StrCat("is ", std::string(TypeName(status.st_mode)), ", not ",
                                std::string(TypeName(type))));
  }
  if (ownership == nullptr) return absl::OkStatus();
  // A second name for the file may stand where somebody else reads or replaces it, or the file may
  // be somebody's that must not be written. 0 is a file that was just unlinked: the caller compares
  // paths.
  if (type == S_IFREG && status.st_nlink > 1) {
    return Refused(path, status, "has more than one hard link");
  }
  return CheckOwnership(path, status, *ownership);
}

// The error of an open that failed, with the planter named where something was in the way.
absl::Status OpenError(int error, const Entry& entry, std::string_view what) {
  struct stat status = {};
  const bool in_the_way = error == ELOOP || error == ENOTDIR || error == EISDIR || error == ENXIO;
  if (in_the_way && fstatat(entry.parent, entry.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) {
    return Refused(entry.path, status, absl::StrCat("is ", std::string(TypeName(status.st_mode))));
  }
  return PathError(error, what, entry.path);
}

// Under a strict umask an object that this process made may lack bits that its group needs.
void WidenMode(const KeptFd& kept, const struct stat& status, mode_t wanted) {
  if (status.st_uid != geteuid() || (status.st_mode & wanted) == wanted) return;
  (void)fchmod(kept.get(), wanted);  // fails: the next open by another member says so
}

struct Wanted {
  mode_t type = 0;
  int flags = 0;
  mode_t made_with = 0;  // by O_CREAT
  mode_t at_least = 0;   // the mode of what this user made
};

// What a file in a new directory needs, at least.
constexpr std::size_t kRoom = 4096;

// What a group shares is right from its birth; what has one owner is his with any mode.
int Make(const Ownership& ownership, const std::function<int()>& make) {
  return ownership.rule == Ownership::Rule::kGroup ? WithoutUmask(make) : make();
}

// Opens and checks; what is refused is closed again. `ownership`: nullptr checks the type alone.
absl::Status KeepChecked(const Entry& entry, const Wanted& wanted, const Ownership* ownership,
                         KeptFd& kept) {
  int error = 0;
  absl::Status opened = kept.Keep(absl::StrCat("open ", EscapeBytes(entry.path)), [&] {
    const int fd = openat(entry.parent, entry.name.c_str(), wanted.flags | kSafe, wanted.made_with);
    error = fd < 0 ? errno : 0;
    return fd;
  });
  if (error != 0) return OpenError(error, entry, "open");
  if (!opened.ok()) return opened;
  struct stat status = {};
  absl::Status checked = CheckOpened(kept, wanted.type, entry.path, ownership, status);
  if (!checked.ok()) {
    kept.Close();
  } else if (wanted.at_least != 0) {
    WidenMode(kept, status, wanted.at_least);
  }
  return checked;
}

// What was made under a umask that takes its owner's bits too: gives them back. `made`: by this
// start just now. One that was killed before it could do that shows by no bit at all; what its
// owner chose to keep from being written stays so.
bool GiveToOwner(const Entry& entry, mode_t type, bool made) {
  const UniqueFd found(RetryOnEintr(
      [&] { return openat(entry.parent, entry.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC); }));
  struct stat status = {};
  if (!found || fstat(found.get(), &status) != 0) return false;
  const mode_t needed = type == S_IFDIR ? S_IRWXU : S_IRUSR | S_IWUSR;
  if ((status.st_mode & S_IFMT) != type || status.st_uid != geteuid() ||
      (status.st_mode & needed) == needed || (type == S_IFREG && status.st_nlink > 1)) {
    return false;
  }
  if (!made && (status.st_mode & S_IRWXU) != 0) return false;
  // By its descriptor: the name may lead elsewhere by now.
  const std::string path = absl::StrCat("/proc/self/fd/", found.get());
  return chmod(path.c_str(), (status.st_mode & ~mode_t{S_IFMT}) | needed) == 0;
}

// As KeepChecked, for a start, of what nobody but soleguard makes.
absl::Status KeepForStart(const Entry& entry, const Wanted& wanted, const Ownership& ownership,
                          KeptFd& kept, bool made = false) {
  absl::Status opened = KeepChecked(entry, wanted, &ownership, kept);
  const bool may_be_anothers = ownership.rule == Ownership::Rule::kOwnerOrRoot;
  if (!absl::IsPermissionDenied(opened) || may_be_anothers ||
      !GiveToOwner(entry, wanted.type, made)) {
    return opened;
  }
  return KeepChecked(entry, wanted, &ownership, kept);
}

// A directory in which strangers can rename or remove entries keeps nothing in its place, nor does
// one that lies below such a one. `user` may: the scope is his. Of a user's own scope the place is
// decided by rule, and the directories above the first are root's.
absl::Status CheckDirectoriesAbove(const std::string& path, UniqueFd above, std::uint32_t user,
                                   bool is_own) {
  constexpr int kMostSteps = 4096;
  FileIdentity last;
  std::string parent = path;
  for (int step = 0; step < kMostSteps && above; ++step) {
    if (step > 0 && is_own) return absl::OkStatus();
    struct stat status = {};
    if (fstat(above.get(), &status) != 0) break;
    const FileIdentity directory{.device = status.st_dev, .inode = status.st_ino};
    if (step > 0 && directory == last) return absl::OkStatus();  // the root directory
    last = directory;
    parent = parent.substr(0, std::max<std::size_t>(parent.rfind('/'), 1));
    const bool open_to_others = (status.st_mode & S_IWOTH) != 0 && (status.st_mode & S_ISVTX) == 0;
    // Whom a user namespace hides is root above all: a directory that was asked for by its path
    // serves there all the same.
    const bool is_hidden = IsHiddenUser(status.st_uid) && !is_own;
    const bool owned_by_stranger =
        !IsRoot(status.st_uid) && status.st_uid != geteuid() && status.st_uid != user && !is_hidden;
    if (open_to_others || owned_by_stranger) {
      return Refused(parent, status, "lets other users move what is in it");
    }
    above = UniqueFd(
        RetryOnEintr([&] { return openat(above.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC); }));
  }
  return ErrnoStatus(errno, absl::StrCat("look at the directories above ", EscapeBytes(path)));
}

UniqueFd OpenParent(const std::string& path) {
  const std::string parent = path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
  return UniqueFd(
      RetryOnEintr([&] { return open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC); }));
}

// Whether a file of `size` bytes could be made beside `entry`.
absl::Status CheckMayMake(const Entry& entry, std::size_t size) {
  const std::string what = absl::StrCat("make ", EscapeBytes(entry.path));
  // An absolute path has no open parent.
  const UniqueFd above = entry.path == entry.name ? OpenParent(entry.path) : UniqueFd();
  const int parent = above ? above.get() : entry.parent;
  const UniqueFd probe(RetryOnEintr(
      [&] { return openat(parent, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR); }));
  if (probe) {
    const absl::Status written = WriteAt(probe.get(), std::string(size, '\0'));
    if (written.ok()) return written;
    return absl::Status(written.code(), absl::StrCat("cannot ", what, ": ", written.message()));
  }
  int error = errno;
  // What a filesystem without such files, or a kernel, says of them.
  if (error == EOPNOTSUPP || error == EISDIR || error == EINVAL) {
    error = faccessat(parent, ".", W_OK | X_OK, AT_EACCESS) == 0 ? 0 : errno;
    struct statvfs space = {};
    if (error == 0 && fstatvfs(parent, &space) == 0) {
      const bool full =
          (size > 0 && space.f_bavail == 0) || (space.f_files > 0 && space.f_favail == 0);
      error = full ? ENOSPC : 0;
    }
  }
  if (error == 0) return absl::OkStatus();
  // NotFound is what could be made.
  if (error == ENOENT || error == EBADF) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot ", what, ": No such file or directory"));
  }
  return PathError(error, "make", entry.path);
}

// Who shares the scope: its directory says so, whoever asks.
absl::StatusOr<Ownership> OwnershipBy(const std::string& path, const struct stat& status) {
  if ((status.st_mode & S_IWGRP) != 0 && (status.st_mode & S_IWOTH) == 0) {
    if ((status.st_mode & S_ISGID) == 0) {
      return Refused(path, status, "does not give its group to what is made in it (chmod g+s)");
    }
    return Ownership{.rule = Ownership::Rule::kGroup,
                     .uid = status.st_uid,
                     .gid = status.st_gid,
                     .directory = path};
  }
  if ((status.st_mode & S_IWOTH) != 0 && (status.st_mode & S_ISVTX) == 0) {
    return Refused(path, status, "lets other users move what is in it (chmod o-w mends that)");
  }
  // With the sticky bit it has an owner and many users: each has only what is his.
  const bool is_public = (status.st_mode & S_IWOTH) != 0;
  return Ownership{.rule = Ownership::Rule::kOwner,
                   .uid = is_public ? geteuid() : status.st_uid,
                   .gid = status.st_gid};
}

// What a start needs beside that.
absl::Status CheckMayStart(const std::string& path, const struct stat& status, const KeptFd& kept,
                           const Ownership& ownership) {
  absl::StatusOr<Ownership> caller = OwnershipOfCaller();
  if (!caller.ok()) return caller.status();
  if (ownership.rule == Ownership::Rule::kOwner && !IsRoot(status.st_uid) &&
      status.st_uid != geteuid()) {
    return absl::FailedPreconditionError(absl::StrCat(
        EscapeBytes(path), " belongs to ", Who(status.st_uid), ", and a start there by ",
        Who(geteuid()), " could be undone by that user: ", StartAs(status.st_uid),
        ", or choose another scope"));
  }
  // On a filesystem that cannot be written the layers say so, each for itself.
  const int error = faccessat(kept.get(), ".", W_OK | X_OK, AT_EACCESS) == 0 ? 0 : errno;
  if (error == EACCES) {
    return Refused(path, status,
                   absl::StrCat("has mode ", Octal(status.st_mode), " and cannot be written by ",
                                Who(geteuid()),
                                " (Permission denied), so that nothing in it can be the caller's: "
                                "start as its owner or as a member of its group, or choose another "
                                "scope"));
  }
  if (error != 0 && error != EROFS) {
    return ErrnoStatus(error, absl::StrCat("ask who may write ", EscapeBytes(path)));
  }
  return CheckDirectoriesAbove(path, UniqueFd(RetryOnEintr([&] {
                                 return openat(kept.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
                               })),
                               ownership.uid,
                               /*is_own=*/false);
}

// Shows that this user is a member of the group (MayOwn).
void ShowMembership(const KeptFd& kept, const Ownership& ownership) {
  if (ownership.rule != Ownership::Rule::kGroup || geteuid() == 0) return;
  const std::string name = absl::StrCat("member.", geteuid());
  struct stat status = {};
  if (fstatat(kept.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) return;
  // Fails on a full disk, say: then what this user makes elsewhere is not believed by others.
  const UniqueFd made(RetryOnEintr(
      [&] { return openat(kept.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | kSafe, 0660); }));
}

// Whatever its owner.
absl::Status KeepDirectoryOfAny(const Entry& entry, KeptFd& kept) {
  return KeepChecked(entry, {.type = S_IFDIR, .flags = O_RDONLY | O_DIRECTORY}, nullptr, kept);
}

absl::StatusOr<Ownership> KeepOwnScopeDirectory(const Entry& entry, Create create, KeptFd& kept) {
  absl::StatusOr<Ownership> owner = OwnershipOfCaller();
  if (!owner.ok()) return owner;
  absl::Status opened =
      CheckDirectoriesAbove(entry.path, OpenParent(entry.path), owner->uid, /*is_own=*/true);
  if (opened.ok()) opened = KeepDirectory(entry, *owner, create, kept);
  if (!opened.ok()) return opened;
  return owner;
}

}  // namespace

absl::StatusOr<Ownership> KeepScopeDirectory(const Scope& scope, Create create, KeptFd& kept) {
  const std::string& path = scope.directory();
  const Entry entry{.parent = AT_FDCWD, .name = path, .path = path};
  if (scope.kind() == Scope::Kind::kUser) {
    absl::Status visible = CheckPlace(scope);
    if (!visible.ok()) return visible;
    return KeepOwnScopeDirectory(entry, create, kept);
  }

  if (scope.kind() == Scope::Kind::kDirectory) {
    absl::Status answered = AwaitAnswer(path, create);
    if (!answered.ok()) return answered;
  }
  absl::Status opened = KeepDirectoryOfAny(entry, kept);
  if (absl::IsNotFound(opened) && create != Create::kNo) {
    if (scope.kind() == Scope::Kind::kSystem) {
      // Which group shares the system scope is the administrator's choice: it is never created
      // here.
      return absl::FailedPreconditionError(
          absl::StrCat(path, " does not exist. Create it for the group that shares it: install -d ",
                       "-m 2770 -g GROUP ", path));
    }
    if (const std::optional<std::uint32_t> user = UserOfScopeAt(path)) {
      if (*user != geteuid()) {
        return absl::FailedPreconditionError(
            absl::StrCat(EscapeBytes(path), " does not exist: it is for the user scope of ",
                         Who(*user), ", whose first start makes it; ", StartAs(*user)));
      }
    }
    UniqueFd parent = OpenParent(path);
    if (parent) {
      absl::Status above = CheckDirectoriesAbove(path, std::move(parent), geteuid(), false);
      if (!above.ok()) return above;
    }
    opened =
        KeepDirectory(entry, {.rule = Ownership::Rule::kOwner, .uid = geteuid()}, create, kept);
  }
  if (!opened.ok()) return opened;
  struct stat status = {};
  if (fstat(kept.get(), &status) != 0) {
    return ErrnoStatus(errno, absl::StrCat("fstat ", EscapeBytes(path)));
  }
  absl::StatusOr<Ownership> ownership = OwnershipBy(path, status);
  if (!ownership.ok() || create == Create::kNo) return ownership;
  absl::Status may_start = CheckMayStart(path, status, kept, *ownership);
  if (!may_start.ok()) return may_start;
  if (create == Create::kYes) ShowMembership(kept, *ownership);
  return ownership;
}

absl::Status KeepDirectory(const Entry& entry, const Ownership& ownership, Create create,
                           KeptFd& kept) {
  Wanted wanted{.type = S_IFDIR, .flags = O_RDONLY | O_DIRECTORY};
  absl::Status opened = create == Create::kYes ? KeepForStart(entry, wanted, ownership, kept)
                                               : KeepChecked(entry, wanted, &ownership, kept);
  if (create == Create::kNo || !absl::IsNotFound(opened)) return opened;
  if (create == Create::kAsIf) {
    absl::Status may_make = CheckMayMake(entry, kRoom);
    return may_make.ok() ? opened : may_make;
  }

  // Made only where it is missing: to learn from mkdir(2) that it is there takes the lock of the
  // parent, in which all starts of a scope meet.
  const mode_t mode = DirectoryMode(ownership);
  const bool made =
      Make(ownership, [&] { return mkdirat(entry.parent, entry.name.c_str(), mode); }) == 0;
  if (!made && errno != EEXIST) return OpenError(errno, entry, "create");
  if (made) wanted.at_least = mode;
  return KeepForStart(entry, wanted, ownership, kept, made);
}

absl::Status KeepFile(const Entry& entry, const Ownership& ownership, Create create, KeptFd& kept) {
  Wanted wanted{.type = S_IFREG, .flags = create == Create::kNo ? O_RDONLY : O_RDWR};
  if (create != Create::kYes) return KeepChecked(entry, wanted, &ownership, kept);
  const mode_t mode = FileMode(ownership);
  // The mode of a file that another program may have made is its own business.
  if (ownership.rule != Ownership::Rule::kOwnerOrRoot) wanted.at_least = mode;
  if (ownership.rule != Ownership::Rule::kGroup) {
    wanted.flags |= O_CREAT;
    wanted.made_with = mode;
    return KeepForStart(entry, wanted, ownership, kept);
  }
  absl::Status opened = KeepChecked(entry, wanted, &ownership, kept);
  if (!absl::IsNotFound(opened)) return opened;
  const UniqueFd made(WithoutUmask(
      [&] { return openat(entry.parent, entry.name.c_str(), O_RDWR | O_CREAT | kSafe, mode); }));
  if (!made) return OpenError(errno, entry, "create");
  return KeepChecked(entry, wanted, &ownership, kept);
}

absl::Status CheckFile(const Entry& entry, const Ownership& ownership, std::size_t size) {
  KeptFd kept;
  const absl::Status opened = KeepFile(entry, ownership, Create::kAsIf, kept);
  struct stat status = {};
  if (opened.ok() && fstat(kept.get(), &status) == 0 &&
      std::cmp_greater_equal(status.st_size, size)) {
    return absl::OkStatus();
  }
  return opened.ok() || absl::IsNotFound(opened) ? CheckMayMake(entry, size) : opened;
}

absl::Status KeepPresence(const Entry& entry, const Ownership& ownership, KeptFd& kept) {
  const mode_t mode = FileMode(ownership);
  // O_RDWR on a FIFO never blocks and needs no reader (fifo(7), Linux).
  const Wanted wanted{.type = S_IFIFO, .flags = O_RDWR, .at_least = mode};
  absl::Status opened = KeepForStart(entry, wanted, ownership, kept);
  if (!absl::IsNotFound(opened)) return opened;
  const int made =
      Make(ownership, [&] { return mkfifoat(entry.parent, entry.name.c_str(), mode); });
  if (made != 0 && errno != EEXIST) return OpenError(errno, entry, "create");
  return KeepForStart(entry, wanted, ownership, kept, made == 0);
}

UniqueFd WatchPresence(const Entry& entry, const Ownership& ownership) {
  KeptFd kept;
  if (!KeepChecked(entry, {.type = S_IFIFO, .flags = O_RDONLY}, &ownership, kept).ok())
    return UniqueFd();
  // A FIFO that had no writer since this open never hangs up (poll(2) on it waits), and read(2)
  // tells: end of file without a writer, EAGAIN with one. A writer that goes between the two is
  // seen by poll.
  char byte = 0;
  const auto got = RetryOnEintr([&] { return read(kept.get(), &byte, 1); });
  if (got >= 0 || errno != EAGAIN) return UniqueFd();
  absl::StatusOr<UniqueFd> watch = kept.Duplicate();
  return watch.ok() ? std::move(*watch) : UniqueFd();
}

void RemoveEntry(const Entry& entry) { (void)unlinkat(entry.parent, entry.name.c_str(), 0); }

absl::Status MoveEntry(const Entry& from, const Entry& to) {
  if (renameat(from.parent, from.name.c_str(), to.parent, to.name.c_str()) == 0) {
    return absl::OkStatus();
  }
  return ErrnoStatus(errno,
                     absl::StrCat("rename ", EscapeBytes(from.path), " to ", EscapeBytes(to.path)));
}

absl::Status RemoveDirectory(const std::string& path) {
  if (rmdir(path.c_str()) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("remove ", EscapeBytes(path)));
}

absl::StatusOr<bool> PathIs(const std::string& path, const FileIdentity& file) {
  return EntryIs({.parent = -1, .name = path, .path = path}, file);
}

absl::StatusOr<bool> EntryIs(const Entry& entry, const FileIdentity& file) {
  const std::string& name = entry.parent < 0 ? entry.path : entry.name;
  struct stat status = {};
  if (fstatat(entry.parent, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return ErrnoStatus(errno, absl::StrCat("stat ", EscapeBytes(entry.path)));
  }
  return FileIdentity{.device = status.st_dev, .inode = status.st_ino} == file;
}

bool IsMissing(const std::string& path) {
  struct stat status = {};
  return lstat(path.c_str(), &status) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

bool IsSharedByEverybody(const char* path) {
  struct stat status = {};
  if (stat(path, &status) != 0) return false;
  constexpr mode_t kNeeded = S_ISVTX | S_IRWXO;
  return S_ISDIR(status.st_mode) && (status.st_mode & kNeeded) == kNeeded && IsRoot(status.st_uid);
}

absl::StatusOr<std::vector<std::string>> NamesIn(int directory) {
  // A description of its own: readdir moves the offset, which a duplicate would share.
  UniqueFd own(
      RetryOnEintr([&] { return openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!own) return ErrnoStatus(errno, "open the directory for reading");
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(own.get()), &closedir);
  if (stream == nullptr) return ErrnoStatus(errno, "read the directory");
  (void)own.release();  // the stream's now
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = readdir(stream.get());  // NOLINT(concurrency-mt-unsafe): own stream
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  if (errno != 0) return ErrnoStatus(errno, "read the directory");
  return names;
}

absl::StatusOr<std::string> StateDirectory() {
  if (geteuid() == 0) return "/var/lib/soleguard";
  absl::StatusOr<std::string> home = HomeDirectory();
  if (!home.ok()) return home;
  return absl::StrCat(*home, "/.local/state/soleguard");
}

absl::Status MakeDirectories(const std::string& directory) {
  if (mkdir(directory.c_str(), 0700) == 0 || errno == EEXIST) return absl::OkStatus();
  if (errno != ENOENT) return PathError(errno, "create", directory);
  const std::size_t slash = directory.rfind('/');
  // Stops at a directory of the root directory: a home or a volume that is not there is not ours to
  // make.
  if (slash == std::string::npos || slash == 0 || directory.rfind('/', slash - 1) == 0) {
    return ErrnoStatus(ENOENT, absl::StrCat("create ", EscapeBytes(directory)));
  }
  absl::Status parent = MakeDirectories(directory.substr(0, slash));
  if (!parent.ok()) return parent;
  if (mkdir(directory.c_str(), 0700) == 0 || errno == EEXIST) return absl::OkStatus();
  return PathError(errno, "create", directory);
}

bool IsOwnersAlone(const std::string& directory) {
  struct stat status = {};
  return lstat(directory.c_str(), &status) == 0 && S_ISDIR(status.st_mode) &&
         status.st_uid == geteuid() && (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

std::optional<std::uint32_t> GroupThatMayWrite(const std::string& directory) {
  struct stat status = {};
  if (stat(directory.c_str(), &status) != 0) return std::nullopt;
  if ((status.st_mode & S_IWGRP) == 0 || (status.st_mode & S_IWOTH) != 0) return std::nullopt;
  return status.st_gid;
}

absl::Status KeepPlace(const std::string& path, KeptFd& kept) {
  return kept.Keep(absl::StrCat("open ", EscapeBytes(path)), [&] {
    return open(path.empty() ? "/" : path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  });
}

std::string WithoutLinks(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> resolved(realpath(path.c_str(), nullptr), &free);
  return resolved != nullptr ? std::string(resolved.get()) : path;
}

}  // namespace soleguard::os
