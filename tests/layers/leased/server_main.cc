// lease_server SOCKET: gives out leases of keys, as a lock service on the network does, for the
// tests of leased layers. SOCKET is a path, or @NAME of the abstract name space. It says "ready".
//
// A packet is one JSON object, and each request gets one answer:
//
//   {op: acquire, key, lease, time_ms, record}  granted {token, time_ms, record: the last one} or
//                                               refused {record, left_ms, revision, token}
//   {op: renew, lease}                          ok or gone
//   {op: publish, lease, record}                ok or gone
//   {op: release, lease, record}                ok or gone
//   {op: look, key}                             taken, as refused, or free {record}
//   {op: await, key, revision} or {…, token}    changed, once the key has another revision (its
//                                               record or its owner changed) or token (its owner)
//
// A key is freed by its owner's release or by time, and never because a connection is closed. What
// was due while it was stopped is done before a request is heard, so that no lease is renewed that
// has run out.
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

namespace {

namespace json = boost::json;
using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC
using std::chrono::milliseconds;

struct Key {
  std::string owner;  // a lease; empty: nobody
  Clock::time_point end;
  milliseconds time{0};
  std::string record;  // the last one
  std::uint64_t revision = 0;
  std::uint64_t token = 0;  // the revision by which it was acquired; 0: nobody has it
};

class Leases {
 public:
  void FreeWhatHasRunOut() {
    for (auto& [name, key] : keys_) {
      if (!key.owner.empty() && Clock::now() >= key.end) Free(key);
    }
  }
  // How long poll(2) may wait for the next end, in milliseconds; -1: for ever.
  int UntilNextEnd() const {
    std::int64_t least = -1;
    for (const auto& [name, key] : keys_) {
      if (key.owner.empty()) continue;
      const std::int64_t left = std::max<std::int64_t>(0, Left(key));
      least = least < 0 ? left : std::min(least, left);
    }
    return static_cast<int>(least);
  }

  json::object Answer(const json::object& request) {
    const std::string_view op = request.at("op").as_string();
    if (op == "acquire") return Acquire(request);
    if (op == "look") return Look(keys_[Text(request, "key")]);
    Key* const key = OwnedBy(Text(request, "lease"));
    if (key == nullptr) return {{"answer", "gone"}};
    if (op == "renew") key->end = Clock::now() + key->time;
    if (op == "publish") Record(*key, request);
    if (op == "release") {
      Record(*key, request);
      Free(*key);
    }
    return {{"answer", "ok"}};
  }

  bool HasChanged(const json::object& await) {
    const Key& key = keys_[Text(await, "key")];
    if (const json::value* token = await.if_contains("token")) {
      return token->to_number<std::uint64_t>() != key.token;
    }
    return await.at("revision").to_number<std::uint64_t>() != key.revision;
  }

 private:
  static std::string Text(const json::object& request, std::string_view member) {
    return std::string(request.at(member).as_string());
  }
  static std::int64_t Left(const Key& key) {
    return std::chrono::ceil<milliseconds>(key.end - Clock::now()).count();
  }
  Key* OwnedBy(const std::string& lease) {
    for (auto& [name, key] : keys_) {
      if (key.owner == lease) return &key;
    }
    return nullptr;
  }
  void Record(Key& key, const json::object& request) {
    key.record = Text(request, "record");
    key.revision = ++revision_;
  }
  void Free(Key& key) {
    key.owner.clear();
    key.token = 0;
    key.revision = ++revision_;
  }
  static json::object Look(const Key& key) {
    if (key.owner.empty()) return {{"answer", "free"}, {"record", key.record}};
    return {{"answer", "taken"},
            {"record", key.record},
            {"left_ms", Left(key)},
            {"revision", key.revision},
            {"token", key.token}};
  }
  json::object Acquire(const json::object& request) {
    Key& key = keys_[Text(request, "key")];
    json::object answer = Look(key);
    if (!key.owner.empty()) {
      answer["answer"] = "refused";
      return answer;
    }
    key.owner = Text(request, "lease");
    key.time = milliseconds(request.at("time_ms").to_number<std::int64_t>());
    key.end = Clock::now() + key.time;
    Record(key, request);
    key.token = key.revision;
    answer["answer"] = "granted";
    answer["token"] = key.token;
    answer["time_ms"] = key.time.count();
    return answer;
  }

  std::map<std::string, Key> keys_;
  std::uint64_t revision_ = 0;
};

struct Connection {
  int fd;
  std::optional<json::object> awaits = std::nullopt;
  bool over = false;
};

void Send(Connection& connection, const json::object& answer) {
  const std::string text = json::serialize(answer);
  // Who does not read his answers, or has gone, gets none.
  (void)!send(connection.fd, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void Serve(Connection& connection, Leases& leases) {
  std::array<char, 65536> packet;
  ssize_t size = 0;
  // What was sent before the other end closed with an answer unread comes behind that error.
  do {
    size = recv(connection.fd, packet.data(), packet.size(), MSG_DONTWAIT);
  } while (size < 0 && (errno == EINTR || errno == ECONNRESET));
  if (size < 0) return;
  connection.over = size == 0;
  if (connection.over) return;
  try {
    json::object request = json::parse({packet.data(), static_cast<std::size_t>(size)}).as_object();
    if (request.at("op").as_string() == "await") {
      connection.awaits = std::move(request);
    } else {
      Send(connection, leases.Answer(request));
    }
  } catch (const std::exception&) {
    connection.over = true;  // no request of this protocol
  }
}

void TellWhoAwaits(std::vector<Connection>& connections, Leases& leases) {
  for (Connection& connection : connections) {
    if (!connection.awaits.has_value() || !leases.HasChanged(*connection.awaits)) continue;
    Send(connection, {{"answer", "changed"}});
    connection.awaits.reset();
  }
}

int Listen(std::string address) {
  sockaddr_un at = {};
  at.sun_family = AF_UNIX;
  if (address.size() >= sizeof at.sun_path) return -1;
  std::memcpy(at.sun_path, address.data(), address.size());
  if (address.starts_with('@')) at.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const bool listens =
      bind(fd, reinterpret_cast<const sockaddr*>(&at), size) == 0 && listen(fd, SOMAXCONN) == 0;
  return listens ? fd : -1;
}

// In the order in which they connected, so that two requests of one client are heard in its order.
[[noreturn]] void Serve(int listener) {
  Leases leases;
  std::vector<Connection> connections;
  while (true) {
    std::vector<pollfd> polled = {{.fd = listener, .events = POLLIN, .revents = 0}};
    for (const Connection& connection : connections) {
      polled.push_back({.fd = connection.fd, .events = POLLIN, .revents = 0});
    }
    (void)poll(polled.data(), polled.size(), leases.UntilNextEnd());
    leases.FreeWhatHasRunOut();
    for (std::size_t i = 0; i < connections.size(); ++i) {
      if (polled[i + 1].revents != 0) Serve(connections[i], leases);
    }
    TellWhoAwaits(connections, leases);
    std::erase_if(connections, [](const Connection& connection) {
      return connection.over && close(connection.fd) == 0;
    });
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) connections.push_back({.fd = fd});
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 64;
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int listener = Listen(argv[1]);
  if (listener < 0) {
    std::cerr << "cannot listen at " << argv[1] << ": " << std::strerror(errno) << std::endl;
    return 1;
  }
  std::cout << "ready" << std::endl;
  Serve(listener);
}
