// What every layer has to do, asked of each that is registered. What it answers about others'
// objects, and what events do to it, is in the files beside this one.
#include "layers/conformance.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kit/key.h"
#include "soleguard/fd.h"
#include "soleguard/guard.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/process.h"
#include "soleguard/registry.h"
#include "soleguard/watch.h"
#include "support/attempt.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/forked.h"
#include "support/repeater.h"
#include "support/temp_dir.h"
#include "support/test_scope.h"
#include "support/traced.h"

namespace soleguard {
namespace {

using ::testing::AllOf;
using testing::Candidate;
using testing::Claimant;
using testing::Conformance;
using testing::Established;
using testing::EveryKind;
using ::testing::HasSubstr;
using testing::Say;
using ::testing::StartsWith;
using testing::Traced;

INSTANTIATE_TEST_SUITE_P(Layers, Conformance, ::testing::ValuesIn(EveryKind()),
                         [](const auto& kind) { return kind.param; });

TEST_P(Conformance, ASecondProcessIsRefusedAndLearnsWho) {
  Claimant first = Start();
  ASSERT_TRUE(first.unique()) << first.verdict();
  Claimant second = Start();
  EXPECT_EQ(second.verdict(), absl::StrCat("duplicate ", first.pid(), " established"));
}

TEST_P(Conformance, ASecondObjectInTheProcessGetsNothingAndDropsNothing) {
  Attempt first = Try();
  ASSERT_TRUE(std::holds_alternative<Held>(first));
  {
    const Attempt second = Try();
    EXPECT_EQ(std::holds_alternative<Contested>(second), !kind().observer);
  }
  EXPECT_TRUE(std::get<Held>(first).claim->Verify().ok());
  Claimant other = Start();
  EXPECT_EQ(other.unique(), kind().observer) << other.verdict();
}

TEST_P(Conformance, AReleasedClaimSaysSo) {
  Attempt attempt = Try();
  ASSERT_TRUE(std::holds_alternative<Held>(attempt));
  Claim& claim = *std::get<Held>(attempt).claim;
  EXPECT_TRUE(claim.Verify().ok()) << claim.Verify();
  claim.Release();
  for (const absl::Status& status :
       {claim.Verify(), claim.Publish(Candidate(scope())), claim.KeepOverExec()}) {
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(status.ToString(), HasSubstr("was released"));
  }
  claim.Release();  // once more does nothing
  EXPECT_TRUE(IsFree());
}

TEST_P(Conformance, H08_AfterTheOwnersSigkillTheNextStartWorksAtOnce) {
  for (int i = 0; i < 3; ++i) {
    Claimant owner = Start();
    ASSERT_TRUE(owner.unique()) << owner.verdict();
    Kill(owner);
  }
  EXPECT_TRUE(IsFree());
}

TEST_P(Conformance, H15_AFrozenOwnerIsNamedAndLives) {
  Claimant owner = Start();
  ASSERT_TRUE(owner.unique());
  owner.program().Signal(SIGSTOP);
  owner.program().WaitUntilStopped();
  Claimant second = Start();
  EXPECT_EQ(second.verdict(), absl::StrCat("duplicate ", owner.pid(), " established"));
  EXPECT_EQ(Describe(*IdentityOf(owner.pid()))->state, 'T');
  if (kind().leased) {  // stopped for longer than its lease: another has it, and it knows
    EXPECT_TRUE(std::holds_alternative<Unique>(Guard::Acquire(
        "x", *Policy::Parse(policy()), {.scope = scope(), .wait = absl::Seconds(30)})));
  }
  owner.program().Signal(SIGCONT);
  EXPECT_THAT(owner.Ask("verify"), StartsWith(kind().leased ? "DATA_LOSS" : "ok"));
}

TEST_P(Conformance, H27_ADyingOwnerWithAGigabyteIsWaitedFor) {
  Claimant owner = Start();
  ASSERT_TRUE(owner.unique());
  ASSERT_EQ(owner.Ask("allocate"), "touched");
  owner.program().Signal(SIGKILL);
  EXPECT_TRUE(IsFree());  // while it is still being torn down
}

TEST_P(Conformance, H10_AForkedChildKeepsNothing) {
  Claimant owner = Start();
  ASSERT_TRUE(owner.unique());
  const int child = std::stoi(owner.Ask("fork"));
  Kill(owner);
  EXPECT_TRUE(IsFree());
  EXPECT_EQ(kill(child, SIGKILL), 0) << "it must have lived until now";
}

TEST_P(Conformance, H10_AForkedChildsCopyIsNotTheOwnersAndReleasesNothing) {
  const Verdict verdict = Acquire();
  const auto* unique = std::get_if<Unique>(&verdict);
  ASSERT_NE(unique, nullptr);
  EXPECT_THAT(testing::InChild([&] {
                auto& guard = const_cast<Guard&>(unique->guard);
                std::string said = guard.Verify().ToString();
                guard.Release();
                return said;
              }),
              HasSubstr("not the owner"));
  EXPECT_TRUE(unique->guard.Verify().ok());
  Claimant other = Start();
  EXPECT_FALSE(other.unique());
}

// A Guard asks this before it asks its claims. A claim says so too.
TEST_P(Conformance, H10_EachCallOfAClaimSaysInAForkedChildThatItIsNotTheOwners) {
  Attempt attempt = Try();
  ASSERT_TRUE(std::holds_alternative<Held>(attempt));
  Claim& claim = *std::get<Held>(attempt).claim;
  const std::string said = testing::InChild([&] {
    std::vector<absl::Status> statuses = {claim.Verify(), claim.Publish(Candidate(scope())),
                                          claim.KeepOverExec(),
                                          claim.Mend(Candidate(scope())).lost};
    if (kind().carries) statuses.push_back(claim.Share().status());
    claim.Release();
    return absl::StrJoin(statuses, "\n", [](std::string* out, const absl::Status& status) {
      absl::StrAppend(out, status.ToString());
    });
  });
  for (const absl::string_view line : absl::StrSplit(said, '\n')) {
    EXPECT_THAT(std::string(line), StartsWith("FAILED_PRECONDITION: not the owner"));
  }
  EXPECT_TRUE(claim.Verify().ok()) << claim.Verify();
}

TEST_P(Conformance, H10_AnExecutedChildKeepsNothing) {
  Claimant owner = Start();
  ASSERT_TRUE(owner.unique());
  const int child = std::stoi(owner.Ask("exec"));
  // The name is free as soon as the child has executed its program, which closes what it got.
  Kill(owner);
  EXPECT_TRUE(IsFree());
  (void)kill(child, SIGKILL);
}

TEST_P(Conformance, H28_WhatARawCloneKeepsIsNamed) {
  Claimant owner = Start();
  ASSERT_TRUE(owner.unique());
  const int orphan = std::stoi(owner.Ask("clone"));
  const ProcessIdentity identity = *IdentityOf(orphan);
  Kill(owner);
  {
    const Verdict verdict = Acquire(absl::Milliseconds(50));
    if (const auto* duplicate = std::get_if<Duplicate>(&verdict)) {
      EXPECT_THAT(duplicate->holder.processes, ::testing::Contains(identity));
    } else {
      EXPECT_TRUE(std::holds_alternative<Unique>(verdict)) << "a mechanism that no child can keep";
    }
  }
  absl::StatusOr<UniqueFd> ended = OpenPidfd(identity);
  ASSERT_TRUE(ended.ok());
  ASSERT_TRUE(SendSignal(identity, SIGKILL).ok());
  const std::array<UniqueFd, 1> wait = {*std::move(ended)};
  ASSERT_TRUE(WaitForAny(wait, absl::Seconds(30)));
  EXPECT_TRUE(IsFree());
}

TEST_P(Conformance, H28_AReleaseFreesItWhateverARawCloneKept) {
  Claimant owner = Start();
  ASSERT_TRUE(owner.unique());
  const int orphan = std::stoi(owner.Ask("clone"));
  EXPECT_EQ(owner.Ask("release"), "released");
  EXPECT_TRUE(IsFree());
  (void)kill(orphan, SIGKILL);
}

// The record refuses even if the mechanism does not any more.
TEST_P(Conformance, H31_AfterAllDescriptorsWereClosedItRefusesUntilItIsReleased) {
  Claimant owner = Start();
  ASSERT_TRUE(owner.unique());
  EXPECT_EQ(owner.Ask("closefrom"), "closed");
  // What open descriptors carry is lost, and is said to be.
  if (kind().carries) {
    EXPECT_THAT(owner.Ask("verify"), HasSubstr("DATA_LOSS"));
  }
  const std::string refused = absl::StrCat("duplicate ", owner.pid(), " established");
  EXPECT_EQ(Start().verdict(), refused) << "its record refuses as long as it lives";
  EXPECT_EQ(owner.Ask("release"), "released");
  EXPECT_TRUE(IsFree());
}

TEST_P(Conformance, H01_OfManyAtOnceExactlyOneIsUnique) {
  constexpr int kProcesses = 24;
  for (int round = 0; round < 3; ++round) {
    std::vector<Claimant> claimants;
    for (int i = 0; i < kProcesses; ++i) {
      claimants.emplace_back(
          Claimant::Setup{.scope = directory_.path(), .policy = policy(), .at_barrier = true});
    }
    for (Claimant& claimant : claimants) claimant.Go();
    int unique = 0;
    for (Claimant& claimant : claimants) {
      EXPECT_TRUE(claimant.unique() || claimant.duplicate()) << claimant.verdict();
      if (claimant.unique()) ++unique;
    }
    EXPECT_EQ(unique, 1) << "round " << round;
  }
}

TEST_P(Conformance, H21_NamesThatDifferInTheirLastByteAreTwo) {
  const std::string stem(254, 'n');
  Claimant a = Start(stem + "a");
  Claimant b = Start(stem + "b");
  EXPECT_TRUE(a.unique()) << a.verdict();
  EXPECT_TRUE(b.unique()) << b.verdict();
}

TEST_P(Conformance, H34_EveryAllowedByteMayBeAName) {
  for (int byte = 1; byte < 256; ++byte) {
    const std::string name(1, static_cast<char>(byte));
    if (!InstanceName::Parse(name).ok()) continue;
    const Attempt attempt = Try(name);
    const auto* unavailable = std::get_if<Unavailable>(&attempt);
    EXPECT_TRUE(std::holds_alternative<Held>(attempt))
        << byte << ": " << (unavailable != nullptr ? unavailable->status.ToString() : "contested");
  }
}

TEST_P(Conformance, TwoScopesAreTwo) {
  const testing::TempDir elsewhere;
  Claimant here = Start();
  Claimant there({.scope = elsewhere.path(), .policy = policy()});
  EXPECT_TRUE(here.unique()) << here.verdict();
  EXPECT_TRUE(there.unique()) << there.verdict();
}

// System-wide objects lie in namespaces of their own: nothing is left on this machine.
TEST_P(Conformance, TheUserScopesOfTwoUsersAreTwo) {
  const std::string said = testing::InChild([]() -> std::string {
    if (unshare(CLONE_NEWNS | CLONE_NEWIPC) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("none", Scope::User().directory().starts_with("/run") ? "/run/lock" : "/tmp", "tmpfs",
              0, "mode=1777") != 0) {
      return "skip: needs root and namespaces";
    }
    const auto acquire = [](uid_t user) {
      if (setresuid(user, user, user) != 0 || prctl(PR_SET_DUMPABLE, 1) != 0) return "no such user";
      static const Verdict verdict = Guard::Acquire("x", *Policy::Parse(policy()));
      return std::holds_alternative<Unique>(verdict) ? "unique" : "refused";
    };
    const testing::Child one([&] { return acquire(4001); });
    const testing::Child other([&] { return acquire(4002); });
    const testing::Child again([&] { return acquire(4002); });
    return absl::StrCat(one.answer(), ", ", other.answer(), ", ", again.answer());
  });
  if (absl::StartsWith(said, "skip:")) GTEST_SKIP() << said;
  EXPECT_EQ(said, "unique, unique, refused");
}

TEST_P(Conformance, H14_PermissionDeniedIsNeitherFreeNorTaken) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  Claimant owner = Start();
  ASSERT_TRUE(owner.unique());
  Claimant other({.scope = directory_.path(),
                  .policy = policy(),
                  .launcher = {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}});
  EXPECT_THAT(other.verdict(), AllOf(StartsWith("undetermined"), HasSubstr("Permission denied")));
}

TEST_P(Conformance, ReleasesInAnyOrderFreeTheirOwnAndNoOther) {
  const auto take = [this](const std::string& name) {
    return Guard::Acquire(name, *Policy::Parse(policy()), {.scope = scope()});
  };
  for (const bool first_taken_first : {true, false}) {
    Verdict a = take("a");
    Verdict b = take("b");
    ASSERT_TRUE(std::holds_alternative<Unique>(a) && std::holds_alternative<Unique>(b));
    Verdict& first = first_taken_first ? a : b;
    std::get<Unique>(first).guard.Release();
    Claimant freed = Start(first_taken_first ? "a" : "b");
    EXPECT_TRUE(freed.unique()) << freed.verdict();
    Claimant kept = Start(first_taken_first ? "b" : "a");
    EXPECT_EQ(kept.verdict(), absl::StrCat("duplicate ", getpid(), " established"));
  }
}

TEST_P(Conformance, ALookSeesTheOwnerAndCreatesNothing) {
  const std::unique_ptr<Layer> layer =
      kind().make({.scope = scope(),
                   .name = *InstanceName::Parse("x"),
                   .parameters = {},
                   .subject = {.argv = {}, .working_directory = {}, .unknown = true},
                   .kinds = LayerKinds()});
  EXPECT_TRUE(std::holds_alternative<Free>(layer->Look()));
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
  {
    Claimant owner = Start();
    ASSERT_TRUE(owner.unique());
    const Sighting sighting = layer->Look();
    const auto* taken = std::get_if<Taken>(&sighting);
    ASSERT_NE(taken, nullptr);
    EXPECT_EQ(taken->holder.standing, Standing::kEstablished);
    EXPECT_EQ(taken->holder.record->identity, *IdentityOf(owner.pid()));
    EXPECT_EQ(owner.Ask("release"), "released");
  }
  EXPECT_TRUE(std::holds_alternative<Free>(layer->Look()));
}

TEST_P(Conformance, ManyLooksDisturbNoStart) {
  constexpr int kEach = 30;
  const std::unique_ptr<Layer> layer = Make();
  testing::Repeater looks([&layer] { (void)layer->Look(); });
  int starts = 0;
  for (; starts < kEach || (looks.times() < kEach && looks.Lives()); ++starts) {
    Claimant owner = Start();
    EXPECT_TRUE(owner.unique()) << owner.verdict();
    EXPECT_EQ(owner.Ask("release"), "released");
  }
  EXPECT_TRUE(looks.End());
  EXPECT_GE(looks.times(), kEach);
  std::cout << starts << " starts, " << looks.times() << " looks\n";
}

TEST_P(Conformance, H06_PidNamespacesDoNotHideTheOwner) {
  Claimant owner = Start();
  ASSERT_TRUE(owner.unique());
  const std::string said = testing::InNewPidNamespace([&] {
    const Verdict verdict = Acquire(absl::Milliseconds(50));
    return std::string(std::holds_alternative<Duplicate>(verdict) ? "duplicate" : "not refused");
  });
  if (absl::StartsWith(said, "skip:")) GTEST_SKIP() << said;
  EXPECT_EQ(said, "duplicate");
}

TEST_P(Conformance, H08_TheNextClaimKnowsWhoHadItBefore) {
  if (kind().observer) GTEST_SKIP() << "an observer holds nothing";
  Claimant owner = Start();
  ASSERT_TRUE(owner.unique()) << owner.verdict();
  Kill(owner);
  Attempt attempt = testing::OutcomeAfterItsLease(*Make(), Candidate(scope()));
  ASSERT_TRUE(std::holds_alternative<Held>(attempt));
  const std::optional<HolderRecord> last = std::get<Held>(attempt).claim->Predecessor();
  ASSERT_TRUE(last.has_value());
  EXPECT_EQ(last->identity.pid, owner.pid());
  EXPECT_EQ(last->state, RecordState::kEstablished);
}

// Where a loss shows, and that it is found there: each object that the claim watches is removed in
// turn. Either it is put right, and the layer has kept others out all the time, or the claim says
// that it excludes nobody any more.
TEST_P(Conformance, H04_EachObjectThatItWatchesIsMissedAndPutRight) {
  if (kind().observer) GTEST_SKIP() << "an observer has nothing to lose";
  if (kind().remote) GTEST_SKIP() << "its objects are a server's";
  const HolderRecord established = Established(scope());
  std::size_t objects = 1;
  for (std::size_t i = 0; i < objects; ++i) {
    Attempt attempt = Try();
    ASSERT_TRUE(std::holds_alternative<Held>(attempt));
    Claim& claim = *std::get<Held>(attempt).claim;
    ASSERT_TRUE(claim.Publish(established).ok());
    Alarm alarm;
    const absl::Status watched = claim.Watch(alarm);
    ASSERT_TRUE(watched.ok()) << watched;
    ASSERT_TRUE(claim.Mend(established).lost.ok()) << "nothing is missing yet";
    std::vector<std::string> paths = alarm.files;
    paths.insert(paths.end(), alarm.directories.begin(), alarm.directories.end());
    ASSERT_FALSE(paths.empty());
    objects = paths.size();
    SCOPED_TRACE(paths[i]);
    EXPECT_GT(std::filesystem::remove_all(paths[i]), 0U) << "what it watches is there";

    const Claim::Mended mended = claim.Mend(established);
    EXPECT_FALSE(mended.lost.ok());
    if (mended.excludes) {
      EXPECT_TRUE(mended.left.ok()) << mended.left;
      EXPECT_TRUE(std::filesystem::exists(paths[i]));
      EXPECT_TRUE(claim.Mend(established).lost.ok()) << "it is put right";
      EXPECT_EQ(Start().verdict(), absl::StrCat("duplicate ", getpid(), " established"));
    } else {
      EXPECT_FALSE(claim.Verify().ok());
    }
    claim.Release();
  }
  EXPECT_TRUE(IsFree());
}

// The claim of a process that is another program by now: it is there if KeepOverExec has said so,
// and only then. The record is a candidate's, so that nothing but the layer refuses.
TEST_P(Conformance, AfterExecItIsHeldAsKeepOverExecSays) {
  if (kind().observer) GTEST_SKIP() << "an observer holds nothing";
  int said[2];
  ASSERT_EQ(pipe2(said, O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    Attempt attempt = Try();
    const auto* held = std::get_if<Held>(&attempt);
    const char answer = held == nullptr ? '?' : held->claim->KeepOverExec().ok() ? 'y' : 'n';
    (void)!write(said[1], &answer, 1);
    execlp("sleep", "sleep", "60", nullptr);
    _exit(127);
  }
  (void)close(said[1]);
  char answer = '?';
  EXPECT_EQ(read(said[0], &answer, 1), 1);
  char end = 0;
  EXPECT_EQ(read(said[0], &end, 1), 0) << "it executes";
  (void)close(said[0]);
  ASSERT_NE(answer, '?');
  {
    const Attempt attempt = testing::OutcomeAfterItsLease(*Make(), Candidate(scope()));
    EXPECT_EQ(std::holds_alternative<Contested>(attempt), answer == 'y') << answer;
    EXPECT_EQ(std::holds_alternative<Held>(attempt), answer == 'n') << answer;
  }
  EXPECT_EQ(kill(child, SIGKILL), 0);
  (void)waitpid(child, nullptr, 0);
  EXPECT_TRUE(IsFree());
}

// What it has started meanwhile keeps the claim, and what wakes who waits for its end is kept by
// the same processes: the program that was executed has ended, and nobody can wait for its process.
TEST_P(Conformance, H11_AfterExecWhoWaitsIsWokenByTheEndOfWhatItLeft) {
  if (!kind().carries) GTEST_SKIP() << "nothing is left of the claim when the program has ended";
  int left[2];
  ASSERT_EQ(pipe2(left, 0), 0);  // the pid of what is left
  const pid_t child = fork();
  if (child == 0) {
    Attempt attempt = Try();
    auto* const held = std::get_if<Held>(&attempt);
    if (held == nullptr || !held->claim->Publish(Established(scope())).ok() ||
        !held->claim->KeepOverExec().ok()) {
      _exit(1);
    }
    (void)dup2(left[1], STDOUT_FILENO);
    execlp("sh", "sh", "-c", "sleep 60 & echo $!", nullptr);
    _exit(127);
  }
  (void)close(left[1]);
  std::string text(20, '\0');
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(read(left[0], text.data(), 20), 0)));
  (void)close(left[0]);
  (void)waitpid(child, nullptr, 0);
  pid_t sleeper = 0;
  ASSERT_TRUE(absl::SimpleAtoi(text, &sleeper)) << text;

  const Attempt attempt = Try();
  const auto* contested = std::get_if<Contested>(&attempt);
  ASSERT_NE(contested, nullptr) << Say(attempt);
  EXPECT_FALSE(contested->wake.empty()) << "nothing will wake who waits";
  EXPECT_FALSE(WaitForAny(contested->wake, absl::ZeroDuration())) << "it has not ended";
  EXPECT_EQ(kill(sleeper, SIGKILL), 0);
  EXPECT_TRUE(WaitForAny(contested->wake, absl::Seconds(10)));
  EXPECT_TRUE(IsFree());
}

// A holder that has handed its claim on to a child, which does nothing but keep it.
class HandedOn {
 public:
  explicit HandedOn(const std::function<std::unique_ptr<Layer>()>& make, const Scope& scope) {
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_.data()) != 0) std::abort();
    owner_ = fork();
    if (owner_ == 0) BeOwner(*make(), scope);
    if (read(ends_[0], &keeper_, sizeof keeper_) != sizeof keeper_) keeper_ = -1;
  }
  HandedOn(const HandedOn&) = delete;
  HandedOn& operator=(const HandedOn&) = delete;
  ~HandedOn() {
    KillOwner();
    KillKeeper();
    for (const int end : ends_) (void)close(end);
  }

  // Whether there was something to hand on.
  bool kept() const { return keeper_ > 0; }
  // The owner lives on, and has given up its share.
  void Release() const {
    char byte = 0;
    EXPECT_EQ(write(ends_[0], &byte, 1), 1);
    EXPECT_EQ(read(ends_[0], &byte, 1), 1);
  }
  void KillOwner() {
    if (owner_ <= 0) return;
    (void)kill(owner_, SIGKILL);
    (void)waitpid(std::exchange(owner_, 0), nullptr, 0);
  }
  void KillKeeper() {
    if (keeper_ > 0) (void)kill(std::exchange(keeper_, 0), SIGKILL);
  }

 private:
  [[noreturn]] void BeOwner(Layer& layer, const Scope& scope) const {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    Attempt attempt = testing::OutcomeOf(layer, Candidate(scope));
    Claim& claim = *std::get<Held>(attempt).claim;
    HolderRecord record = Established(scope);
    (void)claim.Publish(record);
    const pid_t keeper = HandOn(claim);
    (void)!write(ends_[1], &keeper, sizeof keeper);
    char byte = 0;
    (void)!read(ends_[1], &byte, 1);
    record.state = RecordState::kReleasing;
    (void)claim.Publish(record);
    claim.Release();
    (void)!write(ends_[1], &byte, 1);
    Linger();
  }
  // To a child that has copies of its own. 0: there is nothing to hand on.
  static pid_t HandOn(Claim& claim) {
    const absl::StatusOr<std::vector<UniqueFd>> shared = claim.Share();
    if (!shared.ok() || shared->empty()) return 0;
    const pid_t keeper = testing::ForkAndWait(testing::Until::kForkReturned);
    if (keeper == 0) Linger();
    return keeper;
  }
  [[noreturn]] static void Linger() {
    (void)alarm(60);
    while (true) pause();
  }

  std::array<int, 2> ends_{};
  pid_t owner_ = -1;
  pid_t keeper_ = -1;
};

// A claim that was handed on is held after its owner's SIGKILL, until the last one who has it ends.
TEST_P(Conformance, H11_WhatIsHandedOnOutlivesItsOwner) {
  if (kind().observer) GTEST_SKIP() << "an observer holds nothing";
  HandedOn claim([&] { return Make(); }, scope());
  EXPECT_EQ(claim.kept(), kind().carries) << "the kind says whether a claim can be handed on";
  claim.KillOwner();
  if (claim.kept()) {
    EXPECT_THAT(Say(Try()), StartsWith("contested"));
  }
  claim.KillKeeper();
  EXPECT_TRUE(IsFree());
}

// Whoever has a share of a claim keeps it: its owner gives up no more than its own.
TEST_P(Conformance, H11_AReleaseLeavesTheShareOfAChild) {
  if (!kind().carries) GTEST_SKIP() << "nothing can be handed on";
  HandedOn claim([&] { return Make(); }, scope());
  ASSERT_TRUE(claim.kept());
  claim.Release();
  EXPECT_THAT(Say(Try()), StartsWith("contested"));
  claim.KillKeeper();
  EXPECT_TRUE(IsFree());
}

// What wakes who waits for the end of a claim is handed on with it: it neither wakes them when only
// the owner has ended, nor is missing for those who come then.
TEST_P(Conformance, H11_WhoWaitsForAClaimThatWasHandedOnIsWokenByItsEnd) {
  if (!kind().carries) GTEST_SKIP() << "nothing can be handed on";
  for (const bool killed : {false, true}) {
    SCOPED_TRACE(killed ? "the owner was killed" : "the owner released");
    HandedOn claim([&] { return Make(); }, scope());
    ASSERT_TRUE(claim.kept());
    const Attempt early = Try();
    killed ? claim.KillOwner() : claim.Release();
    const Attempt late = Try();
    for (const Attempt* attempt : {&early, &late}) {
      const auto* contested = std::get_if<Contested>(attempt);
      ASSERT_NE(contested, nullptr) << Say(*attempt);
      EXPECT_FALSE(contested->wake.empty())
          << "nothing will wake who came " << (attempt == &early ? "before" : "after");
      EXPECT_FALSE(WaitForAny(contested->wake, absl::ZeroDuration())) << "it has not ended";
    }
    claim.KillKeeper();
    for (const Attempt* attempt : {&early, &late}) {
      EXPECT_TRUE(WaitForAny(std::get<Contested>(*attempt).wake, absl::Seconds(10)));
    }
  }
  EXPECT_TRUE(IsFree());
}

// The command of a holder that was killed lives on, and the kernel has nothing of the claim any
// more: what the record says refuses until the command ends, and stays as it is.
TEST_P(Conformance, H11_ARecordOfAnInstanceThatLivesRefusesAfterAllElseIsGone) {
  if (kind().observer) GTEST_SKIP() << "an observer has no record";
  if (kind().leased) GTEST_SKIP() << "what time frees is free, whoever lives";
  testing::Child instance([] { return "runs"; });
  HolderRecord record = Established(scope());
  record.instance = *IdentityOf(instance.pid());
  testing::Child owner([&] {
    record.identity = *OwnIdentity();
    static Attempt attempt = Try();
    return std::get<Held>(attempt).claim->Publish(record).ToString();
  });
  ASSERT_EQ(owner.answer(), "OK");
  owner.Kill();
  for (int i = 0; i < 2; ++i) {
    SCOPED_TRACE(i == 0 ? "at first" : "once more");
    EXPECT_EQ(testing::Say(Make()->Look()), absl::StrCat("taken by ", owner.pid(), " established"));
    EXPECT_EQ(testing::Say(Make()->Forecast()),
              absl::StrCat("taken by ", owner.pid(), " established"));
    EXPECT_EQ(Say(Try()), absl::StrCat("contested ", owner.pid(), " established"));
  }
  instance.Kill();
  EXPECT_EQ(testing::Say(Make()->Look()), "free");
  EXPECT_TRUE(IsFree());
}

// The files in the name's directory are the ones that the kind says: gc removes no others, and
// leaves a name alone in which it finds one that no kind knows.
TEST_P(Conformance, HasTheFilesThatItsKindSaysAndNoOther) {
  if (kind().observer) GTEST_SKIP() << "an observer has no files";
  Attempt attempt = Try();
  ASSERT_TRUE(std::holds_alternative<Held>(attempt));
  if (kind().remote) {
    EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
    return;
  }
  ASSERT_NE(kind().files, nullptr);
  std::vector<std::string> there;
  for (const auto& file : std::filesystem::directory_iterator(directory_ / "names/x")) {
    there.push_back(file.path().filename().string());
  }
  EXPECT_THAT(there, ::testing::UnorderedElementsAreArray(kind().files({})));
}

// A holder that is stopped at each of its system calls, and who waits for it.
class WakeUp : public Conformance {
 protected:
  void SetUp() override {
    if (kind().observer) GTEST_SKIP() << "an observer keeps nobody out, and has nobody to wake";
    if (const std::string why = Traced::Unusable(); !why.empty()) GTEST_SKIP() << why;
  }

  // Whoever has tried the layer of a holder that `prepare` left as it is, and is woken somewhere in
  // `body`: what a try finds at that moment. Contested without evidence: nothing woke him.
  Attempt TryWhenWoken(const std::function<void(Claim&)>& prepare,
                       const std::function<void(Claim&)>& body) const {
    std::unique_ptr<Claim> claim;  // the child's
    Traced holder(
        [&] {
          claim = std::move(std::get<Held>(Try()).claim);
          prepare(*claim);
        },
        [&] { body(*claim); });
    Attempt attempt = Try();
    const auto* contested = std::get_if<Contested>(&attempt);
    if (contested == nullptr || contested->wake.empty()) return attempt;
    bool woken = false;
    while (!woken && holder.Next().has_value()) {
      woken = WaitForAny(contested->wake, absl::ZeroDuration());
    }
    // A server is told by then, and tells others when it gets to it.
    const absl::Duration at_most = kind().remote ? absl::Seconds(30) : absl::ZeroDuration();
    if (!woken && !WaitForAny(contested->wake, at_most)) return Contested{};
    return Try();
  }
};

INSTANTIATE_TEST_SUITE_P(Layers, WakeUp, ::testing::ValuesIn(EveryKind()),
                         [](const auto& kind) { return kind.param; });

TEST_P(WakeUp, WhoIsWokenByAReleaseFindsTheLayerFree) {
  // As Guard releases: until it says so, its record refuses by itself.
  const Attempt attempt =
      TryWhenWoken([&](Claim& claim) { (void)claim.Publish(Established(scope())); },
                   [&](Claim& claim) {
                     HolderRecord releasing = Established(scope());
                     releasing.state = RecordState::kReleasing;
                     (void)claim.Publish(releasing);
                     claim.Release();
                   });
  if (const auto* contested = std::get_if<Contested>(&attempt)) {
    FAIL() << "still taken: \"" << contested->holder.evidence << '"';
  }
  EXPECT_TRUE(std::holds_alternative<Held>(attempt)) << std::get<Unavailable>(attempt).status;
}

TEST_P(WakeUp, WhoIsWokenByADecisionReadsIt) {
  const Attempt attempt =
      TryWhenWoken([](Claim&) {}, [&](Claim& claim) { (void)claim.Publish(Established(scope())); });
  const auto* contested = std::get_if<Contested>(&attempt);
  ASSERT_NE(contested, nullptr);
  EXPECT_EQ(contested->holder.standing, Standing::kEstablished) << contested->holder.evidence;
}

// The files and segments that hold records of "x" in this scope; the key is as layers/mutex.cc has
// it.
std::vector<std::string> Records(const Scope& scope) {
  const std::uint64_t key = KeyOf(scope, *InstanceName::Parse("x")) % 0x7ffffffe + 1;
  std::vector<std::string> records;
  for (const auto& file : std::filesystem::directory_iterator(scope.directory() + "/names/x")) {
    if (file.path().filename().string().starts_with("record")) records.push_back(file.path());
  }
  const std::string segment = absl::StrFormat("/dev/shm/soleguard-%08x", key);
  if (std::filesystem::exists(segment)) records.push_back(segment);
  return records;
}

TEST_P(Conformance, H26_ADamagedRecordNeitherOpensNorWedgesTheName) {
  if (kind().remote) GTEST_SKIP() << "its records are a server's";
  for (const std::string& content :
       {std::string(), std::string(4096, '\0'), std::string(4096, '\xff'),
        std::string("soleguard-record 9 1 1 1\n{}")}) {
    Claimant owner = Start();
    ASSERT_TRUE(owner.unique()) << owner.verdict();
    const std::vector<std::string> records = Records(scope());
    ASSERT_FALSE(records.empty());
    for (const std::string& record : records) {
      std::ofstream(record, std::ios::binary | std::ios::trunc) << content;
    }
    {
      const Verdict verdict = Acquire(absl::Milliseconds(50));
      EXPECT_FALSE(std::holds_alternative<Unique>(verdict));
      if (const auto* duplicate = std::get_if<Duplicate>(&verdict)) {
        EXPECT_THAT(duplicate->holder.processes, ::testing::Contains(*IdentityOf(owner.pid())));
      }
    }
    Kill(owner);
    EXPECT_TRUE(IsFree());
  }
}

}  // namespace
}  // namespace soleguard
