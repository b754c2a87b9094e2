// The process is not who it was: after it has acquired a name it leaves its root directory, its
// namespaces or its privileges behind. Whatever it calls then, nobody else starts while it holds
// the name, and once it has released it the next one does at once. With real processes; the
// outsider is this test.
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <ostream>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include <absl/status/statusor.h>
#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/time/time.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "soleguard/inspect.h"
#include "soleguard/send.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/kinds.h"
#include "support/system_v.h"
#include "support/test_scope.h"

namespace soleguard {
namespace {

namespace fs = std::filesystem;
using testing::Claimant;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using testing::TestScope;

// What becomes of a layer for a process that changes so.
enum class Then {
  kStands,   // and the process sees that
  kUnknown,  // stands, and the process cannot see that
  kHidden,   // stands for others, and whoever sees what the process sees finds another object
  kLost,     // nobody is kept out by it
};

struct Change {
  std::string name;
  std::vector<std::string> steps;  // commands of Claimant; $ is the scope's directory, % a jail
  Then file = Then::kStands;
  Then mutex = Then::kStands;
  bool same_view = false;  // what is lost can be claimed anew from there
  std::vector<std::string> launcher = {};
};
void PrintTo(const Change& change, std::ostream* out) { *out << change.name; }

std::vector<Change> Changes() {
  return {
      {.name = "nothing", .steps = {}},
      {.name = "chdir", .steps = {"chdir /"}},
      {.name = "chroot", .steps = {"chroot %"}, .file = Then::kUnknown},
      {.name = "mount_namespace", .steps = {"unshare mnt"}},
      {.name = "mount_in_a_namespace_of_its_own",
       .steps = {"unshare mnt", "mount $"},
       .file = Then::kUnknown},
      {.name = "mount",
       .steps = {"mount $"},
       .file = Then::kHidden,
       .same_view = true,
       .launcher = {"unshare", "--mount"}},
      {.name = "ipc_namespace", .steps = {"unshare ipc"}, .mutex = Then::kLost},
      {.name = "sysvsem", .steps = {"unshare sysvsem"}, .mutex = Then::kLost, .same_view = true},
      {.name = "net_namespace", .steps = {"unshare net"}},
      {.name = "pid_namespace", .steps = {"unshare pid"}},
      {.name = "user_namespace", .steps = {"unshare user"}},
      {.name = "entered_ipc_namespace", .steps = {"enter /proc/@/ns/ipc"}, .mutex = Then::kLost},
      {.name = "setuid",
       .steps = {"nogroups", "setuid 65533"},
       .file = Then::kUnknown,
       .mutex = Then::kUnknown},
      {.name = "seteuid",
       .steps = {"seteuid 65533"},
       .file = Then::kUnknown,
       .mutex = Then::kUnknown},
      {.name = "seteuid_and_back", .steps = {"seteuid 65533", "seteuid 0"}},
      {.name = "no_groups", .steps = {"nogroups"}},
      {.name = "no_capabilities", .steps = {"nocaps"}},
      {.name = "all_that_a_daemon_does",
       .steps = {"chroot %", "nogroups", "setuid 65533", "nocaps"},
       .file = Then::kUnknown,
       .mutex = Then::kUnknown},
  };
}

constexpr char kDefault[] = "all(file, mutex, port)";
constexpr char kStrict[] = "all(file, mutex, port, scan(env=\"NO=BODY\"))";

// A process in namespaces of its own, to be entered.
class Elsewhere {
 public:
  Elsewhere() : child_([] { return unshare(CLONE_NEWIPC) == 0 ? std::string("there") : "skip"; }) {}
  pid_t pid() const { return child_.pid(); }

 private:
  testing::Child child_;
};

class ChangedProcess : public ::testing::TestWithParam<std::tuple<Change, std::string>> {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root, to chroot and to drop privileges";
    // With the same path in it as outside: a repair there would look like one.
    fs::create_directories(Jail() + scope_.path());
    fs::create_directories(scope_.path());
    fs::permissions(scope_.path(), fs::perms::owner_all);
  }

  const Change& change() const { return std::get<0>(GetParam()); }
  std::string Jail() const { return scope_.directory() / "jail"; }

  std::set<Then> Thens() const {
    std::set<Then> thens;
    if (scope_.Asks("file")) thens.insert(change().file);
    if (scope_.Asks("mutex")) thens.insert(change().mutex);
    if (scope_.Asks("port")) thens.insert(Then::kStands);
    return thens;
  }
  bool Any(Then then) const { return Thens().contains(then); }
  // The kernel keeps nobody out any more.
  bool AllLost() const { return Thens() == std::set{Then::kLost}; }

  Claimant Holder() const {
    Claimant::Setup setup = scope_.Another();
    setup.launcher = change().launcher;
    return Claimant(setup);
  }
  // False: not allowed here.
  bool Become(Claimant& holder) const {
    for (std::string step : change().steps) {
      const auto replace = [&step](char sign, const std::string& text) {
        if (const std::size_t at = step.find(sign); at != std::string::npos) {
          step.replace(at, 1, text);
        }
      };
      replace('$', scope_.path());
      replace('%', Jail());
      replace('@', std::to_string(elsewhere_.pid()));
      if (const std::string said = holder.Ask("become " + step); said != "became") {
        reason_ = step + ": " + said;
        return false;
      }
    }
    return true;
  }

  void ExpectRefused(const std::string& when) const {
    const Verdict verdict = scope_.Acquire(absl::Milliseconds(200), absl::Seconds(1));
    EXPECT_FALSE(testing::IsUnique(verdict)) << "two run " << when;
  }
  void ExpectFree(const std::string& when) const {
    const Verdict verdict = scope_.Acquire();
    EXPECT_TRUE(testing::IsUnique(verdict)) << testing::Say(verdict) << ' ' << when;
  }

  const TestScope scope_{std::get<1>(GetParam())};
  const Elsewhere elsewhere_;
  mutable std::string reason_;
};

TEST_P(ChangedProcess, H39_IsAloneWhateverItCallsAndReleasedMeansFree) {
  // Of Guard's calls, as Claimant names them.
  for (const std::string call :
       {"verify", "repair", "watch 1m", "receive", "share", "keep", "files $"}) {
    SCOPED_TRACE(call);
    Claimant holder = Holder();
    ASSERT_TRUE(holder.unique()) << holder.verdict();
    if (!Become(holder)) GTEST_SKIP() << reason_;
    const bool open = AllLost();  // but for the record, which refuses while its process lives
    ExpectRefused("after the change");
    const std::string said =
        holder.Ask(call == "files $" ? absl::StrCat("files ", scope_.directory() / "x.pid") : call);
    if (call == "verify") {
      if (Any(Then::kLost) || Any(Then::kHidden)) {
        EXPECT_THAT(said, StartsWith("DATA_LOSS"));
      } else if (Any(Then::kUnknown)) {
        EXPECT_NE(said, "ok");
        EXPECT_THAT(said, Not(StartsWith("DATA_LOSS")));
      } else {
        EXPECT_EQ(said, "ok");
      }
    }
    // What the watch has found, if anything.
    if (call.starts_with("watch")) (void)holder.Ask("repair");
    if (call == "repair") {
      // The records of the other layers are in the hidden directory too.
      const bool again = change().same_view && (Any(Then::kLost) || change().file == Then::kHidden);
      EXPECT_EQ(absl::StrContains(said, "repaired"), again) << said;
      EXPECT_EQ(absl::StrContains(said, "compromised"), open && !again) << said;
    }
    ExpectRefused("after the call");
    if (call == "keep" && open) {
      EXPECT_THAT(said, StartsWith("DATA_LOSS"));
    }
    EXPECT_EQ(holder.Ask(call == "verify" ? "drop" : "release"),
              call == "verify" ? "dropped" : "released");
    ExpectFree("after the release");
  }
}

INSTANTIATE_TEST_SUITE_P(Policies, ChangedProcess,
                         ::testing::Combine(::testing::ValuesIn(Changes()),
                                            ::testing::ValuesIn(testing::EachAnd({kDefault,
                                                                                  kStrict}))),
                         [](const auto& test) {
                           const std::string& policy = std::get<1>(test.param);
                           return absl::StrCat(std::get<0>(test.param).name, "_",
                                               policy == kDefault  ? "default"
                                               : policy == kStrict ? "strict"
                                                                   : policy);
                         });

class ChangedHolder : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root, to chroot and to drop privileges";
    fs::create_directories(jail_ + scope_.path());
  }
  Claimant Start(const std::string& policy) const {
    Claimant::Setup setup = scope_.Another();
    setup.policy = policy;
    return Claimant(setup);
  }
  absl::StatusOr<Answer> Sent() const {
    return Send(TestScope::kName, *Policy::Parse(kDefault), {.scope = scope_.scope()},
                {.argv = {}, .working_directory = "/", .payload = "p"}, absl::Seconds(20));
  }
  static std::string Content(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  const TestScope scope_{kDefault};
  const std::string jail_ = scope_.directory() / "jail";
};

// The holder chroots, or leaves the mount namespace, then repairs: the lock that stands is kept,
// and nothing is made in the jail.
TEST_F(ChangedHolder, R2_RepairInAJail) {
  for (const std::string policy : {"file", kDefault}) {
    Claimant holder = Start(policy);
    ASSERT_TRUE(holder.unique()) << holder.verdict();
    ASSERT_EQ(holder.Ask("become chroot " + jail_), "became");
    EXPECT_THAT(holder.Ask("verify"), StartsWith("UNAVAILABLE"));
    EXPECT_THAT(holder.Ask("repair"), StartsWith("file degraded stood 0 cannot tell"));
    EXPECT_EQ(holder.Ask("repair"), "nothing");  // once
    EXPECT_TRUE(fs::is_empty(jail_ + scope_.path()));
    EXPECT_TRUE(Start(policy).duplicate());
    EXPECT_EQ(holder.Ask("release"), "released");
  }
}

// What has no name left is lost for everybody, and that can be seen from a jail too. Nothing is
// claimed anew from there.
TEST_F(ChangedHolder, H39_ADeletionIsSeenFromAJail) {
  Claimant holder = Start("file");
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  ASSERT_EQ(holder.Ask("become chroot " + jail_), "became");
  fs::remove_all(scope_.Object());
  EXPECT_THAT(holder.Ask("verify"), StartsWith("DATA_LOSS"));
  EXPECT_THAT(holder.Ask("repair"), StartsWith("file compromised open 0 "));
  EXPECT_TRUE(fs::is_empty(jail_ + scope_.path()));
  EXPECT_TRUE(Start("file").unique());
}

// A library thread keeps the process's undo list: the semaphore stands, though the thread that left
// the namespace sees another one, or none.
TEST_F(ChangedHolder, H39_AWatchedHolderKeepsItsSemaphoreWhenAnotherThreadLeavesTheNamespace) {
  for (const std::string change : {"unshare ipc", "unshare sysvsem"}) {
    Claimant holder = Start("mutex");
    ASSERT_TRUE(holder.unique()) << holder.verdict();
    ASSERT_EQ(holder.Ask("watch 1m"), "watched");
    if (holder.Ask("become " + change) != "became") GTEST_SKIP() << "no ipc namespaces here";
    EXPECT_THAT(holder.Ask("verify"), Not(StartsWith("DATA_LOSS"))) << change;
    EXPECT_TRUE(Start("mutex").duplicate()) << change;
    EXPECT_EQ(holder.Ask("release"), "released");
    for (int i = 0; i < 2; ++i) {  // the second one after the first one's own release
      Claimant next = Start("mutex");
      EXPECT_TRUE(next.unique()) << next.verdict() << ' ' << change;
    }
    // The end of the old holder's threads takes nothing from the next holder.
    Claimant next = Start("mutex");
    ASSERT_TRUE(next.unique()) << next.verdict();
    holder.program().Signal(SIGKILL);
    (void)holder.program().Wait();
    EXPECT_EQ(next.Ask("verify"), "ok") << change;
    EXPECT_EQ(next.Ask("release"), "released");
    EXPECT_TRUE(Start("mutex").unique()) << change;
  }
}

// A semaphore that its holder may not give back any more, as it has dropped its privileges: looks
// call the name free, a start removes it, and the end of the old holder takes nothing from the
// next.
TEST_F(ChangedHolder, H39_AnAbandonedSemaphoreIsFreeForLookersAndStarts) {
  Claimant holder = Start("mutex");
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  ASSERT_EQ(holder.Ask("become setuid 65533"), "became");
  EXPECT_THAT(holder.Ask("verify"), StartsWith("PERMISSION_DENIED"));
  EXPECT_EQ(holder.Ask("release"), "released");
  const auto inspection =
      Inspect(TestScope::kName, *Policy::Parse("mutex"), {.scope = scope_.scope()});
  ASSERT_TRUE(inspection.ok());
  EXPECT_EQ(inspection->holder(), nullptr);
  Claimant next = Start("mutex");
  ASSERT_TRUE(next.unique()) << next.verdict();
  holder.program().Signal(SIGKILL);
  (void)holder.program().Wait();
  EXPECT_EQ(next.Ask("verify"), "ok");
  EXPECT_TRUE(Start("mutex").duplicate());
}

// What the kernel has given back lets nobody in while the holder lives, and says so; also once its
// repair has failed.
TEST_F(ChangedHolder, H39_ASemaphoreThatTheKernelGaveBackLetsNobodyIn) {
  for (const std::string change : {"unshare sysvsem", "unshare ipc"}) {
    Claimant holder = Start("mutex");
    ASSERT_TRUE(holder.unique()) << holder.verdict();
    if (holder.Ask("become " + change) != "became") GTEST_SKIP() << "no ipc namespaces here";
    EXPECT_THAT(holder.Ask("verify"), StartsWith("DATA_LOSS")) << change;
    EXPECT_TRUE(Start("mutex").duplicate()) << change;
    (void)holder.Ask("repair");
    EXPECT_TRUE(Start("mutex").duplicate()) << change;
    EXPECT_EQ(holder.Ask("release"), "released");
    EXPECT_TRUE(Start("mutex").unique()) << change;
  }
}

// The directory is moved: who finds the old one is kept out until the release, and who finds the
// new one as well.
TEST_F(ChangedHolder, H39_AMovedDirectoryIsKeptBesideTheNewOne) {
  Claimant holder = Start("file");
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  const std::string moved = scope_.directory() / "moved";
  fs::rename(scope_.path(), moved);
  EXPECT_THAT(holder.Ask("repair"), StartsWith("file repaired open 0 "));
  Claimant::Setup elsewhere = scope_.Another();
  elsewhere.policy = "file";
  elsewhere.scope = moved;
  EXPECT_FALSE(Claimant(elsewhere).unique());
  EXPECT_TRUE(Start("file").duplicate());
  EXPECT_EQ(holder.Ask("release"), "released");
  EXPECT_TRUE(Claimant(elsewhere).unique());
  EXPECT_TRUE(Start("file").unique());
}

// Though the layer that cannot be seen comes first.
TEST_F(ChangedHolder, H39_ALossIsSaidBeforeWhatIsNotKnown) {
  Claimant holder = Start("all(file, mutex)");
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  ASSERT_EQ(holder.Ask("become unshare mnt"), "became");
  ASSERT_EQ(holder.Ask("become mount " + scope_.path()), "became");
  EXPECT_THAT(holder.Ask("verify"), StartsWith("UNAVAILABLE"));
  ASSERT_TRUE(testing::RemoveSemaphore(scope_.path(), "x"));
  EXPECT_THAT(holder.Ask("verify"), StartsWith("DATA_LOSS"));
}

// Messages are not promised where no sender would look. What was promised before is kept, as far as
// the sender can be told: that takes a /proc, which this jail has not.
TEST_F(ChangedHolder, H39_AnInboxIsNotMadeInAJail) {
  Claimant holder = Start(kDefault);
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  ASSERT_EQ(holder.Ask("receive"), "receives");
  ASSERT_EQ(holder.Ask("become chroot " + jail_), "became");
  EXPECT_THAT(holder.Ask("receive"), StartsWith("UNAVAILABLE"));
  const absl::Status sent = Sent().status();
  EXPECT_TRUE(absl::IsAborted(sent)) << sent;
  EXPECT_EQ(holder.Ask("release"), "released");
  EXPECT_FALSE(fs::exists(scope_.Object("inbox")));
  EXPECT_TRUE(fs::is_empty(jail_ + scope_.path()));
}

TEST_F(ChangedHolder, H39_ABeatIsNotNotedInAJail) {
  Claimant holder = Start(kDefault);
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  ASSERT_EQ(holder.Ask("become chroot " + jail_), "became");
  EXPECT_THAT(holder.Ask("beat"), StartsWith("UNAVAILABLE"));
  EXPECT_FALSE(fs::exists(scope_.Object("beat")));
  EXPECT_TRUE(fs::is_empty(jail_ + scope_.path()));
}

// The same of a holder that has a /proc, and no more the scope.
TEST_F(ChangedHolder, H39_AnInboxIsServedFromBelowAMount) {
  Claimant holder = Start(kDefault);
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  ASSERT_EQ(holder.Ask("receive"), "receives");
  ASSERT_EQ(holder.Ask("become unshare mnt"), "became");
  ASSERT_EQ(holder.Ask("become mount " + scope_.path()), "became");
  EXPECT_THAT(holder.Ask("receive"), StartsWith("UNAVAILABLE"));
  const absl::StatusOr<Answer> sent = Sent();
  ASSERT_TRUE(sent.ok()) << sent.status();
  EXPECT_EQ(sent->text, "got p");
  EXPECT_EQ(holder.Ask("release"), "released");
  EXPECT_TRUE(Start(kDefault).unique());
}

// A PID file is found where it was written.
TEST_F(ChangedHolder, H39_APidFileIsRemovedFromAJail) {
  const std::string file = scope_.directory() / "x.pid";
  Claimant holder = Start(kDefault);
  ASSERT_EQ(holder.Ask("files " + file), "wrote");
  EXPECT_EQ(Content(file), absl::StrCat(holder.pid(), "\n"));
  ASSERT_EQ(holder.Ask("become chroot " + jail_), "became");
  EXPECT_EQ(holder.Ask("release"), "released");
  EXPECT_FALSE(fs::exists(file));
}

// A forked child in a jail without /proc has nothing of the Guard, and does not wait for its
// threads.
TEST_F(ChangedHolder, H39_AForkedChildInAJailIsNotTheOwner) {
  const std::string said = testing::InChild([this]() -> std::string {
    Verdict verdict = scope_.Acquire();
    auto* unique = std::get_if<Unique>(&verdict);
    if (unique == nullptr) return "not unique";
    if (!unique->guard.Watch([](const Incident&) {}, absl::Minutes(1)).ok()) return "not watched";
    if (chroot(jail_.c_str()) != 0) return "no chroot";
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);
      const bool owner = !absl::IsFailedPrecondition(unique->guard.Verify());
      unique->guard.Release();
      _exit(owner ? 1 : 0);
    }
    int status = 0;
    (void)waitpid(child, &status, 0);
    if (!WIFEXITED(status)) return "the child was stuck";
    return WEXITSTATUS(status) == 0 ? "not the owner" : "the owner";
  });
  EXPECT_EQ(said, "not the owner");
}

}  // namespace
}  // namespace soleguard
