// Messages to the holder of a name, who answers.
#include "soleguard/message.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>
#include <absl/time/time.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "soleguard/process.h"
#include "soleguard/send.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/eventually.h"
#include "support/shared.h"
#include "support/test_scope.h"

namespace soleguard {
namespace {

using testing::Child;
using testing::Claimant;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::InChild;
using testing::Say;
using testing::TestScope;

constexpr absl::Duration kLong = absl::Seconds(30);

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) throw std::runtime_error("too long: " + path);
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

std::string Content(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

class MessageTest : public ::testing::Test {
 protected:
  // Another process that has the name and answers with what it got.
  Claimant Holder(const std::string& answers = "receive") const {
    Claimant holder(scope_.Another());
    EXPECT_TRUE(holder.unique()) << holder.verdict();
    EXPECT_EQ(holder.Ask(answers), "receives");
    return holder;
  }
  absl::StatusOr<Answer> SendTo(const Message& message, absl::Duration timeout = kLong) const {
    return Send("x", *Policy::Parse(scope_.policy()), {.scope = scope_.scope()}, message, timeout);
  }
  std::string Ping(absl::Duration timeout = kLong) const {
    const absl::StatusOr<Answer> answer = SendTo({.payload = "ping"}, timeout);
    return answer.ok() ? answer->text : answer.status().ToString();
  }
  // Connected to the holder's socket as anybody can be.
  UniqueFd Connect() const {
    UniqueFd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = AddressOf(scope_.Object("inbox"));
    if (connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      throw std::system_error(errno, std::system_category(), "connect");
    }
    return client;
  }
  static void Write(const UniqueFd& socket, const std::string& bytes) {
    std::size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t now =
          send(socket.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (now <= 0) return;  // the holder has broken off
      sent += static_cast<std::size_t>(now);
    }
  }
  // Blocks until the holder has broken off.
  static bool IsClosed(const UniqueFd& socket) {
    char byte = 0;
    return read(socket.get(), &byte, 1) <= 0;
  }

  const TestScope scope_{"file"};
};

TEST_F(MessageTest, TheHolderGetsWhatWasSentFromWhomTheKernelSaysItIs) {
  const Verdict verdict = scope_.Acquire();
  ASSERT_TRUE(std::holds_alternative<Unique>(verdict)) << Say(verdict);
  // The Guard is this process's: another one sends.
  Guard& guard = const_cast<Unique&>(std::get<Unique>(verdict)).guard;
  Sender sender;
  Message message;
  ASSERT_TRUE(guard
                  .Receive([&](const Sender& from, const Message& got) {
                    sender = from;
                    message = got;
                    return Answer{.text = "opened"};
                  })
                  .ok());
  const Child child([&] {
    const absl::StatusOr<Answer> answer = SendTo({.argv = {"prog", "", "a b\n\xff"},
                                                  .working_directory = "/tmp/x",
                                                  .payload = std::string("p\0q", 3),
                                                  .activation_token = std::string("a\0t", 3),
                                                  .startup_id = ""});
    return answer.ok() ? absl::StrCat(answer->ok, " ", answer->text) : answer.status().ToString();
  });
  EXPECT_EQ(child.answer(), "1 opened");
  EXPECT_THAT(message.argv, ElementsAre("prog", "", "a b\n\xff"));
  EXPECT_EQ(message.working_directory, "/tmp/x");
  EXPECT_EQ(message.payload, std::string("p\0q", 3));
  EXPECT_EQ(message.activation_token, std::string("a\0t", 3));
  EXPECT_EQ(message.startup_id, "");
  EXPECT_EQ(sender.identity, *IdentityOf(child.pid()));
  EXPECT_EQ(sender.uid, geteuid());
}

TEST_F(MessageTest, AnErrorOfTheHolderIsAnAnswer) {
  const Claimant holder = Holder("receive error");
  const absl::StatusOr<Answer> answer = SendTo({.payload = "ping"});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_FALSE(answer->ok);
  EXPECT_EQ(answer->text, "no: ping");
}

TEST_F(MessageTest, AnExceptionOfTheAnswererIsAnAnswerToo) {
  const Claimant holder = Holder("receive exception");
  const absl::StatusOr<Answer> answer = SendTo({.payload = "ping"});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_FALSE(answer->ok);
  EXPECT_EQ(answer->text, "thrown: ping");
}

TEST_F(MessageTest, WhatIsThrownAndIsNoExceptionIsAnAnswerToo) {
  Claimant holder = Holder("receive number");
  const absl::StatusOr<Answer> answer = SendTo({.payload = "ping"});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_FALSE(answer->ok);
  EXPECT_THAT(answer->text, HasSubstr("threw"));
  EXPECT_EQ(holder.Ask("verify"), "ok");
}

TEST_F(MessageTest, WithoutAHolderItIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(SendTo({}).status()));
  { const Claimant holder = Holder(); }
  EXPECT_TRUE(absl::IsNotFound(SendTo({}).status()));
}

TEST_F(MessageTest, AHolderThatTakesNoneIsNamed) {
  Claimant holder(scope_.Another());
  ASSERT_TRUE(holder.unique());
  const absl::Status status = SendTo({}, absl::Milliseconds(100)).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(status.ToString(), HasSubstr(absl::StrCat("pid ", holder.pid())));
}

TEST_F(MessageTest, H15_AFrozenHolderDoesNotAnswerAndNeverSeesTheMessage) {
  Claimant holder = Holder();
  holder.program().Signal(SIGSTOP);
  holder.program().WaitUntilStopped();
  const absl::Status status = SendTo({.payload = "ping"}, absl::Milliseconds(200)).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;

  // It lives, and what was told "not delivered" is not done later.
  holder.program().Signal(SIGCONT);
  EXPECT_EQ(Ping(), "got ping");
  EXPECT_EQ(holder.Ask("messages"), "1");
  EXPECT_EQ(holder.Ask("verify"), "ok");
}

TEST_F(MessageTest, H15_AHolderThatIsKilledMeanwhileHasNotAnswered) {
  Claimant holder = Holder("receive forever");
  std::thread killer([&] {
    EXPECT_EQ(holder.Ask("await message"), "got it");
    holder.program().Signal(SIGKILL);
  });
  const absl::Status status = SendTo({.payload = "ping"}).status();
  killer.join();
  EXPECT_TRUE(absl::IsAborted(status)) << status;
  // What it left behind refuses nobody.
  (void)holder.program().Wait();
  EXPECT_TRUE(std::filesystem::exists(scope_.Object("inbox")));
  const Claimant next = Holder();
  EXPECT_EQ(Ping(), "got ping");
}

// Another process of the same user that listens in the holder's place learns nothing. The holder
// is frozen: it would make its own socket anew.
TEST_F(MessageTest, H15_ToAStrangersSocketNotOneByteIsSent) {
  Claimant holder = Holder();
  holder.program().Signal(SIGSTOP);
  holder.program().WaitUntilStopped();
  const testing::Shared<std::atomic<int>> connections;
  const testing::Shared<std::atomic<int>> bytes;
  Child stranger([&] {
    const std::string path = scope_.Object("inbox");
    (void)unlink(path.c_str());
    const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    const sockaddr_un address = AddressOf(path);
    if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        listen(listener, 8) != 0) {
      return absl::StrCat("cannot listen: ", errno);
    }
    std::thread([&, listener] {
      while (true) {
        const int client = accept(listener, nullptr, nullptr);
        char byte = 0;
        *bytes += static_cast<int>(read(client, &byte, 1));
        ++*connections;
        (void)close(client);
      }
    }).detach();
    return std::string("listens");
  });
  ASSERT_EQ(stranger.answer(), "listens");
  for (int i = 0; i < 5; ++i) {
    const absl::Status status = SendTo({.payload = "secret"}).status();
    EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
    EXPECT_THAT(status.ToString(), HasSubstr(absl::StrCat("pid ", stranger.pid())));
  }
  while (*connections < 5) std::this_thread::yield();
  EXPECT_EQ(*bytes, 0);

  holder.program().Signal(SIGCONT);
  while (absl::IsPermissionDenied(SendTo({.payload = "ping"}).status())) std::this_thread::yield();
  EXPECT_EQ(Ping(), "got ping");
}

// A dead process's listener that another one keeps: the pid may be the holder's by now.
TEST_F(MessageTest, H15_ASocketOfAProcessThatHasEndedIsNobodys) {
  Claimant holder = Holder();
  holder.program().Signal(SIGSTOP);
  holder.program().WaitUntilStopped();
  const std::string path = scope_.Object("inbox.other");
  const UniqueFd kept(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const std::string said = InChild([&] {
    const sockaddr_un address = AddressOf(path);
    const bool listens =
        bind(kept.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
        listen(kept.get(), 8) == 0;
    return std::string(listens ? "listens" : "does not");
  });
  ASSERT_EQ(said, "listens");
  std::filesystem::rename(path, scope_.Object("inbox"));
  const absl::Status status = SendTo({.payload = "secret"}).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(status.ToString(), HasSubstr("nobody can tell whose socket it is"));
}

TEST_F(MessageTest, ADeletedSocketIsMadeAnew) {
  const Claimant holder = Holder();
  ASSERT_EQ(unlink(scope_.Object("inbox").c_str()), 0);
  // Until the holder has seen it there is none, or one that it closes.
  while (!SendTo({.payload = "ping"}).ok()) std::this_thread::yield();
  EXPECT_EQ(Ping(), "got ping");
}

TEST_F(MessageTest, AReleaseEndsIt) {
  Claimant holder = Holder();
  EXPECT_EQ(holder.Ask("release"), "released");
  EXPECT_FALSE(std::filesystem::exists(scope_.Object("inbox")));
  EXPECT_TRUE(absl::IsNotFound(SendTo({}).status()));
}

// The destructor is a second release then, and the first one's thread still uses the Guard.
TEST_F(MessageTest, TheGuardsEndWaitsForTheAnswererThatReleasesIt) {
  Verdict verdict = scope_.Acquire();
  auto guard = std::make_unique<Guard>(std::move(std::get<Unique>(verdict).guard));
  std::atomic<bool> released = false;
  std::atomic<bool> destroyed = false;
  bool too_early = true;
  ASSERT_TRUE(guard
                  ->Receive([&](const Sender&, const Message&) {
                    guard->Release();
                    released = true;
                    released.notify_all();
                    too_early = testing::BecomesTrue(destroyed);
                    return Answer{};
                  })
                  .ok());
  std::thread destroyer([&] {
    released.wait(false);
    guard.reset();
    destroyed = true;
  });
  (void)Ping();
  destroyer.join();
  EXPECT_FALSE(too_early);
}

TEST_F(MessageTest, H31_AReleaseEndsItThoughTheProgramClosedItsDescriptors) {
  Claimant holder = Holder();
  EXPECT_EQ(holder.Ask("closefrom"), "closed");
  EXPECT_EQ(holder.Ask("release"), "released");
}

TEST_F(MessageTest, H31_AReleaseWritesToNoFileThatGotItsNumbers) {
  const std::string own = scope_.directory() / "the program's own";
  const std::string content(8192, 'c');
  std::ofstream(own) << content;
  Claimant holder = Holder();
  const UniqueFd conversation = Connect();
  Write(conversation, "SGmsg");
  EXPECT_EQ(holder.Ask("occupy " + own), "occupied");
  const std::string open = holder.Ask("descriptors " + own);
  EXPECT_EQ(holder.Ask("release"), "released");
  EXPECT_EQ(holder.Ask("descriptors " + own), open) << "none was closed";
  EXPECT_EQ(Content(own), content);
}

TEST_F(MessageTest, H31_WhatTheProgramClosedIsMadeAnew) {
  Claimant holder = Holder();
  EXPECT_EQ(holder.Ask("closefrom"), "closed");
  EXPECT_THAT(holder.Ask("repair"), HasSubstr("file repaired"));
  // Until the holder has seen it there is none, or one that it closes.
  while (!SendTo({.payload = "ping"}).ok()) std::this_thread::yield();
  EXPECT_EQ(Ping(), "got ping");
  EXPECT_EQ(holder.Ask("release"), "released");
}

TEST_F(MessageTest, AConnectionThatCannotBeAcceptedIsTriedAgainAtLeisure) {
  Claimant holder = Holder();
  EXPECT_EQ(holder.Ask("exhaust"), "exhausted");
  clockid_t clock = 0;
  ASSERT_EQ(clock_getcpuclockid(holder.pid(), &clock), 0);
  const auto used = [clock] {
    timespec time = {};
    EXPECT_EQ(clock_gettime(clock, &time), 0);
    return absl::DurationFromTimespec(time);
  };
  const UniqueFd waiting = Connect();
  const absl::Duration before = used();
  // Nothing happens meanwhile that could be waited for. A loop would use all of it, or what a
  // loaded machine gives it.
  absl::SleepFor(absl::Seconds(1));
  EXPECT_LT(used() - before, absl::Milliseconds(100));

  EXPECT_EQ(holder.Ask("relieve"), "relieved");
  EXPECT_EQ(Ping(), "got ping");
}

TEST_F(MessageTest, H28_AForkedChildNeitherTakesMessagesNorEndsThem) {
  Claimant holder = Holder();
  const std::string child = holder.Ask("fork");
  EXPECT_EQ(Ping(), "got ping");
  holder.program().Signal(SIGKILL);
  (void)holder.program().Wait();
  EXPECT_TRUE(absl::IsNotFound(SendTo({}).status()));
  (void)kill(std::stoi(child), SIGKILL);
}

TEST_F(MessageTest, ItsSizeIsBounded) {
  const Claimant holder = Holder("receive size");
  const auto size = [this](const Message& message) {
    const absl::StatusOr<Answer> answer = SendTo(message);
    return answer.ok() ? answer->text
                       : std::string(absl::StatusCodeToString(answer.status().code()));
  };
  EXPECT_EQ(size({.payload = std::string(kMaxPayloadBytes, 'x')}), absl::StrCat(kMaxPayloadBytes));
  EXPECT_EQ(size({.payload = std::string(kMaxPayloadBytes + 1, 'x')}), "INVALID_ARGUMENT");
  EXPECT_EQ(size({.argv = {std::string(kMaxArgumentBytes - 8, 'x')}}), "0");
  EXPECT_EQ(size({.argv = {std::string(kMaxArgumentBytes - 7, 'x')}}), "INVALID_ARGUMENT");
  EXPECT_EQ(size({.argv = std::vector<std::string>(kMaxArgumentBytes / 4, "")}),
            "INVALID_ARGUMENT");
}

TEST_F(MessageTest, AnAnswerThatIsTooLargeIsAnError) {
  const Claimant holder = Holder("receive much");
  const absl::StatusOr<Answer> answer = SendTo({.payload = "ping"});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_FALSE(answer->ok);
  EXPECT_THAT(answer->text, HasSubstr("bytes, more than"));
}

TEST_F(MessageTest, TwentySendersAtOnceAreAllAnsweredOneByOne) {
  Claimant holder = Holder("receive alone");
  std::vector<std::thread> threads;
  std::atomic<int> answered = 0;
  for (int i = 0; i < 20; ++i) {
    threads.emplace_back([&, i] {
      const std::string payload = absl::StrCat("message ", i);
      const absl::StatusOr<Answer> answer = SendTo({.payload = payload});
      if (answer.ok() && answer->text == absl::StrCat("got ", payload)) ++answered;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answered, 20);
  EXPECT_EQ(holder.Ask("messages"), "20");
}

TEST_F(MessageTest, ASenderThatSaysNothingKeepsNobodyElseWaiting) {
  const Claimant holder = Holder();
  std::vector<UniqueFd> silent;
  for (int i = 0; i < 10; ++i) silent.push_back(Connect());
  Write(silent.front(), "SGmsg");
  EXPECT_EQ(Ping(), "got ping");
}

TEST_F(MessageTest, WhatIsNoMessageIsNeverSeen) {
  Claimant holder = Holder();
  const auto number = [](std::uint32_t value) {
    std::string bytes(sizeof value, '\0');
    std::memcpy(bytes.data(), &value, sizeof value);
    return bytes;
  };
  const std::string head("SGmsg\0\0\1", 8);
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1\r\n\r\n"), head + number(0xffffffff), head + number(0),
        head + number(4) + number(0xffffffff),
        head + number(12) + number(0) + number(0) + number(9),
        head + number(16) + number(0) + number(0) + number(0) + "more"}) {
    const UniqueFd socket = Connect();
    Write(socket, bytes);
    EXPECT_TRUE(IsClosed(socket));
  }
  EXPECT_EQ(Ping(), "got ping");
  EXPECT_EQ(holder.Ask("messages"), "1");
}

// Bytes at random, and messages that were cut or changed at random.
TEST_F(MessageTest, RandomBytesNeitherHangNorEndTheHolder) {
  Claimant holder = Holder();
  std::mt19937 random(4711);  // NOLINT(cert-msc51-cpp): the same each time
  const auto below = [&random](std::size_t end) {
    return std::uniform_int_distribution<std::size_t>(0, end - 1)(random);
  };
  constexpr char kWellFormed[] =
      "SGmsg\0\0\1\x20\0\0\0\2\0\0\0\1\0\0\0a\3\0\0\0bcd\4\0\0\0/tmp\4\0\0\0ping";
  for (int i = 0; i < 500; ++i) {
    std::string bytes(kWellFormed, sizeof kWellFormed - 1);
    for (std::size_t change = below(4); change > 0; --change) {
      bytes[below(bytes.size())] = static_cast<char>(below(256));
    }
    bytes.resize(below(2) == 0 ? bytes.size() : below(bytes.size()));
    const UniqueFd socket = Connect();
    Write(socket, bytes);
  }
  EXPECT_EQ(Ping(), "got ping");
  EXPECT_EQ(holder.Ask("verify"), "ok");
}

// A path that is longer than a Unix socket's address can be.
TEST_F(MessageTest, TheLengthOfTheScopesPathDoesNotMatter) {
  const std::string scope = scope_.directory() / std::string(150, 'd');
  Claimant holder({.scope = scope, .policy = "file"});
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  ASSERT_EQ(holder.Ask("receive"), "receives");
  const absl::StatusOr<Answer> answer = Send(
      "x", *Policy::Parse("file"), {.scope = *Scope::Directory(scope)}, {.payload = "ping"}, kLong);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->text, "got ping");
}

TEST_F(MessageTest, EachSlotHasAnInboxAndTheLowestThatRunsGetsTheMessage) {
  std::vector<Claimant> holders;
  for (int slot = 0; slot < 2; ++slot) {
    Claimant::Setup setup = scope_.Another();
    setup.slot_count = 2;
    holders.emplace_back(setup);
    ASSERT_EQ(holders.back().Ask("slot"), absl::StrCat(slot));
    ASSERT_EQ(holders.back().Ask("receive"), "receives");
  }
  EXPECT_EQ(Ping(), "got ping");
  EXPECT_EQ(holders[0].Ask("messages"), "1");
  EXPECT_EQ(holders[0].Ask("release"), "released");
  EXPECT_EQ(Ping(), "got ping");
  EXPECT_EQ(holders[1].Ask("messages"), "1");
}

TEST_F(MessageTest, AnotherUserGetsInNeitherAsSenderNorAsHolder) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, who can become another user";
  Claimant holder = Holder();
  // The directory keeps others out; what if it did not?
  for (const std::string& path :
       {scope_.directory().path(), scope_.path(), scope_.path() + "/names", scope_.Object()}) {
    ASSERT_EQ(chmod(path.c_str(), 0755), 0);
  }
  ASSERT_EQ(chmod(scope_.Object("inbox").c_str(), 0666), 0);
  const std::string said = InChild([&] {
    constexpr uid_t kNobody = 65534;
    if (setresuid(kNobody, kNobody, kNobody) != 0) return std::string("cannot");
    const UniqueFd socket = Connect();
    return std::string(IsClosed(socket) ? "closed" : "open");
  });
  EXPECT_EQ(said, "closed");
  EXPECT_EQ(holder.Ask("messages"), "0");
}

}  // namespace
}  // namespace soleguard
