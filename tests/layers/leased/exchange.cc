#include "layers/leased/exchange.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include <absl/strings/str_cat.h>
#include <boost/json.hpp>

#include "os/error.h"
#include "os/wait.h"
#include "soleguard/boot_time.h"

namespace soleguard {
namespace {

namespace json = boost::json;

// Records are 4,096 bytes, and JSON may need six for one of them.
constexpr std::size_t kMostBytes = 32768;

std::string Text(const json::object& request) { return json::serialize(request); }

// A server may say anything. A day is long enough for what it says of time.
constexpr std::uint64_t kMostMilliseconds = 86'400'000;

std::uint64_t NumberIn(const json::object& answer, std::string_view member) {
  const json::value* value = answer.if_contains(member);
  json::error_code failed;
  const auto number = value != nullptr ? value->to_number<std::uint64_t>(failed) : 0;
  return failed ? 0 : number;
}

std::optional<std::string> TextIn(const json::object& answer, std::string_view member) {
  const json::value* value = answer.if_contains(member);
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return std::string(value->get_string());
}

std::optional<LeaseAnswer> Parse(std::string_view packet) {
  json::error_code failed;
  const json::value value = json::parse(packet, failed);
  if (failed || !value.is_object()) return std::nullopt;
  const json::object& answer = value.get_object();
  const auto milliseconds = std::min(
      std::max(NumberIn(answer, "time_ms"), NumberIn(answer, "left_ms")), kMostMilliseconds);
  return LeaseAnswer{.word = TextIn(answer, "answer").value_or(""),
                     .record = TextIn(answer, "record"),
                     .time = absl::Milliseconds(milliseconds),
                     .revision = NumberIn(answer, "revision"),
                     .token = NumberIn(answer, "token")};
}

int Connect(int fd, const std::string& address) {
  sockaddr_un at = {};
  at.sun_family = AF_UNIX;
  if (address.size() >= sizeof at.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  std::memcpy(at.sun_path, address.data(), address.size());
  if (address.starts_with('@')) at.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());
  return connect(fd, reinterpret_cast<const sockaddr*>(&at), size);
}

bool Send(const os::KeptFd& connection, std::string_view request) {
  return send(connection.get(), request.data(), request.size(), MSG_NOSIGNAL) >= 0;
}

}  // namespace

std::string AcquireRequest(std::string_view key, std::string_view lease, absl::Duration time,
                           std::string_view record) {
  return Text({{"op", "acquire"},
               {"key", key},
               {"lease", lease},
               {"time_ms", absl::ToInt64Milliseconds(time)},
               {"record", record}});
}
std::string RenewRequest(std::string_view lease) {
  return Text({{"op", "renew"}, {"lease", lease}});
}
std::string PublishRequest(std::string_view lease, std::string_view record) {
  return Text({{"op", "publish"}, {"lease", lease}, {"record", record}});
}
std::string ReleaseRequest(std::string_view lease, std::string_view record) {
  return Text({{"op", "release"}, {"lease", lease}, {"record", record}});
}
std::string LookRequest(std::string_view key) { return Text({{"op", "look"}, {"key", key}}); }
std::string AwaitChangeRequest(std::string_view key, std::uint64_t revision) {
  return Text({{"op", "await"}, {"key", key}, {"revision", revision}});
}
std::string AwaitEndRequest(std::string_view key, std::uint64_t token) {
  return Text({{"op", "await"}, {"key", key}, {"token", token}});
}

absl::Status Exchange::Gone(std::string_view why) const {
  return absl::UnavailableError(
      absl::StrCat(called_, " cannot be reached: ", absl::string_view(why.data(), why.size())));
}

absl::Status Exchange::Begin(const LeaseServer& server, std::string_view request) {
  called_ = server.called;
  if (connection_.StillOurs() && Send(connection_, request)) return absl::OkStatus();
  absl::Status made = connection_.Keep("make a Unix socket", [] {
    return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  });
  if (!made.ok()) return made;
  const bool sent = Connect(connection_.get(), server.address) == 0 && Send(connection_, request);
  return sent ? absl::OkStatus() : Gone(std::strerror(errno));
}

void Exchange::Add(std::string_view request) const {
  if (connection_.StillOurs()) (void)Send(connection_, request);
}

absl::StatusOr<std::optional<LeaseAnswer>> Exchange::Take() const {
  if (!connection_.StillOurs()) return Gone("the program closed the connection");
  std::string packet(kMostBytes, '\0');
  const ssize_t size = os::RetryOnEintr(
      [&] { return recv(connection_.get(), packet.data(), packet.size(), MSG_DONTWAIT); });
  if (size < 0 && errno == EAGAIN) return std::nullopt;
  if (size <= 0) return Gone("it closed the connection");
  packet.resize(static_cast<std::size_t>(size));
  std::optional<LeaseAnswer> answer = Parse(packet);
  if (!answer.has_value()) return Gone("its answer is not one");
  return answer;
}

absl::StatusOr<LeaseAnswer> Exchange::Await(absl::Duration at_most) const {
  const BootTime end = BootTime::Now() + at_most;
  while (true) {
    absl::StatusOr<std::optional<LeaseAnswer>> answer = Take();
    if (!answer.ok()) return answer.status();
    if (answer->has_value()) return **std::move(answer);
    const absl::Duration left = end.Left();
    if (left <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError(
          absl::StrCat(called_, " did not answer for ", absl::FormatDuration(at_most)));
    }
    pollfd polled = {.fd = connection_.get(), .events = POLLIN, .revents = 0};
    (void)os::PollOrPause(&polled, 1, left);
  }
}

}  // namespace soleguard
