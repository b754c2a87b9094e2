// Which scope a text names and where it lives. The rule of the user scope is tried on real mounts:
// a forked child gets a mount namespace with a /run of its own.
#include "soleguard/scope.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <string_view>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace soleguard {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string DirectoryOf(std::string_view path) {
  const absl::StatusOr<Scope> scope = Scope::Directory(path);
  return scope.ok() ? scope->directory() : scope.status().ToString();
}

std::string ErrorOf(const absl::StatusOr<Scope>& scope) {
  if (scope.ok()) return "no error";
  EXPECT_EQ(scope.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(scope.status().message());
}

// --- text ---

TEST(ScopeTest, ParsesItsOwnText) {
  for (const Scope& scope : {Scope::User(), Scope::System(), *Scope::Directory("/srv/bots")}) {
    SCOPED_TRACE(scope.ToString());
    const absl::StatusOr<Scope> parsed = Scope::Parse(scope.ToString());
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, scope);
  }
  EXPECT_EQ(Scope::User().ToString(), "user");
  EXPECT_EQ(Scope::System().ToString(), "system");
  EXPECT_EQ(Scope::Directory("/srv/bots")->ToString(), "/srv/bots");
}

TEST(ScopeTest, SystemIsOnePlaceForAll) {
  EXPECT_EQ(Scope::System().kind(), Scope::Kind::kSystem);
  EXPECT_EQ(Scope::System().directory(), "/run/soleguard");
}

TEST(ScopeTest, RefusesEverythingElse) {
  for (const std::string_view text : {"", "User", "user ", "sys", "bots", "./bots", "~/bots"}) {
    SCOPED_TRACE(text);
    EXPECT_EQ(
        ErrorOf(Scope::Parse(text)),
        absl::StrCat("a scope is user, system or an absolute path, found '", text.data(), "'"));
  }
  EXPECT_THAT(ErrorOf(Scope::Parse("a\nb")), HasSubstr("found 'a\\x0ab'"));
  EXPECT_THAT(ErrorOf(Scope::Parse(std::string(100000, 'x'))),
              HasSubstr("found '" + std::string(40, 'x') + "...'"));
}

// --- a directory ---

TEST(ScopeDirectoryTest, OneDirectoryHasOneText) {
  const struct {
    std::string_view path;
    std::string_view directory;
  } kCases[] = {
      {"/srv/bots", "/srv/bots"},
      {"/srv/bots/", "/srv/bots"},
      {"//srv///bots//", "/srv/bots"},
      {"/./srv/./bots/.", "/srv/bots"},
      {"/srv/...", "/srv/..."},
      {"/srv/..bots", "/srv/..bots"},
      {"/srv/my bots", "/srv/my bots"},
      {"/srv/\xff", "/srv/\xff"},
      {"/", "/"},
      {"/./", "/"},
  };
  for (const auto& [path, directory] : kCases) {
    SCOPED_TRACE(path);
    EXPECT_EQ(DirectoryOf(path), directory);
    EXPECT_EQ(DirectoryOf(directory), directory);
  }
  EXPECT_EQ(*Scope::Directory("/srv//bots"), *Scope::Directory("/srv/bots/"));
}

TEST(ScopeDirectoryTest, AnErrorSaysWhatIsWrongAndWhere) {
  EXPECT_EQ(ErrorOf(Scope::Directory("bots")),
            "scope directory 'bots': the path must be absolute (begin with '/')");
  EXPECT_EQ(ErrorOf(Scope::Directory("")),
            "scope directory '': the path must be absolute (begin with '/')");
  EXPECT_EQ(ErrorOf(Scope::Directory(std::string_view("/a\0b", 4))),
            "scope directory '/a\\x00b': a path has no control characters, found one at byte 3");
  EXPECT_EQ(ErrorOf(Scope::Directory("/a\n")),
            "scope directory '/a\\x0a': a path has no control characters, found one at byte 3");
  EXPECT_THAT(ErrorOf(Scope::Directory("/srv/../bots")),
              StartsWith("scope directory '/srv/../bots': '..' at byte 6 leads to another place"));
  EXPECT_THAT(ErrorOf(Scope::Directory("/..")), HasSubstr("'..' at byte 2"));
}

TEST(ScopeDirectoryTest, IsNoLongerThanAPathCanBe) {
  EXPECT_EQ(DirectoryOf("/" + std::string(4094, 'x')).size(), 4095u);
  EXPECT_EQ(ErrorOf(Scope::Directory("/" + std::string(4095, 'x'))),
            "scope directory: a path has at most 4095 bytes, this one has 4096");
}

TEST(ScopeDirectoryTest, RandomPathsNormaliseOnce) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937 random(seed);
  constexpr std::string_view kBytes("//..ab\0\n\xff", 9);
  for (int i = 0; i < 20000; ++i) {
    std::string path = "/";
    for (auto length = random() % 20; length > 0; --length) {
      path += kBytes[random() % kBytes.size()];
    }
    const absl::StatusOr<Scope> scope = Scope::Directory(path);
    if (!scope.ok()) continue;
    EXPECT_EQ(scope->directory().find("//"), std::string::npos);
    EXPECT_EQ(scope->directory().find("/./"), std::string::npos);
    EXPECT_EQ(*Scope::Directory(scope->directory()), *scope);
  }
}

// --- the user's ---

// What `body` returns in a forked child, or "" if it could not make its surroundings.
std::string InChild(const std::function<std::string()>& body) {
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC) != 0) return "";
  const pid_t child = fork();
  if (child == 0) {
    const std::string answer = body();
    const bool written =
        write(pipe_ends[1], answer.data(), answer.size()) == static_cast<ssize_t>(answer.size());
    _exit(written ? 0 : 1);
  }
  close(pipe_ends[1]);
  char answer[512];
  const ssize_t size = read(pipe_ends[0], answer, sizeof(answer));
  close(pipe_ends[0]);
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0 || size < 0) return "";
  return std::string(answer, static_cast<std::size_t>(size));
}

// The user scope's directory where /run is an empty tmpfs that `prepare` fills. "" when this
// process may not mount.
std::string DirectoryWithRun(const std::function<bool()>& prepare) {
  return InChild([&]() -> std::string {
    if (unshare(CLONE_NEWNS) != 0) return "";
    if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "";
    if (mount("none", "/run", "tmpfs", 0, "mode=755") != 0 || !prepare()) return "";
    return Scope::User().directory();
  });
}

// A directory with exactly `mode`, whatever the umask.
bool MakeDirectory(const char* path, mode_t mode) {
  return mkdir(path, 0700) == 0 && chmod(path, mode) == 0;
}

TEST(UserScopeTest, LivesInRunLockIfThatIsRootsStickyAndWorldWritable) {
  const std::string shared = absl::StrCat("/run/lock/soleguard-", geteuid());
  const std::string fallback = absl::StrCat("/tmp/soleguard-", geteuid());
  const struct {
    std::string_view run_lock;
    std::function<bool()> prepare;
    std::string directory;
  } kCases[] = {
      {"as it should be", [] { return MakeDirectory("/run/lock", 01777); }, shared},
      {"a link to one",
       [] { return MakeDirectory("/run/l", 01777) && symlink("l", "/run/lock") == 0; }, shared},
      {"not sticky", [] { return MakeDirectory("/run/lock", 0777); }, fallback},
      {"not world-writable", [] { return MakeDirectory("/run/lock", 01775); }, fallback},
      {"not searchable by all", [] { return MakeDirectory("/run/lock", 01776); }, fallback},
      {"not root's",
       [] { return MakeDirectory("/run/lock", 01777) && chown("/run/lock", 1, 1) == 0; }, fallback},
      {"a file", [] { return mknod("/run/lock", S_IFREG | 0777, 0) == 0; }, fallback},
      {"a dangling link", [] { return symlink("nowhere", "/run/lock") == 0; }, fallback},
      {"missing", [] { return true; }, fallback},
  };
  for (const auto& [run_lock, prepare, directory] : kCases) {
    SCOPED_TRACE(run_lock);
    const std::string found = DirectoryWithRun(prepare);
    if (found.empty()) GTEST_SKIP() << "needs the right to mount and to chown";
    EXPECT_EQ(found, directory);
  }
}

TEST(UserScopeTest, IsKeyedByTheEffectiveUid) {
  EXPECT_EQ(Scope::User().kind(), Scope::Kind::kUser);
  EXPECT_THAT(Scope::User().directory(), testing::EndsWith(absl::StrCat("/soleguard-", geteuid())));
  const std::string other = InChild([]() -> std::string {
    if (seteuid(4242) != 0) return "";
    return Scope::User().directory();
  });
  if (other.empty()) GTEST_SKIP() << "needs root to become somebody else";
  EXPECT_THAT(other, testing::EndsWith("/soleguard-4242"));
}

TEST(UserScopeTest, DoesNotAskTheEnvironment) {
  const std::string before = Scope::User().directory();
  const std::string after = InChild([]() -> std::string {
    for (const char* variable : {"XDG_RUNTIME_DIR", "TMPDIR", "HOME", "USER"}) {
      if (setenv(variable, "/elsewhere", 1) != 0) return "";
    }
    return Scope::User().directory();
  });
  EXPECT_EQ(after, before);
}

}  // namespace
}  // namespace soleguard
