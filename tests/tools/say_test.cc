// What guardcheck says beside its answer, how much of it, and where: --quiet, --brief, --log; and
// status --pid, which says nothing but that.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/fd.h"
#include "soleguard/process.h"
#include "support/child.h"
#include "support/content.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

Words LinesOf(const std::string& text) {
  std::istringstream stream(text);
  Words lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

class Saying : public ::testing::Test {
 protected:
  // A start of x whose command says something itself.
  Finished Start(const Words& options) const {
    return guardcheck_.CallRun({"sh", "-c", "echo out; echo err >&2"}, options);
  }

  const Guardcheck guardcheck_;
  const std::string log_ = guardcheck_.directory() / "log";
};

TEST_F(Saying, QuietSaysNothingOfARefusal) {
  Guarded holder = guardcheck_.Start();
  (void)holder.command();
  const Finished refused = Start({"--quiet"});
  EXPECT_EQ(refused.code, 75);
  EXPECT_EQ(refused.output + refused.errors, "");
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(Saying, BriefSaysOneLineOfIt) {
  Guarded holder = guardcheck_.Start();
  (void)holder.command();
  const Finished refused = Start({"--brief"});
  EXPECT_EQ(refused.code, 75);
  EXPECT_EQ(refused.output, "");
  EXPECT_THAT(LinesOf(refused.errors), SizeIs(1));
  EXPECT_THAT(refused.errors, StartsWith(absl::StrCat("guardcheck: x is already running: pid ",
                                                      holder.command(), " (")));
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(Saying, TheCommandsOwnOutputIsUntouched) {
  for (const Words& options : {Words{"--quiet"}, Words{"--brief"}, Words{"--log", log_}}) {
    const Finished run = Start(options);
    EXPECT_EQ(run.code, 0);
    EXPECT_EQ(run.output, "out\n");
    EXPECT_EQ(run.errors, "err\n");
  }
}

// Nobody would miss what he is not told.
TEST_F(Saying, WarningsAndErrorsAreSaidHoweverQuiet) {
  for (const char* const how : {"--quiet", "--brief"}) {
    const Finished unsafe = Start({how, "--policy", "scan"});
    EXPECT_EQ(unsafe.code, 0);
    EXPECT_THAT(unsafe.errors, HasSubstr("policy scan is UNSAFE"));
    const Finished missing = guardcheck_.CallRun({"/nonexistent/command"}, {how});
    EXPECT_EQ(missing.code, 127);
    EXPECT_THAT(missing.errors, HasSubstr("cannot run /nonexistent/command"));
    ASSERT_EQ(chmod(guardcheck_.scope().c_str(), 0777), 0);
    const Finished unclear = Start({how, "--policy", "file"});
    EXPECT_EQ(unclear.code, 69);
    EXPECT_THAT(unclear.errors, HasSubstr("cannot tell whether x is running"));
    ASSERT_EQ(chmod(guardcheck_.scope().c_str(), 0700), 0);
  }
}

TEST_F(Saying, NoticesAreForWhoWantsThem) {
  for (const char* const how : {"", "--quiet", "--brief"}) {
    Guarded holder = guardcheck_.Start();
    (void)holder.command();
    Program waiting(
        {.argv = guardcheck_.Run({"true"}, Words(*how != '\0' ? 1 : 0, how) + Words{"--wait"})});
    // In line it has said so, or says so before it takes over.
    while (ParseObject(guardcheck_.Call({"status", "x", "--json"}).output)
               .at("waiting")
               .as_array()
               .empty()) {
    }
    if (*how == '\0') {
      EXPECT_THAT(waiting.ReadErrorLine().value_or(""), HasSubstr("; waiting"));
    }
    EXPECT_EQ(holder.Exit(0), 0);
    EXPECT_EQ(waiting.Wait(), 0);
    EXPECT_EQ(waiting.Errors(), "");
  }
}

TEST_F(Saying, AFileGetsALineWithTimePidAndPriorityForEach) {
  Guarded holder = guardcheck_.Start();
  (void)holder.command();
  std::ofstream(log_) << "what was there before\n";
  Program refused({.argv = guardcheck_.Run({"true"}, {"--log", log_})});
  const std::string head = absl::StrCat(" guardcheck\\[", refused.pid(), "\\] warning: ");
  EXPECT_EQ(refused.Wait(), 75);
  EXPECT_EQ(refused.Errors(), "");
  Words lines = LinesOf(ContentOf(log_));
  EXPECT_EQ(lines.at(0), "what was there before");
  lines.erase(lines.begin());
  ASSERT_FALSE(lines.empty());
  EXPECT_THAT(lines, Each(ContainsRegex(absl::StrCat(
                         "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{15}[+-][0-9]{2}:[0-9]{2}", head))));
  EXPECT_THAT(lines.at(0), HasSubstr("x is already running"));
  EXPECT_THAT(lines.back(), HasSubstr("starts with nobody in between"));
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(Saying, AFileIsMadeForItsOwnerAndGroupAndLeftToNobody) {
  const Finished run = guardcheck_.CallRun({"ls", "-l", "/proc/self/fd"}, {"--log", log_});
  EXPECT_EQ(run.code, 0);
  EXPECT_THAT(run.output, AllOf(HasSubstr("/fd"), Not(HasSubstr(log_))));
  struct stat made = {};
  ASSERT_EQ(stat(log_.c_str(), &made), 0);
  EXPECT_EQ(made.st_mode & 07137U, 0U);
}

// A log that nobody can read again is said at once, before anything is started.
TEST_F(Saying, ALogThatCannotBeWrittenIsAnErrorOfTheCall) {
  const std::string fifo = guardcheck_.directory() / "fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  for (const std::string& bad : {guardcheck_.directory() / "no/log", fifo, std::string("bot.log"),
                                 guardcheck_.directory().path()}) {
    const Finished run = Start({"--log", bad});
    EXPECT_EQ(run.code, 64) << bad;
    EXPECT_EQ(run.output, "") << bad;
    EXPECT_THAT(run.errors, AllOf(HasSubstr("--log"), HasSubstr(bad))) << bad;
  }
}

// What is wrong must not be lost because the disk is full.
TEST_F(Saying, WhatALogDoesNotTakeIsSaidOnStandardError) {
  Guarded holder = guardcheck_.Start();
  (void)holder.command();
  const Finished refused = Start({"--log", "/dev/full"});
  EXPECT_EQ(refused.code, 75);
  EXPECT_THAT(refused.errors, StartsWith("guardcheck: x is already running"));
  EXPECT_EQ(holder.Exit(0), 0);
}

// A daemon of the test's own at `path`, in a /run and a /dev that only this process sees.
class Daemon {
 public:
  explicit Daemon(const std::string& path)
      : fd_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ok_ = bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  bool ok() const { return ok_; }
  // Blocks until something has come.
  void AwaitOne() const { (void)WaitForAny({&fd_, 1}, absl::InfiniteDuration()); }
  // All that came.
  Words Read() const {
    Words messages;
    std::array<char, 65536> buffer{};
    for (ssize_t got = 0; (got = recv(fd_.get(), buffer.data(), buffer.size(), 0)) >= 0;) {
      messages.emplace_back(buffer.data(), static_cast<std::size_t>(got));
    }
    return messages;
  }

 private:
  UniqueFd fd_;
  bool ok_ = false;
};

// From here on this process and what it starts have a /run of their own.
bool HideRun() {
  return unshare(CLONE_NEWNS) == 0 &&
         mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount("tmpfs", "/run", "tmpfs", 0, nullptr) == 0 && mkdir("/run/systemd", 0755) == 0 &&
         mkdir("/run/systemd/journal", 0755) == 0;
}

// And a /dev, with all that was there but the log.
bool HideDev() {
  if (mkdir("/run/dev", 0755) != 0 ||
      mount("/dev", "/run/dev", nullptr, MS_BIND | MS_REC, nullptr) != 0 ||
      mount("tmpfs", "/dev", "tmpfs", 0, nullptr) != 0) {
    return false;
  }
  for (const auto& entry : fs::directory_iterator("/run/dev")) {
    const std::string name = entry.path().filename();
    if (name != "log" && name != "shm") fs::create_symlink("/run/dev/" + name, "/dev/" + name);
  }
  return mkdir("/dev/shm", 0755) == 0 &&
         mount("/run/dev/shm", "/dev/shm", nullptr, MS_BIND, nullptr) == 0;
}

// What `body` returns in a child with a /run and a /dev of its own, or "skip".
std::string InOwnPlace(const std::function<std::string()>& body) {
  return InChild([&]() -> std::string { return HideRun() && HideDev() ? body() : "skip"; });
}

// The message of a journal entry in the native protocol.
std::string MessageIn(const std::string& entry) {
  const std::string key = "\nMESSAGE\n";
  const std::size_t found = entry.find(key);
  if (found == std::string::npos) return "no message in: " + entry;
  std::uint64_t length = 0;
  for (std::size_t i = 8; i-- > 0;) {
    length = length << 8 | static_cast<unsigned char>(entry.at(found + key.size() + i));
  }
  const std::string rest = entry.substr(found + key.size() + 8);
  if (rest.size() != length + 1 || rest.back() != '\n') return "wrong length in: " + entry;
  return rest.substr(0, length);
}

TEST_F(Saying, TheJournalGetsAnEntryWithItsFields) {
  Guarded holder = guardcheck_.Start();
  (void)holder.command();
  const std::string said = InOwnPlace([this]() -> std::string {
    const Daemon journal("/run/systemd/journal/socket");
    if (!journal.ok()) return "no journal";
    const Finished refused = Start({"--log=journal"});
    if (refused.code != 75 || !refused.errors.empty()) return "said " + refused.errors;
    const Words entries = journal.Read();
    if (entries.size() != 1) return absl::StrCat(entries.size(), " entries");
    return entries[0].substr(0, entries[0].find("\nMESSAGE")) + "|" + MessageIn(entries[0]);
  });
  if (said == "skip") GTEST_SKIP() << "no mount namespaces here";
  EXPECT_THAT(said, StartsWith("PRIORITY=4\nSYSLOG_IDENTIFIER=guardcheck\nSOLEGUARD_NAME=x|"
                               "x is already running; this start was refused.\n\nWho holds it\n"));
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(Saying, SyslogGetsALineForEach) {
  Guarded holder = guardcheck_.Start();
  (void)holder.command();
  const std::string said = InOwnPlace([this]() -> std::string {
    const Daemon syslog("/dev/log");
    Program refused({.argv = guardcheck_.Run({"true"}, {"--log=syslog"})});
    Words lines;
    while (lines.empty() || lines.back().find("in between") == std::string::npos) {
      syslog.AwaitOne();
      lines = lines + syslog.Read();
    }
    if (refused.Wait() != 75 || !refused.Errors().empty()) return "said " + refused.Errors();
    return lines.size() > 3 ? lines[0] : absl::StrCat(lines.size(), " lines");
  });
  if (said == "skip") GTEST_SKIP() << "no mount namespaces here";
  // 12: a warning of a user's program.
  EXPECT_THAT(said, MatchesRegex("<12>[A-Z][a-z][a-z] [ 0-9][0-9] [0-9:]* guardcheck\\[[0-9]*\\]: "
                                 "x is already running; this start was refused\\."));
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(Saying, ADaemonThatDoesNotReadHoldsNobodyUp) {
  Guarded holder = guardcheck_.Start();
  (void)holder.command();
  const std::string said = InOwnPlace([this]() -> std::string {
    const Daemon syslog("/dev/log");
    const Finished refused = Start({"--log=syslog"});
    return absl::StrCat(refused.code, " ", refused.errors);
  });
  if (said == "skip") GTEST_SKIP() << "no mount namespaces here";
  EXPECT_THAT(said, StartsWith("75 guardcheck: x is already running; this start was refused."));
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(Saying, WithoutAJournalTheCallIsWrong) {
  const std::string said = InOwnPlace([this]() -> std::string {
    const Finished run = Start({"--log=journal"});
    return absl::StrCat(run.code, " ", run.errors);
  });
  if (said == "skip") GTEST_SKIP() << "no mount namespaces here";
  EXPECT_THAT(said, AllOf(StartsWith("64 "), HasSubstr("/run/systemd/journal/socket: "),
                          HasSubstr("give journal, syslog or a file")));
}

// A service manager may start its journal again.
TEST_F(Saying, AJournalThatWasStartedAgainIsFound) {
  const std::string said = InOwnPlace([this]() -> std::string {
    const std::string path = "/run/systemd/journal/socket";
    const Daemon first(path);
    Guarded holder = guardcheck_.Start();
    (void)holder.command();
    Program waits({.argv = guardcheck_.Run({"true"}, {"--wait", "--log=journal"})});
    first.AwaitOne();  // that it waits
    (void)unlink(path.c_str());
    const Daemon second(path);
    // It follows a holder that died, and says so to the second one.
    (void)kill(holder.wrapper(), SIGKILL);
    if (waits.Wait() != 0 || !waits.Errors().empty()) return "said " + waits.Errors();
    const Words later = second.Read();
    return later.empty() ? "nothing" : MessageIn(later[0]);
  });
  if (said == "skip") GTEST_SKIP() << "no mount namespaces here";
  EXPECT_THAT(said, HasSubstr("follows a holder that died"));
}

// ---- status --pid

TEST_F(Saying, StatusPidIsThePidAlone) {
  const Finished before = guardcheck_.Call({"status", "x", "--pid"});
  EXPECT_EQ(before.code, 3);
  EXPECT_EQ(before.output + before.errors, "");
  Guarded holder = guardcheck_.Start();
  (void)holder.command();
  holder.Settle();
  const Finished now = guardcheck_.Call({"status", "x", "--pid"});
  EXPECT_EQ(now.code, 0);
  EXPECT_EQ(now.output, absl::StrCat(holder.command(), "\n"));
  EXPECT_EQ(now.errors, "");
  EXPECT_EQ(guardcheck_.Call({"status", "x", "--pid", "--json"}).code, 64);
  EXPECT_EQ(holder.Exit(0), 0);
}

TEST_F(Saying, StatusPidIsALineForEachSlot) {
  Guarded first = guardcheck_.Start({"--slots", "2"});
  first.Settle();
  Guarded second({.argv = guardcheck_.Run({Beside("instance")}, {"--slots", "2"})});
  second.Settle();
  EXPECT_EQ(guardcheck_.Call({"status", "x", "--pid"}).output,
            absl::StrCat(first.command(), "\n", second.command(), "\n"));
  EXPECT_EQ(first.Exit(0), 0);
  EXPECT_EQ(second.Exit(0), 0);
}

}  // namespace
}  // namespace soleguard::testing
