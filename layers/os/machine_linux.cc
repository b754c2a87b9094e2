#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <netinet/in.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include <absl/strings/ascii.h>
#include <absl/strings/match.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>

#include "os/error.h"
#include "os/file.h"
#include "os/machine.h"
#include "os/path.h"
#include "soleguard/process.h"
#include "soleguard/text.h"

namespace soleguard::os {
namespace {

// Far more than a table of mounts or locks is; what is behind is not looked at.
constexpr std::size_t kMaxTable = std::size_t{4} << 20;
constexpr std::size_t kMaxSetting = std::size_t{256} << 10;

}  // namespace

std::map<std::string, std::uint64_t> NamespacesOf(std::int64_t pid) {
  std::map<std::string, std::uint64_t> found;
  const std::string process = pid == 0 ? "self" : absl::StrCat(pid);
  for (const char* kind : {"pid", "net", "ipc", "mnt", "user", "time"}) {
    std::array<char, 64> link{};
    const ssize_t size = readlink(absl::StrCat("/proc/", process, "/ns/", kind).c_str(),
                                  link.data(), link.size() - 1);
    if (size < 0) continue;
    // "pid:[4026531836]"
    const absl::string_view text(link.data(), static_cast<std::size_t>(size));
    const std::size_t open = text.find('[');
    std::uint64_t inode = 0;
    if (open == absl::string_view::npos || !absl::EndsWith(text, "]")) continue;
    if (absl::SimpleAtoi(text.substr(open + 1, text.size() - open - 2), &inode)) {
      found[kind] = inode;
    }
  }
  return found;
}

bool IsInitialPidNamespace(std::uint64_t inode) {
  return inode == 0xEFFFFFFC;  // include/linux/proc_ns.h; part of the kernel's interface
}

std::optional<std::int64_t> PidFromHere(const ProcessIdentity& identity) {
  const absl::StatusOr<ProcessIdentity> here = IdentityHere(identity);
  return here.ok() ? std::optional(here->pid) : std::nullopt;
}

absl::StatusOr<std::string> ReadSetting(const std::string& path) {
  absl::StatusOr<std::string> text = ReadAll(path, kMaxSetting);
  if (text.ok()) absl::StripTrailingAsciiWhitespace(&*text);
  return text;
}

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

bool MayWriteBelow(std::string path) {
  while (path.size() > 1 && !Exists(path)) path.resize(std::max<std::size_t>(path.rfind('/'), 1));
  return faccessat(AT_FDCWD, path.c_str(), W_OK | X_OK, AT_EACCESS) == 0 || errno == EROFS;
}

std::vector<std::string> FilesIn(const std::string& path, std::string_view suffix) {
  const UniqueFd directory(
      RetryOnEintr([&] { return open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!directory) return {};
  absl::StatusOr<std::vector<std::string>> names = NamesIn(directory.get());
  if (!names.ok()) return {};
  names->erase(std::remove_if(names->begin(), names->end(),
                              [&](const std::string& name) { return !name.ends_with(suffix); }),
               names->end());
  std::sort(names->begin(), names->end());
  return *std::move(names);
}

bool MatchesGlob(const std::string& glob, const std::string& path) {
  return fnmatch(glob.c_str(), path.c_str(), FNM_PATHNAME) == 0;
}

absl::StatusOr<SemaphoreSets> CountSemaphoreSets() {
  union {  // semctl(2): the caller defines it
    int value;
    seminfo* info;
  } argument{};
  seminfo limits{};
  seminfo use{};
  argument.info = &limits;
  if (semctl(0, 0, IPC_INFO, argument) < 0) return ErrnoStatus(errno, "ask for kernel.sem");
  argument.info = &use;
  if (semctl(0, 0, SEM_INFO, argument) < 0) return ErrnoStatus(errno, "count the semaphores");
  return SemaphoreSets{.used = use.semusz, .limit = limits.semmni};  // semusz: sets (semctl(2))
}

absl::StatusOr<bool> IsOwnAddress(std::uint32_t address) {
  const UniqueFd socket_fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket_fd) return ErrnoStatus(errno, "create a socket");
  sockaddr_in any_port = {};
  any_port.sin_family = AF_INET;
  any_port.sin_addr.s_addr = htonl(address);
  const auto* const name = reinterpret_cast<const sockaddr*>(&any_port);
  if (bind(socket_fd.get(), name, sizeof any_port) == 0) return true;
  if (errno == EADDRNOTAVAIL) return false;
  return ErrnoStatus(errno, "bind a socket");
}

bool MayBindPort(std::uint16_t port) {
  const absl::StatusOr<std::string> first =
      ReadSetting("/proc/sys/net/ipv4/ip_unprivileged_port_start");
  int number = 1024;  // before Linux 4.11 there is no setting
  if (first.ok()) (void)absl::SimpleAtoi(*first, &number);
  return port >= number || geteuid() == 0;
}

absl::StatusOr<DescriptorUse> CountDescriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return ErrnoStatus(errno, "getrlimit");
  return DescriptorUse{.used = FilesIn("/proc/self/fd", "").size(), .limit = limit.rlim_cur};
}

bool MayWatchFiles() { return static_cast<bool>(UniqueFd(inotify_init1(IN_CLOEXEC))); }

std::vector<ListedLock> LocksOn(const FileIdentity& file) {
  const absl::StatusOr<std::string> table = ReadAll("/proc/locks", kMaxTable);
  if (!table.ok()) return {};
  const auto device = static_cast<dev_t>(file.device);
  const std::string object =
      absl::StrCat(absl::Hex(major(device), absl::kZeroPad2), ":",
                   absl::Hex(minor(device), absl::kZeroPad2), ":", file.inode);
  std::vector<ListedLock> locks;
  for (const auto line : absl::StrSplit(*table, '\n')) {
    // "1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF"; who waits has "->" after the number
    const std::vector<std::string> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
    constexpr std::size_t kObject = 5;
    if (fields.size() <= kObject || fields[kObject] != object) continue;
    ListedLock lock{.family = fields[1]};
    if (absl::SimpleAtoi(fields[kObject - 1], &lock.pid)) locks.push_back(std::move(lock));
  }
  return locks;
}

absl::StatusOr<FileAccess> AccessTo(int directory) {
  struct stat status = {};
  if (fstat(directory, &status) != 0) return ErrnoStatus(errno, "fstat");
  constexpr mode_t kSticky = S_ISVTX;
  return FileAccess{
      .uid = status.st_uid,
      .writable = faccessat(directory, ".", W_OK | X_OK, AT_EACCESS) == 0 || errno == EROFS,
      .open_to_all = (status.st_mode & S_IWOTH) != 0 && (status.st_mode & kSticky) == 0};
}

}  // namespace soleguard::os
