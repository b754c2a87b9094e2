// What a name leaves in the system, and its removal beside those who want the name.
#include "soleguard/collect.h"

#include <grp.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "soleguard/name.h"
#include "soleguard/queue.h"
#include "soleguard/record.h"
#include "support/child.h"
#include "support/claimant.h"
#include "support/kinds.h"
#include "support/shared.h"
#include "support/system_v.h"
#include "support/test_scope.h"

namespace soleguard {
namespace {

using testing::Claimant;
using ::testing::HasSubstr;
using testing::IsUnique;
using testing::Shared;
using ::testing::StartsWith;
using testing::TestScope;

std::vector<std::string> FilesBelow(const std::string& directory) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

class CollectTest : public ::testing::Test {
 protected:
  static const InstanceName& Name() {
    static const InstanceName name = *InstanceName::Parse(TestScope::kName);
    return name;
  }
  absl::Status Collected() const { return Collect(Name(), scope_.scope()); }

  bool HadSemaphore() const { return testing::RemoveSemaphore(scope_.path(), TestScope::kName); }
  bool HadSegment() const { return testing::RemoveSegment(scope_.path(), TestScope::kName); }

  const TestScope scope_{"all(file, mutex, port)"};
};

TEST_F(CollectTest, RemovesAllThatAHolderHasLeft) {
  ASSERT_TRUE(IsUnique(scope_.Acquire()));
  EXPECT_EQ(Collected(), absl::OkStatus());
  EXPECT_FALSE(HadSemaphore());
  EXPECT_FALSE(HadSegment());
  EXPECT_FALSE(std::filesystem::exists(scope_.Object()));
  EXPECT_EQ(Collected(), absl::OkStatus());  // where nothing is, it leaves nothing
  EXPECT_FALSE(HadSemaphore());
}

TEST_F(CollectTest, TokensGrowOnAfterIt) {
  std::uint64_t last = 0;
  for (int i = 0; i < 3; ++i) {
    Verdict verdict = scope_.Acquire();
    ASSERT_TRUE(IsUnique(verdict));
    Guard& guard = std::get<Unique>(verdict).guard;
    EXPECT_GT(*guard.token(), last);
    last = *guard.token();
    guard.Release();
    ASSERT_EQ(Collected(), absl::OkStatus());
  }
}

TEST_F(CollectTest, WhatSomebodyHoldsUnderAnyPolicyStays) {
  for (const std::string& policy : testing::EachAnd({testing::AllExclusive()})) {
    Claimant::Setup setup = scope_.Another();
    setup.policy = policy;
    Claimant holder(setup);
    ASSERT_TRUE(holder.unique()) << holder.verdict();
    const absl::Status kept = Collected();
    EXPECT_TRUE(absl::IsFailedPrecondition(kept)) << policy;
    EXPECT_THAT(std::string(kept.message()),
                HasSubstr(absl::StrCat("in use by pid ", holder.pid(), " (established)")));
    EXPECT_EQ(holder.Ask("verify"), "ok");
  }
}

// The forms of layers that no gc can guess: the records say which they are.
TEST_F(CollectTest, W1_GcPort) {
  for (const std::string& policy :
       {std::string("port(47713)"), std::string("any(mutex, port(47713))"),
        absl::StrCat("all(port(47713), file(path=", scope_.directory() / "plain.lock", "))")}) {
    SCOPED_TRACE(policy);
    Claimant::Setup setup = scope_.Another();
    setup.policy = policy;
    Claimant holder(setup);
    ASSERT_TRUE(holder.unique()) << holder.verdict();
    ASSERT_EQ(holder.Ask("receive"), "receives");
    const auto before = FilesBelow(scope_.Object());
    const absl::Status kept = Collected();
    EXPECT_TRUE(absl::IsFailedPrecondition(kept)) << kept;
    EXPECT_THAT(std::string(kept.message()), HasSubstr(absl::StrCat("pid ", holder.pid())));
    EXPECT_EQ(FilesBelow(scope_.Object()), before);
    EXPECT_EQ(holder.Ask("verify"), "ok");
    Claimant second(setup);
    EXPECT_EQ(second.verdict(), absl::StrCat("duplicate ", holder.pid(), " established"));
    // And what it left when it was killed goes.
    holder.program().Signal(SIGKILL);
    (void)holder.program().Wait();
    second.program().Signal(SIGKILL);
    (void)second.program().Wait();
    EXPECT_EQ(Collected(), absl::OkStatus());
    EXPECT_FALSE(std::filesystem::exists(scope_.Object()));
  }
}

// A candidate's record says nothing of a life; the layer is asked, which it names.
TEST_F(CollectTest, H04_ARecordThatSaysNothingDoesNotHideAHolder) {
  Claimant::Setup setup = scope_.Another();
  setup.policy = "port(47714)";
  Claimant holder(setup);
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  HolderRecord record;
  record.name = TestScope::kName;
  record.identity.pid = 1;
  record.policy = "port(47714)";
  const std::string path = scope_.Object("record.port.47714");
  std::fstream(path, std::ios::binary | std::ios::in | std::ios::out) << EncodeRecord(record, 9);
  EXPECT_FALSE(Collected().ok());
  // What it has written itself names the layer from now on.
  std::filesystem::remove(path);
  EXPECT_THAT(std::string(Collected().message()), HasSubstr("127.0.0.1:47714 is taken"));
  // Without any record its files are of a layer that cannot be told.
  for (const char* file : {"record", "record.port"}) {
    std::filesystem::remove(scope_.Object(file));
  }
  testing::RemoveMutexObjects(scope_.path());
  const absl::Status kept = Collected();
  EXPECT_TRUE(absl::IsFailedPrecondition(kept)) << kept;
  EXPECT_THAT(std::string(kept.message()), HasSubstr("is of a layer that no record here names"));
  EXPECT_TRUE(std::filesystem::exists(scope_.Object("end.port.47714")));
}

TEST_F(CollectTest, WhatIsNotSoleguardsKeepsAllOfTheName) {
  { ASSERT_TRUE(IsUnique(scope_.Acquire())); }
  Claimant::Setup setup = scope_.Another();
  setup.policy = "all(file, mutex, port(47715))";
  Claimant killed(setup);
  ASSERT_TRUE(killed.unique()) << killed.verdict();
  killed.program().Signal(SIGKILL);
  (void)killed.program().Wait();
  const std::string notes = scope_.Object("notes");
  std::ofstream(notes) << "mine";
  EXPECT_THAT(std::string(Collected().message()), HasSubstr("notes was not made by soleguard"));
  EXPECT_TRUE(std::filesystem::exists(scope_.Object("record")));
  // And the next one still knows all of the layers.
  std::filesystem::remove(notes);
  EXPECT_EQ(Collected(), absl::OkStatus());
  EXPECT_FALSE(std::filesystem::exists(scope_.Object()));
}

// A holder that has no layer in the directory at all.
TEST_F(CollectTest, AnInboxThatTakesMessagesStays) {
  Claimant::Setup setup = scope_.Another();
  setup.policy = absl::StrCat("file(path=", scope_.directory() / "plain.lock", ")");
  Claimant holder(setup);
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  ASSERT_EQ(holder.Ask("receive"), "receives");
  EXPECT_THAT(std::string(Collected().message()), HasSubstr("inbox may take messages"));
  EXPECT_TRUE(std::filesystem::exists(scope_.Object("inbox")));
  EXPECT_EQ(holder.Ask("release"), "released");
  EXPECT_EQ(Collected(), absl::OkStatus());
}

TEST_F(CollectTest, ABeatIsRemovedWithItsName) {
  Claimant holder(scope_.Another());
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  ASSERT_EQ(holder.Ask("beat"), "beats");
  ASSERT_EQ(holder.Ask("release"), "released");
  EXPECT_TRUE(Collected().ok());
  EXPECT_FALSE(std::filesystem::exists(scope_.Object()));
}

TEST_F(CollectTest, WhatARecordNamesAndNobodyKnowsHereStays) {
  ASSERT_TRUE(IsUnique(scope_.Acquire()));
  HolderRecord record;
  record.name = TestScope::kName;
  record.identity.pid = 1;
  record.policy = "all(file, etcd)";
  std::ofstream(scope_.Object("record.etcd"), std::ios::binary) << EncodeRecord(record, 1);
  EXPECT_THAT(std::string(Collected().message()), HasSubstr("is not known here"));
  EXPECT_TRUE(std::filesystem::exists(scope_.Object("lock")));
}

TEST_F(CollectTest, WhatSomebodyStandsInLineForStays) {
  const std::unique_ptr<Queue> line = MakeQueue(scope_.scope(), Name());
  ASSERT_EQ(line->Join(Queue::Line::kStandbys), absl::OkStatus());
  EXPECT_EQ(testing::InChild([&] { return std::string(Collected().message()); }),
            "in use: somebody stands in line for it");
  line->Leave();
  EXPECT_EQ(Collected(), absl::OkStatus());
}

// A member of a group's scope may take the semaphore of another one, but not remove it (IPC_RMID).
TEST_F(CollectTest, WhatCannotBeRemovedWholeIsFoundAgain) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, who can become another user";
  constexpr gid_t kGroup = 65534;
  std::filesystem::create_directory(scope_.path());
  ASSERT_EQ(chown(scope_.path().c_str(), static_cast<uid_t>(-1), kGroup), 0);
  ASSERT_EQ(chmod(scope_.path().c_str(), 02770), 0);
  ASSERT_EQ(chmod(scope_.directory().path().c_str(), 0755), 0);
  EXPECT_THAT(testing::InChild([&] {
                if (setresgid(kGroup, kGroup, kGroup) != 0) return std::string("cannot");
                static std::optional<Verdict> held;  // not released: a release leaves nothing
                held.emplace(scope_.Acquire());
                return testing::Say(*held);
              }),
              StartsWith("unique"));
  EXPECT_THAT(testing::InChild([&] {
                constexpr uid_t kNobody = 65534;
                if (setgroups(0, nullptr) != 0 || setresgid(kGroup, kGroup, kGroup) != 0 ||
                    setresuid(kNobody, kNobody, kNobody) != 0) {
                  return std::string("cannot");
                }
                return Collected().ToString();
              }),
              HasSubstr("cannot remove"));
  EXPECT_TRUE(std::filesystem::exists(scope_.Object()));
  EXPECT_EQ(Collected(), absl::OkStatus());
  EXPECT_FALSE(HadSemaphore());
  EXPECT_FALSE(std::filesystem::exists(scope_.Object()));
}

TEST_F(CollectTest, SlotsGoBeforeTheirName) {
  {
    Verdict first = scope_.Acquire();
    ASSERT_TRUE(IsUnique(first));
    Claimant::Setup setup = scope_.Another();
    setup.slot_count = 2;
    Claimant second(setup);
    ASSERT_TRUE(second.unique());
    std::get<Unique>(first).guard.Release();
    EXPECT_THAT(std::string(Collected().message()), HasSubstr("slots has slots in use"));
    EXPECT_TRUE(absl::IsFailedPrecondition(Collect(Name().Slot(1), scope_.scope())));
    EXPECT_EQ(second.Ask("verify"), "ok");
  }
  EXPECT_EQ(Collect(Name().Slot(1), scope_.scope()), absl::OkStatus());
  EXPECT_EQ(Collected(), absl::OkStatus());
  EXPECT_FALSE(std::filesystem::exists(scope_.Object()));
}

// Two processes that start again and again, and two that clean up. The referee is a counter in
// shared memory.
TEST_F(CollectTest, H04_StartsBesideItAreNeitherRefusedNorDoubled) {
  struct Referee {
    std::atomic<int> inside = 0;
    std::atomic<int> overlaps = 0;
    std::atomic<int> removed = 0;
    std::atomic<bool> over = false;
  };
  const Shared<Referee> referee;
  constexpr int kStarts = 60;
  constexpr int kRemovals = 5;
  const auto start = [&] {
    for (int won = 0; won < kStarts || referee->removed <= kRemovals;) {
      Verdict verdict = scope_.Acquire();
      if (const auto* duplicate = std::get_if<Duplicate>(&verdict)) {
        const auto& record = duplicate->holder.record;
        // The other one's, as it should be.
        if (record.has_value() && record->state == RecordState::kEstablished) continue;
      }
      if (!IsUnique(verdict)) return testing::Say(verdict);
      if (referee->inside.fetch_add(1) != 0) ++referee->overlaps;
      const absl::Status verified = std::get<Unique>(verdict).guard.Verify();
      --referee->inside;
      if (!verified.ok()) return verified.ToString();
      ++won;
    }
    return std::string();
  };
  const auto fork_to = [](const auto& body) {
    const pid_t child = fork();
    if (child == 0) _exit(body());
    return child;
  };
  const auto collect = [&] {
    while (!referee->over) referee->removed += Collected().ok() ? 1 : 0;
    return 0;
  };
  const std::vector<pid_t> collectors = {fork_to(collect), fork_to(collect)};
  const pid_t starter = fork_to([&] { return start().empty() ? 0 : 1; });
  EXPECT_EQ(start(), "");
  int status = -1;
  EXPECT_EQ(waitpid(starter, &status, 0), starter);
  EXPECT_EQ(status, 0);
  referee->over = true;
  for (const pid_t collector : collectors) EXPECT_EQ(waitpid(collector, &status, 0), collector);
  EXPECT_EQ(referee->overlaps, 0);
}

TEST_F(CollectTest, AStrangersFileInItsDirectoryIsNotTouched) {
  ASSERT_TRUE(IsUnique(scope_.Acquire()));
  std::ofstream(scope_.Object("notes.txt")) << "mine";
  EXPECT_THAT(std::string(Collected().message()), HasSubstr("notes.txt was not made by soleguard"));
  EXPECT_TRUE(std::filesystem::exists(scope_.Object("notes.txt")));
  EXPECT_TRUE(std::filesystem::exists(scope_.Object("lock")));
}

}  // namespace
}  // namespace soleguard
