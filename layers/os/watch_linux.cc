#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include <absl/container/inlined_vector.h>
#include <absl/strings/str_cat.h>

#include "os/error.h"
#include "os/kept_fd.h"
#include "os/timer.h"
#include "os/wait.h"
#include "soleguard/text.h"
#include "soleguard/watch.h"

namespace soleguard {
namespace {

// A few need no memory: a wait is what is left where there is none.
using Polled = absl::InlinedVector<pollfd, 16>;

// A removed file that somebody has open only shows by its number of links (IN_ATTRIB): its
// IN_DELETE_SELF comes with the last close. Each file is watched and not its directory, where other
// processes come and go: standbys and lookers wake nobody.
constexpr std::uint32_t kOfFile =
    IN_ATTRIB | IN_MODIFY | IN_MOVE_SELF | IN_DELETE_SELF | IN_DONT_FOLLOW;
constexpr std::uint32_t kOfDirectory = IN_MOVE_SELF | IN_DELETE_SELF | IN_ONLYDIR;

// What is watched on the way to `path`. "/" does not move.
void AddParents(const std::string& path, std::set<std::string>& directories) {
  for (std::size_t slash = path.rfind('/'); slash != std::string::npos && slash > 0;
       slash = path.rfind('/', slash - 1)) {
    directories.insert(path.substr(0, slash));
  }
}

// Empties a descriptor that never blocks.
void Drain(const os::KeptFd& kept) {
  alignas(inotify_event) std::array<char, 4096> bytes{};
  static_assert(sizeof bytes >= sizeof(inotify_event) + NAME_MAX + 1);
  if (!kept.StillOurs()) return;
  while (os::RetryOnEintr([&] { return read(kept.get(), bytes.data(), bytes.size()); }) > 0) {
  }
}

}  // namespace

class ObjectWatch::Impl {
 public:
  // Closing an inotify instance takes milliseconds: the kernel waits for its readers
  // (synchronize_srcu in fsnotify_destroy_group).
  int slow() {
    const std::lock_guard lock(mutex_);
    (void)Open();  // Arm says what cannot be opened
    return inotify_.get();
  }

  absl::Status Arm(const Alarm& alarm) {
    const std::lock_guard lock(mutex_);
    absl::Status opened = Open();
    for (const os::KeptFd* kept : {&inotify_, &wake_read_}) Drain(*kept);
    hang_ups_ = alarm.hang_ups;
    opened.Update(ArmTimer(alarm.lapse));
    if (inotify_) opened.Update(AddAll(alarm));
    return opened;
  }

  bool Wait(absl::Duration at_most) {
    Polled polled = Interruption();
    {
      const std::lock_guard lock(mutex_);
      if (inotify_.StillOurs()) polled.push_back({.fd = inotify_.get(), .events = POLLIN});
      // A mount over a directory on the way hides it, and touches no directory (proc(5)).
      if (mounts_.StillOurs()) polled.push_back({.fd = mounts_.get(), .events = POLLPRI});
      if (timer_.StillOurs()) polled.push_back({.fd = timer_.get(), .events = POLLIN});
      for (const int fd : hang_ups_) polled.push_back({.fd = fd, .events = 0});
    }
    return Poll(polled, at_most);
  }

  void WaitFor(std::span<const UniqueFd> wake, absl::Duration at_most) {
    Polled polled = Interruption();
    for (const UniqueFd& fd : wake) polled.push_back({.fd = fd.get(), .events = POLLIN});
    (void)Poll(polled, at_most);
  }

  void Interrupt() {
    const std::lock_guard lock(mutex_);
    os::Wake(wake_write_);
  }

 private:
  // What is not open, or not any more, with the mutex held.
  absl::Status Open() {
    absl::Status opened;
    if (!wake_read_.StillOurs() || !wake_write_.StillOurs()) {
      opened.Update(os::KeepPipe(wake_read_, wake_write_));
    }
    if (!mounts_.StillOurs()) {
      opened.Update(mounts_.Keep("open /proc/self/mountinfo", [] {
        return open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
      }));
    }
    if (!inotify_.StillOurs()) {
      int error = 0;
      absl::Status made = inotify_.Keep("open an inotify instance", [&error] {
        const int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        error = fd < 0 ? errno : 0;
        return fd;
      });
      if (error == EMFILE) {
        made = absl::ResourceExhaustedError(
            "no inotify instance is left for this user; raise fs.inotify.max_user_instances "
            "(sysctl), or the limit of open files");
      }
      opened.Update(made);
    }
    return opened;
  }

  // Only who has a lease needs one.
  absl::Status ArmTimer(const std::optional<BootTime>& at) {
    if (!at.has_value()) {
      timer_.Close();
      return absl::OkStatus();
    }
    if (!timer_.StillOurs()) {
      absl::Status made = timer_.Keep("make a timer", [] { return os::MakeTimer(); });
      if (!made.ok()) return made;
    }
    os::SetTimer(timer_.get(), *at);
    return absl::OkStatus();
  }

  absl::Status AddAll(const Alarm& alarm) {
    std::set<std::string> directories(alarm.directories.begin(), alarm.directories.end());
    for (const auto* paths : {&alarm.files, &alarm.directories}) {
      for (const std::string& path : *paths) AddParents(path, directories);
    }
    absl::Status added;
    for (const std::string& path : directories) added.Update(Add(path, kOfDirectory));
    for (const std::string& path : alarm.files) added.Update(Add(path, kOfFile));
    return added;
  }

  // One that is watched already stays so (inotify_add_watch(2)).
  absl::Status Add(const std::string& path, std::uint32_t mask) const {
    if (inotify_add_watch(inotify_.get(), path.c_str(), mask) >= 0) return absl::OkStatus();
    // A directory on the way that may be passed and not read cannot be watched; whoever may move it
    // is its owner's business.
    const bool expected =
        errno == ENOENT || errno == ENOTDIR || (errno == EACCES && (mask & IN_ONLYDIR) != 0);
    if (expected) return absl::OkStatus();
    if (errno == ENOSPC) {
      return absl::ResourceExhaustedError(
          "no inotify watch is left for this user; raise fs.inotify.max_user_watches (sysctl)");
    }
    return os::ErrnoStatus(errno, absl::StrCat("watch ", EscapeBytes(path)));
  }

  Polled Interruption() {
    const std::lock_guard lock(mutex_);
    Polled polled;
    if (wake_read_.StillOurs()) polled.push_back({.fd = wake_read_.get(), .events = POLLIN});
    return polled;
  }

  // A signal's handler, which only a caller's own thread can have here, ends it early. Where there
  // was no descriptor to interrupt it by, it ends soon by itself: who interrupts waits for that.
  bool Poll(Polled& polled, absl::Duration at_most) {
    if (!CanBeInterrupted()) at_most = std::min(at_most, absl::Milliseconds(100));
    return os::PollOrPause(polled.data(), polled.size(), at_most) > 0;
  }

  bool CanBeInterrupted() {
    const std::lock_guard lock(mutex_);
    return wake_read_.StillOurs() && wake_write_.StillOurs();
  }

  std::mutex mutex_;  // of the descriptors
  os::KeptFd inotify_;
  os::KeptFd mounts_;
  os::KeptFd timer_;
  os::KeptFd wake_read_;
  os::KeptFd wake_write_;
  std::vector<int> hang_ups_;
};

ObjectWatch::ObjectWatch() : impl_(std::make_unique<Impl>()) {}
ObjectWatch::~ObjectWatch() = default;
int ObjectWatch::slow() { return impl_->slow(); }
absl::Status ObjectWatch::Arm(const Alarm& alarm) { return impl_->Arm(alarm); }
bool ObjectWatch::Wait(absl::Duration at_most) { return impl_->Wait(at_most); }
void ObjectWatch::WaitFor(std::span<const UniqueFd> wake, absl::Duration at_most) {
  impl_->WaitFor(wake, at_most);
}
void ObjectWatch::Interrupt() { impl_->Interrupt(); }

}  // namespace soleguard
