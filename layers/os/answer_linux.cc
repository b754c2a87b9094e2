// Filesystems that somebody serves: another machine, or a program (FUSE). When the server is away,
// a call hangs in a state in which not even SIGKILL ends the thread, and the process could not
// exit.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/time/time.h>

#include "os/answer.h"
#include "os/error.h"
#include "os/helper_linux.h"
#include "os/kept_fd.h"
#include "os/mount.h"
#include "os/path.h"
#include "soleguard/patience.h"
#include "soleguard/text.h"

namespace soleguard::os {
namespace {

// An automount is made by whoever comes there first, who waits for its server.
bool IsServed(const std::string& type) {
  return IsNetworkFilesystem(type) || type.starts_with("fuse") || type == "virtiofs" ||
         type == "autofs";
}

struct Question {
  const char* directory = nullptr;
  Create create = Create::kNo;
};

// What a start does there: opens the directory and a file in it, and locks that; shared, so that
// two who ask do not meet. Whatever comes out is an answer. In a helper.
void Ask(const void* argument) {
  const auto& [directory, create] = *static_cast<const Question*>(argument);
  // As the start that asks would make it.
  if (create == Create::kYes) (void)syscall(SYS_mkdirat, AT_FDCWD, directory, 0700);
  const auto opened = syscall(SYS_openat, AT_FDCWD, directory, O_RDONLY | O_DIRECTORY);
  const auto file = syscall(SYS_openat, opened, "answer",
                            O_RDWR | O_NOFOLLOW | (create == Create::kYes ? O_CREAT : 0), 0660);
  (void)syscall(SYS_flock, file, LOCK_SH | LOCK_NB);
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  (void)syscall(SYS_fcntl, file, F_OFD_GETLK, &lock);
}

bool Ended(const UniqueFd& helper, absl::Duration patience) {
  return WaitForAny({&helper, 1}, patience) && HasEnded(helper);
}

// What is known of directories.
class Directories {
 public:
  // One per process, never destroyed: a Guard with static storage duration may look later. A forked
  // child gets an empty one: the mutex that it inherited is perhaps locked for ever, and the
  // helpers are its parent's children.
  static Directories& OfThisProcess() {
    static std::atomic<Directories*> current{nullptr};
    Directories* found = current.load();
    while (found == nullptr || !found->process_.IsCurrent()) {
      auto fresh = std::make_unique<Directories>(found);
      if (current.compare_exchange_strong(found, fresh.get())) return *fresh.release();
    }
    return *found;
  }
  explicit Directories(const Directories* inherited) : inherited_(inherited) {}
  // The served filesystem that it is on; nullptr: it is on no such. Found out once: a mount that
  // comes later, over a directory in use, is not noticed.
  const Filesystem* ServedBy(const std::string& directory) {
    {
      const std::lock_guard lock(mutex_);
      const auto found = served_.find(directory);
      if (found != served_.end()) return found->second.get();
    }
    // Without the lock: the table of mounts can be long.
    absl::StatusOr<std::optional<Filesystem>> mount = MountOnTheWay(directory, &IsServed);
    if (!mount.ok()) return nullptr;  // for now: the next call asks again
    std::unique_ptr<const Filesystem> served;
    if (mount->has_value()) served = std::make_unique<Filesystem>(**std::move(mount));
    const std::lock_guard lock(mutex_);
    // What another thread has found out meanwhile stays: somebody may look at it.
    const auto found = served_.try_emplace(directory, std::move(served)).first;
    return found->second.get();
  }
  // Whether a helper still waits for an answer of what is mounted there.
  bool IsUnanswered(const std::string& mount_point) {
    const std::lock_guard lock(mutex_);
    const auto found = helpers_.find(mount_point);
    if (found == helpers_.end()) return false;
    if (!Ended(found->second, absl::ZeroDuration())) return true;
    helpers_.erase(found);
    return false;
  }
  void SetUnanswered(const std::string& mount_point, UniqueFd helper) {
    const std::lock_guard lock(mutex_);
    helpers_.insert_or_assign(mount_point, std::move(helper));
  }

 private:
  const ProcessMark process_;
  [[maybe_unused]] const Directories* const inherited_;  // of the parent: kept reachable, no more
  std::mutex mutex_;
  std::map<std::string, std::unique_ptr<const Filesystem>> served_;
  std::map<std::string, UniqueFd> helpers_;
};

}  // namespace

bool IsNetworkFilesystem(const std::string& type) {
  for (const char* const known : {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph",
                                  "coda", "lustre", "fuse.sshfs", "gfs2", "ocfs2"}) {
    if (type == known) return true;
  }
  return false;
}

std::string ServedMountAbove(const std::string& path) {
  const Filesystem* mount = Directories::OfThisProcess().ServedBy(path);
  return mount == nullptr ? "" : mount->mount_point;
}

namespace {

// `next`: what to do about a server that is silent.
absl::Status Await(const std::string& directory, Create create, const char* next) {
  Directories& directories = Directories::OfThisProcess();
  const Filesystem* mount = directories.ServedBy(directory);
  if (mount == nullptr) return absl::OkStatus();
  const absl::Duration patience = Patience::Left();
  const absl::Status silent = absl::DeadlineExceededError(absl::StrCat(
      EscapeBytes(directory), " is on ", EscapeBytes(mount->type), " (", EscapeBytes(mount->source),
      ", mounted at ", EscapeBytes(mount->mount_point), "), which does not answer within ",
      absl::FormatDuration(absl::Trunc(patience, absl::Milliseconds(1))), ". ", next));
  // The first one waits, the others know, whatever they want of that server.
  if (directories.IsUnanswered(mount->mount_point)) return silent;
  const Question question{.directory = directory.c_str(), .create = create};
  UniqueFd helper = StartHelper({.run = &Ask, .argument = &question});
  if (!helper) return ErrnoStatus(errno, "start a process that asks the filesystem");
  if (Ended(helper, patience)) return absl::OkStatus();
  directories.SetUnanswered(mount->mount_point, std::move(helper));
  return silent;
}

}  // namespace

absl::Status AwaitAnswer(const std::string& directory, Create create) {
  return Await(directory, create,
               "Look at its server, or choose a scope on a local filesystem, such as /run");
}

}  // namespace soleguard::os

namespace soleguard {

absl::Status AwaitFilesystem(const std::string& directory) {
  return os::Await(directory, os::Create::kNo, "Look at its server");
}

}  // namespace soleguard
