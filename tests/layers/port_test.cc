// What is special to the port layer: other programs listen on ports too.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <variant>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kit/key.h"
#include "soleguard/guard.h"
#include "soleguard/inspect.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/process.h"
#include "soleguard/registry.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/sockets.h"
#include "support/start.h"
#include "support/temp_dir.h"
#include "support/traced.h"

namespace soleguard {
namespace {

using ::testing::AllOf;
using testing::Answer;
using testing::Child;
using testing::Claimant;
using ::testing::HasSubstr;
using testing::InChild;
using ::testing::StartsWith;
using testing::Traced;

// A foreign program's socket.
class Foreigner {
 public:
  explicit Foreigner(std::uint32_t address, std::uint16_t port = 0)
      : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in name = {};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(address);
    name.sin_port = htons(port);
    socklen_t size = sizeof name;
    if (bind(socket_.get(), reinterpret_cast<const sockaddr*>(&name), size) != 0 ||
        getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&name), &size) != 0) {
      throw std::runtime_error("bind failed");
    }
    port_ = ntohs(name.sin_port);
  }
  void Listen() {
    if (listen(socket_.get(), 1) != 0) throw std::runtime_error("listen failed");
  }
  std::uint16_t port() const { return port_; }

 private:
  UniqueFd socket_;
  std::uint16_t port_ = 0;
};

class PortTest : public ::testing::Test {
 protected:
  Scope scope() const { return *Scope::Directory(directory_.path()); }
  Verdict Acquire(const std::string& policy) const {
    return Guard::Acquire("x", *Policy::Parse(policy), {.scope = scope()});
  }
  // What the companion of "x" is called, as the kernel lists it.
  std::string CompanionName() const {
    const std::string begin =
        absl::StrFormat("soleguard/%016x/", KeyOf(scope(), *InstanceName::Parse("x")));
    std::ifstream sockets("/proc/net/unix");
    for (std::string line; std::getline(sockets, line);) {
      const std::size_t at = line.find(begin);
      if (at != std::string::npos) return line.substr(at);
    }
    return "";
  }
  struct Abstract {
    explicit Abstract(const std::string& name)
        : size(static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())) {
      address.sun_family = AF_UNIX;
      name.copy(address.sun_path + 1, sizeof address.sun_path - 1);
    }
    const sockaddr* general() const { return reinterpret_cast<const sockaddr*>(&address); }
    sockaddr_un address = {};
    socklen_t size;
  };
  // Listens there for as long as the process lives.
  static bool Squat(const std::string& name) {
    const Abstract at(name);
    const int squats = socket(AF_UNIX, SOCK_STREAM, 0);
    return bind(squats, at.general(), at.size) == 0 && listen(squats, 1) == 0;
  }
  static void FillBacklog(const std::string& name) {
    const Abstract at(name);
    while (true) {
      const UniqueFd client(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      if (connect(client.get(), at.general(), at.size) != 0) return;
    }
  }
  static std::string Reason(const Verdict& verdict) {
    const auto* undetermined = std::get_if<Undetermined>(&verdict);
    return undetermined != nullptr ? std::string(undetermined->status.message()) : "no reason";
  }

  const testing::TempDir directory_;
};

TEST_F(PortTest, H17_AForeignListenerIsNamedAndNeverAlreadyRunning) {
  for (const std::uint32_t address : {INADDR_LOOPBACK, INADDR_ANY}) {
    Foreigner foreigner(address);
    foreigner.Listen();
    const std::string policy = absl::StrCat("port(", foreigner.port(), ")");
    const Verdict verdict = Acquire(policy);
    EXPECT_TRUE(std::holds_alternative<Undetermined>(verdict));
    EXPECT_THAT(Reason(verdict),
                AllOf(HasSubstr(absl::StrCat("pid ", getpid())), HasSubstr("not an instance")));
    const auto inspection = Inspect("x", *Policy::Parse(policy), {.scope = scope()});
    EXPECT_EQ(inspection->holder(), nullptr);
    EXPECT_TRUE(inspection->blind());
  }
}

TEST_F(PortTest, AChosenPortIsHeldOnLoopbackOnly) {
  const std::uint16_t port = testing::FreePort();
  const Verdict verdict = Acquire(absl::StrCat("port(", port, ")"));
  ASSERT_TRUE(std::holds_alternative<Unique>(verdict)) << Reason(verdict);
  EXPECT_TRUE(std::get<Unique>(verdict).guard.Verify().ok());
  // Another loopback address with the same port is free.
  Foreigner elsewhere(INADDR_LOOPBACK + 1, port);
  elsewhere.Listen();
  EXPECT_THROW(Foreigner(INADDR_LOOPBACK, port), std::runtime_error);
}

TEST_F(PortTest, H37_ACompanionThatAStrangerSquatsIsUnavailableAndHeIsNamed) {
  if (getuid() != 0) GTEST_SKIP() << "only root can be two users";
  std::string name;
  {
    // What the companion is called, as the kernel shows it.
    const Verdict verdict = Acquire("port");
    ASSERT_TRUE(std::holds_alternative<Unique>(verdict));
    name = CompanionName();
  }
  ASSERT_FALSE(name.empty());
  const testing::Child squatter([&] {
    if (setuid(65534) != 0) return std::string("setuid failed");
    return std::string(Squat(name) ? "squats" : "bind failed");
  });
  ASSERT_EQ(squatter.answer(), "squats");
  const Verdict verdict = Acquire("port");
  EXPECT_THAT(Reason(verdict), AllOf(HasSubstr(name), HasSubstr("nobody (uid 65534)")));
  EXPECT_EQ(Check("x", *Policy::Parse("port"), {.scope = scope()})->decision,
            Arbiter::Decision::kUndetermined);
}

// Those who have asked the companion take the places of its backlog for as long as it lives.
TEST_F(PortTest, H37_AFullBacklogTellsOfNobody) {
  if (getuid() != 0) GTEST_SKIP() << "only root can be two users";
  Claimant first({.scope = directory_.path(), .policy = "port"});
  ASSERT_TRUE(first.unique()) << first.verdict();
  const std::string name = CompanionName();
  FillBacklog(name);
  Claimant second({.scope = directory_.path(), .policy = "port"});
  EXPECT_EQ(second.verdict(), absl::StrCat("duplicate ", first.pid(), " established"));
  EXPECT_EQ(second.Ask("layers"), absl::StrCat("port contested ", first.pid(), " established"));
  EXPECT_EQ(first.Ask("release"), "released");
  // R2_CompanionBacklog
  const testing::Child squatter([&] {
    if (setuid(65534) != 0) return std::string("setuid failed");
    if (!Squat(name)) return std::string("bind failed");
    FillBacklog(name);
    return std::string("squats");
  });
  ASSERT_EQ(squatter.answer(), "squats");
  const Verdict verdict = Acquire("port");
  EXPECT_THAT(Reason(verdict), HasSubstr("nobody (uid 65534)"));
  EXPECT_EQ(Check("x", *Policy::Parse("port"), {.scope = scope()})->decision,
            Arbiter::Decision::kUndetermined);
}

// The limit that docs/layer-port.md names; all(file, port) would still refuse.
// A descriptor on its way through a Unix socket keeps what it refers to and shows in no process: so
// does one that a reader of /proc/PID/fd/N has for a moment.
class PortOnItsWay : public PortTest {
 protected:
  void SetUp() override {
    if (const std::string why = Traced::Unusable(); !why.empty()) GTEST_SKIP() << why;
    std::array<int, 2> ends = {};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    to_ = UniqueFd(ends[0]);
    on_its_way_ = UniqueFd(ends[1]);
  }

  // Sends the TCP socket of this process.
  std::string SendListener() const {
    for (int fd = 0; fd < 64; ++fd) {
      int domain = 0;
      socklen_t size = sizeof domain;
      if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_INET) continue;
      char byte = 0;
      iovec data = {.iov_base = &byte, .iov_len = 1};
      alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof fd)> control{};
      msghdr message = {};
      message.msg_iov = &data;
      message.msg_iovlen = 1;
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof fd);
      std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
      return sendmsg(to_.get(), &message, 0) == 1 ? "sent" : "not sent";
    }
    return "no listener";
  }

  UniqueFd to_;
  UniqueFd on_its_way_;
};

class PortThatOutlivesItsHolder : public PortOnItsWay {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(PortOnItsWay::SetUp());
    if (IsSkipped()) return;
    Child holder([&] {
      static Verdict verdict = Acquire("port");
      return SendListener() + " " + testing::Say(verdict);
    });
    ASSERT_THAT(holder.answer(), StartsWith("sent unique"));
    holder.Kill();
    to_.reset();
  }
};

TEST_F(PortThatOutlivesItsHolder, H17_H27_IsWaitedFor) {
  const Answer answer;
  std::optional<Verdict> verdict;
  Traced start([&] {
    on_its_way_.reset();  // the copy that it was forked with
    verdict.emplace(Acquire("port"));
    answer.Set(testing::Say(*verdict));
  });
  constexpr int kBindsOfThreeTries = 6;  // the port and its companion
  for (int binds = 0; binds < kBindsOfThreeTries;) {
    const std::optional<Traced::Call> call = start.Next();
    ASSERT_TRUE(call.has_value()) << answer.said();
    if (call->number == SYS_bind) ++binds;
  }
  on_its_way_.reset();
  start.RunToEnd();
  EXPECT_THAT(answer.said(), StartsWith("unique"));
}

TEST_F(PortThatOutlivesItsHolder, H17_ButNotForLongAndIsNeverAlreadyRunning) {
  const Verdict verdict = Acquire("port");
  EXPECT_THAT(Reason(verdict),
              AllOf(HasSubstr("in use by a program of"), HasSubstr("which is not an instance")));
}

// As a holder is in the middle of its end: none of its descriptors shows any more, and the kernel
// still closes the socket. A tracer holds it there.
TEST_F(PortOnItsWay, H27_OfAHolderThatIsDyingIsTheHoldersThoughItShowsNoDescriptors) {
  Child holder([&] {
    static Verdict verdict = Acquire("port");
    std::string said = SendListener() + " " + testing::Say(verdict);
    for (int fd = 3; fd < 64; ++fd) {
      int listens = 0;
      socklen_t size = sizeof listens;
      if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0)
        close(fd);
    }
    return said;
  });
  ASSERT_THAT(holder.answer(), StartsWith("sent unique"));
  ASSERT_EQ(ptrace(PTRACE_SEIZE, holder.pid(), nullptr, PTRACE_O_TRACEEXIT), 0);
  ASSERT_EQ(kill(holder.pid(), SIGKILL), 0);
  int status = 0;
  ASSERT_EQ(waitpid(holder.pid(), &status, 0), holder.pid());
  ASSERT_EQ(status >> 8, SIGTRAP | (PTRACE_EVENT_EXIT << 8));

  const std::unique_ptr<Layer> layer = FindLayerKind("port")->make(
      {.scope = scope(), .name = *InstanceName::Parse("x"), .parameters = {}, .subject = {}});
  const auto check = [&](const Holder& found) {
    EXPECT_EQ(found.standing, Standing::kDying);
    ASSERT_TRUE(found.record.has_value()) << found.evidence;
    EXPECT_EQ(found.record->identity.pid, holder.pid());
  };
  const Sighting sighting = layer->Look();
  if (const auto* taken = std::get_if<Taken>(&sighting)) {
    check(taken->holder);
  } else {
    ADD_FAILURE() << std::get<Unavailable>(sighting).status;
  }
  HolderRecord candidate;
  candidate.identity = *OwnIdentity();
  const Attempt attempt = layer->Try(candidate);
  const auto* contested = std::get_if<Contested>(&attempt);
  if (contested != nullptr) check(contested->holder);
  EXPECT_NE(contested, nullptr);

  ASSERT_EQ(ptrace(PTRACE_DETACH, holder.pid(), nullptr, nullptr), 0);
  holder.Kill();
  on_its_way_.reset();
  const Verdict next = Acquire("port");
  ASSERT_TRUE(std::holds_alternative<Unique>(next)) << Reason(next);
  EXPECT_EQ(std::get<Unique>(next).guard.predecessor()->identity.pid, holder.pid());
}

// Where the record of the holder is seen, that refuses; the socket does not.
TEST_F(PortTest, AnotherNetworkNamespaceIsAnotherPort) {
  Claimant first({.scope = directory_.path(), .policy = "port"});
  ASSERT_TRUE(first.unique());
  const auto elsewhere = [this] {
    return InChild([this] {
      if (unshare(CLONE_NEWNET) != 0) return std::string("skip");
      const Verdict verdict = Acquire("port");
      if (std::holds_alternative<Unique>(verdict)) return std::string("free");
      const auto* duplicate = std::get_if<Duplicate>(&verdict);
      return duplicate == nullptr ? Reason(verdict) : duplicate->holder.evidence;
    });
  };
  const std::string said = elsewhere();
  if (said == "skip") GTEST_SKIP() << "no network namespaces here";
  EXPECT_THAT(said, HasSubstr(absl::StrCat("record.port says that pid ", first.pid())));
  ASSERT_TRUE(std::filesystem::remove(directory_ / "names/x/record.port"));
  EXPECT_EQ(elsewhere(), "free");
}

TEST_F(PortTest, RefusesWhatIsNoPort) {
  for (const char* text :
       {"port(0)", "port(65536)", "port(http)", "port(080)", "port(number=80)"}) {
    EXPECT_FALSE(Policy::Parse(text).ok()) << text;
  }
}

}  // namespace
}  // namespace soleguard
