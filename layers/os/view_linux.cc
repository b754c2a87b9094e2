#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>
#include <absl/time/time.h>

#include "os/answer.h"
#include "os/error.h"
#include "os/helper_linux.h"
#include "os/machine.h"
#include "os/mount.h"
#include "os/path.h"
#include "os/view.h"
#include "soleguard/patience.h"
#include "soleguard/text.h"

namespace soleguard::os {
namespace {

// include/linux/proc_ns.h; part of the kernel's interface.
constexpr std::uint64_t kFirstUserNamespace = 0xEFFFFFFD;
constexpr std::uint64_t kFirstPidNamespace = 0xEFFFFFFC;
constexpr std::uint64_t kFirstIpcNamespace = 0xEFFFFFFF;

// 0: it cannot be told, or the kernel has no such namespaces.
std::uint64_t NamespaceAt(const char* link) {
  struct stat status = {};
  return stat(link, &status) == 0 ? status.st_ino : 0;
}

std::uint64_t OwnUserNamespace() { return NamespaceAt("/proc/self/ns/user"); }

bool IsFirst(std::uint64_t own, std::uint64_t first) { return own == first || own == 0; }

// The uid in the parent namespace that the caller's user namespace maps `uid` to. nullopt: none.
std::optional<std::uint32_t> MappedTo(std::uint32_t uid) {
  const absl::StatusOr<std::string> map = ReadSetting("/proc/self/uid_map");
  for (const auto line : absl::StrSplit(map.ok() ? *map : std::string(), '\n')) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    std::uint32_t inside = 0;
    std::uint32_t outside = 0;
    std::uint32_t count = 0;
    if (words.size() != 3 || !absl::SimpleAtoi(words[0], &inside) ||
        !absl::SimpleAtoi(words[1], &outside) || !absl::SimpleAtoi(words[2], &count)) {
      continue;
    }
    if (uid >= inside && uid - inside < count) return outside + (uid - inside);
  }
  return std::nullopt;
}

// The helper mounts a tmpfs in namespaces of its own, which nobody sees and which end with it, and
// gives back the table of its mounts. The options of a tmpfs name the user who mounted it, and by
// the numbers of the first user namespace in whatever namespace that is read
// (shmem_show_options in mm/shmem.c, Linux 3.5 to 6.18; tried nested, and by ordinary users).
constexpr char kSource[] = "soleguard-uid";

struct Question {
  int answer = -1;  // where it goes
  std::uint32_t uid = 0;
};

// In a helper.
void AskKernel(const void* argument) {
  const auto& [answer, uid] = *static_cast<const Question*>(argument);
  (void)syscall(SYS_setfsuid, uid);  // a tmpfs belongs to that one
  if (syscall(SYS_unshare, CLONE_NEWUSER | CLONE_NEWNS) != 0 ||
      syscall(SYS_mount, kSource, "/", "tmpfs", 0UL, nullptr) != 0) {
    return;
  }
  // What is mounted over the root directory hides nothing of it: paths begin below.
  const auto table = syscall(SYS_openat, AT_FDCWD, "/proc/self/mountinfo", O_RDONLY);
  std::array<char, 4096> buffer;
  while (true) {
    const auto got = syscall(SYS_read, table, buffer.data(), buffer.size());
    if (got <= 0 || syscall(SYS_write, answer, buffer.data(), got) != got) break;
  }
}

// The uid in the options of the helper's tmpfs; root's are not shown.
std::optional<std::uint32_t> UidIn(const std::string& table) {
  std::optional<std::uint32_t> uid;
  for (const auto line : absl::StrSplit(table, '\n')) {  // the last one is the helper's own
    const std::size_t at = line.find(absl::StrCat(" - tmpfs ", kSource, " "));
    if (at == absl::string_view::npos) continue;
    std::uint32_t shown = 0;
    const std::size_t option = line.find(",uid=", at);
    if (option != absl::string_view::npos) {
      absl::string_view number = line.substr(option + 5);
      if (!absl::SimpleAtoi(number.substr(0, number.find(',')), &shown)) continue;
    }
    uid = shown;
  }
  return uid;
}

// All that comes through `end` until nobody has the other one any more; nullopt after two seconds,
// or what the caller waits for.
std::optional<std::string> ReadToEnd(const UniqueFd& end) {
  const Patience patience(std::min(Patience::Left(), absl::Seconds(2)));
  std::string text;
  std::array<char, 4096> buffer;
  while (WaitForAny({&end, 1}, Patience::Left())) {
    const ssize_t got = RetryOnEintr([&] { return read(end.get(), buffer.data(), buffer.size()); });
    if (got <= 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return std::nullopt;
}

// What the helper answers; nullopt: it could not be started, or did not answer in time.
std::optional<std::string> AskHelper(std::uint32_t uid) {
  std::array<int, 2> ends = {-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return std::nullopt;
  const UniqueFd answer(ends[0]);
  UniqueFd other_end(ends[1]);
  const Question question{.answer = other_end.get(), .uid = uid};
  const UniqueFd helper =
      StartHelper({.run = &AskKernel, .argument = &question, .descriptor = other_end.get()});
  if (!helper) return std::nullopt;
  other_end.reset();
  std::optional<std::string> table = ReadToEnd(answer);
  (void)syscall(SYS_pidfd_send_signal, helper.get(), SIGKILL, nullptr, 0);  // or it has ended
  siginfo_t info = {};
  (void)RetryOnEintr(
      [&] { return waitid(P_PIDFD, static_cast<id_t>(helper.get()), &info, WEXITED | __WALL); });
  return table;
}

// What was found out, by all that it depends on. A list that only grows, so that neither a thread
// nor a forked child meets a lock.
template <typename Key, typename Value>
class Memory {
 public:
  const Value* Find(const Key& key) const {
    const Entry* each = newest_.load();
    while (each != nullptr && each->key != key) each = each->next;
    return each == nullptr ? nullptr : &each->value;
  }
  void Add(Key key, Value value) {
    constexpr int kMost = 1000;  // of a server that acts for each of its users in turn
    auto entry = std::make_unique<Entry>(
        Entry{.key = std::move(key), .value = std::move(value), .next = newest_.load()});
    do {
      entry->size = entry->next == nullptr ? 1 : entry->next->size + 1;
      if (entry->size > kMost) return;
    } while (!newest_.compare_exchange_weak(entry->next, entry.get()));
    (void)entry.release();  // the list's, for ever
  }

 private:
  struct Entry {
    Key key;
    Value value;
    const Entry* next = nullptr;
    int size = 1;
  };
  std::atomic<const Entry*> newest_{nullptr};
};

// A user namespace, and a user in it.
Memory<std::pair<std::uint64_t, std::uint32_t>, OutsideUser> outside_users;

absl::Status NotMapped() {
  return absl::FailedPreconditionError(
      "this process is in a user namespace that does not map its own uid: what it makes cannot be "
      "told from what strangers make. Map it (unshare --map-user=, bwrap --uid)");
}

}  // namespace

absl::StatusOr<OutsideUser> FindOutsideUser() {
  const std::uint32_t uid = geteuid();
  const std::uint64_t user_namespace = OwnUserNamespace();
  if (IsFirst(user_namespace, kFirstUserNamespace)) return OutsideUser{.uid = uid};
  const std::pair key(user_namespace, uid);
  if (const OutsideUser* found = outside_users.Find(key)) return *found;
  const std::optional<std::uint32_t> mapped = MappedTo(uid);
  if (!mapped.has_value()) return NotMapped();
  const std::optional<std::string> table = AskHelper(uid);
  // Without the mount: no group is mapped, a chroot, seccomp, a limit.
  const std::optional<std::uint32_t> said = table.has_value() ? UidIn(*table) : std::nullopt;
  const OutsideUser user{.uid = said.value_or(*mapped), .certain = said.has_value()};
  if (table.has_value()) outside_users.Add(key, user);
  return user;
}

bool IsInUserNamespace() { return !IsFirst(OwnUserNamespace(), kFirstUserNamespace); }

bool IsRoot(std::uint32_t owner) {
  if (owner == 0) return true;
  if (!IsInUserNamespace()) return false;
  struct stat proc = {};  // the system's root owns it, whoever has mounted it (fs/proc/root.c)
  return stat("/proc", &proc) == 0 && proc.st_uid == owner;
}

bool IsOwnDirectory(const std::string& path) {
  struct stat status = {};
  return lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid();
}

bool IsInContainer() {
  return !IsFirst(NamespaceAt("/proc/self/ns/pid"), kFirstPidNamespace) &&
         !IsFirst(NamespaceAt("/proc/self/ns/ipc"), kFirstIpcNamespace);
}

bool SharesUsersWithProcess1() {
  const std::uint64_t theirs = NamespaceAt("/proc/1/ns/user");  // 0: the caller may not look
  return theirs != 0 && theirs == OwnUserNamespace();
}

namespace {

constexpr char kRun[] = "/run";
constexpr char kLock[] = "/run/lock";
constexpr char kTmp[] = "/tmp";

absl::Status Hidden(const std::string& parent, const std::string& why) {
  return absl::FailedPreconditionError(absl::StrCat(
      "the directories of the user scope cannot be seen from here: ", parent, " is ", why,
      ". Show this process the system's own /run/lock or, where that is not "
      "used, /tmp, or let all use --scope DIRECTORY"));
}

// Of what process 1 sees at `path`. nullopt: the caller may not look there.
std::optional<bool> IsSameToProcess1(const std::string& parent) {
  const std::string root = "/proc/1/root";
  struct stat status = {};
  if (stat((root + "/").c_str(), &status) != 0) return std::nullopt;
  // By the same rule as here: what is /tmp to the one must not be /run/lock to the other.
  const std::string theirs = IsSharedByEverybody((root + kLock).c_str()) ? kLock : kTmp;
  struct stat own = {};
  if (theirs != parent || stat(parent.c_str(), &own) != 0) return false;
  return stat((root + parent).c_str(), &status) == 0 && status.st_dev == own.st_dev &&
         status.st_ino == own.st_ino;
}

std::string MountSeenAt(const std::string& path) {
  struct statx status = {};
  if (statx(AT_FDCWD, path.c_str(), 0, STATX_MNT_ID, &status) != 0) return "";
  return absl::StrCat(status.stx_mnt_id);
}

// Whether something is mounted at `path` that is not what shows there. A directory that is mounted
// over itself, to change what may be done there (systemd's ReadWritePaths=), is the same one.
bool IsMountedOver(const std::vector<Mount>& mounts, const std::string& path) {
  const std::string seen_id = MountSeenAt(path);
  const auto seen = std::find_if(mounts.begin(), mounts.end(),
                                 [&](const Mount& mount) { return mount.id == seen_id; });
  return std::any_of(mounts.begin(), mounts.end(), [&](const Mount& mount) {
    if (mount.filesystem.mount_point != path || mount.filesystem.type == "autofs") return false;
    if (mount.id == seen_id) return false;
    return seen == mounts.end() || mount.device != seen->device ||
           mount.filesystem.root != seen->filesystem.root;
  });
}

// What is mounted over the place, or is the place, of this mount namespace alone.
absl::Status LookAtMounts(const std::vector<Mount>& mounts, const std::string& parent) {
  const bool is_tmp = parent == kTmp;
  for (const char* const path : {kRun, kLock, kTmp}) {
    if (path == std::string_view(kTmp) && !is_tmp) continue;
    if (!IsMountedOver(mounts, path)) continue;
    return Hidden(parent, absl::StrCat("one of this process's mount namespace, in which something "
                                       "is mounted over ",
                                       path));
  }
  for (const Mount& mount : mounts) {
    if (!is_tmp || mount.filesystem.mount_point != kTmp) continue;
    if (!absl::StrContains(mount.filesystem.root, "systemd-private-")) continue;
    return Hidden(parent,
                  absl::StrCat(EscapeBytes(mount.filesystem.root), " outside (PrivateTmp=)"));
  }
  return absl::OkStatus();
}

// A sandbox of an ordinary user has directories of that user's where the system has root's.
absl::Status LookAtOwners(const std::string& parent, bool is_in_container) {
  const bool is_tmp = parent == kTmp;
  struct stat proc = {};
  if (stat("/proc", &proc) != 0) return absl::OkStatus();
  for (const char* const path : {"/", is_tmp ? kTmp : kRun, is_tmp ? kTmp : kLock}) {
    struct stat status = {};
    if (stat(path, &status) != 0 || status.st_uid == proc.st_uid) continue;
    if (is_in_container && status.st_uid == 0) continue;  // of an ordinary user: its root has them
    return Hidden(
        parent, absl::StrCat("one of a sandbox: ", path, " does not belong to the system's root"));
  }
  return absl::OkStatus();
}

// `is_certain`: what is said of this place will not be another answer the next time.
absl::Status LookAtPlace(const std::string& parent, bool& is_certain) {
  const bool is_in_container = IsInContainer();
  // Process 1 of a container is what the others in it go by. That of a sandbox which has a pid
  // namespace, but the system's ipc namespace, is of the sandbox.
  if (is_in_container || IsFirst(NamespaceAt("/proc/self/ns/pid"), kFirstPidNamespace)) {
    const std::optional<bool> same = IsSameToProcess1(parent);
    if (same.has_value()) {
      return *same ? absl::OkStatus() : Hidden(parent, "another directory to process 1");
    }
  }
  // Without a table there is no evidence.
  const absl::StatusOr<std::vector<Mount>> mounts = Mounts();
  is_certain = mounts.ok();
  if (mounts.ok()) {
    absl::Status seen = LookAtMounts(*mounts, parent);
    if (!seen.ok()) return seen;
  }
  return IsInUserNamespace() ? LookAtOwners(parent, is_in_container) : absl::OkStatus();
}

struct Place {
  std::uint64_t mount_namespace = 0;
  FileIdentity root;
  std::uint32_t uid = 0;
  std::string parent;

  friend bool operator==(const Place&, const Place&) = default;
};
Memory<Place, absl::Status> places;

}  // namespace

absl::Status CheckPlaceIsShared(const std::string& parent) {
  struct stat root = {};
  const std::uint64_t mount_namespace = NamespaceAt("/proc/self/ns/mnt");
  bool is_certain = true;
  if (mount_namespace == 0 || stat("/", &root) != 0) return LookAtPlace(parent, is_certain);
  const Place place{.mount_namespace = mount_namespace,
                    .root = {.device = root.st_dev, .inode = root.st_ino},
                    .uid = geteuid(),
                    .parent = parent};
  if (const absl::Status* known = places.Find(place)) return *known;
  absl::Status found = LookAtPlace(parent, is_certain);
  if (is_certain) places.Add(place, found);
  return found;
}

namespace {

// The text of the link at `path`; nullopt where there is none.
std::optional<std::string> LinkAt(const std::string& path) {
  std::array<char, 4096> target;
  const ssize_t size = readlink(path.c_str(), target.data(), target.size());
  if (size <= 0 || static_cast<std::size_t>(size) == target.size()) return std::nullopt;
  return std::string(target.data(), static_cast<std::size_t>(size));
}

}  // namespace

std::string FollowLinks(const std::string& path) {
  constexpr int kMost = 40;  // as the kernel (path_resolution(7))
  std::deque<std::string> ahead = absl::StrSplit(path, '/', absl::SkipEmpty());
  std::vector<std::string> behind;
  const auto whole = [&] {
    return absl::StrCat("/", absl::StrJoin(behind, "/"), behind.empty() || ahead.empty() ? "" : "/",
                        absl::StrJoin(ahead, "/"));
  };
  std::string served = ServedMountAbove(path);
  for (int links = 0; ahead.size() > 1;) {
    const std::string next = ahead.front();
    ahead.pop_front();
    if (next == "." || next == "..") {  // of a link's text
      if (next == ".." && !behind.empty()) behind.pop_back();
      continue;
    }
    behind.push_back(next);
    const std::string here = absl::StrCat("/", absl::StrJoin(behind, "/"));
    if (served == "/" || (!served.empty() && absl::StartsWith(here + "/", served + "/"))) break;
    const std::optional<std::string> target = LinkAt(here);
    if (!target.has_value()) continue;
    if (++links > kMost) return path;
    behind.pop_back();
    if (absl::StartsWith(*target, "/")) behind.clear();
    const std::vector<std::string> steps = absl::StrSplit(*target, '/', absl::SkipEmpty());
    ahead.insert(ahead.begin(), steps.begin(), steps.end());
    served = ServedMountAbove(whole());
  }
  return whole();
}

}  // namespace soleguard::os
