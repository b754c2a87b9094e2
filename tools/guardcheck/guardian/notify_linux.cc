#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>

#include "guardian/notify.h"
#include "show/say.h"
#include "shown.h"
#include "system.h"
#include <soleguard/fd.h>
#include <soleguard/process.h>

namespace guardcheck {
namespace {

using soleguard::UniqueFd;

struct Address {
  sockaddr_un address{};
  socklen_t size = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

// A path, or @ and a name of the abstract name space (sd_notify(3)).
std::optional<Address> Parse(std::string_view text) {
  Address parsed;
  parsed.address.sun_family = AF_UNIX;
  if (text.size() < 2 || (text[0] != '/' && text[0] != '@')) return std::nullopt;
  if (text.size() >= sizeof parsed.address.sun_path) return std::nullopt;
  std::memcpy(parsed.address.sun_path, text.data(), text.size());
  const bool abstract = text[0] == '@';
  if (abstract) parsed.address.sun_path[0] = '\0';
  // A path is counted with its NUL, a name is not.
  parsed.size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + text.size() + (abstract ? 0 : 1));
  return parsed;
}

bool IsDescendant(std::int64_t pid) {
  constexpr int kDeepest = 64;
  for (int i = 0; i < kDeepest && pid > 1; ++i) {
    if (pid == getpid()) return true;
    const auto identity = soleguard::IdentityOf(pid);
    const auto process = identity.ok() ? soleguard::Describe(*identity) : identity.status();
    if (!process.ok()) return false;
    pid = process->parent_pid;
  }
  return false;
}

// Without the lines that are not the command's to say.
std::string Passable(std::string_view message) {
  std::string kept;
  while (!message.empty()) {
    const std::size_t end = std::min(message.find('\n'), message.size());
    const std::string_view line = message.substr(0, end);
    message.remove_prefix(std::min(end + 1, message.size()));
    if (line.empty() || line.starts_with("MAINPID")) continue;
    kept.append(line).append("\n");
  }
  return kept;
}

// Of the manager, where it means this process (sd_watchdog_enabled(3)).
absl::Duration WatchdogTime() {
  const char* const time = secure_getenv("WATCHDOG_USEC");
  const char* const pid = secure_getenv("WATCHDOG_PID");
  std::int64_t microseconds = 0;
  const bool is_meant = pid == nullptr || absl::StrCat(getpid()) == pid;
  if (time == nullptr || !is_meant || !absl::SimpleAtoi(time, &microseconds)) {
    return absl::ZeroDuration();
  }
  return absl::Microseconds(std::max<std::int64_t>(microseconds, 0));
}

class Relay final : public NotifyRelay {
 public:
  Relay(UniqueFd socket, const std::optional<Address>& manager, Listeners listeners)
      : socket_(std::move(socket)), manager_(manager), listeners_(std::move(listeners)) {}

  int fd() const override { return socket_.get(); }

  void Pass() override {
    while (PassOne()) {
    }
  }

  absl::Duration watchdog() const override { return watchdog_; }
  void FeedWatchdog() override {
    constexpr std::string_view kText = "WATCHDOG=1\n";
    if (!manager_.has_value()) return;
    // One that is not read in time is followed by the next.
    (void)sendto(socket_.get(), kText.data(), kText.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                 manager_->get(), manager_->size);
  }

 private:
  static constexpr std::size_t kMostDescriptors = 253;  // SCM_MAX_FD in the kernel

  // False when there is nothing more.
  bool PassOne() {
    std::array<char, 65536> text;
    alignas(cmsghdr)
        std::array<char, CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(kMostDescriptors * sizeof(int))>
            control;
    iovec data = {.iov_base = text.data(), .iov_len = text.size()};
    msghdr message = {};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t size = RetryOnEintr(
        [&] { return recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC); });
    if (size < 0) return false;

    ucred sender = {.pid = 0, .uid = static_cast<uid_t>(-1), .gid = 0};
    std::vector<UniqueFd> descriptors;
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
         part = CMSG_NXTHDR(&message, part)) {
      if (part->cmsg_level != SOL_SOCKET) continue;
      if (part->cmsg_type == SCM_CREDENTIALS) {
        std::memcpy(&sender, CMSG_DATA(part), sizeof sender);
      } else if (part->cmsg_type == SCM_RIGHTS) {
        for (std::size_t at = CMSG_LEN(0); at < part->cmsg_len; at += sizeof(int)) {
          int fd = -1;
          std::memcpy(&fd, CMSG_DATA(part) + (at - CMSG_LEN(0)), sizeof fd);
          descriptors.emplace_back(fd);
        }
      }
    }
    // The socket's name is open to everybody on this host.
    if (sender.uid != geteuid() && sender.uid != 0 && !IsDescendant(sender.pid)) return true;
    const std::string passable = Passable({text.data(), static_cast<std::size_t>(size)});
    const auto says = [&passable](const char* line) {
      return absl::StrContains(absl::StrCat("\n", passable), absl::StrCat("\n", line, "\n"));
    };
    if (listeners_.ready && says("READY=1")) listeners_.ready();
    if (listeners_.watchdog && says("WATCHDOG=1")) listeners_.watchdog();
    if (manager_.has_value()) Send(passable, descriptors);
    return true;
  }

  void Send(std::string text, const std::vector<UniqueFd>& descriptors) {
    if (text.empty()) return;
    iovec data = {.iov_base = text.data(), .iov_len = text.size()};
    std::vector<char> control(CMSG_SPACE(descriptors.size() * sizeof(int)));
    msghdr message = {};
    message.msg_name = const_cast<sockaddr_un*>(&manager_->address);
    message.msg_namelen = manager_->size;
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    if (!descriptors.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* part = CMSG_FIRSTHDR(&message);
      part->cmsg_level = SOL_SOCKET;
      part->cmsg_type = SCM_RIGHTS;
      part->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
      for (std::size_t i = 0; i < descriptors.size(); ++i) {
        const int fd = descriptors[i].get();
        std::memcpy(CMSG_DATA(part) + i * sizeof fd, &fd, sizeof fd);
      }
    }
    if (sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 || failed_) return;
    failed_ = true;  // said once
    const absl::Status why = absl::ErrnoToStatus(errno, "");
    Say(Priority::kWarning,
        Text("what the command says to the service manager is lost: ", Said(why.message())));
  }

  const UniqueFd socket_;
  const std::optional<Address> manager_;
  const Listeners listeners_;
  const absl::Duration watchdog_ = WatchdogTime();
  bool failed_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<NotifyRelay>> NotifyRelay::FromEnvironment(Listeners listeners) {
  const char* manager = secure_getenv("NOTIFY_SOCKET");
  const bool has_manager = manager != nullptr && *manager != '\0';
  if (!has_manager && !listeners.ready && !listeners.watchdog) return nullptr;
  const std::optional<Address> address = has_manager ? Parse(manager) : std::nullopt;
  if (has_manager && !address.has_value()) {
    // vsock:CID:PORT and what else sd_notify(3) may learn: no reason to start nothing. It is left
    // as it is, so that a command that knows better can speak to it.
    Say(Priority::kWarning,
        Text("NOTIFY_SOCKET is neither an absolute path nor an @name, but '", Escape(manager),
             "': what the command says there is not passed on"));
    return nullptr;
  }
  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  Address own;
  own.address.sun_family = AF_UNIX;
  own.size = sizeof own.address;
  // Bound to no name, it gets a free one of the abstract name space (unix(7), autobind).
  if (!socket || setsockopt(socket.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
      bind(socket.get(), own.get(), sizeof(sa_family_t)) != 0 ||
      getsockname(socket.get(), reinterpret_cast<sockaddr*>(&own.address), &own.size) != 0) {
    return absl::ErrnoToStatus(errno, "make a socket for sd_notify(3)");
  }
  const std::string name(own.address.sun_path + 1, own.size - offsetof(sockaddr_un, sun_path) - 1);
  (void)setenv("NOTIFY_SOCKET", absl::StrCat("@", name).c_str(), 1);
  const absl::Duration every = listeners.watchdog_every;
  // It reads WATCHDOG_PID.
  auto relay = std::make_unique<Relay>(std::move(socket), address, std::move(listeners));
  (void)unsetenv("WATCHDOG_PID");  // guardcheck's own: the command would not feel meant
  if (every > absl::ZeroDuration()) {
    (void)setenv("WATCHDOG_USEC", absl::StrCat(absl::ToInt64Microseconds(every)).c_str(), 0);
  }
  return relay;
}

}  // namespace guardcheck
