// Fencing tokens only grow: over restarts, kills, deletions and a clock that goes back. The clock
// is not touched here; what matters is that the last token or the ceiling lies beyond it.
#include "kit/token.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/time/clock.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "kit/state_directory.h"
#include "soleguard/guard.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/options.h"
#include "soleguard/process.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/file_scope.h"
#include "support/temp_dir.h"

namespace soleguard {
namespace {

using testing::Claimant;
using testing::FileScope;
using testing::InChild;
using testing::IsUnique;
using testing::Say;

constexpr std::uint64_t kHour = 3'600'000'000;  // in the tokens' unit

std::uint64_t Clock() { return static_cast<std::uint64_t>(absl::ToUnixMicros(absl::Now())); }

std::string Content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void Write(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

class TokenTest : public ::testing::Test {
 protected:
  Scope ScopeAt(const std::string& directory) const {
    return *Scope::Directory(directory_ / directory)->WithStateDirectory(state());
  }
  std::string state() const { return directory_ / "state"; }

  // The next token after one that the records know, or after none (0).
  Token Next(std::uint64_t last, const std::string& name = "x") const {
    return NextToken(ScopeAt("scope"), *InstanceName::Parse(name), last);
  }
  // The same by another clock.
  Token Next(std::uint64_t last, const TokenClock& clock) const {
    return NextTokenIn(state(), ScopeAt("scope"), *InstanceName::Parse("x"), last, clock);
  }

  // The file of the one name that has a ceiling.
  std::string CeilingFile() const {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(state())) {
      if (entry.is_regular_file()) return entry.path();
    }
    return "";
  }

  // No token was given out beyond it.
  std::uint64_t Ceiling() const {
    std::ifstream file(CeilingFile());
    std::string word;
    std::uint64_t limit = 0;
    file >> word >> word >> limit;
    return limit;
  }

  // As an earlier version wrote it.
  void SetCeiling(std::uint64_t ceiling) const {
    const std::string old = Content(CeilingFile());
    const std::size_t first_line = old.find('\n');
    const std::size_t last_line = old.rfind('\n', old.size() - 2) + 1;
    const std::string body = absl::StrCat("soleguard-ceiling 1 ", ceiling,
                                          old.substr(first_line, last_line - first_line));
    Write(CeilingFile(), absl::StrFormat("%s%016x\n", body, XXH64(body.data(), body.size(), 0)));
  }

  const testing::TempDir directory_;
};

// --- with a state directory ---

TEST_F(TokenTest, TheFirstIsTheClockInMicrosecondsAndDurable) {
  const std::uint64_t before = Clock();
  const Token token = Next(0);
  EXPECT_GE(token.value, before);
  EXPECT_LE(token.value, Clock());
  EXPECT_TRUE(token.durable);
}

TEST_F(TokenTest, GrowsThoughTheClockIsBehindTheLast) {
  const std::uint64_t future = Clock() + 100 * kHour;
  EXPECT_EQ(Next(future).value, future + 1);
  EXPECT_TRUE(Next(future).durable);
}

TEST_F(TokenTest, GrowsThoughTheRecordIsLostAndTheClockIsBack) {
  (void)Next(0);
  const std::uint64_t future = Clock() + 100 * kHour;
  SetCeiling(future);  // tokens up to here may have been given out before the clock was set back
  const Token token = Next(0);
  EXPECT_GT(token.value, future);
  EXPECT_TRUE(token.durable);
  EXPECT_GT(Next(token.value).value, token.value);
}

TEST_F(TokenTest, H41_AfterARebootTheRecordMayBeOlderThanTheLastToken) {
  const std::uint64_t first = Next(0).value;
  // The ceiling is on the disk, the record perhaps not; and this clock starts anew in 1970.
  const Token token = Next(first, {.wall = 5, .since_boot = 9, .boot = "another"});
  EXPECT_GT(token.value, first + kHour);
  EXPECT_TRUE(token.durable);
}

// Whom the last one gave its token to, and which layers it had, does not matter.
TEST_F(TokenTest, H41_GrowsThoughNobodyRemembersTheLast) {
  const std::uint64_t wall = Clock();
  TokenClock clock{.wall = wall, .since_boot = 100, .boot = "this"};
  const std::uint64_t first = Next(0, clock).value;
  clock.wall = wall - kHour;
  ++clock.since_boot;
  const Token second = Next(0, clock);
  EXPECT_EQ(second.value, first + 1);
  EXPECT_TRUE(second.durable);
  ++clock.since_boot;
  EXPECT_EQ(Next(first, clock).value, first + 2);
}

TEST_F(TokenTest, H41_WhileTheCeilingCannotBeRaisedATokenIsNotDurableAndTheNextDurableOneIsLarger) {
  TokenClock clock{.wall = Clock(), .since_boot = 100, .boot = "this"};
  const std::uint64_t first = Next(0, clock).value;
  const std::string whole = Content(CeilingFile());
  // Hours later, under a clock that is far ahead, and nothing can be written.
  clock.since_boot += 3 * kHour;
  clock.wall += 1000 * kHour;
  UniqueFd another(open(CeilingFile().c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(flock(another.get(), LOCK_EX), 0);
  const Token unproved = Next(first, clock);
  EXPECT_FALSE(unproved.durable);
  EXPECT_GT(unproved.value, first);
  EXPECT_EQ(Content(CeilingFile()), whole);
  another.reset();
  clock.wall -= 2000 * kHour;
  const Token later = Next(0, clock);
  EXPECT_TRUE(later.durable);
  EXPECT_GT(later.value, unproved.value);
}

// Wherever the last durable token lies, up to the ceiling itself: what follows it while the ceiling
// cannot be raised stays below the next durable one, though all else is lost by then.
TEST_F(TokenTest, H41_AfterARebootTheNextDurableTokenIsBeyondThoseThatWereNot) {
  for (const std::uint64_t short_of_the_ceiling : {std::uint64_t{0}, std::uint64_t{1}, kHour}) {
    TokenClock clock{
        .wall = Clock(), .since_boot = 100, .boot = absl::StrCat("boot", short_of_the_ceiling)};
    const std::uint64_t first = Next(0, clock).value;
    clock.since_boot += Ceiling() - short_of_the_ceiling - first;
    const Token proved = Next(first, clock);
    EXPECT_TRUE(proved.durable);
    EXPECT_EQ(proved.value, first + clock.since_boot - 100);
    UniqueFd another(open(CeilingFile().c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_EQ(flock(another.get(), LOCK_EX), 0);
    clock.since_boot += 3 * kHour;
    std::uint64_t largest = proved.value;
    for (int i = 0; i < 3; ++i) {
      const Token unproved = Next(largest, clock);
      EXPECT_FALSE(unproved.durable);
      EXPECT_GT(unproved.value, largest);
      largest = unproved.value;
    }
    another.reset();
    const Token next = Next(0, {.wall = 1, .since_boot = 9, .boot = "the-next"});
    EXPECT_TRUE(next.durable);
    EXPECT_GT(next.value, largest) << "short of the ceiling by " << short_of_the_ceiling;
  }
}

TEST_F(TokenTest, H41_WhereNothingIsKnownATokenIsLessThanAnyDurableOne) {
  const TokenClock clock{.wall = Clock() + 100 * kHour, .since_boot = 100, .boot = "this"};
  const Token hidden = NextTokenIn(absl::NotFoundError("no home"), ScopeAt("scope"),
                                   *InstanceName::Parse("x"), 0, clock);
  EXPECT_FALSE(hidden.durable);
  EXPECT_LT(hidden.value, kLeastDurableToken);
  // A machine without a battery, in 1970.
  const Token first = Next(0, {.wall = 1, .since_boot = 1, .boot = "this"});
  EXPECT_TRUE(first.durable);
  EXPECT_GE(first.value, kLeastDurableToken);
}

TEST_F(TokenTest, H41_AfterACeilingWasLostTheFirstTokenIsNotDurable) {
  const std::uint64_t first = Next(0).value;
  const std::string old = Content(CeilingFile());
  std::filesystem::remove(CeilingFile());
  const Token second = Next(first);
  EXPECT_GT(second.value, first);
  EXPECT_FALSE(second.durable) << "which other tokens it was beyond is not known";
  EXPECT_TRUE(Next(second.value).durable);
  // Put back to an older version, as from a backup.
  const std::uint64_t ahead = Clock() + 100 * kHour;
  const Token third = Next(ahead);
  EXPECT_EQ(third.value, ahead + 1);
  EXPECT_FALSE(third.durable) << "the ceiling did not know the last token";
  EXPECT_TRUE(Next(third.value).durable);
}

TEST_F(TokenTest, H41_TwoThatRaiseItAtOneTimeGetTwoTokens) {
  constexpr int kRounds = 50;
  for (int i = 0; i < kRounds; ++i) {
    // Both have read it within one microsecond, however long either is stopped then.
    const TokenClock clock{
        .wall = 1, .since_boot = static_cast<std::uint64_t>(i), .boot = absl::StrCat("boot", i)};
    std::uint64_t other = 0;
    std::thread thread([&] {
      const Token token = Next(0, clock);
      if (token.durable) other = token.value;
    });
    const Token mine = Next(0, clock);
    thread.join();
    if (mine.durable) {
      EXPECT_NE(other, mine.value);
    }
  }
}

TEST_F(TokenTest, H41_WhoReadTheClockBeforeTheCeilingWasRaisedIsBeyondIt) {
  constexpr std::uint64_t kSinceBoot = 1000;
  std::uint64_t last = 0;
  // It was read at the time at which the one who raised it had read it, and before.
  for (const std::uint64_t since_boot : {kSinceBoot, kSinceBoot, kSinceBoot - 1}) {
    const Token token = Next(0, {.wall = 1, .since_boot = since_boot, .boot = "this"});
    EXPECT_TRUE(token.durable);
    EXPECT_GT(token.value, last);
    last = token.value;
  }
  const Token later = Next(0, {.wall = 1, .since_boot = kSinceBoot, .boot = "this"});
  EXPECT_EQ(later.value, last + 1) << "the clock has gone on: no need to raise it";
}

TEST_F(TokenTest, WithinABootTheRecordIsBelievedAndTheTokenStaysNearTheClock) {
  const Token first = Next(0);
  const Token second = Next(first.value);
  EXPECT_GT(second.value, first.value);
  EXPECT_LE(second.value, Clock()) << "not an hour ahead at each start";
}

TEST_F(TokenTest, TheCeilingIsRaisedBeforeATokenBeyondItIsGivenOut) {
  (void)Next(0);
  const std::string ceiling = Content(CeilingFile());
  const std::uint64_t future = Clock() + 100 * kHour;
  (void)Next(future);
  EXPECT_NE(Content(CeilingFile()), ceiling);
  // All else is lost: what is left of the token is in the state directory.
  EXPECT_GT(Next(0).value, future + 1);
}

TEST_F(TokenTest, TheCeilingIsNotWrittenAtEachStart) {
  const Token first = Next(0);
  struct stat before = {};
  ASSERT_EQ(stat(CeilingFile().c_str(), &before), 0);
  (void)Next(first.value);
  struct stat after = {};
  ASSERT_EQ(stat(CeilingFile().c_str(), &after), 0);
  EXPECT_EQ(after.st_ino, before.st_ino);
}

TEST_F(TokenTest, EachNameAndEachScopeHasACeilingOfItsOwn) {
  const InstanceName x = *InstanceName::Parse("x");
  const std::uint64_t future = Clock() + 100 * kHour;
  (void)NextToken(ScopeAt("scope"), x, future);
  EXPECT_LT(Next(0, "y").value, future);
  EXPECT_LT(NextToken(ScopeAt("other"), x, 0).value, future);
  EXPECT_GT(Next(0, "x").value, future);
}

TEST_F(TokenTest, EachSlotHasACeilingOfItsOwn) {
  const InstanceName x = *InstanceName::Parse("x");
  const std::uint64_t future = Clock() + 100 * kHour;
  (void)NextToken(ScopeAt("scope"), x.Slot(1), future);
  const Token first = Next(0);
  EXPECT_LT(first.value, future);
  EXPECT_TRUE(first.durable);
  EXPECT_LT(NextToken(ScopeAt("scope"), x.Slot(2), 0).value, future);
  const Token second = NextToken(ScopeAt("scope"), x.Slot(1), 0);
  EXPECT_GT(second.value, future);
  EXPECT_TRUE(second.durable);
}

// Two scope directories may have the same key; the file says whose it is.
TEST_F(TokenTest, ACeilingOfAnotherScopeIsNotTakenForOnesOwn) {
  (void)Next(0);
  const std::string foreign = Content(CeilingFile());
  const std::size_t place = foreign.find("/scope\n");
  ASSERT_NE(place, std::string::npos);
  std::string other = foreign.substr(0, foreign.rfind('\n', foreign.size() - 2) + 1);
  other.replace(place, 7, "/scopf\n");
  Write(CeilingFile(), absl::StrFormat("%s%016x\n", other, XXH64(other.data(), other.size(), 0)));
  EXPECT_FALSE(Next(0).durable) << "what this name's ceiling was is not known";
  EXPECT_TRUE(Next(0).durable) << "its own is written now";
}

// --- damage ---

TEST_F(TokenTest, ADamagedCeilingIsSaidAndMended) {
  (void)Next(0);
  const std::string whole = Content(CeilingFile());
  std::string flipped = whole;
  flipped[22] = flipped[22] == '1' ? '2' : '1';
  for (const std::string& damaged :
       {std::string(), std::string("\0\0\0", 3), whole.substr(0, whole.size() - 1), whole + "x",
        flipped, std::string("soleguard-ceiling 2 1\n"), std::string("soleguard-ceiling 1 -1\n"),
        std::string("soleguard-ceiling 1 99999999999999999999999\n"), std::string(100000, 'x')}) {
    SCOPED_TRACE(damaged.substr(0, 40));
    Write(CeilingFile(), damaged);
    const std::uint64_t last = Clock() + kHour;
    const Token token = Next(last);
    EXPECT_EQ(token.value, last + 1) << "the record still counts";
    EXPECT_FALSE(token.durable);
    EXPECT_TRUE(Next(token.value).durable) << "mended";
  }
}

TEST_F(TokenTest, WhatStandsInTheCeilingsPlaceIsNeitherReadNorFollowedNorWritten) {
  (void)Next(0);
  const std::string path = CeilingFile();
  const std::string target = directory_ / "target";
  Write(target, "precious");
  const auto plant = [&](const std::string& kind) {
    std::filesystem::remove_all(path);
    if (kind == "link") std::filesystem::create_symlink(target, path);
    if (kind == "directory") std::filesystem::create_directory(path);
    if (kind == "fifo") (void)mkfifo(path.c_str(), 0600);
  };
  for (const char* kind : {"link", "directory", "fifo"}) {
    SCOPED_TRACE(kind);
    plant(kind);
    const std::uint64_t last = Clock() + kHour;
    const Token token = Next(last);
    EXPECT_EQ(token.value, last + 1);
    EXPECT_FALSE(token.durable);
    EXPECT_EQ(Content(target), "precious");
  }
}

// --- without a state directory ---

TEST_F(TokenTest, WhereThereCannotBeAStateDirectoryTheTokenGrowsButIsNotDurable) {
  Write(state(), "a file");
  const Token first = Next(0);
  EXPECT_FALSE(first.durable);
  const Token second = Next(first.value + kHour);
  EXPECT_EQ(second.value, first.value + kHour + 1);
  EXPECT_FALSE(second.durable);
  EXPECT_EQ(Content(state()), "a file");
}

TEST_F(TokenTest, AWriteThatFailsHalfWayLeavesTheOldCeilingAndNoRest) {
  (void)Next(0);
  const std::string ceiling = Content(CeilingFile());
  const std::string answer = InChild([this] {
    // Files end after ten bytes, as on a disk that is full.
    (void)signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {.rlim_cur = 10, .rlim_max = 10};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return std::string("no limit");
    const Token token = Next(Clock() + 100 * kHour);
    return absl::StrCat(token.durable ? "durable" : "not durable");
  });
  EXPECT_EQ(answer, "not durable");
  EXPECT_EQ(Content(CeilingFile()), ceiling);
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(state())) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  EXPECT_THAT(files, ::testing::SizeIs(1)) << "a temporary file was left";
}

TEST_F(TokenTest, AStateDirectoryIsForItsOwnerOnly) {
  const mode_t before = umask(0);
  (void)Next(0);
  (void)umask(before);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(state())) {
    EXPECT_EQ(static_cast<unsigned>(entry.status().permissions()) & 077U, 0U) << entry.path();
  }
}

TEST_F(TokenTest, ALastTokenAtTheEndOfTheRangeDoesNotMakeItStartAgain) {
  const std::uint64_t last = std::numeric_limits<std::uint64_t>::max() - 1;
  EXPECT_EQ(Next(last).value, last + 1);
  const Token again = Next(last + 1);
  EXPECT_EQ(again.value, last + 1);
  EXPECT_FALSE(again.durable) << "there is no larger one";
}

// --- through the file layer ---

std::uint64_t TokenOf(const Verdict& verdict) {
  const auto* unique = std::get_if<Unique>(&verdict);
  return unique != nullptr ? unique->guard.token().value_or(0) : 0;
}

TEST(TokenOfHolders, GrowsOverReleasesAndKillsAndDeletionOfTheRecord) {
  const FileScope scope{};
  std::vector<std::uint64_t> tokens;
  tokens.push_back(TokenOf(scope.Acquire()));
  tokens.push_back(TokenOf(scope.Acquire()));
  {
    Claimant killed(scope.Another());
    tokens.push_back(killed.token());
    killed.program().Signal(SIGKILL);
  }
  tokens.push_back(TokenOf(scope.Acquire()));
  std::filesystem::remove(scope.Object("record"));
  tokens.push_back(TokenOf(scope.Acquire()));
  std::filesystem::remove_all(scope.path() + "/names");
  tokens.push_back(TokenOf(scope.Acquire()));
  for (std::size_t i = 1; i < tokens.size(); ++i) EXPECT_GT(tokens[i], tokens[i - 1]) << i;
  EXPECT_NE(tokens.front(), 0U);
}

TEST(TokenOfHolders, GrowsOverDeletionOfTheWholeScope) {
  const testing::TempDir directory;
  const Options options{
      .scope = *Scope::Directory(directory / "scope")->WithStateDirectory(directory / "state")};
  std::uint64_t last = 0;
  for (int i = 0; i < 3; ++i) {
    const Verdict mine = Guard::Acquire("x", *Policy::Parse("file"), options);
    ASSERT_TRUE(IsUnique(mine)) << Say(mine);
    EXPECT_GT(TokenOf(mine), last);
    EXPECT_TRUE(std::get<Unique>(mine).guard.token_is_durable());
    last = TokenOf(mine);
    std::filesystem::remove_all(directory / "scope");
  }
}

// A start that could not use the layer of the last one; here with clocks an hour apart.
TEST(TokenOfHolders, T1_TokenRepeats) {
  const testing::TempDir directory;
  const Scope scope =
      *Scope::Directory(directory / "scope")->WithStateDirectory(directory / "state");
  const std::string plain = absl::StrCat("file(path=", directory / "plain", ")");
  const Policy policy = *Policy::Parse(absl::StrCat("at_least(2, file, mutex, port, ", plain, ")"));
  const mode_t umask_before = umask(0077);  // the directories are as the library makes them
  const auto start = [&](const std::string& broken) {
    if (!broken.empty()) std::filesystem::create_directories(broken + "/in the way");
    const Verdict mine = Guard::Acquire("x", policy, {.scope = scope});
    if (!broken.empty()) std::filesystem::remove_all(broken);
    EXPECT_TRUE(IsUnique(mine)) << Say(mine);
    EXPECT_TRUE(std::get<Unique>(mine).guard.token_is_durable());
    return TokenOf(mine);
  };
  std::uint64_t last = start("");
  for (int round = 0; round < 3; ++round) {
    std::filesystem::remove_all(directory / "scope/names");
    for (const std::string& broken : {directory / "scope/names/x/lock", directory / "plain",
                                      directory / "scope/names/x/record"}) {
      std::filesystem::remove_all(broken);
      const std::uint64_t next = start(broken);
      EXPECT_GT(next, last);
      last = next;
    }
  }
  (void)umask(umask_before);
}

// Each of these kept none before: no layer but `file` did.
TEST(TokenOfHolders, H41_EveryPolicyHasTokensAndTheyGrowFromOneToTheNext) {
  const testing::TempDir directory;
  const Scope scope =
      *Scope::Directory(directory / "scope")->WithStateDirectory(directory / "state");
  std::uint64_t last = 0;
  for (const std::string& policy :
       {std::string("mutex"), std::string("port"), std::string("file"),
        absl::StrCat("file(path=", directory / "plain", ")"), std::string("port"),
        std::string("all(mutex, port)"), std::string("mutex")}) {
    const Verdict mine = Guard::Acquire("x", *Policy::Parse(policy), {.scope = scope});
    ASSERT_TRUE(IsUnique(mine)) << Say(mine);
    EXPECT_TRUE(std::get<Unique>(mine).guard.token_is_durable()) << policy;
    EXPECT_GT(TokenOf(mine), last) << policy;
    last = TokenOf(mine);
  }
}

// --- between users ---

TEST(TokenOfGroups, H41_EachUserHasAStateDirectoryOfItsOwnAndNoTokenIsDurable) {
  const testing::TempDir directory;
  const std::string path = directory / "scope";
  std::filesystem::create_directory(path);
  const Scope own = *Scope::Directory(path);
  EXPECT_TRUE(SharedStateDirectory(own).ok() || geteuid() != 0);
  for (const mode_t mode : {02770, 01777, 0777}) {
    ASSERT_EQ(chmod(path.c_str(), mode), 0);
    EXPECT_TRUE(absl::IsFailedPrecondition(SharedStateDirectory(own).status())) << mode;
    EXPECT_EQ(*SharedStateDirectory(*own.WithStateDirectory("/state")), "/state");
  }
  EXPECT_FALSE(SharedStateDirectory(Scope::System()).ok());
  ASSERT_EQ(chmod(path.c_str(), 02770), 0);
  const Token token = NextToken(own, *InstanceName::Parse("x"), 41);
  EXPECT_FALSE(token.durable);
  EXPECT_LT(token.value, kLeastDurableToken);
}

TEST(TokenOfGroups, H41_InAStateDirectoryOfTheGroupTheyAreDurableAndGrowFromUserToUser) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, who can become another user";
  constexpr gid_t kGroup = 61041;
  const testing::TempDir directory;
  ASSERT_EQ(chmod(directory.path().c_str(), 0755), 0);
  const std::string state = directory / "state";
  const std::string path = directory / "scope";
  for (const std::string& place : {state, path}) {
    std::filesystem::create_directory(place);
    ASSERT_EQ(chown(place.c_str(), 0, kGroup), 0);
    ASSERT_EQ(chmod(place.c_str(), 02770), 0);
  }
  const Scope scope = *Scope::Directory(path)->WithStateDirectory(state);
  std::uint64_t last = 0;
  for (const uid_t uid : {0U, 61042U, 61043U, 61042U, 0U}) {
    const std::string answer = InChild([&]() -> std::string {
      (void)umask(0077);
      const gid_t groups[] = {kGroup};
      if (setgroups(1, groups) != 0 || setresgid(uid, uid, uid) != 0 ||
          setresuid(uid, uid, uid) != 0) {
        return "cannot";
      }
      // As after a reboot: it has to be read, and raised.
      const Token token =
          NextTokenIn(SharedStateDirectory(scope), scope, *InstanceName::Parse("x"), 0,
                      {.wall = 1, .since_boot = 1, .boot = absl::StrCat("boot", uid, last)});
      return absl::StrCat(token.durable ? "" : "not durable ", token.value);
    });
    std::uint64_t token = 0;
    ASSERT_TRUE(absl::SimpleAtoi(answer, &token)) << uid << ": " << answer;
    EXPECT_GT(token, last);
    last = token;
  }
}

TEST(TokenOfHolders, ACandidateThatDiedLeavesTheLastTokenInTheRecord) {
  const FileScope scope{};
  const std::uint64_t token = TokenOf(scope.Acquire());
  const std::string answer = InChild([&scope]() -> std::string {
    HolderRecord candidate;
    candidate.name = FileScope::kName;
    candidate.identity = *OwnIdentity();
    static std::optional<Attempt> attempt;  // held until the child is killed
    attempt.emplace(scope.MakeLayer()->Try(candidate));
    return std::holds_alternative<Held>(*attempt) ? "held" : "not held";
  });
  ASSERT_EQ(answer, "held");
  std::filesystem::remove_all(scope.path() + "/state");  // so that only the record can tell
  const Verdict next = scope.Acquire();
  ASSERT_TRUE(IsUnique(next)) << Say(next);
  EXPECT_GT(TokenOf(next), token);
}

TEST(TokenOfHolders, IsInTheRecordThatTheHolderPublishes) {
  const FileScope scope{};
  const Verdict mine = scope.Acquire();
  const absl::StatusOr<DecodedRecord> record = DecodeRecord(Content(scope.Object("record")));
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_EQ(record->record.token, TokenOf(mine));
}

}  // namespace
}  // namespace soleguard
