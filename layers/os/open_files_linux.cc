#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>

#include "os/error.h"
#include "os/lock.h"
#include "os/proc_process_linux.h"
#include "soleguard/process.h"

namespace soleguard {
namespace {

// The first lines of an fdinfo that are wanted stand before any list that could be long.
constexpr std::size_t kDescriptorInfoLimit = std::size_t{64} * 1024;

// What the descriptor `name` refers to. Not synchronised with the server of a network filesystem,
// which may be away: AT_STATX_DONT_SYNC, Linux 4.11. An errno value, or 0.
int DescriptorFile(int directory, const char* name, FileIdentity& file) {
  struct statx result = {};
  const int status = os::RetryOnEintr(
      [&] { return statx(directory, name, AT_STATX_DONT_SYNC, STATX_INO, &result); });
  if (status != 0) return errno;
  file = {.device = makedev(result.stx_dev_major, result.stx_dev_minor), .inode = result.stx_ino};
  return 0;
}

bool HasOpen(const proc::OpenProcess& process, const FileIdentity& file) {
  bool found = false;
  // Descriptors that cannot be listed are another user's: not among those that the caller may see.
  (void)proc::ForEachNumber(process.readable(), "fd", [&](auto, int descriptors, const char* name) {
    FileIdentity opened;
    found = DescriptorFile(descriptors, name, opened) == 0 && opened == file;
    return !found;
  });
  return found;
}

// A lock of an fdinfo: "lock:	1: FLOCK  ADVISORY  WRITE 359 fe:00:1691 0 EOF". The numbers of
// device and inode are not looked at: on overlayfs they are those of the file below.
struct Lock {
  std::string_view kind;
  std::uint64_t offset = 0;
};

// The first lock in what is left of an fdinfo, which is taken off it. Leases are listed there too.
std::optional<Lock> NextLock(std::string_view& descriptor_info) {
  while (std::optional<std::string_view> line = proc::LineAfter(descriptor_info, "lock:")) {
    descriptor_info.remove_prefix(
        static_cast<std::size_t>(line->data() + line->size() - descriptor_info.data()));
    (void)proc::NextField(*line);  // "1:"
    Lock lock{.kind = proc::NextField(*line)};
    if (lock.kind != "FLOCK" && lock.kind != "POSIX" && lock.kind != "OFDLCK") continue;
    for (int other = 0; other < 4; ++other) (void)proc::NextField(*line);
    (void)proc::ParseNumber(proc::NextField(*line), lock.offset);
    return lock;
  }
  return std::nullopt;
}

proc::LongReading DescriptorInfo(const proc::OpenProcess& process, const char* name) {
  return proc::ReadUpTo(process.readable(), absl::StrCat("fdinfo/", name).c_str(),
                        kDescriptorInfoLimit);
}

// Visits each process that may be looked into.
template <typename Visit>
void ForEachProcess(Visit visit) {
  const absl::StatusOr<const proc::Self*> self = proc::OwnSelf();
  const absl::StatusOr<std::vector<std::int64_t>> pids = AllPids();
  if (!self.ok() || !pids.ok()) return;
  for (const std::int64_t pid : *pids) {
    absl::StatusOr<proc::OpenProcess> process = proc::OpenPid(**self, pid);
    if (!process.ok()) continue;
    const ProcessIdentity identity = proc::IdentityFrom(**self, pid, process->stat);
    if (proc::HasEnded(process->stat))
      (void)proc::UseAnotherThread(*process);  // else nothing is seen open
    visit(*process, identity);
  }
}

}  // namespace

std::vector<ProcessIdentity> ProcessesWithOpen(const FileIdentity& file) {
  std::vector<ProcessIdentity> found;
  ForEachProcess([&](const proc::OpenProcess& process, const ProcessIdentity& identity) {
    if (HasOpen(process, file)) found.push_back(identity);
  });
  return found;
}

std::vector<os::OfdLockOwner> os::OfdLockOwners(const FileIdentity& file) {
  std::vector<OfdLockOwner> owners;
  ForEachProcess([&](const proc::OpenProcess& process, const ProcessIdentity& identity) {
    (void)proc::ForEachNumber(
        process.readable(), "fd", [&](auto, int descriptors, const char* name) {
          FileIdentity opened;
          if (DescriptorFile(descriptors, name, opened) != 0 || !(opened == file)) return true;
          const proc::LongReading info = DescriptorInfo(process, name);
          std::string_view rest = info.text;
          while (const std::optional<Lock> lock = NextLock(rest)) {
            if (lock->kind == "OFDLCK")
              owners.push_back({.process = identity, .offset = lock->offset});
          }
          return true;
        });
  });
  return owners;
}

namespace {

// Whether `visit` finds what is wanted among the descriptors of that very process. It is given the
// process, the directory of its descriptors and one name there, says whether that is it, and sets
// `unseen`, an errno value, where it could not look.
template <typename Visit>
absl::StatusOr<bool> FindAmongDescriptors(const ProcessIdentity& identity, Visit visit) {
  const absl::StatusOr<proc::Found> found = proc::Find(identity);
  if (!found.ok()) return found.status();
  bool has = false;
  int unseen = 0;
  int error = proc::ForEachNumber(found->process.readable(), "fd",
                                  [&](auto, int descriptors, const char* name) {
                                    has = visit(found->process, descriptors, name, unseen);
                                    return !has;
                                  });
  if (error == 0 && !has) error = unseen;
  const absl::StatusOr<proc::TaskStat> again = proc::StatOf(*found->self, found->identity);
  if (!again.ok()) return again.status();
  if (error == 0) return has;
  return os::ErrnoStatus(error,
                         absl::StrCat("list the descriptors of process ", found->identity.pid));
}

}  // namespace

absl::StatusOr<bool> HasOpen(const ProcessIdentity& identity, const FileIdentity& file) {
  return FindAmongDescriptors(
      identity, [&](const proc::OpenProcess&, int descriptors, const char* name, int& unseen) {
        FileIdentity opened;
        const int error = DescriptorFile(descriptors, name, opened);
        if (error != 0 && error != ENOENT) unseen = error;  // else it was closed meanwhile
        return error == 0 && opened == file;
      });
}

absl::StatusOr<bool> HoldsLock(const ProcessIdentity& identity, const FileIdentity& file) {
  return FindAmongDescriptors(identity, [&](const proc::OpenProcess& process, int descriptors,
                                            const char* name, int& unseen) {
    FileIdentity opened;
    const int error = DescriptorFile(descriptors, name, opened);
    if (error == EACCES || error == EPERM) unseen = error;
    // Any other failure is a descriptor that was closed meanwhile, or a file that does not answer.
    if (error != 0 || !(opened == file)) return false;
    const proc::LongReading info = DescriptorInfo(process, name);
    if (info.error != 0 && info.error != ENOENT) unseen = info.error;
    std::string_view text = info.text;
    return NextLock(text).has_value();
  });
}

}  // namespace soleguard
