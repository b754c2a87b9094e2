// What is asked of a layer that a server decides and time frees, besides what every layer has to
// do: a server that is late, silent or gone, a holder that is stopped for longer than its lease,
// and processes of other machines. With a real server and real processes, which are stopped and
// killed.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <future>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/time/time.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kit/lease.h"
#include "layers/leased/exchange.h"
#include "layers/leased/lease_server.h"
#include "layers/leased/target.h"
#include "os/timer.h"
#include "soleguard/analysis.h"
#include "soleguard/boot_time.h"
#include "soleguard/collect.h"
#include "soleguard/conflict.h"
#include "soleguard/guard.h"
#include "soleguard/inspect.h"
#include "soleguard/patience.h"
#include "soleguard/process.h"
#include "soleguard/registry.h"
#include "soleguard/stop.h"
#include "support/attempt.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/eventually.h"
#include "support/program.h"
#include "support/test_scope.h"

namespace soleguard {
namespace {

using ::testing::AllOf;
using testing::BecomesTrue;
using testing::Claimant;
using ::testing::HasSubstr;
using testing::LeaseServer;
using ::testing::Not;
using ::testing::StartsWith;
using testing::TestScope;

// Long enough for a busy machine to renew it in time.
constexpr absl::Duration kTime = absl::Seconds(2);
constexpr absl::Duration kLong = absl::Seconds(30);

void WaitUntil(BootTime at) {
  const absl::StatusOr<UniqueFd> timer = os::OpenTimer(at);
  ASSERT_TRUE(timer.ok() && WaitForAny({&*timer, 1}, kLong));
}

// What a watch reports.
class Incidents {
 public:
  std::function<void(const Incident&)> Adder() {
    return [this](const Incident& incident) {
      const std::lock_guard lock(mutex_);
      incidents_.push_back(incident);
      added_.notify_one();
    };
  }
  // Blocks until there is one.
  Incident Next() {
    std::unique_lock lock(mutex_);
    added_.wait(lock, [this] { return !incidents_.empty(); });
    Incident next = std::move(incidents_.front());
    incidents_.pop_front();
    return next;
  }

 private:
  std::mutex mutex_;
  std::condition_variable added_;
  std::deque<Incident> incidents_;
};

// A scope and a name in it under the policy `lease`, whose server is the test's own.
class LeasedTest : public ::testing::Test {
 protected:
  explicit LeasedTest(const std::string& policy = "lease") : scope_(policy) {}

  Options With(absl::Duration wait = absl::ZeroDuration()) const {
    return {.scope = scope_.scope(), .wait = wait};
  }
  Verdict Acquire(const Options& options) const {
    return Guard::Acquire(TestScope::kName, *Policy::Parse(scope_.policy()), options);
  }
  // Of this process.
  Guard Held() const {
    Verdict verdict = Acquire(With());
    EXPECT_TRUE(testing::IsUnique(verdict)) << testing::Say(verdict);
    return std::move(std::get<Unique>(verdict).guard);
  }
  // Another process that waits as a standby.
  Claimant Standby() const {
    Claimant::Setup setup = scope_.Another();
    setup.wait = kLong;
    return Claimant(setup);
  }
  bool IsFree() const {
    const Verdict verdict = Acquire(With());
    return testing::IsUnique(verdict);
  }
  std::unique_ptr<Layer> Make() const {
    return FindLayerKind("lease")->make({.scope = scope_.scope(), .name = name(), .kinds = {}});
  }
  InstanceName name() const { return *InstanceName::Parse(TestScope::kName); }
  HolderRecord Candidate() const {
    HolderRecord record;
    record.name = TestScope::kName;
    record.scope = scope_.scope().ToString();
    record.identity = *OwnIdentity();
    return record;
  }
  // As somebody on another machine, whose soleguard this is not.
  LeaseAnswer Ask(const std::string& request) const {
    Exchange exchange;
    absl::Status sent = exchange.Begin({.address = server_.address(), .called = "it"}, request);
    EXPECT_TRUE(sent.ok()) << sent;
    absl::StatusOr<LeaseAnswer> answer = exchange.Await(kLong);
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? *answer : LeaseAnswer{};
  }
  std::string key() const { return LeaseKeyOf(scope_.scope(), name()); }
  // A holder on another machine, which has the number of a process here.
  HolderRecord OfAnotherMachine(pid_t pid) const {
    HolderRecord record = Candidate();
    record.state = RecordState::kEstablished;
    record.identity = *IdentityOf(pid);
    record.identity.machine = "0f0e0d0c-0b0a-0908-0706-050403020100";
    record.identity.boot_id = "another run of another kernel";
    record.hostname = "elsewhere";
    return record;
  }
  void TakeAs(const HolderRecord& record, absl::Duration time = kLong) const {
    EXPECT_EQ(Ask(AcquireRequest(key(), "elsewhere's", time, EncodeRecord(record, 1))).word,
              "granted");
  }

  LeaseServer server_{kTime};
  const TestScope scope_;
};

// --- a server that is late, silent or gone ---

TEST_F(LeasedTest, ALateServerIsWaitedFor) {
  server_.Stop();
  std::atomic<bool> decided = false;
  std::optional<Verdict> verdict;
  std::thread start([&] {
    verdict.emplace(Acquire(With()));
    decided = true;
  });
  EXPECT_FALSE(BecomesTrue(decided));
  server_.Continue();
  start.join();
  EXPECT_TRUE(testing::IsUnique(*verdict)) << testing::Say(*verdict);
}

TEST_F(LeasedTest, OfASilentServerNothingIsHeldOnceTheStartIsOver) {
  server_.Stop();
  const BootTime begin = BootTime::Now();
  {
    const Verdict verdict = Acquire(With());
    EXPECT_THAT(testing::Say(verdict),
                AllOf(StartsWith("undetermined"), HasSubstr("lease: no answer")));
    const auto* undetermined = std::get_if<Undetermined>(&verdict);
    ASSERT_NE(undetermined, nullptr);
    EXPECT_EQ(undetermined->layers.front().outcome, LayerReport::Outcome::kUnavailable);
  }
  const absl::Duration answer = ArbiterTimes{}.answer;
  EXPECT_GE(BootTime::Now() - begin, answer);
  EXPECT_LT(BootTime::Now() - begin, answer + absl::Seconds(3));
  // What was asked for is granted now, and given back before anybody else is heard.
  server_.Continue();
  EXPECT_EQ(testing::Say(Make()->Look()), "free");
}

TEST_F(LeasedTest, WithoutAServerItIsUnavailableAtOnce) {
  server_.Kill();
  const std::string said = testing::Say(Acquire(With()));
  EXPECT_THAT(said, AllOf(StartsWith("undetermined"), HasSubstr("Connection refused"),
                          HasSubstr("the lease server of SOLEGUARD_LEASE_SERVER")));
}

TEST_F(LeasedTest, ACancelledStartLeavesNothing) {
  server_.Stop();
  std::stop_source source;
  Options options = With();
  options.stop = source.get_token();
  std::atomic<bool> decided = false;
  std::optional<Verdict> verdict;
  std::thread start([&] {
    verdict.emplace(Acquire(options));
    decided = true;
  });
  EXPECT_FALSE(BecomesTrue(decided));
  source.request_stop();
  start.join();
  ASSERT_TRUE(std::holds_alternative<Undetermined>(*verdict));
  EXPECT_TRUE(absl::IsCancelled(std::get<Undetermined>(*verdict).status));
  server_.Continue();
  EXPECT_EQ(testing::Say(Make()->Look()), "free");
}

TEST_F(LeasedTest, WhatIsGrantedBeforeATryIsCancelledIsGivenBack) {
  const std::unique_ptr<Layer> layer = Make();
  server_.Stop();
  Attempt attempt = layer->Try(Candidate());
  const auto* pending = std::get_if<Pending>(&attempt);
  ASSERT_NE(pending, nullptr);
  server_.Continue();
  ASSERT_TRUE(WaitForAny(pending->wake, kLong));
  EXPECT_THAT(testing::Say(Make()->Look()), HasSubstr("candidate")) << "it is granted";
  layer->Cancel();
  EXPECT_EQ(testing::Say(Make()->Look()), "free");
}

TEST_F(LeasedTest, ALookAtASilentServerEndsWithThePatience) {
  server_.Stop();
  const BootTime begin = BootTime::Now();
  {
    const Patience patience(absl::Milliseconds(100));
    EXPECT_THAT(testing::Say(Make()->Look()), StartsWith("unavailable"));
  }
  EXPECT_LT(BootTime::Now() - begin, Patience::kMost);
}

// --- a lease that runs out ---

TEST_F(LeasedTest, ItIsKeptForAsLongAsItsHolderLives) {
  const Guard guard = Held();
  const BootTime first = *guard.valid_until();
  WaitUntil(BootTime::Now() + 3 * kTime);
  EXPECT_TRUE(guard.Verify().ok()) << guard.Verify();
  EXPECT_GT(*guard.valid_until(), first + 2 * kTime);
  EXPECT_EQ(Claimant(scope_.Another()).verdict(),
            absl::StrCat("duplicate ", getpid(), " established"));
}

TEST_F(LeasedTest, ItsHolderKnowsOfItsEndBeforeTheServerGivesItToAnother) {
  const Guard guard = Held();
  EXPECT_TRUE(guard.Verify().ok());
  EXPECT_GT(guard.valid_until()->Left(), absl::ZeroDuration());
  server_.Stop();
  WaitUntil(*guard.valid_until());
  EXPECT_TRUE(absl::IsDataLoss(guard.Verify())) << guard.Verify();
  EXPECT_LE(*guard.valid_until(), BootTime::Now());
  server_.Continue();
  Claimant other = Standby();
  EXPECT_TRUE(other.unique()) << other.verdict();
  EXPECT_TRUE(absl::IsDataLoss(guard.Verify())) << guard.Verify();
}

TEST_F(LeasedTest, TheWatchTellsOfItsEndByEventAndClaimsItAgain) {
  Incidents incidents;
  Guard guard = Held();
  const std::uint64_t token = *guard.token();
  ASSERT_TRUE(guard.Watch(incidents.Adder(), absl::Hours(1)).ok());
  server_.Stop();
  const BootTime until = *guard.valid_until();
  const Incident lost = incidents.Next();
  // Not once the server had its time to answer: others may have it by then.
  EXPECT_LT(BootTime::Now() - until, ArbiterTimes{}.answer / 2);
  EXPECT_EQ(lost.outcome, Incident::Outcome::kCompromised);
  EXPECT_FALSE(lost.exclusion_stood);
  EXPECT_THAT(lost.lost.ToString(), HasSubstr("lease ran out"));
  EXPECT_TRUE(absl::IsDataLoss(guard.Verify()));
  EXPECT_LE(*guard.valid_until(), BootTime::Now());
  server_.Continue();
  const Incident repaired = incidents.Next();
  EXPECT_EQ(repaired.outcome, Incident::Outcome::kRepaired);
  EXPECT_FALSE(repaired.exclusion_stood);
  EXPECT_TRUE(guard.Verify().ok()) << guard.Verify();
  EXPECT_GT(guard.valid_until()->Left(), absl::ZeroDuration());
  EXPECT_EQ(guard.token(), token);
}

// Long before it would run out.
TEST_F(LeasedTest, ALossThatTheServerTellsOfShowsAtOnce) {
  Incidents incidents;
  Guard guard = Held();
  ASSERT_TRUE(guard.Watch(incidents.Adder(), absl::Hours(1)).ok());
  server_.Restart();  // and has forgotten all leases
  EXPECT_THAT(incidents.Next().lost.ToString(), HasSubstr("has ended its lease"));
  EXPECT_EQ(incidents.Next().outcome, Incident::Outcome::kRepaired);
}

TEST_F(LeasedTest, AHolderThatWasStoppedForLongerKnowsWhenItIsContinued) {
  Claimant holder(scope_.Another());
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  ASSERT_EQ(holder.Ask("watch 1h"), "watched");
  holder.program().Signal(SIGSTOP);
  holder.program().WaitUntilStopped();
  Claimant next = Standby();
  EXPECT_TRUE(next.unique()) << next.verdict();
  holder.program().Signal(SIGCONT);
  EXPECT_THAT(holder.Ask("verify"), StartsWith("DATA_LOSS"));
  EXPECT_THAT(holder.Ask("incident"), StartsWith("lease compromised open 0 "));
  EXPECT_THAT(holder.Ask("incident"),
              StartsWith(absl::StrCat("lease compromised open ", next.pid())));
  EXPECT_GT(next.token(), holder.token());
}

// --- waiting for its end ---

TEST_F(LeasedTest, AStandbyHasItWithTheRelease) {
  Guard guard = Held();
  Claimant standby = Standby();
  standby.WaitUntilInLine();
  guard.Release();
  EXPECT_TRUE(standby.unique()) << standby.verdict();
}

TEST_F(LeasedTest, AStandbyHasItWhenTheLeaseOfAKilledHolderEnds) {
  Claimant holder(scope_.Another());
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  Claimant standby = Standby();
  standby.WaitUntilInLine();
  holder.program().Signal(SIGKILL);
  (void)holder.program().Wait();
  EXPECT_TRUE(standby.unique()) << standby.verdict();
}

TEST_F(LeasedTest, AHolderIsShownAsEstablishedAndOneThatIsGoneAsLapsing) {
  const auto shown = [this] {
    absl::StatusOr<Inspection> inspection =
        Inspect(TestScope::kName, *Policy::Parse(scope_.policy()), With());
    EXPECT_NE(inspection->holder(), nullptr);
    return inspection->holder() != nullptr ? *inspection->holder() : Holder{};
  };
  Claimant holder(scope_.Another());
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  EXPECT_EQ(shown().standing, Standing::kEstablished);
  EXPECT_EQ(shown().record->identity, *IdentityOf(holder.pid()));
  holder.program().Signal(SIGKILL);
  (void)holder.program().Wait();
  const Holder gone = shown();
  EXPECT_EQ(gone.standing, Standing::kLapsing);
  ASSERT_TRUE(gone.free_at.has_value());
  EXPECT_LE(gone.free_at->Left(), kTime);
  EXPECT_THAT(FreeAtTheLatest(gone), HasSubstr(" s at the latest"));
}

// --- a release ---

TEST_F(LeasedTest, AReleaseIsConfirmed) {
  Guard guard = Held();
  const absl::Status released = guard.ReleaseAndConfirm();
  EXPECT_TRUE(released.ok()) << released;
  EXPECT_EQ(testing::Say(Make()->Look()), "free");
}

TEST_F(LeasedTest, AReleaseThatASilentServerDoesNotConfirmSaysWhenItIsFree) {
  Guard guard = Held();
  server_.Stop();
  const BootTime begin = BootTime::Now();
  absl::Status released;
  {
    const Patience patience(absl::Milliseconds(100));
    released = guard.ReleaseAndConfirm();
  }
  EXPECT_LT(BootTime::Now() - begin, Patience::kMost);
  EXPECT_TRUE(absl::IsDeadlineExceeded(released)) << released;
  EXPECT_THAT(released.ToString(),
              AllOf(HasSubstr("lease: "), HasSubstr("the lease server of SOLEGUARD_LEASE_SERVER"),
                    HasSubstr("free when the lease ends, in 2 s at the latest")));
  server_.Continue();
  EXPECT_EQ(testing::Say(Make()->Look()), "free") << "it was told all the same";
}

TEST_F(LeasedTest, WhileAReleaseWaitsForTheServerNoOtherCallDoes) {
  Guard guard = Held();
  server_.Stop();
  std::atomic<bool> released = false;
  std::thread release([&] {
    (void)guard.ReleaseAndConfirm();
    released = true;
  });
  while (!absl::IsFailedPrecondition(guard.Verify())) std::this_thread::yield();
  EXPECT_FALSE(released);
  EXPECT_EQ(*guard.valid_until(), BootTime());
  EXPECT_TRUE(guard.Repair().empty());
  EXPECT_FALSE(released);
  release.join();
}

TEST_F(LeasedTest, OnlyWhoMakesTheReleaseLearnsWhatBecameOfIt) {
  Guard guard = Held();
  EXPECT_THAT(testing::InChild([&] { return guard.ReleaseAndConfirm().ToString(); }),
              AllOf(StartsWith("FAILED_PRECONDITION"), HasSubstr("not the owner")));
  EXPECT_TRUE(guard.Verify().ok());
  std::promise<absl::Status> second;
  ASSERT_TRUE(guard
                  .Watch(
                      [&](const Incident&) {
                        const Patience patience(absl::ZeroDuration());
                        guard.Release();
                        second.set_value(guard.ReleaseAndConfirm());
                      },
                      absl::Hours(1))
                  .ok());
  server_.Stop();  // until its lease ends, which is reported
  const absl::Status said = second.get_future().get();
  EXPECT_TRUE(absl::IsFailedPrecondition(said)) << said;
}

// --- the token ---

TEST_F(LeasedTest, ItsTokenIsTheServersAndGrows) {
  std::uint64_t last = 0;
  for (int i = 0; i < 3; ++i) {
    const Guard guard = Held();
    EXPECT_GT(*guard.token(), last);
    EXPECT_LT(*guard.token(), 100U) << "not this machine's, which counts microseconds";
    EXPECT_TRUE(guard.token_is_durable());
    EXPECT_EQ(guard.record().token, *guard.token());
    last = *guard.token();
  }
}

// --- fork, exec, and the program's own descriptors ---

int CountDescriptors() {
  return static_cast<int>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

TEST_F(LeasedTest, OfAClaimAndATryAForkedChildHasNoDescriptor) {
  const auto in_child = [] {
    return testing::InChild([] { return absl::StrCat(CountDescriptors()); });
  };
  const std::string before = in_child();
  const Guard guard = Held();
  server_.Stop();
  const std::unique_ptr<Layer> layer = FindLayerKind("lease")->make(
      {.scope = scope_.scope(), .name = *InstanceName::Parse("y"), .kinds = {}});
  {
    const Attempt pending = layer->Try(Candidate());
    ASSERT_TRUE(std::holds_alternative<Pending>(pending));
  }
  EXPECT_EQ(in_child(), before);
  EXPECT_EQ(testing::InChild([&]() -> std::string {
              const Attempt attempt = layer->Try(Candidate());
              layer->Cancel();
              return std::holds_alternative<Unavailable>(attempt) ? "unavailable" : "its parent's";
            }),
            "unavailable");
}

TEST_F(LeasedTest, NoDescriptorOfItIsAStandardOne) {
  EXPECT_EQ(testing::InChild([&]() -> std::string {
              for (int fd = 0; fd < 3; ++fd) (void)close(fd);
              Guard guard = Held();
              std::string taken;
              // While it is renewed, too.
              const BootTime end = BootTime::Now() + kTime;
              do {
                for (int fd = 0; fd < 3; ++fd) {
                  if (fcntl(fd, F_GETFD) >= 0) taken = absl::StrCat(fd, " is taken");
                }
                std::this_thread::yield();
              } while (end.Left() > absl::ZeroDuration() && taken.empty());
              return taken;
            }),
            "");
}

class LeasedBesideAFile : public LeasedTest {
 protected:
  LeasedBesideAFile() : LeasedTest("all(file, mutex, lease)") {}
};

TEST_F(LeasedBesideAFile, OfTwoProcessesOneIsUnique) {
  Claimant::Setup setup = scope_.Another();
  setup.at_barrier = true;
  Claimant one(setup);
  Claimant other(setup);
  one.Go();
  other.Go();
  EXPECT_NE(one.unique(), other.unique()) << one.verdict() << ", " << other.verdict();
  EXPECT_TRUE(one.duplicate() || other.duplicate()) << one.verdict() << ", " << other.verdict();
}

// One that was made to survive exec(3) before another layer refuses would keep the name taken, with
// whatever is executed next (posix_spawn(3) runs no atfork handler).
TEST_F(LeasedBesideAFile, WhatCannotBeKeptOverExecKeepsNoDescriptor) {
  const auto surviving = [] {
    int count = 0;
    for (int fd = 0; fd < 100; ++fd) {
      const int flags = fcntl(fd, F_GETFD);
      if (flags >= 0 && (flags & FD_CLOEXEC) == 0) ++count;
    }
    return count;
  };
  Guard guard = Held();
  const int before = surviving();
  const absl::Status kept = guard.KeepOverExec();
  EXPECT_TRUE(absl::IsFailedPrecondition(kept)) << kept;
  EXPECT_THAT(kept.ToString(), HasSubstr("exec(3)"));
  EXPECT_EQ(surviving(), before);
  EXPECT_TRUE(guard.Verify().ok());
}

TEST_F(LeasedBesideAFile, ALostLeaseIsDegradedAsLongAsTheOthersStand) {
  Incidents incidents;
  Guard guard = Held();
  ASSERT_TRUE(guard.Watch(incidents.Adder(), absl::Hours(1)).ok());
  server_.Stop();
  const Incident lost = incidents.Next();
  EXPECT_EQ(lost.outcome, Incident::Outcome::kDegraded);
  EXPECT_TRUE(lost.exclusion_stood);
  server_.Continue();
  EXPECT_EQ(incidents.Next().outcome, Incident::Outcome::kRepaired);
}

TEST_F(LeasedBesideAFile, ASilentServerLeavesNothingOfTheOthers) {
  server_.Stop();
  Options options = With();
  options.deadline = absl::Milliseconds(200);
  EXPECT_THAT(testing::Say(Acquire(options)), StartsWith("undetermined"));
  server_.Continue();
  Claimant next(scope_.Another());
  EXPECT_TRUE(next.unique()) << next.verdict();
}

// --- profiles ---

class LeasedWithProfile : public LeasedTest {
 protected:
  LeasedWithProfile() : LeasedTest("all(file, lease(prod))") {}

  static constexpr char kPassword[] = "hunter2";

  Options WithProd(const std::string& address) const {
    Options options = With();
    options.profiles["prod"] =
        Profile({{"server", address}, {"time", "2000"}, {"password", kPassword}});
    return options;
  }
};

TEST_F(LeasedWithProfile, ItsServerIsTheProfiles) {
  const testing::EnvironmentVariable nowhere("SOLEGUARD_LEASE_SERVER", "/nowhere");
  const Verdict verdict = Acquire(WithProd(server_.address()));
  ASSERT_TRUE(testing::IsUnique(verdict)) << testing::Say(verdict);
  EXPECT_EQ(Ask(LookRequest(key())).word, "taken");
}

TEST_F(LeasedWithProfile, WhatIsMissingIsNamed) {
  EXPECT_THAT(testing::Say(Acquire(With())), HasSubstr("lease(prod): there is no profile prod"));
  Options options = With();
  options.profiles["prod"] = Profile(Profile::Settings{{"password", kPassword}});
  EXPECT_THAT(testing::Say(Acquire(options)),
              HasSubstr("the lease server of profile prod is not set"));
  options.profiles["prod"] = Profile({{"server", server_.address()}, {"time", kPassword}});
  EXPECT_THAT(testing::Say(Acquire(options)),
              AllOf(HasSubstr("no number"), Not(HasSubstr(kPassword))));
  EXPECT_FALSE(Policy::Parse("lease(time=2)").ok());
  EXPECT_FALSE(Policy::Parse("lease(\"a b\")").ok());
}

// Where a program prints what it learns, or others read it.
TEST_F(LeasedWithProfile, NothingOfItIsShown) {
  const auto is_secret = [this](const std::string& text) {
    EXPECT_THAT(text, Not(HasSubstr(kPassword)));
    EXPECT_THAT(text, Not(HasSubstr(server_.address().substr(1))));
  };
  const Options options = WithProd(server_.address());
  {
    Verdict verdict = Acquire(options);
    ASSERT_TRUE(testing::IsUnique(verdict)) << testing::Say(verdict);
    Guard& guard = std::get<Unique>(verdict).guard;
    is_secret(InfoText(guard.record()));
    is_secret(EncodeRecord(guard.record(), 1));
    is_secret(Ask(LookRequest(key())).record.value_or(""));
    const Verdict second = Acquire(options);
    EXPECT_TRUE(testing::IsDuplicate(second));
    const Inspection inspection = Inspect(name(), *Policy::Parse(scope_.policy()), options);
    ASSERT_EQ(inspection.layers.size(), 2U);
    for (const auto& layer : inspection.layers) {
      ASSERT_TRUE(std::holds_alternative<Taken>(layer.sighting)) << testing::Say(layer.sighting);
      is_secret(std::get<Taken>(layer.sighting).holder.evidence);
    }
    server_.Stop();
    const Patience patience(absl::Milliseconds(100));
    is_secret(guard.ReleaseAndConfirm().ToString());
  }
  server_.Kill();
  is_secret(testing::Say(Acquire(options)));
  is_secret(testing::Say(
      Inspect(name(), *Policy::Parse(scope_.policy()), options).layers.back().sighting));
}

TEST_F(LeasedWithProfile, AConflictReportAsksItsServer) {
  Verdict verdict = Acquire(WithProd(server_.address()));
  ASSERT_TRUE(testing::IsUnique(verdict)) << testing::Say(verdict);
  const ConflictReport report = std::get<Unique>(verdict).guard.ReportConflict("key in use");
  ASSERT_EQ(report.layers.size(), 2U);
  EXPECT_EQ(report.layers.back().own, absl::OkStatus());
  EXPECT_EQ(testing::Say(report.layers.back().sighting),
            absl::StrCat("taken by ", getpid(), " established"));
}

// Not one after the other.
TEST_F(LeasedWithProfile, TwoSilentServersAreWaitedForAsLongAsOne) {
  Options options = WithProd(server_.address());
  LeaseServer other(kTime);
  options.profiles["other"] = Profile({{"server", other.address()}, {"time", "30000"}});
  options.profiles["prod"] = Profile({{"server", server_.address()}, {"time", "30000"}});
  Verdict verdict = Guard::Acquire("x", *Policy::Parse("all(lease(prod), lease(other))"), options);
  ASSERT_TRUE(testing::IsUnique(verdict)) << testing::Say(verdict);
  server_.Stop();
  other.Stop();
  const BootTime begin = BootTime::Now();
  EXPECT_TRUE(absl::IsDeadlineExceeded(std::get<Unique>(verdict).guard.ReleaseAndConfirm()));
  EXPECT_LT(BootTime::Now() - begin, Patience::kMost * 3 / 2);
}

// --- processes of other machines ---

TEST_F(LeasedTest, AHolderOnAnotherMachineIsEstablishedAndNeverGone) {
  testing::Program bystander({.argv = {"sleep", "60"}});
  TakeAs(OfAnotherMachine(bystander.pid()));
  Verdict verdict = Acquire(With());
  ASSERT_TRUE(testing::IsDuplicate(verdict)) << testing::Say(verdict);
  const Holder& holder = std::get<Duplicate>(verdict).holder;
  EXPECT_EQ(holder.standing, Standing::kEstablished);
  EXPECT_EQ(LivenessOf(holder.record->identity), Liveness::kUnknown);
  EXPECT_EQ(holder.record->hostname, "elsewhere");
  EXPECT_TRUE(holder.free_at.has_value());
}

TEST_F(LeasedTest, NobodyHereIsSignalledInPlaceOfAHolderOnAnotherMachine) {
  testing::Program bystander({.argv = {"sleep", "60"}});
  const ProcessIdentity here = *IdentityOf(bystander.pid());
  TakeAs(OfAnotherMachine(bystander.pid()));
  const Policy policy = *Policy::Parse(scope_.policy());
  const absl::StatusOr<StopReport> report = StopRunning(
      TestScope::kName, policy, With(), {.timeout = absl::ZeroDuration(), .force = true});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->outcome, StopReport::Outcome::kUndetermined) << ToString(report->outcome);
  EXPECT_THAT(report->status.ToString(),
              AllOf(HasSubstr("on another machine (host elsewhere)"), HasSubstr("cannot be seen")));
  Options replace = With();
  replace.replace = absl::ZeroDuration();
  Verdict verdict = Acquire(replace);
  ASSERT_TRUE(testing::IsDuplicate(verdict)) << testing::Say(verdict);
  EXPECT_THAT(std::get<Duplicate>(verdict).not_replaced.ToString(), HasSubstr("another machine"));
  EXPECT_EQ(LivenessOf(here), Liveness::kAlive);
}

TEST_F(LeasedTest, ItsNumberIsNotOfferedToBeKilledHere) {
  const Guard guard = Held();
  testing::Program bystander({.argv = {"sleep", "60"}});
  server_.Restart();
  TakeAs(OfAnotherMachine(bystander.pid()));
  const ConflictReport report = guard.ReportConflict("key in use");
  EXPECT_THAT(report.next, ::testing::Contains(HasSubstr("of another machine")));
  EXPECT_THAT(report.next, Not(::testing::Contains(HasSubstr("(kill "))));
}

TEST_F(LeasedTest, H26_ADamagedRecordNeitherOpensNorWedgesTheName) {
  for (const std::string& content :
       {std::string(), std::string(4096, '\0'), std::string("soleguard-record 9 1 1 1\n{}")}) {
    ASSERT_EQ(Ask(AcquireRequest(key(), "elsewhere's", kTime, content)).word, "granted");
    Options options = With();
    options.settle = absl::Milliseconds(50);
    EXPECT_TRUE(testing::IsDuplicate(Acquire(options)));
    Verdict next = Acquire(With(kLong));
    EXPECT_TRUE(testing::IsUnique(next)) << testing::Say(next);
  }
}

// --- gc ---

TEST_F(LeasedBesideAFile, AServersLayerThatIsHeldKeepsTheNameFromGc) {
  Held().Release();
  TakeAs(OfAnotherMachine(getpid()), kLong);
  const absl::Status collected = Collect(name(), scope_.scope());
  EXPECT_TRUE(absl::IsFailedPrecondition(collected)) << collected;
  EXPECT_THAT(collected.ToString(), HasSubstr("in use by"));
  EXPECT_TRUE(std::filesystem::exists(scope_.Object("record")));
}

TEST_F(LeasedBesideAFile, AServerThatCannotBeAskedKeepsTheNameFromGc) {
  Held().Release();
  server_.Kill();
  EXPECT_THAT(Collect(name(), scope_.scope()).ToString(), HasSubstr("cannot be reached"));
  EXPECT_TRUE(std::filesystem::exists(scope_.Object("record")));
}

TEST_F(LeasedWithProfile, AProfileThatIsNotKnownKeepsTheNameFromGc) {
  {
    const Verdict verdict = Acquire(WithProd(server_.address()));
    ASSERT_TRUE(testing::IsUnique(verdict)) << testing::Say(verdict);
  }
  EXPECT_THAT(Collect(name(), scope_.scope()).ToString(), HasSubstr("no profile prod"));
  EXPECT_TRUE(std::filesystem::exists(scope_.Object("record")));
}

TEST_F(LeasedBesideAFile, AServersLayerThatIsFreeDoesNot) {
  Held().Release();
  const absl::Status collected = Collect(name(), scope_.scope());
  EXPECT_TRUE(collected.ok()) << collected;
  EXPECT_FALSE(std::filesystem::exists(scope_.Object()));
}

// --- what explain says ---

Consequence ConsequenceOf(const std::string& policy, Event event) {
  const Analysis analysis = Analyse(*Policy::Parse(policy));
  for (const EventAnalysis& analysed : analysis.events) {
    if (analysed.event.event == event) return analysed.consequence;
  }
  ADD_FAILURE() << policy << " is not touched by that";
  return Consequence::kStarts;
}

TEST(LeasedAnalysis, WithoutTheServerAllOfAPolicyIsRefusedAndAnyStarts) {
  EXPECT_EQ(ConsequenceOf("all(file, lease)", Event::kServerUnreachable), Consequence::kRefused);
  EXPECT_EQ(ConsequenceOf("any(file, lease)", Event::kServerUnreachable), Consequence::kStarts);
  EXPECT_EQ(ConsequenceOf("lease", Event::kServerUnreachable), Consequence::kRefused);
}

TEST(LeasedAnalysis, ALeaseThatLapsedAloneLetsASecondOneIn) {
  EXPECT_EQ(ConsequenceOf("lease", Event::kLeaseLapsed), Consequence::kDoubled);
  EXPECT_EQ(ConsequenceOf("all(file, lease)", Event::kLeaseLapsed), Consequence::kStarts);
  EXPECT_EQ(ConsequenceOf("any(file, lease)", Event::kLeaseLapsed), Consequence::kStarts);
}

TEST(LeasedAnalysis, OnAnotherHostTheServerRefuses) {
  EXPECT_EQ(ConsequenceOf("file", Event::kAnotherHost), Consequence::kDoubled);
  EXPECT_EQ(ConsequenceOf("all(file, lease)", Event::kAnotherHost), Consequence::kStarts);
  EXPECT_EQ(ConsequenceOf("any(file, lease)", Event::kAnotherHost), Consequence::kStarts);
}

TEST(LeasedAnalysis, AnyIsUnsafeAndTheLeaseIsCautionedOf) {
  EXPECT_EQ(Analyse(*Policy::Parse("all(file, lease)")).safety, Analysis::Safety::kSafe);
  const Analysis any = Analyse(*Policy::Parse("any(file, lease)"));
  EXPECT_EQ(any.safety, Analysis::Safety::kUnsafe);
  EXPECT_THAT(any.cautions, ::testing::Contains(StartsWith("lease: ")));
}

}  // namespace
}  // namespace soleguard
