// CheckRunning and StopRunning: who has a name, and ending it.
#include "soleguard/stop.h"

#include <grp.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/inspect.h"
#include "soleguard/options.h"
#include "soleguard/process.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/kinds.h"
#include "support/program.h"
#include "support/stranger.h"
#include "support/test_scope.h"

namespace soleguard {
namespace {

using testing::Child;
using testing::Claimant;
using ::testing::HasSubstr;
using testing::Lives;
using testing::Program;
using ::testing::StartsWith;
using testing::TestScope;

constexpr absl::Duration kShort = absl::Milliseconds(50);

const std::vector<std::string> kIgnoresRequests = {"env", "--ignore-signal=TERM"};

char StateOf(pid_t pid) {
  const absl::StatusOr<ProcessIdentity> identity = IdentityOf(pid);
  const auto description = identity.ok() ? Describe(*identity) : identity.status();
  return description.ok() ? description->state : '-';
}
// "OUTCOME: REASON PID SIGNALS LIVENESS, …", "frozen" behind a frozen one.
std::string Say(const absl::StatusOr<StopReport>& report) {
  if (!report.ok()) return report.status().ToString();
  std::string said(ToString(report->outcome));
  const char* separator = ": ";
  for (const StoppedProcess& process : report->processes) {
    absl::StrAppend(&said, separator, std::string(ToString(process.reason)), " ",
                    process.identity.pid);
    for (const Signal signal : process.sent) {
      absl::StrAppend(&said, " ", std::string(ToString(signal)));
    }
    absl::StrAppend(&said, " ", std::string(ToString(process.liveness)),
                    process.is_frozen() ? " frozen" : "");
    separator = ", ";
  }
  return said;
}

class StopTest : public ::testing::Test {
 protected:
  explicit StopTest(std::string policy = "all(file, mutex, port)") : scope_(std::move(policy)) {}

  Options options() const { return {.scope = scope_.scope(), .settle = kShort}; }
  absl::StatusOr<StopReport> Stop(const StopOptions& stop_options = {
                                      .timeout = absl::Minutes(1)}) const {
    return StopRunning(TestScope::kName, *Policy::Parse(scope_.policy()), options(), stop_options);
  }
  absl::StatusOr<std::optional<Holder>> Check() const {
    return CheckRunning(TestScope::kName, *Policy::Parse(scope_.policy()), options());
  }
  Claimant Start(const std::vector<std::string>& launcher = {}) const {
    Claimant::Setup setup = scope_.Another();
    setup.launcher = launcher;
    return Claimant(setup);
  }

  const TestScope scope_;
};

class StopEachTest : public StopTest, public ::testing::WithParamInterface<std::string> {
 protected:
  StopEachTest() : StopTest(GetParam()) {}
};

INSTANTIATE_TEST_SUITE_P(Policies, StopEachTest,
                         ::testing::ValuesIn(testing::EachAnd({testing::AllExclusive(),
                                                               testing::AnyExclusive(),
                                                               "all(file, scan)"})),
                         [](const auto& tested) { return testing::TestNameOf(tested.param); });

TEST_P(StopEachTest, B7_CheckRunningNamesTheHolderAndTakesNothing) {
  absl::StatusOr<std::optional<Holder>> holder = Check();
  ASSERT_TRUE(holder.ok()) << holder.status();
  EXPECT_FALSE(holder->has_value());
  EXPECT_FALSE(std::filesystem::exists(scope_.path()));
  Claimant running = Start();
  ASSERT_TRUE(running.unique()) << running.verdict();
  holder = Check();
  ASSERT_TRUE(holder.ok() && holder->has_value()) << holder.status();
  EXPECT_EQ((*holder)->standing, Standing::kEstablished);
  EXPECT_EQ((*holder)->record->identity, *IdentityOf(running.pid()));
  EXPECT_EQ(running.Ask("verify"), "ok");
}

TEST_P(StopEachTest, B7_AsksTheHolderAndWaitsUntilTheNameIsFree) {
  Claimant running = Start();
  ASSERT_TRUE(running.unique()) << running.verdict();
  EXPECT_EQ(Say(Stop()), absl::StrCat("stopped: holder ", running.pid(), " SIGTERM gone"));
  EXPECT_EQ(running.program().Wait(), 128 + SIGTERM);
  EXPECT_TRUE(testing::IsUnique(scope_.Acquire()));
}

TEST_P(StopEachTest, NobodyHasTheName) {
  EXPECT_EQ(Say(Stop()), "not running");
  EXPECT_TRUE(testing::IsUnique(scope_.Acquire()));
  EXPECT_EQ(Say(Stop()), "not running");
}

TEST_P(StopEachTest, H15_AFrozenHolderIsNeitherContinuedNorKilledUnasked) {
  Claimant running = Start();
  ASSERT_TRUE(running.unique());
  running.program().Signal(SIGSTOP);
  running.program().WaitUntilStopped();
  const absl::StatusOr<StopReport> report = Stop({.timeout = kShort});
  EXPECT_EQ(Say(report), absl::StrCat("runs: holder ", running.pid(), " SIGTERM alive frozen"));
  EXPECT_EQ(StateOf(running.pid()), 'T');
  EXPECT_THAT(report->status.ToString(),
              HasSubstr(absl::StrCat("pid ", running.pid(), " is frozen")));
  EXPECT_EQ(report->holder->record->identity, *IdentityOf(running.pid()));
  running.program().Signal(SIGCONT);
  EXPECT_EQ(running.program().Wait(), 128 + SIGTERM) << "it was asked all the same";
}

TEST_P(StopEachTest, H15_AFrozenHolderIsKilledByForce) {
  Claimant running = Start();
  ASSERT_TRUE(running.unique());
  running.program().Signal(SIGSTOP);
  running.program().WaitUntilStopped();
  EXPECT_EQ(Say(Stop({.timeout = kShort, .force = true})),
            absl::StrCat("stopped: holder ", running.pid(), " SIGTERM SIGKILL gone"));
  EXPECT_TRUE(testing::IsUnique(scope_.Acquire()));
}

TEST_P(StopEachTest, WhoHoldsItInThisVeryProcessIsNotSignalled) {
  const Verdict own = scope_.Acquire();
  ASSERT_TRUE(testing::IsUnique(own)) << testing::Say(own);
  const absl::StatusOr<StopReport> report = Stop();
  // The scan layer passes over the process that looks.
  if (scope_.policy() != "all(file, scan)") {
    EXPECT_EQ(Say(report), absl::StrCat("undetermined: holder ", getpid(), " alive"));
  }
  EXPECT_THAT(report->status.ToString(), HasSubstr("is this very process"));
}

TEST_F(StopTest, AnInvalidNameIsAnError) {
  EXPECT_TRUE(absl::IsInvalidArgument(StopRunning("a/b", Policy::Default()).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(CheckRunning("a/b", Policy::Default()).status()));
}

TEST_F(StopTest, C3_WhoIgnoresTheRequestIsLeftAloneAndKilledOnlyByForce) {
  Claimant running = Start(kIgnoresRequests);
  ASSERT_TRUE(running.unique());
  const absl::StatusOr<StopReport> asked = Stop({.timeout = kShort});
  EXPECT_EQ(Say(asked), absl::StrCat("runs: holder ", running.pid(), " SIGTERM alive"));
  EXPECT_THAT(asked->status.ToString(), HasSubstr("did not end in time"));
  EXPECT_EQ(running.Ask("verify"), "ok");
  EXPECT_EQ(Say(Stop({.timeout = kShort, .force = true})),
            absl::StrCat("stopped: holder ", running.pid(), " SIGTERM SIGKILL gone"));
}

TEST_F(StopTest, ByForceTheHoldersDescendantsEndWithIt) {
  Claimant running = Start(kIgnoresRequests);
  ASSERT_TRUE(running.unique());
  const pid_t child = std::stoi(running.Ask("fork"));
  EXPECT_EQ(Say(Stop({.timeout = kShort, .force = true})),
            absl::StrCat("stopped: holder ", running.pid(), " SIGTERM SIGKILL gone, descendant ",
                         child, " SIGKILL gone"));
}

TEST_F(StopTest, OnlyTheHolderIfOnlyThatIsWanted) {
  Claimant running = Start(kIgnoresRequests);
  ASSERT_TRUE(running.unique());
  const pid_t child = std::stoi(running.Ask("fork"));
  EXPECT_EQ(Say(Stop({.timeout = kShort, .force = true, .what = StopOptions::What::kHolder})),
            absl::StrCat("stopped: holder ", running.pid(), " SIGTERM SIGKILL gone"));
  EXPECT_TRUE(Lives(child));
  (void)kill(child, SIGKILL);
}

// A process of the holder's that keeps the claim by a raw clone(2).
TEST_F(StopTest, H09_ByForceAlsoADescendantThatKeepsTheClaimIsKilled) {
  Claimant running = Start();
  ASSERT_TRUE(running.unique());
  const pid_t child = std::stoi(running.Ask("clone"));
  (void)kill(child, SIGSTOP);
  // On a slow machine the holder may not have ended before the timeout.
  EXPECT_THAT(
      Say(Stop({.timeout = kShort, .force = true})),
      ::testing::AllOf(StartsWith(absl::StrCat("stopped: holder ", running.pid(), " SIGTERM")),
                       HasSubstr(absl::StrCat("descendant ", child, " SIGKILL gone"))));
}

// The guard of y runs below the holder of x, as a launcher's jobs do.
TEST_F(StopTest, AnotherNamesInstanceAmongTheDescendantsIsLeftAlone) {
  const Child holder([this] {
    (void)signal(SIGTERM, SIG_IGN);
    static Verdict verdict = scope_.Acquire();
    Claimant::Setup setup = scope_.Another();
    setup.name = "y";
    setup.policy = "file";
    setup.launcher = {"setsid"};  // with its pid
    static Claimant* other = new Claimant(setup);
    return absl::StrCat(testing::IsUnique(verdict) && other->unique() ? "" : "refused ",
                        other->pid());
  });
  const ProcessIdentity other = *IdentityOf(std::stoi(holder.answer()));
  const std::string said = Say(Stop({.timeout = kShort, .force = true}));
  EXPECT_THAT(said,
              StartsWith(absl::StrCat("stopped: holder ", holder.pid(), " SIGTERM SIGKILL gone")));
  EXPECT_THAT(said, ::testing::Not(HasSubstr(absl::StrCat("descendant ", other.pid))));
  const Policy file = *Policy::Parse("file");
  // It reads its end of input when the holder is gone, and ends by itself.
  const absl::StatusOr<StopReport> y = StopRunning("y", file, options());
  EXPECT_TRUE(y.ok() && y->is_free()) << Say(y);
}

TEST_F(StopTest, WhoHoldsAnotherNameTooIsNotSignalled) {
  const Child holder([this] {
    static Verdict x = scope_.Acquire();
    static Verdict y = Guard::Acquire("y", *Policy::Parse("file"), options());
    return testing::IsUnique(x) && testing::IsUnique(y) ? "both" : "refused";
  });
  ASSERT_EQ(holder.answer(), "both");
  const absl::StatusOr<StopReport> report = Stop();
  EXPECT_EQ(Say(report), absl::StrCat("undetermined: holder ", holder.pid(), " alive"));
  EXPECT_THAT(report->status.ToString(), HasSubstr("holds the name y"));
}

TEST_F(StopTest, AnAncestorIsNotSignalled) {
  const Child holder([this]() -> std::string {
    static Verdict x = scope_.Acquire();
    return testing::InChild([this] { return absl::StrCat(Say(Stop()), " ", getppid()); });
  });
  EXPECT_EQ(holder.answer(),
            absl::StrCat("undetermined: holder ", holder.pid(), " alive ", holder.pid()));
}

TEST_F(StopTest, H10_AForeignLockersProcessIsNamedAndNotSignalled) {
  (void)scope_.Acquire();  // makes the objects
  Program locker({.argv = {"flock", scope_.Object("lock"), "sh", "-c", "echo ready; exec cat"}});
  ASSERT_EQ(locker.ReadLine(), "ready");
  const absl::StatusOr<StopReport> report = Stop({.timeout = absl::Minutes(1), .force = true});
  EXPECT_EQ(Say(report), "undetermined");
  EXPECT_THAT(report->status.ToString(), HasSubstr("no record names a live process"));
  EXPECT_THAT(report->status.ToString(), HasSubstr(absl::StrCat(locker.pid())));
  EXPECT_TRUE(Lives(locker.pid()));
}

TEST(StopRunningTest, H17_AForeignListenerOnTheNamesPortIsNotCalledItsHolder) {
  Program foreign({.argv = {"python3", "-c",
                            "import socket, sys; s = socket.socket(); s.bind(('', 0)); s.listen(); "
                            "print(s.getsockname()[1], flush=True); sys.stdin.read()"}});
  const std::optional<std::string> port = foreign.ReadLine();
  ASSERT_TRUE(port.has_value());
  const TestScope scope(absl::StrCat("all(file, port(", *port, "))"));
  const absl::StatusOr<StopReport> report =
      StopRunning(TestScope::kName, *Policy::Parse(scope.policy()),
                  {.scope = scope.scope(), .settle = kShort}, {.timeout = absl::Minutes(1)});
  EXPECT_EQ(Say(report), "undetermined");
  EXPECT_THAT(report->status.ToString(), HasSubstr("which is not an instance"));
  EXPECT_FALSE(report->holder.has_value());
}

const std::vector<std::string> kInAContainer = {"unshare", "--pid", "--fork", "--mount-proc",
                                                "--kill-child"};

TEST_F(StopTest, H06_TheHostEndsAHolderInAContainer) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to make a pid namespace";
  Claimant inside = Start(kInAContainer);
  ASSERT_TRUE(inside.unique()) << inside.verdict();
  const absl::StatusOr<std::optional<Holder>> seen = Check();
  ASSERT_TRUE(seen.ok() && seen->has_value()) << seen.status();
  EXPECT_EQ((*seen)->standing, Standing::kEstablished);
  // By the number that it has here: the launcher's child.
  const ProcessIdentity holder = (*seen)->record->identity;
  EXPECT_EQ(Describe(holder)->parent_pid, inside.pid());
  // Process 1 of a namespace takes no SIGTERM that it does not handle.
  EXPECT_EQ(Say(Stop({.timeout = kShort, .force = true})),
            absl::StrCat("stopped: holder ", holder.pid, " SIGTERM SIGKILL gone"));
}

TEST_F(StopTest, H06_FromASiblingNamespaceNobodyIsSignalled) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to make a pid namespace";
  Claimant inside = Start(kInAContainer);
  ASSERT_TRUE(inside.unique()) << inside.verdict();
  const std::string said = testing::InNewPidNamespace([this] {
    const absl::StatusOr<StopReport> report = Stop({.timeout = kShort, .force = true});
    return absl::StrCat(Say(report), "; ", report->status.message());
  });
  if (absl::StartsWith(said, "skip:")) GTEST_SKIP() << said;
  EXPECT_THAT(said, StartsWith("undetermined: holder 1 unknown"));
  EXPECT_THAT(said, HasSubstr("in its container, or on the host"));
  EXPECT_EQ(inside.Ask("verify"), "ok");
}

// The holder is dead, a child that a raw clone(2) made keeps the claim, and a stranger has the pid
// that the record names.
TEST_F(StopTest, H16_AStrangerWithTheHoldersPidLives) {
  const std::string said = testing::BesideAStranger(
      [this] { return Start(); }, [this] { return Say(Stop({.timeout = kShort, .force = true})); });
  if (absl::StartsWith(said, "skip:")) GTEST_SKIP() << said;
  EXPECT_EQ(said, "undetermined, the stranger lives, the keeper lives");
}

TEST_F(StopTest, H14_WhoMayNotSignalIsToldWhomToAsk) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  constexpr gid_t kNobody = 65534;
  ASSERT_EQ(chmod(scope_.directory().path().c_str(), 0755), 0);
  ASSERT_EQ(mkdir(scope_.path().c_str(), 0700), 0);
  ASSERT_EQ(chown(scope_.path().c_str(), 0, kNobody), 0);
  ASSERT_EQ(chmod(scope_.path().c_str(), 02770), 0);
  Claimant::Setup setup = scope_.Another();
  setup.policy = "file";
  Claimant running(setup);
  ASSERT_TRUE(running.unique()) << running.verdict();
  const std::string said = testing::InChild([this]() -> std::string {
    if (setgroups(0, nullptr) != 0 || setgid(kNobody) != 0 || setuid(kNobody) != 0) return "root";
    const absl::StatusOr<StopReport> report = StopRunning("x", *Policy::Parse("file"), options());
    return absl::StrCat(Say(report), ": ", absl::string_view(report->status.message()));
  });
  EXPECT_THAT(said, StartsWith(absl::StrCat("undetermined: holder ", running.pid(), " alive")));
  EXPECT_THAT(said, HasSubstr("of user root: do it as that user, or as root (sudo)"));
  EXPECT_EQ(running.Ask("verify"), "ok");
}

TEST_F(StopTest, AStandbyThatTakesOverIsNotStopped) {
  Claimant running = Start();
  ASSERT_TRUE(running.unique());
  Claimant::Setup setup = scope_.Another();
  setup.wait = absl::InfiniteDuration();
  Claimant standby(setup);
  standby.WaitUntilInLine();
  const absl::StatusOr<StopReport> report = Stop();
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->processes.size(), 1U);
  EXPECT_EQ(running.program().Wait(), 128 + SIGTERM);
  EXPECT_TRUE(standby.unique()) << standby.verdict();
  EXPECT_EQ(standby.Ask("verify"), "ok");
}

TEST_F(StopTest, AStopTokenEndsTheWait) {
  Claimant running = Start(kIgnoresRequests);
  ASSERT_TRUE(running.unique());
  std::stop_source source;
  std::thread([source]() mutable { source.request_stop(); }).detach();
  const absl::StatusOr<StopReport> report =
      Stop({.timeout = absl::InfiniteDuration(), .stop = source.get_token()});
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(absl::IsCancelled(report->status)) << report->status;
  EXPECT_EQ(report->outcome, StopReport::Outcome::kRuns);
}

TEST_F(StopTest, WithoutAnObserverDuplicatesCannotBeFound) {
  EXPECT_TRUE(absl::IsInvalidArgument(Stop({.duplicates = true}).status()));
}

TEST_F(StopTest, C2_DuplicatesThatRunWithoutAGuardAreStoppedIfAsked) {
  const std::string tag = absl::StrCat("SOLEGUARD_TEST_TAG=", scope_.path());
  const Policy policy = *Policy::Parse(absl::StrCat("all(file, scan(env=\"", tag, "\"))"));
  Claimant running({.scope = scope_.path(), .policy = "file", .launcher = {"env", tag}});
  ASSERT_TRUE(running.unique()) << running.verdict();
  const auto unguarded = [&] {
    Program program({.argv = {"sh", "-c", "echo ready; exec sleep 60"},
                     .environment = {{"SOLEGUARD_TEST_TAG", scope_.path()}}});
    (void)program.ReadLine();
    return program;
  };
  Program first = unguarded();
  Program second = unguarded();
  Options now = options();
  now.settle = absl::ZeroDuration();

  // By a process beside them: the scan layer passes over descendants of who looks.
  const auto stop = [&](bool duplicates) {
    return testing::InChild([&]() -> std::string {
      const absl::StatusOr<StopReport> report =
          StopRunning("x", policy, now, {.duplicates = duplicates});
      return absl::StrCat(Say(report), "; ", absl::string_view(report->status.message()));
    });
  };
  const std::string held = stop(/*duplicates=*/false);
  EXPECT_THAT(held, StartsWith(absl::StrCat("runs: holder ", running.pid(), " SIGTERM gone")));
  EXPECT_THAT(held, HasSubstr("runs without a guard"));
  EXPECT_TRUE(Lives(first.pid()) && Lives(second.pid()));

  const std::string all = stop(/*duplicates=*/true);
  EXPECT_THAT(all, StartsWith("stopped: unguarded "));
  for (const pid_t pid : {first.pid(), second.pid()}) {
    EXPECT_THAT(all, HasSubstr(absl::StrCat("unguarded ", pid, " SIGTERM gone")));
  }
  EXPECT_EQ(first.Wait(), 128 + SIGTERM);
  EXPECT_EQ(second.Wait(), 128 + SIGTERM);
}

}  // namespace
}  // namespace soleguard
