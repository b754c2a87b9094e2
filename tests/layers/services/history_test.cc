// The history of a name as a file: many writers at once, rotation, what is torn, planted or full,
// and a writer that is killed at any of its system calls.
#include "soleguard/history.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>
#include <absl/time/time.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kit/state_directory.h"
#include "support/child.h"
#include "support/gate.h"
#include "support/served_filesystem.h"
#include "support/temp_dir.h"
#include "support/traced.h"
#include "support/users.h"

namespace soleguard {
namespace {

using Kind = HistoryEvent::Kind;
using testing::CallByCall;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::InChild;
using ::testing::SizeIs;
using testing::Traced;

std::string Content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

HistoryEvent EventOf(std::int64_t pid, std::uint64_t token = 1) {
  return {.kind = Kind::kRefused,
          .time = absl::UnixEpoch() + absl::Hours(1),
          .who = {.pid = pid, .user = "trader", .command = "python3 bot.py", .token = token}};
}

class HistoryTest : public ::testing::Test {
 protected:
  absl::Status Append(const HistoryEvent& event) const {
    return AppendToHistory(scope_, name_, {&event, 1});
  }
  History Read() const {
    absl::StatusOr<History> history = ReadHistory(scope_, name_);
    EXPECT_TRUE(history.ok()) << history.status();
    return history.ok() ? *std::move(history) : History{};
  }
  std::vector<std::int64_t> Pids() const {
    std::vector<std::int64_t> pids;
    for (const HistoryEvent& event : Read().events) pids.push_back(event.who.pid);
    return pids;
  }
  std::string Directory() const {
    return std::filesystem::path(*HistoryPath(scope_, name_)).parent_path();
  }
  std::string Present() const { return *HistoryPath(scope_, name_); }
  std::string Old() const { return Directory() + ".old/x"; }
  // So full that the next event begins another generation. Gives how many events it has.
  int Fill() const {
    const std::string line = LineOf(EventOf(7));
    const auto lines = static_cast<int>(kHistoryGeneration / line.size());
    std::filesystem::create_directories(Directory());
    std::ofstream file(Present());
    for (int i = 0; i < lines; ++i) file << line;
    return lines;
  }
  std::string LineOf(const HistoryEvent& event) const {
    const testing::TempDir elsewhere;
    const Scope scope = *scope_.WithStateDirectory(elsewhere.path());
    EXPECT_TRUE(AppendToHistory(scope, name_, {&event, 1}).ok());
    return Content(*HistoryPath(scope, name_));
  }

  const testing::TempDir directory_;
  const std::string state_ = directory_ / "state";
  const Scope scope_ = *Scope::Directory(directory_ / "scope")->WithStateDirectory(state_);
  const InstanceName name_ = *InstanceName::Parse("x");
};

TEST_F(HistoryTest, WhatIsWrittenIsReadInItsOrder) {
  const HistoryParty holder{.pid = 12,
                            .instance = 13,
                            .user = "b\\ob",
                            .command = "a \"b\"\n\xff\x1b[31m",
                            .token = ~std::uint64_t{0}};
  std::vector<HistoryEvent> events;
  for (const Kind kind : HistoryKinds()) {
    events.push_back({.kind = kind,
                      .time = absl::UnixEpoch() + absl::Microseconds(1'700'000'000'123'456),
                      .slot = 999,
                      .who = holder,
                      .by = HistoryParty{.pid = 14},
                      .waited = absl::Milliseconds(1500),
                      .exit_code = 143,
                      .detail = "file: \\x41 was \"deleted\""});
  }
  ASSERT_TRUE(AppendToHistory(scope_, name_, events).ok());
  // A clock that goes back changes no order.
  ASSERT_TRUE(Append(EventOf(15)).ok());
  const History history = Read();
  EXPECT_EQ(history.unreadable, 0U);
  ASSERT_THAT(history.events, SizeIs(events.size() + 1));
  for (std::size_t i = 0; i < events.size(); ++i) {
    const HistoryEvent& read = history.events[i];
    EXPECT_EQ(read.kind, events[i].kind);
    EXPECT_EQ(read.time, events[i].time);
    EXPECT_EQ(read.slot, 999U);
    EXPECT_EQ(read.who.pid, 12);
    EXPECT_EQ(read.who.instance, 13);
    EXPECT_EQ(read.who.user, holder.user);
    EXPECT_EQ(read.who.command, holder.command);
    EXPECT_EQ(read.who.token, holder.token);
    ASSERT_TRUE(read.by.has_value());
    EXPECT_EQ(read.by->pid, 14);
    EXPECT_EQ(read.waited, absl::Milliseconds(1500));
    EXPECT_EQ(read.exit_code, 143);
    EXPECT_EQ(read.detail, events[i].detail);
  }
  EXPECT_EQ(history.events.back().who.pid, 15);
}

TEST_F(HistoryTest, NothingWasNotedYet) {
  EXPECT_TRUE(absl::IsNotFound(ReadHistory(scope_, name_).status()));
  EXPECT_TRUE(absl::IsNotFound(OpenHistory(scope_, name_).status()));
  EXPECT_TRUE(NamesWithHistory(scope_)->empty());
  EXPECT_FALSE(std::filesystem::exists(state_)) << "a look makes nothing";
}

TEST_F(HistoryTest, AllSlotsOfANameHaveOneHistoryAndEachNameHasItsOwn) {
  HistoryEvent of_slot = EventOf(1);
  of_slot.slot = 2;
  ASSERT_TRUE(AppendToHistory(scope_, name_.Slot(2), {&of_slot, 1}).ok());
  ASSERT_TRUE(Append(EventOf(2)).ok());
  EXPECT_THAT(Pids(), ElementsAre(1, 2));
  const InstanceName longest = *InstanceName::Parse(std::string(255, 'n'));
  ASSERT_TRUE(AppendToHistory(scope_, longest, {&of_slot, 1}).ok());
  EXPECT_THAT(ReadHistory(scope_, longest)->events, SizeIs(1));
  EXPECT_THAT(*NamesWithHistory(scope_), ElementsAre(longest, name_));
}

TEST_F(HistoryTest, LongTextsAreCutSoThatALineIsBounded) {
  for (const std::string& unit : {std::string("\xff"), std::string("\\"), std::string("\""),
                                  std::string("\u20ac"), std::string("x")}) {
    std::string text;
    while (text.size() < 100'000) text += unit;
    const HistoryParty party{.pid = 1, .user = text, .command = text};
    HistoryEvent event = EventOf(1);
    event.who = party;
    event.by = party;
    event.detail = unit == "\xff" ? "x" : text;  // a detail is escaped already
    const std::string line = LineOf(event);
    EXPECT_LE(line.size(), 4096U) << unit;
    const History read = ParseHistory(line);
    ASSERT_THAT(read.events, SizeIs(1)) << unit;
    EXPECT_TRUE(read.events[0].who.command.ends_with("\u2026")) << unit;
    EXPECT_TRUE(text.starts_with(read.events[0].who.command.substr(0, 200))) << unit;
  }
}

TEST_F(HistoryTest, SecretsOfACommandAreMasked) {
  EXPECT_EQ(HistoryCommand({"bot", "--api-key", "k1", "--token=k2", "run"}),
            "bot --api-key *** --token=*** run");
}

TEST_F(HistoryTest, H26_WhatIsTornOrForeignIsPassedOverAndCounted) {
  const std::string one = LineOf(EventOf(1));
  const std::string two = LineOf(EventOf(2));
  std::string newer = one;
  newer.replace(newer.find(":1"), 2, ":2");
  std::string unknown = one;
  unknown.replace(unknown.find("refused"), 7, "rebuked");
  const std::string text =
      absl::StrCat(one.substr(0, 40), two,  // torn, and gone on behind it
                   "garbage\n", newer, unknown, "\n", "[1]\n", "{\"schema\":1}\n",
                   std::string(5000, '['), "\n", one, two.substr(0, two.size() - 5));
  const History history = ParseHistory(text);
  ASSERT_THAT(history.events, SizeIs(2));
  EXPECT_EQ(history.events[0].who.pid, 2);
  EXPECT_EQ(history.events[1].who.pid, 1);
  EXPECT_EQ(history.unreadable, 8U);
  // A reader takes whatever it meets, and no text in an event looks like the begin of one.
  HistoryEvent hostile = EventOf(3);
  hostile.who.command = "{\"schema\":1,\"event\":\"held\"";
  EXPECT_THAT(ParseHistory(LineOf(hostile)).events, SizeIs(1));
  for (std::size_t end = 0; end < one.size(); ++end) {
    EXPECT_THAT(ParseHistory(one.substr(0, end) + two).events, SizeIs(1 + (end + 1 == one.size())));
  }
}

// Each of many processes writes. Returns when all have ended.
void WriteAtOnce(int writers, int events, const std::function<void(int writer, int event)>& write) {
  testing::Gate gate;
  std::vector<pid_t> children;
  for (int writer = 0; writer < writers; ++writer) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      gate.Wait();
      for (int event = 0; event < events; ++event) write(writer, event);
      _exit(0);
    }
    children.push_back(child);
  }
  gate.Open();
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
}

// More than one generation, and less than two: nothing may be missing.
TEST_F(HistoryTest, H09_ManyWritersAtOnceLoseNothingOverARotationAndTearNothing) {
  constexpr int kWriters = 50;
  constexpr int kEvents = 10;
  const std::size_t size = LineOf(EventOf(10, 100)).size();
  ASSERT_GT(size * kWriters * kEvents, kHistoryGeneration);
  ASSERT_LT(size * kWriters * kEvents, 2 * kHistoryGeneration - 8192);
  WriteAtOnce(kWriters, kEvents, [this](int writer, int event) {
    if (!Append(EventOf(writer + 1, static_cast<std::uint64_t>(event) + 1)).ok()) _exit(1);
  });
  const History history = Read();
  EXPECT_EQ(history.unreadable, 0U);
  std::map<std::int64_t, std::vector<std::uint64_t>> written;
  for (const HistoryEvent& event : history.events) {
    written[event.who.pid].push_back(event.who.token);
  }
  EXPECT_THAT(written, SizeIs(kWriters));
  for (const auto& [writer, tokens] : written) EXPECT_THAT(tokens, SizeIs(kEvents)) << writer;
  EXPECT_TRUE(std::filesystem::exists(Old()));
}

TEST_F(HistoryTest, H09_ManyRotationsTearNothingAndBothGenerationsStayBounded) {
  WriteAtOnce(50, 60, [this](int writer, int event) {
    if (!Append(EventOf(writer + 1, static_cast<std::uint64_t>(event) + 1)).ok()) _exit(1);
  });
  const History history = Read();
  EXPECT_EQ(history.unreadable, 0U);
  EXPECT_GT(history.events.size(), 100U);
  for (const std::string& path : {Present(), Old()}) {
    // A writer may still have the old one open when it is renamed.
    EXPECT_LE(std::filesystem::file_size(path), kHistoryGeneration + 50 * 300) << path;
  }
}

// A process that is stopped with the lock, say.
TEST_F(HistoryTest, H15_AFileThatCannotBeRenamedGrowsToItsBoundAndNobodyWaits) {
  (void)Fill();
  const UniqueFd lock(open(Present().c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(flock(lock.get(), LOCK_EX | LOCK_NB), 0);
  HistoryEvent large = EventOf(8);
  large.detail = std::string(300, 'd');
  large.who.command = std::string(256, 'c');
  absl::Status last;
  while (last.ok()) last = Append(large);
  EXPECT_TRUE(absl::IsResourceExhausted(last)) << last;
  EXPECT_THAT(std::string(last.message()), HasSubstr(Present()));
  EXPECT_LE(std::filesystem::file_size(Present()), kHistoryMost);
  EXPECT_GT(std::filesystem::file_size(Present()), kHistoryMost - 1024);
  ASSERT_EQ(flock(lock.get(), LOCK_UN), 0);
  EXPECT_TRUE(Append(EventOf(9)).ok());
  EXPECT_EQ(Pids().back(), 9);
  EXPECT_LE(std::filesystem::file_size(Present()), 1024U);
}

// One of a limit that ends a process which goes beyond it.
TEST_F(HistoryTest, H14_ALimitOfFileSizesEndsNobody) {
  (void)Fill();
  EXPECT_EQ(InChild([this]() -> std::string {
              const rlimit limit = {.rlim_cur = 1000, .rlim_max = 1000};
              if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return "cannot limit";
              (void)Append(EventOf(1));
              std::filesystem::remove(Present());
              std::ofstream(Present()) << std::string(999, ' ');
              return absl::IsResourceExhausted(Append(EventOf(1))) ? "refused" : "written";
            }),
            "refused");
}

TEST_F(HistoryTest, H14_OnAFullDiskWhatWasWrittenStaysReadable) {
  const std::string said = InChild([this]() -> std::string {
    std::filesystem::create_directories(state_);
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("none", state_.c_str(), "tmpfs", 0, "size=16k,mode=700") != 0) {
      return "skip";
    }
    int written = 0;
    absl::Status last;
    while ((last = Append(EventOf(1))).ok()) ++written;
    const History history = Read();
    return absl::StrCat(last.message(), "; ", history.events.size() - written, " ",
                        history.unreadable <= 1 ? "readable" : "damaged");
  });
  if (said == "skip") GTEST_SKIP() << "no filesystem can be mounted here";
  EXPECT_THAT(said, HasSubstr("No space left on device"));
  EXPECT_THAT(said, HasSubstr("; 0 readable"));
}

TEST_F(HistoryTest, H14_ADirectoryThatCannotBeWrittenIsSaid) {
  std::ofstream{state_} << "no directory";
  EXPECT_THAT(std::string(Append(EventOf(1)).message()), HasSubstr(state_));
  EXPECT_FALSE(ReadHistory(scope_, name_).ok() || NamesWithHistory(scope_).ok());
}

// Nothing is appended to, nor believed, that nobody of the scope has made.
TEST_F(HistoryTest, H20_APlantedFileIsNeitherWrittenNorBelieved) {
  const std::string target = directory_ / "target";
  const std::string text = LineOf(EventOf(1));
  const auto plant = [&](const std::string& path) {
    return std::map<std::string, std::function<void()>>{
        {"a symbolic link", [=] { std::filesystem::create_symlink(target, path); }},
        {"more than one hard link", [=] { std::filesystem::create_hard_link(target, path); }},
        {"a FIFO", [=] { ASSERT_EQ(mkfifo(path.c_str(), 0600), 0); }},
        {"a directory", [=] { std::filesystem::create_directory(path); }}};
  };
  for (const auto& [what, make] : plant(Present())) {
    SCOPED_TRACE(what);
    std::filesystem::remove_all(state_);
    std::filesystem::create_directories(Directory());
    std::ofstream(target) << text;
    make();
    EXPECT_THAT(std::string(Append(EventOf(2)).message()), HasSubstr(what));
    EXPECT_FALSE(ReadHistory(scope_, name_).ok());
    EXPECT_FALSE(OpenHistory(scope_, name_).ok());
    EXPECT_EQ(Content(target), text);
    std::filesystem::remove_all(Present());
  }
}

TEST_F(HistoryTest, H20_APlantedDirectoryLeadsNowhere) {
  const std::string target = directory_ / "target";
  std::filesystem::create_directory(target);
  std::filesystem::create_directories(state_);
  std::filesystem::create_symlink(target, Directory());
  EXPECT_THAT(std::string(Append(EventOf(1)).message()), HasSubstr("is a symbolic link"));
  EXPECT_TRUE(std::filesystem::is_empty(target));
  // The same of the place to which a full file is renamed: it stays, and is appended to.
  std::filesystem::remove(Directory());
  const int filled = Fill();
  std::filesystem::create_symlink(target, Directory() + ".old");
  EXPECT_TRUE(Append(EventOf(2)).ok());
  EXPECT_TRUE(std::filesystem::is_empty(target));
  EXPECT_FALSE(ReadHistory(scope_, name_).ok());
  std::filesystem::remove(Directory() + ".old");
  EXPECT_THAT(Read().events, SizeIs(filled + 1));
}

TEST_F(HistoryTest, H37_AnotherUsersFileIsNeitherWrittenNorBelieved) {
  std::filesystem::create_directories(Directory());
  std::ofstream(Present()) << LineOf(EventOf(1));
  if (chown(Present().c_str(), 65534, 65534) != 0) GTEST_SKIP() << "needs root";
  const std::string before = Content(Present());
  EXPECT_THAT(std::string(Append(EventOf(2)).message()), HasSubstr("was not made by"));
  EXPECT_FALSE(ReadHistory(scope_, name_).ok());
  EXPECT_EQ(Content(Present()), before);
}

// Members of a group write into each other's file, also over a rotation; nobody else does.
TEST_F(HistoryTest, H38_TheMembersOfAGroupShareOneHistory) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to be several users";
  ASSERT_EQ(chmod(directory_.path().c_str(), 0755), 0);
  ASSERT_TRUE(testing::MakeShared(scope_.directory()) && testing::MakeShared(state_));
  const auto append_as = [this](const testing::User& user) {
    return InChild([&]() -> std::string {
      if (!testing::Become(user)) return "cannot become";
      const absl::Status written = Append(EventOf(user.uid + 1));
      return written.ok() ? absl::StrCat("read ", Read().events.size())
                          : std::string(written.message());
    });
  };
  std::size_t expected = 0;
  for (const testing::User& user : testing::kMembers) {
    EXPECT_EQ(append_as(user), absl::StrCat("read ", ++expected)) << user.name;
  }
  EXPECT_THAT(append_as(testing::kOutsider), HasSubstr("Permission denied"));
  const std::string line = LineOf(EventOf(7));
  std::string full;
  while (full.size() + 2 * line.size() < kHistoryGeneration) full += line;
  std::ofstream(Present(), std::ios::app) << full;
  const std::size_t before = Read().events.size();
  expected = before;
  for (const testing::User& user : testing::kMembers) {
    EXPECT_EQ(append_as(user), absl::StrCat("read ", ++expected)) << user.name;
  }
  EXPECT_TRUE(std::filesystem::exists(Old()));
}

TEST_F(HistoryTest, WhereNoStateDirectoryIsSharedThereIsNoHistoryAndThisIsSaid) {
  const Scope scope = Scope::System();
  const HistoryEvent event = EventOf(1);
  for (const absl::Status& status :
       {AppendToHistory(scope, name_, {&event, 1}), HistoryPath(scope, name_).status(),
        ReadHistory(scope, name_).status(), NamesWithHistory(scope).status()}) {
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("each has a state directory of its own"));
  }
}

// A program that notes something waits for no server, or not for long; whoever asks is told.
TEST(HistoryOnAServer, H46_AStateDirectoryWhoseServerHangsHoldsNobodyUp) {
  testing::ServedFilesystem served;
  if (!served.unusable().empty()) GTEST_SKIP() << served.unusable();
  const Scope scope = *Scope::Directory(served.directory() / "scope")
                           ->WithStateDirectory(served.mount_point() + "/state");
  const InstanceName name = *InstanceName::Parse("x");
  const HistoryEvent event = EventOf(1);
  EXPECT_TRUE(AppendToHistory(scope, name, {&event, 1}).ok());
  EXPECT_THAT(ReadHistory(scope, name)->events, SizeIs(1));
  served.server().Signal(SIGSTOP);
  served.server().WaitUntilStopped();
  const absl::Time before = absl::Now();
  EXPECT_TRUE(absl::IsDeadlineExceeded(AppendToHistory(scope, name, {&event, 1})));
  EXPECT_LT(absl::Now() - before, absl::Seconds(2)) << "200 ms, and what the machine needs";
  EXPECT_TRUE(absl::IsDeadlineExceeded(HistoryPath(scope, name).status()));
  served.server().Signal(SIGCONT);
}

// By each of its system calls, with a rotation in between: all that was there is read, and the next
// one writes.
TEST_F(HistoryTest, H08_AWriterThatIsKilledAnywhereLeavesAReadableFile) {
  if (const std::string why = Traced::Unusable(); !why.empty()) GTEST_SKIP() << why;
  CallByCall calls;
  for (bool over = false; !over;) {
    std::filesystem::remove_all(state_);
    const int filled = Fill();
    Traced writer([this] { (void)Append(EventOf(8)); });
    over = !calls.RunToNext(writer);
    SCOPED_TRACE(absl::StrCat("killed at ", ToString(calls.call(), calls.object())));
    writer.Kill();
    ASSERT_TRUE(Append(EventOf(9)).ok());
    const History history = Read();
    EXPECT_EQ(history.unreadable, 0U);
    const auto written = static_cast<int>(history.events.size()) - filled;
    ASSERT_TRUE(written == 1 || written == 2) << written;
    EXPECT_EQ(history.events.back().who.pid == 9 || written == 2, true);
  }
  EXPECT_GT(calls.visited(), 15);
}

TEST_F(HistoryTest, IsRemovedWhenItsLastEventIsOldEnough) {
  EXPECT_FALSE(*RemoveHistory(scope_, name_, absl::InfiniteFuture())) << "there is none";
  (void)Fill();
  HistoryEvent event = EventOf(1);
  event.time = absl::UnixEpoch() + absl::Hours(48);
  ASSERT_TRUE(Append(event).ok());
  ASSERT_TRUE(std::filesystem::exists(Old()) && std::filesystem::exists(Present()));
  EXPECT_FALSE(*RemoveHistory(scope_, name_, event.time - absl::Seconds(1)));
  EXPECT_THAT(Pids(), ::testing::Contains(1));
  EXPECT_TRUE(*RemoveHistory(scope_, name_, event.time));
  EXPECT_FALSE(std::filesystem::exists(Old()) || std::filesystem::exists(Present()));
}

}  // namespace
}  // namespace soleguard
