// H20 and H25: what stands at the paths of a name that this program did not make, and who else gets
// at those that it made. Root plays the planter: it makes objects and gives them to somebody else.
#include "kit/name_directory.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "os/path.h"
#include "soleguard/guard.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/names.h"
#include "soleguard/options.h"
#include "support/child.h"
#include "support/file_scope.h"

namespace soleguard {
namespace {

using testing::Child;
using ::testing::ElementsAre;
using testing::FileScope;
using ::testing::HasSubstr;
using testing::InChild;
using ::testing::IsEmpty;
using testing::IsUnique;
using ::testing::Not;
using testing::Say;
using ::testing::StartsWith;

constexpr uid_t kPlanter = 4242;
constexpr uid_t kNobody = 65534;

void Write(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

std::string Content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// --- what is planted ---

enum class Kind { kLink, kFifo, kDirectory, kSocket, kHardLink, kFile, kOpenFile, kOpenDirectory };

const char* ToString(Kind kind) {
  switch (kind) {
    case Kind::kLink:
      return "Link";
    case Kind::kFifo:
      return "Fifo";
    case Kind::kDirectory:
      return "Directory";
    case Kind::kSocket:
      return "Socket";
    case Kind::kHardLink:
      return "HardLink";
    case Kind::kFile:
      return "File";
    case Kind::kOpenFile:
      return "OpenFile";
    case Kind::kOpenDirectory:
      return "OpenDirectory";
  }
  return "";
}

// Everything that can be seen of a file without opening it, and its content.
std::string Fingerprint(const std::string& path) {
  struct stat status = {};
  if (lstat(path.c_str(), &status) != 0) return "none";
  return absl::StrCat(status.st_ino, " ", status.st_mode, " ", status.st_uid, " ", status.st_nlink,
                      " ", status.st_size, " ", status.st_mtim.tv_sec, ".", status.st_mtim.tv_nsec,
                      " ", S_ISREG(status.st_mode) ? Content(path) : "");
}

struct Plant {
  const char* object;  // "scope", "names", "x", or a file in the name's directory
  Kind kind;
};

class Planted : public ::testing::TestWithParam<Plant> {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root to give files to another user";
  }

  // A hard link is to a file of the victim's own, or it would be refused for its owner.
  bool IsAnothers() const { return GetParam().kind != Kind::kHardLink; }
  bool IsDirectoryHere() const { return Path() == scope_.path() || IsName(); }
  bool IsName() const { return Path() == Names() || Path() == scope_.Object(); }
  bool IsOptional() const { return Path() == scope_.Object("wake.file"); }

  std::string Names() const { return scope_.path() + "/names"; }
  std::string Path() const {
    const std::string object = GetParam().object;
    if (object == "scope") return scope_.path();
    if (object == "names") return Names();
    if (object == "x") return scope_.Object();
    return scope_.Object(object);
  }
  // What a link leads to: of the type that the layer expects at the path.
  std::string Target() const { return scope_.directory() / "target"; }

  // Makes the path's parents as the library does, and plants.
  void DoPlant() const {
    { ASSERT_TRUE(IsUnique(scope_.Acquire())); }
    std::filesystem::remove_all(Path());
    if (IsDirectoryHere()) {
      ASSERT_EQ(mkdir(Target().c_str(), 0700), 0);
    } else {
      Write(Target(), "precious");
      ASSERT_EQ(chmod(Target().c_str(), 0600), 0);
    }
    Make();
    const uid_t owner = IsAnothers() ? kPlanter : geteuid();
    ASSERT_EQ(lchown(Path().c_str(), owner, owner), 0);
  }

  void Make() const {
    const std::string path = Path();
    switch (GetParam().kind) {
      case Kind::kLink:
        ASSERT_EQ(symlink(Target().c_str(), path.c_str()), 0);
        break;
      case Kind::kFifo:
        ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
        break;
      case Kind::kDirectory:
        ASSERT_EQ(mkdir(path.c_str(), 0700), 0);
        break;
      case Kind::kOpenDirectory:
        ASSERT_EQ(mkdir(path.c_str(), 0700), 0);
        ASSERT_EQ(chmod(path.c_str(), 0777), 0);
        break;
      case Kind::kSocket: {
        const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address = {};
        address.sun_family = AF_UNIX;
        ASSERT_LT(path.size(), sizeof(address.sun_path));
        path.copy(address.sun_path, path.size());
        ASSERT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
        break;
      }
      case Kind::kHardLink:
        ASSERT_EQ(link(Target().c_str(), path.c_str()), 0);
        break;
      case Kind::kFile:
        Write(path, "planted");
        ASSERT_EQ(chmod(path.c_str(), 0600), 0);
        break;
      case Kind::kOpenFile:
        Write(path, "planted");
        ASSERT_EQ(chmod(path.c_str(), 0666), 0);
        break;
    }
  }

  const FileScope scope_{};
};

std::vector<Plant> AllPlants() {
  std::vector<Plant> plants;
  for (const char* object : {"scope", "names", "x"}) {
    for (const Kind kind : {Kind::kLink, Kind::kFifo, Kind::kDirectory, Kind::kSocket, Kind::kFile,
                            Kind::kOpenDirectory}) {
      plants.push_back({object, kind});
    }
  }
  for (const char* object : {"lock", "record", "wake.file"}) {
    for (const Kind kind : {Kind::kLink, Kind::kFifo, Kind::kDirectory, Kind::kSocket,
                            Kind::kHardLink, Kind::kFile, Kind::kOpenFile}) {
      plants.push_back({object, kind});
    }
  }
  return plants;
}

INSTANTIATE_TEST_SUITE_P(H20, Planted, ::testing::ValuesIn(AllPlants()), [](const auto& tested) {
  const std::string object = tested.param.object;
  return absl::StrCat(object == "wake.file" ? "wake" : object, "_", ToString(tested.param.kind));
});

TEST_P(Planted, H20_IsRefusedAndLeftAloneAndItsPlanterNamed) {
  DoPlant();
  const std::string planted = Fingerprint(Path());
  const std::string target = Fingerprint(Target());

  const Verdict verdict = scope_.Acquire();
  if (IsOptional()) {
    EXPECT_TRUE(IsUnique(verdict)) << Say(verdict) << "; nobody needs it to decide";
  } else {
    EXPECT_THAT(Say(verdict), StartsWith("undetermined"));
    EXPECT_THAT(Say(verdict), HasSubstr(Path()));
    EXPECT_THAT(Say(verdict), HasSubstr(IsAnothers() ? "(uid 4242)" : "more than one hard link"));
  }
  EXPECT_EQ(Fingerprint(Path()), planted);
  EXPECT_EQ(Fingerprint(Target()), target);
}

TEST_P(Planted, H20_DoesNotHangOrChangeByALook) {
  DoPlant();
  const std::string planted = Fingerprint(Path());
  const std::string target = Fingerprint(Target());
  EXPECT_THAT(Say(scope_.Look()), Not(StartsWith("taken")));
  EXPECT_EQ(Fingerprint(Path()), planted);
  EXPECT_EQ(Fingerprint(Target()), target);
}

// A member of a group scope may own what is in it, and nobody else.
class GroupScope : public ::testing::Test {
 protected:
  static constexpr gid_t kGroup = 4343;

  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root to make a group's directory";
    ASSERT_EQ(mkdir(scope_.path().c_str(), 0700), 0);
    ASSERT_EQ(chown(scope_.path().c_str(), 0, kGroup), 0);
    ASSERT_EQ(chmod(scope_.path().c_str(), 02770), 0);
    ASSERT_EQ(chmod(scope_.directory().path().c_str(), 0755), 0);  // so that members get there
  }

  // What a start of this user with this group as its only other one says; it stays.
  std::unique_ptr<Child> Start(uid_t uid, gid_t group) const {
    return std::make_unique<Child>([this, uid, group]() -> std::string {
      if (setgroups(1, &group) != 0 || setgid(uid) != 0 || setuid(uid) != 0) return "cannot become";
      (void)umask(077);  // what the group needs is not left to the umask
      static Verdict* const verdict = new Verdict(scope_.Acquire(absl::Milliseconds(50)));
      return Say(*verdict);
    });
  }

  const FileScope scope_{};
};

TEST_F(GroupScope, ItsMembersExcludeEachOtherAndFollowEachOther) {
  const std::unique_ptr<Child> first = Start(kPlanter, kGroup);
  EXPECT_THAT(first->answer(), StartsWith("unique"));
  EXPECT_EQ(Start(kNobody, kGroup)->answer(),
            absl::StrCat("duplicate ", first->pid(), " established"));
  first->Kill();
  EXPECT_THAT(Start(kNobody, kGroup)->answer(), StartsWith("unique"));
}

TEST_F(GroupScope, OthersCannotTell) {
  const std::unique_ptr<Child> first = Start(kPlanter, kGroup);
  EXPECT_THAT(first->answer(), StartsWith("unique"));
  EXPECT_THAT(Start(kNobody, kNobody)->answer(), StartsWith("undetermined"));
}

TEST_F(GroupScope, AnObjectOfAnotherGroupIsRefused) {
  { ASSERT_TRUE(IsUnique(scope_.Acquire())); }
  ASSERT_EQ(chown(scope_.Object("record").c_str(), kPlanter, kPlanter), 0);
  const Verdict verdict = scope_.Acquire();
  EXPECT_THAT(Say(verdict), HasSubstr("(uid 4242)"));
  EXPECT_THAT(Say(verdict), HasSubstr(scope_.Object("record")));
}

// --- who gets at the name's objects ---

TEST(NameDirectory, H25_AnotherUserCanNeitherOpenNorLockTheNamesObjects) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  const FileScope scope{};
  // Everybody may pass, as through /run/lock.
  ASSERT_EQ(chmod(scope.directory().path().c_str(), 0755), 0);
  ASSERT_EQ(mkdir(scope.path().c_str(), 0700), 0);
  ASSERT_EQ(chmod(scope.path().c_str(), 0755), 0);
  const Verdict mine = scope.Acquire();
  ASSERT_TRUE(IsUnique(mine)) << Say(mine);
  const std::string got_in = InChild([&]() -> std::string {
    if (setgroups(0, nullptr) != 0 || setgid(kNobody) != 0 || setuid(kNobody) != 0) return "root";
    std::string opened;
    for (const std::string& path : {scope.path() + "/names", scope.Object(), scope.Object("lock"),
                                    scope.Object("record"), scope.Object("wake.file")}) {
      for (const int flags : {O_RDONLY, O_RDWR, O_PATH | O_DIRECTORY}) {
        const UniqueFd fd(open(path.c_str(), flags | O_NONBLOCK | O_CLOEXEC));
        // O_PATH shows that the directory can be named, not that it can be locked.
        if (fd && flock(fd.get(), LOCK_SH | LOCK_NB) != EBADF && (flags & O_PATH) == 0) {
          absl::StrAppend(&opened, path, " ");
        }
      }
    }
    return opened.empty() ? "nothing" : opened;
  });
  EXPECT_EQ(got_in, "nothing");
}

TEST(NameDirectory, H25_ALockOnTheScopeDirectoryItselfRefusesNobody) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become somebody else";
  const FileScope scope{};
  ASSERT_EQ(chmod(scope.directory().path().c_str(), 0755), 0);
  ASSERT_EQ(mkdir(scope.path().c_str(), 0700), 0);
  ASSERT_EQ(chmod(scope.path().c_str(), 0755), 0);
  const Child blocker([&]() -> std::string {
    if (setgroups(0, nullptr) != 0 || setgid(kNobody) != 0 || setuid(kNobody) != 0) return "root";
    const int fd = open(scope.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return flock(fd, LOCK_EX | LOCK_NB) == 0 ? "locked" : "not locked";
  });
  ASSERT_EQ(blocker.answer(), "locked");
  EXPECT_TRUE(IsUnique(scope.Acquire()));
}

TEST(NameDirectory, WhatItMakesIsForItsOwnerOnlyWhateverTheUmask) {
  for (const mode_t mask : {0000U, 0022U, 0077U, 0177U}) {
    SCOPED_TRACE(mask);
    const FileScope scope{};
    const mode_t before = umask(mask);
    const Verdict mine = scope.Acquire();
    (void)umask(before);
    ASSERT_TRUE(IsUnique(mine)) << Say(mine);
    const auto mode = [](const std::string& path) {
      struct stat status = {};
      return lstat(path.c_str(), &status) == 0 ? status.st_mode & 07777U : 0;
    };
    EXPECT_EQ(mode(scope.path()), 0700U);
    EXPECT_EQ(mode(scope.path() + "/names"), 0700U);
    EXPECT_EQ(mode(scope.Object()), 0700U);
    for (const char* file : {"lock", "record", "wake.file"}) {
      EXPECT_EQ(mode(scope.Object(file)), 0600U) << file;
    }
  }
}

// --- names and places ---

TEST(NameDirectory, AScopeDirectoryWithoutAParentSaysSo) {
  const testing::TempDir directory;
  const Scope scope = *Scope::Directory(directory / "no/such/parent");
  const Verdict verdict = Guard::Acquire("x", *Policy::Parse("file"), {.scope = scope});
  EXPECT_THAT(Say(verdict), StartsWith("undetermined"));
  EXPECT_THAT(Say(verdict), HasSubstr(scope.directory()));
  EXPECT_THAT(Say(verdict), HasSubstr("No such file or directory"));
}

TEST(NameDirectory, NamesThatLookAlikeAreTwoInstances) {
  const testing::TempDir directory;
  const Options options{.scope = *Scope::Directory(directory / "scope")};
  std::vector<Verdict> held;
  for (const std::string& name :
       {std::string("x"), std::string("X"), std::string(" x"), std::string("x "), std::string("-x"),
        std::string("x.lock"), std::string("lock"), std::string("\xff\xfe"), std::string("é"),
        std::string("e\u0301"), std::string(255, 'n'), std::string(254, 'n')}) {
    held.push_back(Guard::Acquire(name, *Policy::Parse("file"), options));
    EXPECT_TRUE(IsUnique(held.back())) << name << ": " << Say(held.back());
  }
}

TEST(NameDirectory, ADirectoryThatAnotherNameUsesIsRefused) {
  const FileScope scope{};
  { ASSERT_TRUE(IsUnique(scope.Acquire())); }
  // As on a filesystem that takes "x" and "X" for one.
  std::filesystem::rename(scope.Object(), scope.path() + "/names/X");
  const Verdict verdict = Guard::Acquire("X", *Policy::Parse("file"), {.scope = scope.scope()});
  EXPECT_THAT(Say(verdict), StartsWith("undetermined"));
  EXPECT_THAT(Say(verdict), HasSubstr("the directory of another name, \"x\""));
}

std::vector<std::string> Known(const Scope& scope) {
  std::vector<std::string> texts;
  const absl::StatusOr<std::vector<InstanceName>> names = KnownNames(scope);
  if (!names.ok()) return {names.status().ToString()};
  for (const InstanceName& name : *names) texts.push_back(name.text());
  return texts;
}

TEST(KnownNames, AreThoseThatHaveObjectsSortedRunningOrNot) {
  const FileScope scope{};
  EXPECT_TRUE(absl::IsNotFound(KnownNames(scope.scope()).status()));
  for (const char* name : {"b", "a"}) {
    EXPECT_TRUE(IsUnique(Guard::Acquire(name, *Policy::Parse("file"), {.scope = scope.scope()})));
  }
  const Verdict mine = scope.Acquire();
  EXPECT_THAT(Known(scope.scope()), ElementsAre("a", "b", "x"));
}

TEST(KnownNames, LeavesOutWhatCannotBeAName) {
  const FileScope scope{};
  { ASSERT_TRUE(IsUnique(scope.Acquire())); }
  ASSERT_EQ(mkdir((scope.path() + "/names/new\nline").c_str(), 0700), 0);
  EXPECT_THAT(Known(scope.scope()), ElementsAre("x"));
}

TEST(NameDirectory, OpenCreatesNothingUnlessAsked) {
  const FileScope scope{};
  const InstanceName name = *InstanceName::Parse("x");
  NameDirectory directory(scope.scope(), name);
  EXPECT_TRUE(absl::IsNotFound(directory.Open(os::Create::kNo)));
  EXPECT_FALSE(std::filesystem::exists(scope.path()));
  ASSERT_TRUE(directory.Open(os::Create::kYes).ok());
  EXPECT_EQ(directory.path(), scope.Object());
  EXPECT_TRUE(*os::PathIs(scope.Object(), directory.fd().file()));
  directory.Close();
  EXPECT_FALSE(directory.fd());
  EXPECT_TRUE(directory.Open(os::Create::kNo).ok());
}

}  // namespace
}  // namespace soleguard
