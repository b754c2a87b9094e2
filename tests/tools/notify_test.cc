// A guarded command under a service manager: what it says by sd_notify(3) is passed on.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <set>
#include <stdexcept>
#include <string>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::HasSubstr;

// What a service manager has: a socket, to which only its main process may speak
// (NotifyAccess=main).
class Manager {
 public:
  explicit Manager(const std::string& path)
      : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    const int on = 1;
    if (bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        setsockopt(socket_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0) {
      throw std::runtime_error("no socket at " + path);
    }
  }
  // The next message, once it is there, and who sent it.
  struct Message {
    std::string text;
    pid_t sender = 0;
  };
  bool HasNext() const {
    std::array<char, 1> text;
    return recv(socket_.get(), text.data(), text.size(), MSG_PEEK | MSG_DONTWAIT) >= 0;
  }
  Message Next() const {
    std::array<char, 4096> text;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred))> control;
    iovec data = {.iov_base = text.data(), .iov_len = text.size()};
    msghdr message = {};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t size = recvmsg(socket_.get(), &message, 0);
    if (size < 0) throw std::runtime_error("recvmsg failed");
    ucred sender = {};
    std::memcpy(&sender, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof sender);
    return {.text = std::string(text.data(), static_cast<std::size_t>(size)), .sender = sender.pid};
  }

 private:
  UniqueFd socket_;
};

class Notify : public ::testing::Test {
 protected:
  // A run of a bot that says `words` to its manager. systemd-notify(1) would do it too.
  Program RunSaying(const std::string& words, const Words& options = {}) const {
    constexpr char kBot[] =
        "import os, socket, sys\n"
        "manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "name = os.environ['NOTIFY_SOCKET']\n"
        "name = '\\0' + name[1:] if name[0] == '@' else name\n"
        "manager.sendto(sys.argv[1].encode(), name)\n"
        "print('watchdog pid', os.environ.get('WATCHDOG_PID'), os.environ.get('WATCHDOG_USEC'))\n";
    return Program(
        {.argv = guardcheck_.Run({"python3", "-c", kBot, words}, options),
         .environment = {
             {"NOTIFY_SOCKET", socket_}, {"WATCHDOG_USEC", "30000000"}, {"WATCHDOG_PID", "1"}}});
  }

  const Guardcheck guardcheck_;
  const std::string socket_ = guardcheck_.directory() / "notify";
  const Manager manager_{socket_};
};

TEST_F(Notify, E6_ReadinessStatusAndStoppingComeFromTheMainProcess) {
  Program run = RunSaying("READY=1\nSTATUS=trading\nSTOPPING=1");
  const Manager::Message message = manager_.Next();
  EXPECT_EQ(message.text, "READY=1\nSTATUS=trading\nSTOPPING=1\n");
  EXPECT_EQ(message.sender, run.pid());
  EXPECT_EQ(run.Wait(), 0) << run.Errors();
}

TEST_F(Notify, E6_TheWatchdogIsKeptAliveByTheCommand) {
  Program run = RunSaying("WATCHDOG=1");
  EXPECT_EQ(manager_.Next().text, "WATCHDOG=1\n");
  // sd_watchdog_enabled(3) looks at it only if it names the caller.
  EXPECT_EQ(run.ReadLine().value_or(""), "watchdog pid None 30000000");
  EXPECT_EQ(run.Wait(), 0);
}

TEST_F(Notify, E6_TheMainProcessStaysGuardcheck) {
  Program run = RunSaying("MAINPID=1\nREADY=1\nMAINPIDFDID=7");
  EXPECT_EQ(manager_.Next().text, "READY=1\n");
  EXPECT_EQ(run.Wait(), 0);
}

TEST_F(Notify, E6_WithExecTheCommandIsTheMainProcessItself) {
  Program run = RunSaying("READY=1", {"--exec"});
  const Manager::Message message = manager_.Next();
  EXPECT_EQ(message.text, "READY=1");
  EXPECT_EQ(message.sender, run.pid());
  EXPECT_EQ(run.Wait(), 0);
}

// One that hangs is ended by the manager, as it says no more.
TEST_F(Notify, E6_TheWatchdogIsKeptAliveAsLongAsBeatsCome) {
  const std::string beat = absl::StrJoin(guardcheck_.Argv({"beat", "x"}), " ");
  Program run(
      {.argv = guardcheck_.Run({"sh", "-c", "while read line; do " + beat + "; echo $?; done"},
                               {"--beat-every=1s"}),
       .environment = {{"NOTIFY_SOCKET", socket_}, {"WATCHDOG_USEC", "1000000"}}});
  EXPECT_EQ(manager_.Next().text, "WATCHDOG=1\n");
  run.WriteLine("beat");
  EXPECT_EQ(run.ReadLine().value_or(""), "0");
  EXPECT_EQ(manager_.Next().text, "WATCHDOG=1\n");
  EXPECT_THAT(run.ReadErrorLine().value_or(""), HasSubstr("seems to hang"));
  while (manager_.HasNext()) EXPECT_EQ(manager_.Next().text, "WATCHDOG=1\n");
  const timespec two_more = {.tv_sec = 1, .tv_nsec = 200'000'000};
  (void)nanosleep(&two_more, nullptr);
  EXPECT_FALSE(manager_.HasNext()) << "it hangs, and the manager is to know that";
  run.WriteLine("beat");
  EXPECT_EQ(manager_.Next().text, "WATCHDOG=1\n");
  EXPECT_THAT(run.ReadErrorLine().value_or(""), HasSubstr("beats again"));
}

TEST_F(Notify, E6_WhatTheCommandSaysToTheWatchdogIsABeat) {
  constexpr char kBot[] =
      "import os, socket, sys\n"
      "manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
      "print(os.environ['WATCHDOG_USEC'], flush=True)\n"
      "for line in sys.stdin:\n"
      "    manager.sendto(b'WATCHDOG=1', '\\0' + os.environ['NOTIFY_SOCKET'][1:])\n";
  Program run({.argv = guardcheck_.Run({"python3", "-c", kBot}, {"--beat-every=1h"})});
  const auto count = [this] {
    const std::string status = guardcheck_.Call({"status", "x", "--json"}).output;
    if (status.empty()) return std::int64_t{0};
    const boost::json::value holder = ParseObject(status).at("holder");
    const auto* const beat = holder.is_object() ? holder.as_object().if_contains("beat") : nullptr;
    return beat != nullptr ? beat->at("count").to_number<std::int64_t>() : 0;
  };
  EXPECT_EQ(run.ReadLine().value_or(""), "3600000000");
  EXPECT_EQ(count(), 1) << "the start";
  run.WriteLine("beat");
  while (count() != 2) {
  }
}

TEST_F(Notify, AManagerThatIsGoneIsSaidOnceAndStopsNothing) {
  ASSERT_EQ(unlink(socket_.c_str()), 0);
  Program run = RunSaying("READY=1");
  EXPECT_EQ(run.Wait(), 0);
  EXPECT_THAT(run.Errors(), HasSubstr("to the service manager is lost"));
}

TEST_F(Notify, AManagerThatCannotBeReachedIsSaidAndStopsNothing) {
  for (const std::string manager : {"vsock:2:1234", "=x", "relative"}) {
    const Finished run =
        RunProgram({.argv = guardcheck_.Run({"sh", "-c", "echo \"$NOTIFY_SOCKET\""}),
                    .environment = {{"NOTIFY_SOCKET", manager}}});
    EXPECT_EQ(run.code, 0);
    EXPECT_EQ(run.output, manager + "\n");
    EXPECT_THAT(run.errors, HasSubstr("but '" + manager + "': what the command says"));
  }
}

}  // namespace
}  // namespace soleguard::testing
