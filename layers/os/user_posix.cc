// Users, from the password database.
//
// /etc/passwd is read first, and by hand: whoever is in it (root, services, most people) costs one
// read, and no socket of nscd, no nsswitch.conf and no shared object of a name service (40 us at
// each start). Who is not in it is asked of the name services. They are shared objects: a program
// that is linked statically, as guardcheck may be, cannot load them (tried: libnss_systemd crashes
// it, of the same glibc), so it asks getent(1).
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "os/error.h"
#include "os/file.h"
#include "os/thread.h"
#include "os/user.h"
#include "soleguard/fd.h"
#include "soleguard/patience.h"
#include "soleguard/process.h"

namespace soleguard::os {
namespace {

constexpr std::size_t kLimit = std::size_t{1024} * 1024;

std::string ReadAll(int fd) {
  std::string text;
  std::array<char, 4096> buffer;
  while (text.size() < kLimit) {
    const ssize_t size = RetryOnEintr([&] { return read(fd, buffer.data(), buffer.size()); });
    if (size <= 0) break;  // an error is the end: what was read may do
    text.append(buffer.data(), static_cast<std::size_t>(size));
  }
  return text;
}

std::optional<std::uint32_t> ParseId(std::string_view text) {
  std::uint32_t id = 0;
  const char* const end = text.data() + text.size();
  const auto [parsed, error] = std::from_chars(text.data(), end, id);
  return error == std::errc() && parsed == end ? std::optional(id) : std::nullopt;
}

// A line of the password database.
struct Entry {
  std::uint32_t uid = 0;
  User user;
};

// "name:password:uid:gid:comment:home:shell" (passwd(5)).
std::optional<Entry> ParseEntry(std::string_view line) {
  std::array<std::string_view, 7> fields;
  for (std::string_view& field : fields) {
    const std::size_t end = std::min(line.find(':'), line.size());
    field = line.substr(0, end);
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  const std::optional<std::uint32_t> uid = ParseId(fields[2]);
  const std::optional<std::uint32_t> gid = ParseId(fields[3]);
  if (!uid.has_value() || !gid.has_value() || fields[0].empty()) return std::nullopt;
  return Entry{
      .uid = *uid,
      .user = {.name = std::string(fields[0]), .gid = *gid, .home = std::string(fields[5])}};
}

// The first line of `text` that is as asked for.
template <typename IsAsked>
std::optional<Entry> FindEntry(std::string_view text, IsAsked is_asked) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::optional<Entry> entry = ParseEntry(text.substr(0, end));
    if (entry.has_value() && is_asked(*entry)) return entry;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return std::nullopt;
}

std::optional<User> FindEntryOf(std::string_view text, std::uint32_t uid) {
  std::optional<Entry> entry = FindEntry(text, [uid](const Entry& one) { return one.uid == uid; });
  return entry.has_value() ? std::optional(std::move(entry->user)) : std::nullopt;
}

std::optional<std::uint32_t> FindUidOf(std::string_view text, std::string_view name) {
  const std::optional<Entry> entry =
      FindEntry(text, [name](const Entry& one) { return one.user.name == name; });
  return entry.has_value() ? std::optional(entry->uid) : std::nullopt;
}

// A program that was started without a dynamic loader.
bool IsStatic() { return getauxval(AT_BASE) == 0; }

std::optional<User> AskHere(std::uint32_t uid) {
  for (std::vector<char> buffer(1024); buffer.size() <= kLimit; buffer.resize(buffer.size() * 2)) {
    passwd entry = {};
    passwd* found = nullptr;
    const int error = getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found);
    if (error == 0 && found != nullptr)
      return User{.name = found->pw_name, .gid = found->pw_gid, .home = found->pw_dir};
    if (error != ERANGE && error != EINTR) break;
  }
  return std::nullopt;
}

// What a thread was asked that may hang in a name service.
struct Asked {
  enum Phase { kOpen, kAnswered, kGivenUp };
  std::atomic<Phase> phase = kOpen;
  WaitFlag answered;
  std::optional<User> user;  // once it is answered
};

// In a thread: the server of a directory may be away, and getpwuid_r(3) knows no deadline.
std::optional<User> AskNameServices(std::uint32_t uid) {
  static std::atomic<int> silent{0};  // threads that have not answered in time, and hang still
  if (silent > 0) return std::nullopt;
  const auto asked = std::make_shared<Asked>();
  absl::StatusOr<std::thread> thread = StartThread([asked, uid] {
    try {
      asked->user = AskHere(uid);
    } catch (const std::bad_alloc&) {  // no answer
    }
    if (asked->phase.exchange(Asked::kAnswered) == Asked::kGivenUp) --silent;
    asked->answered.Set();
  });
  if (!thread.ok()) return AskHere(uid);
  // Without a descriptor to wait for there is no deadline. Joined: neither the thread nor its
  // descriptor outlives the question.
  if (!asked->answered.fd() || WaitForAny({&asked->answered.fd(), 1}, Patience::Left())) {
    thread->join();
    return asked->user;
  }
  thread->detach();
  ++silent;
  if (asked->phase.exchange(Asked::kGivenUp) == Asked::kAnswered) --silent;
  return std::nullopt;
}

// What a program answers; nullopt: it does not in the time of Patience.
std::optional<std::string> ReadInTime(const UniqueFd& answer) {
  const Patience patience(Patience::Left());
  std::string text;
  std::array<char, 4096> buffer;
  while (text.size() < kLimit) {
    if (!WaitForAny({&answer, 1}, Patience::Left())) return std::nullopt;
    const ssize_t size =
        RetryOnEintr([&] { return read(answer.get(), buffer.data(), buffer.size()); });
    if (size <= 0) break;  // an error is the end: what was read may do
    text.append(buffer.data(), static_cast<std::size_t>(size));
  }
  return text;
}

// The answer of getent(1) to a name or a number; "": it has none, or cannot be asked.
std::string AskGetent(std::string key) {
  static std::atomic<bool> silent{false};  // it is not asked again by this process
  if (silent) return "";
  std::array<int, 2> ends = {};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return "";
  const UniqueFd answer(ends[0]);
  UniqueFd output(ends[1]);
  std::string program = "/usr/bin/getent";
  std::string database = "passwd";
  std::array<char*, 4> arguments = {program.data(), database.data(), key.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, output.get(), STDOUT_FILENO);
  pid_t child = 0;
  const int error =
      posix_spawn(&child, program.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return "";
  output.reset();
  const std::optional<std::string> text = ReadInTime(answer);
  if (!text.has_value()) {
    silent = true;
    (void)kill(child, SIGKILL);  // it waits for a socket, which that ends
  }
  (void)RetryOnEintr([&] { return waitpid(child, nullptr, 0); });  // ECHILD: SIGCHLD is ignored
  return text.value_or("");
}

std::string ReadPasswd() {
  const UniqueFd file(RetryOnEintr([] { return open("/etc/passwd", O_RDONLY | O_CLOEXEC); }));
  return file ? ReadAll(file.get()) : "";
}

}  // namespace

std::uint32_t OwnUid() { return geteuid(); }

std::uint32_t OwnRealUid() { return getuid(); }

std::optional<User> FindUser(std::uint32_t uid) {
  if (std::optional<User> user = FindEntryOf(ReadPasswd(), uid)) return user;
  return IsStatic() ? FindEntryOf(AskGetent(std::to_string(uid)), uid) : AskNameServices(uid);
}

std::optional<std::uint32_t> FindUid(std::string_view name) {
  if (const std::optional<std::uint32_t> uid = FindUidOf(ReadPasswd(), name)) return uid;
  if (const std::optional<std::uint32_t> number = ParseId(name)) return number;
  // getent(1) would take what begins with a dash for an option.
  if (name.empty() || name.starts_with('-')) return std::nullopt;
  return FindUidOf(AskGetent(std::string(name)), name);
}

bool IsMember(std::uint32_t uid, std::uint32_t gid) {
  const std::optional<User> user = FindUser(uid);
  if (!user.has_value()) return false;
  if (user->gid == gid) return true;
  const Stream file = OpenStream("/etc/group");
  if (file == nullptr) return false;
  std::vector<char> buffer(kLimit);  // a group of thousands is one line
  group entry = {};
  group* found = nullptr;
  while (fgetgrent_r(file.get(), &entry, buffer.data(), buffer.size(), &found) == 0) {
    if (found->gr_gid != gid) continue;
    for (char** member = found->gr_mem; *member != nullptr; ++member) {
      if (user->name == *member) return true;
    }
  }
  return false;
}

}  // namespace soleguard::os

namespace soleguard {

std::string UserName(std::uint32_t uid) {
  const std::optional<os::User> user = os::FindUser(uid);
  return user.has_value() ? user->name : absl::StrCat(uid);
}

absl::StatusOr<std::string> HomeDirectory() {
  const uid_t uid = geteuid();
  std::optional<os::User> user = os::FindUser(uid);
  if (user.has_value() && user->home.starts_with('/')) return std::move(user->home);
  return absl::NotFoundError(absl::StrCat("the password database names no home of uid ", uid));
}

}  // namespace soleguard
