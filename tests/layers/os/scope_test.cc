// Which scope a text names and where it lives. The rule of the user scope is tried on real mounts:
// a forked child gets a mount namespace with a /run of its own.
#include "soleguard/scope.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/process.h"
#include "soleguard/scope_view.h"
#include "support/temp_dir.h"

namespace soleguard {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

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
    EXPECT_EQ(ErrorOf(Scope::Parse(text)),
              absl::StrCat("a scope is user, user:NAME, system or an absolute path, found '",
                           text.data(), "'"));
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

// --- links ---

class ScopeLinksTest : public ::testing::Test {
 protected:
  std::string At(const std::string& name) const { return absl::StrCat(real_, "/", name); }
  void Link(const std::string& target, const std::string& name) const {
    ASSERT_EQ(symlink(target.c_str(), At(name).c_str()), 0) << name;
  }

  const testing::TempDir directory_{};
  const std::string real_ = std::filesystem::canonical(directory_.path());
};

TEST_F(ScopeLinksTest, H36_OneDirectoryIsOneScopeHoweverItIsWritten) {
  std::filesystem::create_directories(At("a/b/scope"));
  Link("a", "relative");
  Link(At("a"), "absolute");
  Link("relative/./b", "chain");
  Link("../a/b", "a/up");
  Link("a/b/../b/..//b", "long");
  const Scope plain = *Scope::Directory(At("a/b/scope"));
  EXPECT_EQ(plain.directory(), At("a/b/scope"));
  EXPECT_EQ(IdentityOf(plain), plain.directory());
  for (const char* const path :
       {"relative/b/scope", "absolute/b/scope", "chain/scope", "a/up/scope", "long/scope",
        "relative/up/scope", "/chain//./scope/"}) {
    SCOPED_TRACE(path);
    EXPECT_EQ(*Scope::Directory(At(path)), plain);
    EXPECT_EQ(Scope::Directory(At(path))->ToString(), plain.ToString());
  }
}

TEST_F(ScopeLinksTest, H36_TheDirectoryNeedNotExist) {
  std::filesystem::create_directory(At("a"));
  Link("a", "link");
  EXPECT_EQ(DirectoryOf(At("link/new")), At("a/new"));
  EXPECT_EQ(DirectoryOf(At("link/new/new")), At("a/new/new"));
}

TEST_F(ScopeLinksTest, H36_ALinkThatLeadsNowhereStays) {
  Link("nowhere", "dangling");
  Link("loop", "loop");
  EXPECT_EQ(DirectoryOf(At("dangling/x")), At("nowhere/x"));
  EXPECT_EQ(DirectoryOf(At("loop/x")), At("loop/x"));
}

// Somebody else may have planted it.
TEST_F(ScopeLinksTest, H20_ALinkAtTheEndIsNotFollowed) {
  std::filesystem::create_directory(At("a"));
  Link("a", "link");
  EXPECT_EQ(DirectoryOf(At("link")), At("link"));
}

TEST_F(ScopeLinksTest, H36_RandomTreesOfLinksGiveWhatTheKernelGives) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937 random(seed);
  const std::vector<std::string> names = {"a", "b", "c", "d"};
  const auto pick = [&] { return names[random() % names.size()]; };
  const auto path = [&] {
    std::string text = pick();
    for (auto more = random() % 3; more > 0; --more) absl::StrAppend(&text, "/", pick());
    return text;
  };
  int compared = 0;
  for (int round = 0; round < 200; ++round) {
    const std::string root = At(absl::StrCat("tree", round));
    std::filesystem::create_directory(root);
    for (int i = 0; i < 12; ++i) {
      const std::string place = absl::StrCat(root, "/", path());
      const std::string up = random() % 3 == 0 ? "../" : "";
      std::error_code ignored;  // a parent is missing, or something is there
      if (random() % 2 == 0) {
        std::filesystem::create_directories(place, ignored);
      } else {
        (void)symlink(random() % 4 == 0 ? root.c_str() : (up + path()).c_str(), place.c_str());
      }
    }
    for (int i = 0; i < 20; ++i) {
      const std::string parent = absl::StrCat(root, "/", path());
      std::error_code error;
      const std::string real = std::filesystem::canonical(parent, error);
      if (error) continue;  // leads nowhere
      ++compared;
      EXPECT_EQ(DirectoryOf(parent + "/scope"), real + "/scope") << parent;
    }
  }
  EXPECT_GT(compared, 100);
}

TEST(ScopeIdentityTest, H36_AUsersScopeIsOneUnderEitherOfItsPlaces) {
  const auto identity = [](std::string_view path) { return IdentityOf(*Scope::Directory(path)); };
  EXPECT_EQ(identity("/tmp/soleguard-4242"), "/run/lock/soleguard-4242");
  EXPECT_EQ(identity("/run/lock/soleguard-4242"), "/run/lock/soleguard-4242");
  for (const char* const other :
       {"/tmp/soleguard-04242", "/tmp/soleguard-", "/tmp/soleguard-x", "/tmp/soleguard-1/x"}) {
    EXPECT_EQ(identity(other), other);
  }
  EXPECT_EQ(IdentityOf(Scope::System()), "/run/soleguard");
}

TEST(ScopeIdentityTest, H36_ARecordOfAUsersScopeIsKnownUnderEachOfItsTexts) {
  const Scope user = Scope::User();
  const Scope named = *Scope::Directory(IdentityOf(user));
  const Scope other = *Scope::Directory("/srv/bots");
  EXPECT_TRUE(IsCalled(user, "user"));
  EXPECT_TRUE(IsCalled(user, IdentityOf(user)));
  EXPECT_TRUE(IsCalled(named, "user"));
  EXPECT_FALSE(IsCalled(user, "/srv/bots"));
  EXPECT_FALSE(IsCalled(user, "system"));
  EXPECT_TRUE(IsCalled(other, "/srv/bots"));
  EXPECT_FALSE(IsCalled(other, "user"));
  EXPECT_FALSE(IsCalled(Scope::System(), "user"));
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

// The user scope's directory and identity where /run is an empty tmpfs that `prepare` fills. ""
// when this process may not mount.
std::string DirectoryWithRun(const std::function<bool()>& prepare) {
  return InChild([&]() -> std::string {
    if (unshare(CLONE_NEWNS) != 0) return "";
    if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "";
    if (mount("none", "/run", "tmpfs", 0, "mode=755") != 0 || !prepare()) return "";
    const Scope scope = Scope::User();
    return absl::StrCat(scope.directory(), " ", IdentityOf(scope));
  });
}

// A directory with exactly `mode`, whatever the umask.
bool MakeDirectory(const char* path, mode_t mode) {
  return mkdir(path, 0700) == 0 && chmod(path, mode) == 0;
}

TEST(UserScopeTest, H35_LivesInRunLockIfThatIsRootsStickyAndWorldWritableAndIsOneByWhateverItSees) {
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
    EXPECT_EQ(found, absl::StrCat(directory, " ", shared));
  }
}

TEST(UserScopeTest, IsKeyedByTheEffectiveUid) {
  EXPECT_EQ(Scope::User().kind(), Scope::Kind::kUser);
  EXPECT_THAT(Scope::User().directory(),
              ::testing::EndsWith(absl::StrCat("/soleguard-", geteuid())));
  const std::string other = InChild([]() -> std::string {
    if (seteuid(4242) != 0) return "";
    return Scope::User().directory();
  });
  if (other.empty()) GTEST_SKIP() << "needs root to become somebody else";
  EXPECT_THAT(other, ::testing::EndsWith("/soleguard-4242"));
}

// What the user scope is to user 61234 in user namespaces. "" when there can be none.
struct Map {
  std::string users;
  std::string groups;  // empty: none is mapped
};
bool Write(const char* path, const std::string& text) {
  const int file = open(path, O_WRONLY | O_CLOEXEC);
  const bool written = write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  (void)close(file);
  return written;
}
std::string ToUser61234(
    const std::vector<Map>& maps, const std::function<bool()>& prepare = [] { return true; }) {
  return InChild([&]() -> std::string {
    if (unshare(CLONE_NEWNS) != 0) return "";
    if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "";
    if (mount("none", "/run/lock", "tmpfs", 0, "mode=1777") != 0 || !prepare()) return "";
    if (setresgid(61234, 61234, 61234) != 0 || setresuid(61234, 61234, 61234) != 0) return "";
    for (const Map& map : maps) {
      // After a change of user /proc/self is root's.
      if (prctl(PR_SET_DUMPABLE, 1) != 0 || unshare(CLONE_NEWUSER) != 0) return "";
      if (!map.users.empty() && !Write("/proc/self/uid_map", map.users)) return "";
      if (map.groups.empty()) continue;
      if (!Write("/proc/self/setgroups", "deny") || !Write("/proc/self/gid_map", map.groups)) {
        return "";
      }
    }
    const Scope scope = Scope::User();
    const absl::Status identified = CheckIdentified(scope);
    if (!identified.ok()) return std::string(identified.message());
    return absl::StrCat(IdentityOf(scope), " ", Scope::User().directory());
  });
}

TEST(UserScopeTest, H35_H47_InAUserNamespaceTheUidOutsideCounts) {
  const std::string outside = "/run/lock/soleguard-61234 /run/lock/soleguard-61234";
  if (ToUser61234({}).empty()) GTEST_SKIP() << "needs root";
  EXPECT_EQ(ToUser61234({}), outside);
  const Map as_root{"0 61234 1", "0 61234 1"};
  if (ToUser61234({as_root}).empty()) GTEST_SKIP() << "needs user namespaces";
  EXPECT_EQ(ToUser61234({as_root}), outside);
  EXPECT_EQ(ToUser61234({{"77 61234 1", "77 61234 1"}}), outside);
  EXPECT_EQ(ToUser61234({as_root, {"77 0 1", "77 0 1"}}), outside);
  EXPECT_EQ(ToUser61234({as_root, {"77 0 1", "77 0 1"}, {"61234 77 1", "5 77 1"}}), outside);
}

TEST(UserScopeTest, H47_WithoutAMappedUidNothingIsIdentified) {
  const std::string said = ToUser61234({{}});
  if (said.empty()) GTEST_SKIP() << "needs root and user namespaces";
  EXPECT_THAT(said, HasSubstr("a user namespace that does not map its own uid"));
}

// No helper can ask the kernel: a user namespace needs a mapped group (user_namespaces(7)).
TEST(UserScopeTest, H47_WhatIsNotCertainIsNotGuessed) {
  const std::string said = ToUser61234({{"61234 61234 1", ""}});
  if (said.empty()) GTEST_SKIP() << "needs root and user namespaces";
  EXPECT_THAT(said, HasSubstr("hides which user of the system it is; it may be uid 61234"));
  EXPECT_THAT(ToUser61234({{"0 61234 1", "0 61234 1"}, {"5 0 1", ""}}),
              HasSubstr("it may be uid 0"));
  // Whoever has made a directory of that number is the user of that number.
  const auto made_by = [](uid_t uid) {
    return [uid] {
      return mkdir("/run/lock/soleguard-61234", 0700) == 0 &&
             chown("/run/lock/soleguard-61234", uid, uid) == 0;
    };
  };
  EXPECT_EQ(ToUser61234({{"5 61234 1", ""}}, made_by(61234)),
            "/run/lock/soleguard-61234 /run/lock/soleguard-61234");
  EXPECT_THAT(ToUser61234({{"5 61234 1", ""}}, made_by(61235)), HasSubstr("it may be"));
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
