// A holder under all(file, mutex, port, scan) whose mechanisms are destroyed, or hidden from the
// newcomer, one after another and all but one: whatever is left refuses. With real processes, in
// the namespaces where the mechanisms live.
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_replace.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/claimant.h"
#include "support/program.h"
#include "support/sockets.h"
#include "support/system_v.h"
#include "support/temp_dir.h"

namespace soleguard {
namespace {

using testing::Claimant;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Words = std::vector<std::string>;

// What a holder's layers stand on.
enum class Object {
  kLockFile,
  kNameDirectory,
  kScopeDirectory,  // and all that is in it
  kRegistrations,
  kSemaphore,
  kSegment,
  kPort,
};

// Where a newcomer does not see what the holder has.
enum class Elsewhere {
  kMount,  // another directory at the scope's path
  kIpc,
  kNetwork,
  kBareNetwork,  // as unshare(1) makes it: loopback is down
  kPid,
};

class Blinded : public ::testing::Test {
 protected:
  void TearDown() override {
    // Whatever became of the name's directory, by which the TempDir finds them.
    (void)testing::RemoveSemaphore(scope(), "x");
    (void)testing::RemoveSegment(scope(), "x");
  }

  std::string scope() const { return directory_ / "scope"; }
  Claimant Start(const Words& launcher = {},
                 const std::string& policy = "all(file, mutex, port, scan)") const {
    return Claimant({.scope = scope(),
                     .policy = policy,
                     .settle = absl::Milliseconds(50),
                     .launcher = launcher});
  }

  // Words before a program that puts it there.
  Words Launcher(const std::vector<Elsewhere>& namespaces) const {
    if (namespaces.empty()) return {};
    Words launcher = {"unshare"};
    std::string prepare;
    for (const Elsewhere where : namespaces) {
      switch (where) {
        case Elsewhere::kMount:
          for (const std::string& path : {scope(), directory_ / "elsewhere"}) {
            std::filesystem::create_directory(path);
            std::filesystem::permissions(path, std::filesystem::perms::owner_all);
          }
          launcher.emplace_back("--mount");
          absl::StrAppend(&prepare, "mount --bind ", directory_ / "elsewhere", " ", scope(),
                          " && ");
          break;
        case Elsewhere::kIpc:
          launcher.emplace_back("--ipc");
          break;
        case Elsewhere::kNetwork:
          launcher.emplace_back("--net");
          absl::StrAppend(&prepare, "ip link set lo up && ");
          break;
        case Elsewhere::kBareNetwork:
          launcher.emplace_back("--net");
          break;
        case Elsewhere::kPid:
          for (const char* option : {"--pid", "--fork", "--kill-child", "--mount-proc"}) {
            launcher.emplace_back(option);
          }
          break;
      }
    }
    for (const std::string& word :
         {std::string("sh"), std::string("-c"), prepare + "exec \"$@\"", std::string("sh")}) {
      launcher.push_back(word);
    }
    return launcher;
  }
  // Empty, or why nothing can be started there.
  static std::string Unusable(const Words& launcher) {
    if (launcher.empty()) return "";
    Words argv = launcher;
    argv.emplace_back("true");
    const testing::Finished tried = testing::RunProgram({.argv = argv});
    return tried.code == 0 ? "" : "needs the right to make namespaces: " + tried.errors;
  }

  // False where it cannot be destroyed from outside.
  bool Destroy(Object object, Claimant& holder) const {
    switch (object) {
      case Object::kLockFile:
        return std::filesystem::remove(scope() + "/names/x/lock");
      case Object::kNameDirectory:
        return std::filesystem::remove_all(scope() + "/names/x") > 0;
      case Object::kScopeDirectory:
        return std::filesystem::remove_all(scope()) > 0;
      case Object::kRegistrations:
        return std::filesystem::remove(scope() + "/candidates");
      case Object::kSemaphore:
        return testing::RemoveSemaphore(scope(), "x");
      case Object::kSegment:
        return testing::RemoveSegment(scope(), "x");
      case Object::kPort:
        return testing::StopListening(holder.pid()) == 2;  // and its companion
    }
    return false;
  }

  const testing::TempDir directory_;
};

struct Case {
  std::string name;
  std::vector<Object> destroyed;
  std::vector<Elsewhere> elsewhere;
  std::string layers;  // what the newcomer's report: H is the holder's pid
  std::string lost;    // in what the holder's Verify says; empty: it says "ok"
};
void PrintTo(const Case& given, std::ostream* out) { *out << given.name; }

class BlindedLayers : public Blinded, public ::testing::WithParamInterface<Case> {};

TEST_P(BlindedLayers, H04_H06_H32_WhatIsLeftRefuses) {
  const Case& given = GetParam();
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  const Words launcher = Launcher(given.elsewhere);
  if (const std::string why = Unusable(launcher); !why.empty()) GTEST_SKIP() << why;
  for (const Object object : given.destroyed) {
    if (Destroy(object, holder)) continue;
    ASSERT_EQ(object, Object::kPort) << "not there";
    GTEST_SKIP() << "needs the right to get another process's descriptors: pidfd_getfd(2)";
  }

  const std::string said = holder.Ask("verify");
  if (given.lost.empty()) {
    EXPECT_EQ(said, "ok");
  } else {
    EXPECT_THAT(said, StartsWith("DATA_LOSS"));
    EXPECT_THAT(said, HasSubstr(given.lost));
  }
  Claimant newcomer = Start(launcher);
  EXPECT_TRUE(newcomer.duplicate()) << newcomer.verdict();
  EXPECT_EQ(newcomer.Ask("layers"),
            absl::StrReplaceAll(given.layers, {{"H", absl::StrCat(holder.pid())}}));
}

std::vector<Case> DestroyedInTurn() {
  const std::string file = "file contested H established";
  const std::string mutex = "file held, mutex contested H established";
  return {
      {"LockFile", {Object::kLockFile}, {}, file, "names/x/lock"},
      {"NameDirectory", {Object::kNameDirectory}, {}, mutex, "names/x"},
      {"ScopeDirectory", {Object::kScopeDirectory}, {}, mutex, "names/x"},
      {"Registrations", {Object::kRegistrations}, {}, file, ""},
      {"Semaphore", {Object::kSemaphore}, {}, file, "semaphore was removed"},
      // The semaphore still excludes: a claim stands without its record.
      {"Segment", {Object::kSegment}, {}, file, ""},
      {"SemaphoreAndSegment", {Object::kSemaphore, Object::kSegment}, {}, file, "semaphore"},
      {"Port", {Object::kPort}, {}, file, "no longer listened on"},
  };
}
INSTANTIATE_TEST_SUITE_P(DestroyedInTurn, BlindedLayers, ::testing::ValuesIn(DestroyedInTurn()),
                         [](const auto& given) { return given.param.name; });

std::vector<Case> HiddenInTurn() {
  const std::string file = "file contested H established";
  return {
      {"Mount", {}, {Elsewhere::kMount}, "file held, mutex contested H established", ""},
      {"Ipc", {}, {Elsewhere::kIpc}, file, ""},
      {"Network", {}, {Elsewhere::kNetwork}, file, ""},
      {"BareNetwork", {}, {Elsewhere::kBareNetwork}, file, ""},
      {"Pid", {}, {Elsewhere::kPid}, file, ""},
  };
}
INSTANTIATE_TEST_SUITE_P(HiddenInTurn, BlindedLayers, ::testing::ValuesIn(HiddenInTurn()),
                         [](const auto& given) { return given.param.name; });

std::vector<Case> AllButOne() {
  const std::string mutex = "file held, mutex contested H established";
  return {
      {"FileOthersDestroyed",
       {Object::kSemaphore, Object::kSegment, Object::kPort, Object::kRegistrations},
       {},
       "file contested H established",
       "semaphore"},
      {"FileOthersHidden",
       {},
       {Elsewhere::kIpc, Elsewhere::kNetwork, Elsewhere::kPid},
       "file contested H established",
       ""},
      {"MutexOthersDestroyed", {Object::kScopeDirectory, Object::kPort}, {}, mutex, "names/x"},
      {"MutexOthersHidden",
       {},
       {Elsewhere::kMount, Elsewhere::kNetwork, Elsewhere::kPid},
       mutex,
       ""},
      // Its record was in the directory: the kernel says who listens.
      {"PortOthersDestroyed",
       {Object::kNameDirectory, Object::kSemaphore, Object::kSegment},
       {},
       "file held, mutex held, port contested H unknown",
       "names/x"},
      // A pid of another pid namespace has no number here.
      {"PortOthersHidden",
       {},
       {Elsewhere::kMount, Elsewhere::kIpc, Elsewhere::kPid},
       "file held, mutex held, port contested 0 unknown",
       ""},
      // With its registration gone too the holder is one that never asked.
      {"ScanOthersDestroyed",
       {Object::kScopeDirectory, Object::kSemaphore, Object::kSegment, Object::kPort},
       {},
       "file held, mutex held, port held, scan contested H unguarded",
       "names/x"},
      // Another ipc namespace shares /dev/shm, where the record says who lives and has the name.
      {"SegmentOthersHidden",
       {},
       {Elsewhere::kMount, Elsewhere::kIpc, Elsewhere::kNetwork},
       mutex,
       ""},
      {"ScanOthersHidden",
       {Object::kSegment},
       {Elsewhere::kMount, Elsewhere::kIpc, Elsewhere::kNetwork},
       "file held, mutex held, port held, scan contested H unguarded",
       ""},
  };
}
INSTANTIATE_TEST_SUITE_P(AllButOne, BlindedLayers, ::testing::ValuesIn(AllButOne()),
                         [](const auto& given) { return given.param.name; });

// What one layer alone cannot do, and what a second one is for.
struct Alone {
  std::string layer;
  Elsewhere elsewhere;
  std::string with_another;  // a policy with a layer that lives elsewhere
};
void PrintTo(const Alone& given, std::ostream* out) { *out << given.layer; }

class OneLayer : public Blinded, public ::testing::WithParamInterface<Alone> {};

// Each then has the name in its place, and whoever comes to one of the places is told who is there.
TEST_P(OneLayer, H32_AloneLetsTwoInThatDoNotSeeItsObjectAndNotWithAnother) {
  const Alone& given = GetParam();
  const Words launcher = Launcher({given.elsewhere});
  if (const std::string why = Unusable(launcher); !why.empty()) GTEST_SKIP() << why;
  {
    Claimant here = Start({}, given.layer);
    ASSERT_TRUE(here.unique()) << here.verdict();
    // The records refuse where they are shared; a container has its own.
    (void)testing::RemoveSegment(scope(), "x");
    std::filesystem::remove(scope() + "/names/x/record.port");
    Claimant there = Start(launcher, given.layer);
    EXPECT_TRUE(there.unique()) << there.verdict();
    EXPECT_EQ(there.Ask("predecessor"), "none") << "nobody died";
    EXPECT_EQ(here.Ask("verify"), "ok");
    EXPECT_THAT(Start({}, given.layer).verdict(),
                StartsWith(absl::StrCat("duplicate ", here.pid(), " ")));
    EXPECT_EQ(here.Ask("release"), "released");
    EXPECT_EQ(there.Ask("release"), "released");
  }
  Claimant here = Start({}, given.with_another);
  ASSERT_TRUE(here.unique()) << here.verdict();
  Claimant there = Start(launcher, given.with_another);
  EXPECT_EQ(there.verdict(), absl::StrCat("duplicate ", here.pid(), " established"));
}

INSTANTIATE_TEST_SUITE_P(Blinded, OneLayer,
                         ::testing::Values(Alone{"file", Elsewhere::kMount, "all(file, mutex)"},
                                           Alone{"mutex", Elsewhere::kIpc, "all(file, mutex)"},
                                           Alone{"port", Elsewhere::kNetwork, "all(file, port)"}),
                         [](const auto& given) { return given.param.layer; });

// unshare(1) leaves it down; listening does not need it.
TEST_F(Blinded, H32_WithoutLoopbackThePortStillExcludes) {
  const Words launcher = Launcher({Elsewhere::kBareNetwork});
  if (const std::string why = Unusable(launcher); !why.empty()) GTEST_SKIP() << why;
  Claimant first = Start(launcher, "port");
  ASSERT_TRUE(first.unique()) << first.verdict();
  EXPECT_EQ(first.Ask("verify"), "ok");
  Claimant second = Start({"nsenter", "--net", "--target", absl::StrCat(first.pid())}, "port");
  EXPECT_EQ(second.verdict(), absl::StrCat("duplicate ", first.pid(), " established"));
}

// scan excludes nobody: a registered process is another candidate to it, unless a record says that
// it is the holder.
TEST_F(Blinded, ScanIgnoresARegisteredHolderWhoseRecordsAreAllGone) {
  Claimant holder = Start();
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  for (const Object object :
       {Object::kNameDirectory, Object::kSemaphore, Object::kSegment, Object::kPort}) {
    if (!Destroy(object, holder)) GTEST_SKIP() << "needs pidfd_getfd(2)";
  }
  Claimant second = Start();
  EXPECT_TRUE(second.unique()) << second.verdict();
  EXPECT_THAT(holder.Ask("verify"), StartsWith("DATA_LOSS")) << "this is how the first learns it";
}

// Of one user and with a /proc that shows no others' processes.
TEST_F(Blinded, H18_WithHidepidScanCannotTellAndTheOthersCan) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  const Words as_nobody = {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"};
  Words hidden = {
      "unshare", "--mount", "sh", "-c", "mount -t proc -o hidepid=2 proc /proc && exec \"$@\"",
      "sh"};
  hidden.insert(hidden.end(), as_nobody.begin(), as_nobody.end());
  if (const std::string why = Unusable(hidden); !why.empty()) GTEST_SKIP() << why;
  ASSERT_EQ(chown(directory_.path().c_str(), 65534, 65534), 0);

  Claimant holder = Start(as_nobody);
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  {
    Claimant newcomer = Start(hidden);
    EXPECT_EQ(newcomer.verdict(), absl::StrCat("duplicate ", holder.pid(), " established"));
  }
  for (const Object object : {Object::kNameDirectory, Object::kSemaphore, Object::kPort}) {
    if (!Destroy(object, holder)) GTEST_SKIP() << "needs pidfd_getfd(2)";
  }
  {
    Claimant newcomer = Start(hidden);
    EXPECT_EQ(newcomer.Ask("layers"),
              absl::StrCat("file held, mutex contested ", holder.pid(), " established"))
        << "the last record still refuses";
  }
  ASSERT_TRUE(Destroy(Object::kSegment, holder));
  Claimant newcomer = Start(hidden);
  EXPECT_THAT(newcomer.verdict(), StartsWith("undetermined "));
  EXPECT_EQ(newcomer.Ask("layers"), "file held, mutex held, port held, scan unavailable");
}

}  // namespace
}  // namespace soleguard
