// Continuous assurance: what a holder learns when an object of its claim is taken away, what is put
// right, and when it is told that another instance may run. With real processes.
#include "soleguard/incident.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <ostream>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>
#include <absl/time/time.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/process.h"
#include "soleguard/registry.h"
#include "soleguard/send.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/eventually.h"
#include "support/kinds.h"
#include "support/sockets.h"
#include "support/system_v.h"
#include "support/test_scope.h"

namespace soleguard {
namespace {

namespace fs = std::filesystem;
using ::testing::AnyOf;
using testing::Claimant;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using testing::TestScope;

constexpr char kAll[] = "all(file, mutex, port)";

std::string Content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// A scope of a test's own, in which the name's objects are taken away.
class Field : public TestScope {
 public:
  explicit Field(const std::string& policy = kAll) : TestScope(policy) {}
  ~Field() {
    // Whatever became of the name's directory, by which the TempDir finds them.
    (void)testing::RemoveSemaphore(path(), kName);
    (void)testing::RemoveSegment(path(), kName);
  }

  void Replace(const std::string& file) const {
    std::ofstream(directory() / "new") << "another file";
    fs::rename(directory() / "new", Object(file));
  }
  void Truncate(const std::string& file) const { fs::resize_file(Object(file), 0); }
  // Out of the scope, so that nobody takes it for the directory of a name.
  void MoveNameAway() const { fs::rename(Object(), directory() / "moved"); }

  Claimant Holder(absl::Duration settle = absl::Seconds(1)) const {
    return Claimant(Another(settle));
  }
};

// ---- one object after another, while the others stand

struct Loss {
  std::string name;
  std::function<bool(const Field&, Claimant& holder)> strike;  // false: cannot be done here
  std::string layer;
  std::string lost;  // in what is said of it
};
void PrintTo(const Loss& loss, std::ostream* out) { *out << loss.name; }

// In every run, however busy the machine is: an event leads to the report, and not the next look of
// the watch, which is a minute away. The target is 100 ms; what is printed is measured against it
// on a machine of which the load is known: docs/decisions/0008-watching.md.
constexpr absl::Duration kWatchPeriod = absl::Minutes(1);
constexpr absl::Duration kNoticedWithin = absl::Seconds(20);

class LossTest : public ::testing::TestWithParam<Loss> {};

TEST_P(LossTest, H03_H04_IsReportedAndRepairedWhileTheOtherClaimsKeepEverybodyOut) {
  const Loss& loss = GetParam();
  const Field field;
  Claimant holder = field.Holder();
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  ASSERT_EQ(holder.Ask("watch " + absl::FormatDuration(kWatchPeriod)), "watched");

  holder.program().WriteLine("incident");
  const auto begin = std::chrono::steady_clock::now();
  if (!loss.strike(field, holder)) GTEST_SKIP() << "needs another process's descriptors";
  const std::string said = holder.program().ReadLine().value_or("the holder ended");
  const absl::Duration noticed = absl::FromChrono(std::chrono::steady_clock::now() - begin);
  std::cout << loss.name << ": reported after " << absl::ToInt64Microseconds(noticed) << " us\n";
  EXPECT_LT(noticed, kNoticedWithin);
  EXPECT_THAT(said, StartsWith(absl::StrCat(loss.layer, " repaired stood 0 ")));
  EXPECT_THAT(said, HasSubstr(loss.lost));

  // Each layer is there again, also for whoever asks it alone.
  EXPECT_EQ(holder.Ask("verify"), "ok");
  for (const std::string& policy : testing::EachAnd({kAll})) {
    Claimant::Setup setup = field.Another();
    setup.policy = policy;
    Claimant newcomer(setup);
    EXPECT_EQ(newcomer.verdict(), absl::StrCat("duplicate ", holder.pid(), " established"))
        << policy;
  }
  EXPECT_EQ(holder.Ask("release"), "released");
  Claimant next = field.Holder();
  EXPECT_TRUE(next.unique()) << next.verdict();
}

INSTANTIATE_TEST_SUITE_P(
    Incident, LossTest,
    ::testing::Values(
        Loss{"LockDeleted",
             [](const Field& field, Claimant&) { return fs::remove(field.Object("lock")); }, "file",
             "lock was deleted or replaced"},
        Loss{"LockReplaced",
             [](const Field& field, Claimant&) {
               field.Replace("lock");
               return true;
             },
             "file", "lock was deleted or replaced"},
        Loss{"LockMovedAway",
             [](const Field& field, Claimant&) {
               fs::rename(field.Object("lock"), field.directory() / "moved");
               return true;
             },
             "file", "lock was deleted or replaced"},
        Loss{"LockTruncated",
             [](const Field& field, Claimant&) {
               field.Truncate("lock");
               return true;
             },
             "file", "lock was truncated or overwritten"},
        Loss{"RecordDeleted",
             [](const Field& field, Claimant&) { return fs::remove(field.Object("record")); },
             "file", "record was deleted or replaced"},
        Loss{"RecordTruncated",
             [](const Field& field, Claimant&) {
               field.Truncate("record");
               return true;
             },
             "file", "record was truncated or overwritten"},
        Loss{"WakeFifoDeleted",
             [](const Field& field, Claimant&) { return fs::remove(field.Object("end.file")); },
             "file", "end.file was deleted or replaced"},
        Loss{"NameDirectoryMoved",
             [](const Field& field, Claimant&) {
               field.MoveNameAway();
               return true;
             },
             "file", "names/x was deleted or replaced"},
        Loss{"NameDirectoryRemoved",
             [](const Field& field, Claimant&) {
               std::error_code not_empty;  // the holder may be putting things back meanwhile
               return fs::remove_all(field.Object(), not_empty) > 0;
             },
             "file", "was deleted or replaced"},
        Loss{"ScopeDirectoryMoved",
             [](const Field& field, Claimant&) {
               fs::rename(field.path(), field.directory() / "moved");
               return true;
             },
             "file", "names/x was deleted or replaced"},
        Loss{"SemaphoreRemoved",
             [](const Field& field, Claimant&) {
               return testing::RemoveSemaphore(field.path(), TestScope::kName);
             },
             "mutex", "the semaphore was removed"},
        Loss{"SegmentRemoved",
             [](const Field& field, Claimant&) {
               return testing::RemoveSegment(field.path(), TestScope::kName);
             },
             "mutex", "was deleted or replaced"},
        Loss{"PortRecordDeleted",
             [](const Field& field, Claimant&) { return fs::remove(field.Object("record.port")); },
             "port", "record.port was deleted or replaced"},
        Loss{"SocketShutDown",
             [](const Field&, Claimant& holder) {
               return testing::StopListening(holder.pid()) == 2;  // and its companion
             },
             "port", "no longer listened on"}),
    [](const auto& loss) { return loss.param.name; });

// The program itself closes what the claim stands on, and uses the numbers for files of its own.
TEST(Incident, H31_ClosedDescriptorsAreFoundAndNobodysFileIsWritten) {
  const Field field;
  const std::string own = field.directory() / "the program's own";
  const std::string content(8192, 'c');
  std::ofstream(own) << content;
  Claimant holder = field.Holder();
  ASSERT_EQ(holder.Ask("watch 100ms"), "watched");
  EXPECT_EQ(holder.Ask("occupy " + own), "occupied");
  const std::string said = holder.Ask("incident");
  EXPECT_THAT(said, StartsWith("file repaired stood 0 "));
  EXPECT_THAT(said, HasSubstr("the program closed the descriptor"));
  EXPECT_THAT(holder.Ask("incident"), StartsWith("mutex repaired stood 0 "));
  EXPECT_THAT(holder.Ask("incident"), StartsWith("port repaired stood 0 "));
  EXPECT_EQ(holder.Ask("verify"), "ok");
  Claimant newcomer = field.Holder();
  EXPECT_TRUE(newcomer.duplicate()) << newcomer.verdict();
  EXPECT_EQ(holder.Ask("release"), "released");
  EXPECT_EQ(Content(own), content);
}

// Without a watch the same is found when somebody asks.
TEST(Incident, H31_AClosedDescriptorIsFoundAtTheNextVerify) {
  const Field field;
  Claimant holder = field.Holder();
  EXPECT_EQ(holder.Ask("closefrom"), "closed");
  EXPECT_THAT(holder.Ask("verify"), HasSubstr("the program closed the descriptor"));
  EXPECT_THAT(holder.Ask("repair"), StartsWith("file repaired stood 0 "));
  EXPECT_EQ(holder.Ask("verify"), "ok");
  EXPECT_EQ(holder.Ask("repair"), "nothing");
}

// ---- whether the name was open

TEST(Incident, WithNoOtherClaimTheNameWasOpenForAMomentAndThatIsSaid) {
  for (const char* policy : {"file", "any(file, port)", "all(file, scan(env=\"NO=BODY\"))"}) {
    const Field field(policy);
    Claimant holder = field.Holder();
    ASSERT_TRUE(holder.unique()) << holder.verdict();
    field.MoveNameAway();
    EXPECT_THAT(holder.Ask("repair"), StartsWith("file repaired open 0 ")) << policy;
    EXPECT_EQ(holder.Ask("verify"), "ok") << policy;
  }
  // The lock file alone is no gap: the directory stands.
  const Field field("file");
  Claimant holder = field.Holder();
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  ASSERT_TRUE(fs::remove(field.Object("lock")));
  EXPECT_THAT(holder.Ask("repair"), StartsWith("file repaired stood 0 "));
  // One file without a directory of its own is.
  const std::string lock = field.directory() / "x.lock";
  const Field plain(absl::StrCat("file(path=", lock, ")"));
  Claimant other = plain.Holder();
  ASSERT_EQ(other.Ask("watch 1m"), "watched");
  ASSERT_TRUE(fs::remove(lock));
  EXPECT_THAT(other.Ask("incident"), HasSubstr(" repaired open 0 "));
}

TEST(Incident, H13_AHolderThatWasStoppedMeanwhileLearnsThatItIsCompromised) {
  const Field field;
  Claimant holder = field.Holder();
  ASSERT_EQ(holder.Ask("watch 1m"), "watched");
  const ProcessIdentity stopped = *IdentityOf(holder.pid());
  holder.program().Signal(SIGSTOP);
  holder.program().WaitUntilStopped();
  if (testing::StopListening(holder.pid()) != 2) GTEST_SKIP() << "needs another's descriptors";
  field.MoveNameAway();
  ASSERT_TRUE(testing::RemoveSemaphore(field.path(), TestScope::kName));
  EXPECT_TRUE(field.Holder().duplicate()) << "the last record still refuses";
  ASSERT_TRUE(testing::RemoveSegment(field.path(), TestScope::kName));
  Claimant newcomer = field.Holder();
  ASSERT_TRUE(newcomer.unique()) << newcomer.verdict();

  ASSERT_TRUE(SendSignal(stopped, SIGCONT).ok());
  for (const std::string& layer : testing::ExclusiveKinds()) {
    EXPECT_THAT(holder.Ask("incident"),
                StartsWith(absl::StrCat(layer, " compromised open ", newcomer.pid(), " ")));
  }
  EXPECT_GT(newcomer.token(), holder.token()) << "what both write to can tell them apart";
  EXPECT_THAT(holder.Ask("verify"), StartsWith("DATA_LOSS"));
  EXPECT_EQ(newcomer.Ask("verify"), "ok") << "the loser disturbs nobody";
  // It holds nothing that the newcomer's successor could trip over.
  EXPECT_EQ(holder.Ask("release"), "released");
  EXPECT_EQ(newcomer.Ask("verify"), "ok");
  EXPECT_EQ(newcomer.Ask("release"), "released");
  Claimant next = field.Holder();
  EXPECT_TRUE(next.unique()) << next.verdict();
}

TEST(Incident, ANewcomerWhoWonTheOnlyLayerCompromisesUntilItEnds) {
  const Field field("file");
  Claimant holder = field.Holder();
  const ProcessIdentity stopped = *IdentityOf(holder.pid());
  ASSERT_EQ(holder.Ask("watch 50ms"), "watched");
  holder.program().Signal(SIGSTOP);
  holder.program().WaitUntilStopped();
  field.MoveNameAway();
  Claimant newcomer = field.Holder();
  ASSERT_TRUE(newcomer.unique()) << newcomer.verdict();
  ASSERT_TRUE(SendSignal(stopped, SIGCONT).ok());
  EXPECT_THAT(holder.Ask("incident"),
              StartsWith(absl::StrCat("file compromised open ", newcomer.pid(), " ")));
  // The name is claimed again as soon as it can be; that there were two stays said.
  EXPECT_EQ(newcomer.Ask("release"), "released");
  EXPECT_THAT(holder.Ask("incident"), StartsWith("file repaired open 0 "));
  EXPECT_EQ(holder.Ask("verify"), "ok");
  EXPECT_TRUE(field.Holder().duplicate());
}

// A candidate is not another instance yet: it is waited for, as at a start.
TEST(Incident, ACandidateWhoGotTheLayerIsWaitedForBeforeItCounts) {
  const Field field;
  Claimant holder = field.Holder(absl::Seconds(60));
  ASSERT_TRUE(holder.unique());
  field.MoveNameAway();
  const std::unique_ptr<Layer> layer = FindLayerKind("file")->make(
      {.scope = field.scope(), .name = *InstanceName::Parse("x"), .parameters = {}, .subject = {}});
  HolderRecord record;
  record.name = "x";
  record.scope = field.scope().ToString();
  record.identity = *OwnIdentity();
  Attempt attempt = layer->Try(record);
  auto* candidate = std::get_if<Held>(&attempt);
  ASSERT_NE(candidate, nullptr);

  // What can be mended in place comes first: it is there again when the holder waits.
  ASSERT_TRUE(testing::RemoveSegment(field.path(), "x"));
  holder.program().WriteLine("repair");
  Claimant::Setup only_mutex = field.Another();
  only_mutex.policy = "mutex";
  while (Claimant(only_mutex).verdict() !=
         absl::StrCat("duplicate ", holder.pid(), " established")) {
  }
  record.state = RecordState::kReleasing;
  ASSERT_TRUE(candidate->claim->Publish(record).ok());
  candidate->claim->Release();
  EXPECT_THAT(holder.program().ReadLine().value_or(""), StartsWith("file repaired stood 0 "));
  EXPECT_EQ(holder.Ask("verify"), "ok");
}

TEST(Incident, WhatCannotBeRepairedIsSaidOnceAndTriedAgain) {
  const Field field;
  Claimant holder = field.Holder();
  ASSERT_EQ(holder.Ask("watch 50ms"), "watched");
  // A foreign lock file, locked by a program that knows nothing of directories.
  const std::string foreign = field.directory() / "foreign";
  const UniqueFd lock(open(foreign.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(flock(lock.get(), LOCK_EX), 0);
  fs::rename(foreign, field.Object("lock"));
  EXPECT_THAT(holder.Ask("incident"), StartsWith("file degraded stood 0 "));
  EXPECT_TRUE(field.Holder().duplicate());
  ASSERT_EQ(flock(lock.get(), LOCK_UN), 0);
  EXPECT_THAT(holder.Ask("incident"), StartsWith("file repaired stood 0 "));
  EXPECT_EQ(holder.Ask("verify"), "ok");
}

// A semaphore that was set free and is another's by now is not given back a second time.
TEST(Incident, ALostMutexIsNotTakenFromItsNextHolder) {
  const Field field("mutex");
  Claimant holder = field.Holder();
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  const ProcessIdentity stopped = *IdentityOf(holder.pid());
  holder.program().Signal(SIGSTOP);
  holder.program().WaitUntilStopped();
  ASSERT_TRUE(testing::FreeSemaphore(field.path(), "x"));
  EXPECT_TRUE(field.Holder().duplicate()) << "its record still refuses";
  ASSERT_TRUE(testing::RemoveSegment(field.path(), "x"));
  Claimant newcomer = field.Holder();
  ASSERT_TRUE(newcomer.unique()) << newcomer.verdict();
  ASSERT_TRUE(SendSignal(stopped, SIGCONT).ok());
  EXPECT_THAT(holder.Ask("repair"),
              StartsWith(absl::StrCat("mutex compromised open ", newcomer.pid(), " ")));
  EXPECT_EQ(holder.Ask("release"), "released");
  EXPECT_EQ(newcomer.Ask("verify"), "ok");
}

TEST(Incident, ASemaphoreThatWasSetFreeIsNoticed) {
  const Field field;
  Claimant holder = field.Holder();
  ASSERT_EQ(holder.Ask("watch 1m"), "watched");
  ASSERT_TRUE(testing::FreeSemaphore(field.path(), "x"));
  EXPECT_THAT(holder.Ask("incident"), StartsWith("mutex repaired stood 0 "));
}

// Where no inotify instance is to be had, the rest gives events, and files are looked at now and
// then.
TEST(Incident, WithoutInotifyItSaysSoAndLooksAtEachPeriod) {
  const Field field;
  Claimant::Setup setup = field.Another();
  setup.launcher = {
      "unshare", "--user", "--map-root-user",
      "sh",      "-c",     "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$@\"",
      "sh"};
  const testing::Finished tried =
      testing::RunProgram({.argv = {"unshare", "--user", "--map-root-user", "sh", "-c",
                                    "echo 0 > /proc/sys/user/max_inotify_instances"}});
  if (tried.code != 0) GTEST_SKIP() << "needs user namespaces: " << tried.errors;
  Claimant holder(setup);
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  const std::string said = holder.Ask("watch 100ms");
  EXPECT_THAT(said, StartsWith("UNAVAILABLE"));
  EXPECT_THAT(said, HasSubstr("fs.inotify.max_user_instances"));
  ASSERT_TRUE(fs::remove(field.Object("lock")));
  EXPECT_THAT(holder.Ask("incident"), StartsWith("file repaired stood 0 "));
}

// ---- the watch in its process

// Collects what a watch of this very process reports.
class Reports {
 public:
  std::function<void(const Incident&)> Callback() {
    return [this](const Incident& incident) {
      const std::lock_guard lock(mutex_);
      incidents_.push_back(incident);
      changed_.notify_all();
    };
  }
  // Blocks until there are so many.
  std::vector<Incident> Wait(std::size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(30),
                                  [&] { return incidents_.size() >= count; }));
    return incidents_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Incident> incidents_;
};

class WatchTest : public ::testing::Test {
 protected:
  Guard AcquireUnique() const {
    Verdict verdict = field_.Acquire();
    if (auto* unique = std::get_if<Unique>(&verdict)) return std::move(unique->guard);
    throw std::runtime_error(testing::Say(verdict));
  }
  // Something to report.
  void Strike() const { ASSERT_TRUE(fs::remove(field_.Object("lock"))); }

  const Field field_{};
  Reports reports_;
};

TEST_F(WatchTest, SurvivesMovesOfTheGuard) {
  Guard first = AcquireUnique();
  ASSERT_TRUE(first.Watch(reports_.Callback()).ok());
  Guard second = std::move(first);
  Strike();
  EXPECT_EQ(reports_.Wait(1).front().outcome, Incident::Outcome::kRepaired);
  EXPECT_TRUE(second.Verify().ok());
}

TEST_F(WatchTest, IsOneOfAGuardAndEndsWithIt) {
  Guard guard = AcquireUnique();
  ASSERT_TRUE(guard.Watch(reports_.Callback()).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(guard.Watch(reports_.Callback())));
  guard.Release();
  EXPECT_TRUE(absl::IsFailedPrecondition(guard.Watch(reports_.Callback())));
  EXPECT_TRUE(guard.Repair().empty());
  Guard next = AcquireUnique();
  Strike();
  EXPECT_EQ(next.Repair().size(), 1U);
  EXPECT_TRUE(reports_.Wait(0).empty());
}

TEST_F(WatchTest, ReportsWhatWasLostBeforeItBegan) {
  Guard guard = AcquireUnique();
  Strike();
  ASSERT_TRUE(guard.Watch(reports_.Callback()).ok());
  EXPECT_EQ(reports_.Wait(1).front().layer, "file");
}

TEST_F(WatchTest, ReleaseWithinAReportDoesNotWaitForItself) {
  Guard guard = AcquireUnique();
  std::atomic<bool> released = false;
  ASSERT_TRUE(guard
                  .Watch([&](const Incident&) {
                    guard.Release();
                    released = true;
                    released.notify_all();
                  })
                  .ok());
  Strike();
  released.wait(false);
  EXPECT_TRUE(testing::IsUnique(field_.Acquire()));
}

TEST_F(WatchTest, TheGuardMayBeDestroyedWithinAReport) {
  auto guard = std::make_unique<Guard>(AcquireUnique());
  std::atomic<bool> destroyed = false;
  ASSERT_TRUE(guard
                  ->Watch([&](const Incident&) {
                    guard.reset();
                    destroyed = true;
                    destroyed.notify_all();
                  })
                  .ok());
  Strike();
  destroyed.wait(false);
  EXPECT_TRUE(testing::IsUnique(field_.Acquire()));
}

// The destructor is a second release then, and the first one's thread still uses the Guard.
TEST_F(WatchTest, TheGuardsEndWaitsForTheReportThatReleasesIt) {
  auto guard = std::make_unique<Guard>(AcquireUnique());
  std::atomic<bool> released = false;
  std::atomic<bool> destroyed = false;
  bool too_early = true;
  ASSERT_TRUE(guard
                  ->Watch([&](const Incident&) {
                    guard->Release();
                    released = true;
                    released.notify_all();
                    too_early = testing::BecomesTrue(destroyed);
                  })
                  .ok());
  Strike();
  released.wait(false);
  guard.reset();
  destroyed = true;
  EXPECT_FALSE(too_early);
}

TEST_F(WatchTest, AReportAndAnAnswerMayReleaseItAtOnce) {
  for (int i = 0; i < 20; ++i) {
    auto guard = std::make_unique<Guard>(AcquireUnique());
    std::barrier both(2);
    ASSERT_TRUE(guard
                    ->Receive([&](const Sender&, const Message&) {
                      Strike();
                      both.arrive_and_wait();
                      guard->Release();
                      return Answer{};
                    })
                    .ok());
    ASSERT_TRUE(guard
                    ->Watch([&](const Incident&) {
                      both.arrive_and_wait();
                      guard->Release();
                    })
                    .ok());
    // No forked child, which would need a lock that one of the threads has (the allocator's).
    std::thread sender([&] {
      const absl::StatusOr<Answer> answer =
          Send("x", *Policy::Parse(kAll), {.scope = field_.scope()}, Message{}, absl::Seconds(30));
      EXPECT_TRUE(answer.ok()) << answer.status();
    });
    sender.join();
    guard.reset();
  }
}

TEST_F(WatchTest, ReleaseDoesNotWaitForWhomARepairWaitsFor) {
  constexpr absl::Duration kPatience = absl::Seconds(20);
  Verdict verdict = field_.Acquire(kPatience, kPatience);
  Guard guard = std::move(std::get<Unique>(verdict).guard);
  field_.MoveNameAway();
  const testing::Child candidate([&] {
    const std::unique_ptr<Layer> layer =
        FindLayerKind("file")->make({.scope = field_.scope(),
                                     .name = *InstanceName::Parse("x"),
                                     .parameters = {},
                                     .subject = {}});
    HolderRecord record;
    record.name = "x";
    record.scope = field_.scope().ToString();
    record.identity = *OwnIdentity();
    // Until the child is killed.
    const auto* const attempt = new Attempt(layer->Try(record));
    return std::string(std::holds_alternative<Held>(*attempt) ? "held" : "not held");
  });
  ASSERT_EQ(candidate.answer(), "held");
  ASSERT_TRUE(testing::RemoveSegment(field_.path(), "x"));
  std::thread repairer([&] { EXPECT_TRUE(guard.Repair().empty()); });
  // What can be mended in place comes first: it is there again when it waits.
  Claimant::Setup only_mutex = field_.Another();
  only_mutex.policy = "mutex";
  while (!Claimant(only_mutex).verdict().ends_with(" established")) {
  }
  const absl::Time before = absl::Now();
  guard.Release();
  EXPECT_LT(absl::Now() - before, kPatience / 2);
  repairer.join();
}

TEST_F(WatchTest, ReleaseWaitsForAReportThatIsGoingOn) {
  Guard guard = AcquireUnique();
  std::atomic<bool> began = false;
  std::atomic<bool> go_on = false;
  std::atomic<bool> over = false;
  ASSERT_TRUE(guard
                  .Watch([&](const Incident&) {
                    began = true;
                    began.notify_all();
                    go_on.wait(false);
                    over = true;
                  })
                  .ok());
  Strike();
  began.wait(false);
  std::thread releaser([&] {
    guard.Release();
    EXPECT_TRUE(over);
  });
  // The name is free before: the next start does not wait for a report.
  while (!Claimant(field_.Another()).unique()) {
  }
  EXPECT_FALSE(over);
  go_on = true;
  go_on.notify_all();
  releaser.join();
}

TEST_F(WatchTest, H10_H33_AForkedChildIsNotWatchedAndIsNotTheOwner) {
  Guard guard = AcquireUnique();
  std::atomic<int> reports = 0;
  ASSERT_TRUE(guard
                  .Watch([&](const Incident& incident) {
                    ++reports;
                    reports_.Callback()(incident);
                  })
                  .ok());
  // The thread may be anywhere when the child is made: it must not leave a lock behind in it.
  for (int i = 0; i < 20; ++i) {
    std::thread striker([this] { Strike(); });
    const pid_t child = fork();
    if (child == 0) {
      reports = 0;
      if (daemon(1, 1) != 0) _exit(1);
      _exit(2);
    }
    const pid_t other = fork();
    if (other == 0) {
      reports = 0;
      if (!absl::IsFailedPrecondition(guard.Verify())) _exit(1);
      if (!absl::IsFailedPrecondition(guard.Watch([](const Incident&) {}))) _exit(2);
      if (!guard.Repair().empty()) _exit(3);
      if (!absl::IsFailedPrecondition(guard.KeepOverExec())) _exit(4);
      guard.Release();
      { const Guard moved = std::move(guard); }
      _exit(reports == 0 ? 0 : 5);
    }
    striker.join();
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(waitpid(other, &status, 0), other);
    EXPECT_EQ(status, 0);
    (void)reports_.Wait(static_cast<std::size_t>(i) + 1);
  }
  EXPECT_TRUE(guard.Verify().ok()) << guard.Verify();
}

std::map<std::string, std::string> SignalMasks() {
  std::map<std::string, std::string> masks;
  for (const auto& task : fs::directory_iterator("/proc/self/task")) {
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("SigBlk:")) masks[task.path().filename()] = line.substr(8);
    }
  }
  return masks;
}

TEST_F(WatchTest, ItsThreadsTakeNoSignals) {
  const auto before = SignalMasks();
  Guard guard = AcquireUnique();
  ASSERT_TRUE(guard.Watch(reports_.Callback()).ok());
  Strike();
  (void)reports_.Wait(1);
  int fresh = 0;
  for (const auto& [thread, mask] : SignalMasks()) {
    if (before.contains(thread)) continue;
    ++fresh;
    const std::uint64_t open = ~std::stoull(mask, nullptr, 16);
    constexpr std::uint64_t kOfGlibc = std::uint64_t{3} << 31;  // 32 and 33 are its own
    constexpr std::uint64_t kNever = 1U << (SIGKILL - 1) | 1U << (SIGSTOP - 1);
    EXPECT_EQ(open & ~kOfGlibc, kNever) << "thread " << thread;
  }
  EXPECT_EQ(fresh, 2) << "one that looks, one that waits for the semaphore";
}

TEST_F(WatchTest, LeavesNoDescriptorBehind) {
  const auto descriptors = [] {
    return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
  };
  (void)AcquireUnique();
  const auto before = descriptors();
  for (int i = 0; i < 20; ++i) {
    Guard guard = AcquireUnique();
    ASSERT_TRUE(guard.Watch(reports_.Callback()).ok());
  }
  // A thread that waited for the semaphore closes its end of a pipe after it was woken.
  while (descriptors() != before) std::this_thread::yield();
}

TEST_F(WatchTest, SeveralThreadsMayUseTheGuardAtOnce) {
  Guard guard = AcquireUnique();
  ASSERT_TRUE(guard.Watch(reports_.Callback()).ok());
  std::atomic<bool> over = false;
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    while (!over) (void)guard.Verify();
  });
  threads.emplace_back([&] {
    while (!over) (void)guard.Repair();
  });
  for (std::size_t i = 1; i <= 50; ++i) {
    std::error_code gone;  // while it is being made anew
    fs::remove(field_.Object("lock"), gone);
    (void)testing::RemoveSegment(field_.path(), "x");
    (void)testing::RemoveSemaphore(field_.path(), "x");
  }
  over = true;
  for (std::thread& thread : threads) thread.join();
  (void)guard.Repair();
  EXPECT_TRUE(guard.Verify().ok()) << guard.Verify();
  EXPECT_TRUE(Claimant(field_.Another()).duplicate());
}

}  // namespace
}  // namespace soleguard
