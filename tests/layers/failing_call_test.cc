// Starts, looks and releases in which one system call fails, under each layer. Every call in turn,
// so that none is forgotten when the code changes.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <ostream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_split.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kit/key.h"
#include "os/lock.h"
#include "soleguard/guard.h"
#include "soleguard/inspect.h"
#include "soleguard/name.h"
#include "soleguard/options.h"
#include "support/failing.h"
#include "support/kinds.h"
#include "support/start.h"
#include "support/system_v.h"
#include "support/test_scope.h"
#include "support/traced.h"

namespace soleguard {
namespace {

using testing::Answer;
using ::testing::AnyOf;
using testing::CallByCall;
using testing::CanFail;
using testing::Error;
using testing::Explains;
using ::testing::HasSubstr;
using testing::IsRegistered;
using testing::kErrors;
using testing::Say;
using testing::Start;
using ::testing::StartsWith;
using testing::TestNameOf;
using testing::TestScope;
using testing::Traced;
using ::testing::UnorderedElementsAreArray;
using testing::WithRegistration;

// How many calls a start has at least that can fail: fewer would mean that nothing was tried.
constexpr int kPlausibleCalls = 20;
constexpr int kSemStatAny = 20;  // SEM_STAT_ANY, which not every libc names

// One policy and one error in each test, so that they run side by side.
class FailingCall : public ::testing::TestWithParam<std::tuple<std::string, Error>> {
 protected:
  void SetUp() override {
    if (const std::string why = Traced::Unusable(); !why.empty()) GTEST_SKIP() << why;
  }

  int error() const { return std::get<Error>(GetParam()).number; }

  // Documented as optional: the start goes on without it.
  bool IsOptional(const Traced::Call& call, const std::string& object) const {
    if (object.starts_with(scope_.path() + "/state")) return true;  // a token that is not durable
    // A waiter looks again by itself, and the queue only gives order.
    for (const char* file : {"wake.", "end.", "queue"}) {
      if (object.starts_with(scope_.Object(file))) return true;
    }
    return call.number == SYS_flock && object == scope_.path();  // tmp cleaners are not kept out
  }

  // Without it the policy cannot be met.
  bool IsNeeded(const Traced::Call& call, const std::string& object) const {
    if (scope_.policy() == "file") return IsNeededByFile(call, object);
    return (scope_.Asks("mutex") && IsNeededByMutex(call, object)) ||
           (scope_.Asks("port") && IsNeededByPort(call, object)) ||
           (scope_.Asks("scan") && IsNeededByScan(call, object));
  }
  bool IsNeededByFile(const Traced::Call& call, const std::string& object) const {
    const std::string names = scope_.path() + "/names";
    if (call.number == SYS_openat) {
      return object == scope_.path() || object == names || object == scope_.Object() ||
             object == scope_.Object("lock") || object == scope_.Object("record");
    }
    if (call.number == SYS_flock || call.number == SYS_fcntl) {
      return object == scope_.Object() || object == scope_.Object("lock");
    }
    return call.number == SYS_pwrite64 && object == scope_.Object("record");
  }
  bool IsNeededByMutex(const Traced::Call& call, const std::string& object) const {
    switch (call.number) {
      case SYS_semget:  // the other one asks whether the key still leads there, and is made again
        return (call.arguments[2] & IPC_CREAT) != 0;
      case SYS_semop:
      case SYS_semtimedop:  // what glibc calls for semop(3) where it can
        return true;
      case SYS_semctl:  // where SEM_STAT_ANY fails, as before Linux 4.17, IPC_STAT is asked
        return static_cast<int>(call.arguments[2]) != kSemStatAny;
      default:
        return (call.number == SYS_openat || call.number == SYS_pwrite64) && object == Segment();
    }
  }
  // A start whose semaphore or segment finds no room removes what dead starts left in the way, if
  // there is anything, and tries once more.
  bool MakesRoom(const Traced::Call& call, const std::string& object) const {
    return absl::IsResourceExhausted(absl::ErrnoToStatus(error(), "")) && scope_.Asks("mutex") &&
           IsNeededByMutex(call, object);
  }
  bool IsNeededByPort(const Traced::Call& call, const std::string& object) const {
    switch (call.number) {
      case SYS_socket:
      case SYS_setsockopt:
      case SYS_bind:
      case SYS_listen:
        return true;
      default:
        return (call.number == SYS_openat || call.number == SYS_pwrite64) &&
               object == scope_.Object("record.port");
    }
  }
  static bool IsNeededByScan(const Traced::Call& call, const std::string& object) {
    return (call.number == SYS_openat || call.number == SYS_getdents64) && object == "/proc";
  }

  // The objects of the name in the kernel, as the layers name them.
  std::uint64_t Hash() const {
    return KeyOf(scope_.scope(), *InstanceName::Parse(TestScope::kName));
  }
  int Key() const { return static_cast<int>(Hash() % 0x7ffffffe) + 1; }
  std::string Segment() const { return absl::StrFormat("/dev/shm/soleguard-%08x", Key()); }
  sockaddr_in Endpoint() const {
    const std::uint64_t hash = Hash();
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(23717);
    address.sin_addr.s_addr =
        htonl(static_cast<std::uint32_t>(0x7f000000 | (1 + hash % 254) << 16 |
                                         hash / 254 % 256 << 8 | (1 + hash / 254 / 256 % 254)));
    return address;
  }

  // The child is Unique: nobody else gets in, by the library or by the kernel's own calls.
  void ExpectExcludes(const Traced& child) const {
    const Start other(scope_, absl::Milliseconds(10));
    EXPECT_THAT(other.said(), StartsWith(absl::StrCat("duplicate ", child.pid(), " ")));
    if (scope_.Asks("file")) {
      const UniqueFd lock(open(scope_.Object("lock").c_str(), O_RDWR | O_CLOEXEC));
      ASSERT_TRUE(lock);
      EXPECT_FALSE(*os::TryFlock(lock.get(), true));
    }
    if (scope_.Asks("mutex")) {
      const int id = semget(Key(), 1, 0);
      EXPECT_EQ(semctl(id, 0, GETVAL), 1);
      EXPECT_EQ(semctl(id, 0, GETPID), child.pid());
    }
    if (scope_.Asks("port")) {
      const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const sockaddr_in address = Endpoint();
      EXPECT_NE(bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
      EXPECT_EQ(errno, EADDRINUSE);
    }
  }

  // Removes what earlier starts have made, so that the next one is the first. Gives the token after
  // which its token comes, which was `last`.
  std::uint64_t Forget(std::uint64_t last) const {
    // What the file layer makes is tried under `file` alone: it is slow, as one goes to the disk.
    if (scope_.Asks("file") && scope_.policy() != "file") {
      std::filesystem::remove(scope_.path() + "/candidates");
      return last;
    }
    testing::RemoveMutexObjects(scope_.path());
    std::filesystem::remove_all(scope_.path());
    return 0;
  }

  // Runs starts in which one call after the other fails.
  void FailEachCallOfAStart(bool first_of_its_name) const {
    CallByCall calls(CanFail);
    std::uint64_t last = 0;
    while (true) {
      if (first_of_its_name) last = Forget(last);
      const Answer answer;
      std::optional<Verdict> verdict;
      Traced child([&] {
        verdict.emplace(scope_.Acquire());
        // A token that is not durable claims no order.
        const auto* unique = std::get_if<Unique>(&*verdict);
        const bool in_order = unique == nullptr || unique->guard.token_is_durable();
        answer.Set(in_order ? Say(*verdict) : "unique without a durable token");
      });
      const std::vector<std::string> before = child.Descriptors();
      if (!calls.RunToNext(child)) break;
      SCOPED_TRACE(ToString(calls.call(), calls.object()));
      // Once the layers are taken the queue, which only gives order, opens the directory once more.
      const std::vector<std::string> open = child.Descriptors();
      const bool is_of_queue =
          calls.call().number == SYS_openat &&
          std::find(open.begin(), open.end(), scope_.Object("record")) != open.end();
      child.Fail(error());
      child.RunToEnd();

      if (answer.said().starts_with("unique")) {
        EXPECT_FALSE(IsNeeded(calls.call(), calls.object()) && !is_of_queue &&
                     !MakesRoom(calls.call(), calls.object()));
        ExpectExcludes(child);
      } else {
        EXPECT_FALSE(IsOptional(calls.call(), calls.object())) << answer.said();
        EXPECT_THAT(answer.said(), StartsWith("undetermined"));
        EXPECT_THAT(answer.said(), Explains(error(), calls.call()));
        EXPECT_THAT(child.Descriptors(), WithRegistration(scope_, child, before));
      }
      // A child that got nothing may live on. But if it could not even register, scan takes it for
      // what it is: an instance that runs unguarded.
      const bool in_the_way = scope_.Asks("scan") && !IsRegistered(scope_, child);
      if (answer.said().starts_with("unique") || in_the_way) child.Kill();
      const Start next(scope_);
      ASSERT_TRUE(next.unique()) << next.said();
      if (answer.token() != 0) {
        EXPECT_GT(answer.token(), last);
      }
      EXPECT_GT(next.token(), std::max(last, answer.token()));
      last = next.token();
    }
    EXPECT_GT(calls.visited(), kPlausibleCalls);
  }

  // What a look at each layer shows, a line for each.
  std::string Look(bool by_records) const {
    Options options{.scope = scope_.scope()};
    options.subject.unknown = by_records;
    const auto seen = Inspect(TestScope::kName, *Policy::Parse(scope_.policy()), options);
    std::string said;
    for (const Inspection::LayerSighting& layer : seen->layers) {
      absl::StrAppend(&said, said.empty() ? "" : "\n", Say(layer.sighting));
    }
    return said;
  }

  void FailEachCallOfALook(bool by_records) const {
    const Start mine(scope_);
    ASSERT_TRUE(mine.unique()) << mine.said();
    CallByCall calls(CanFail);
    while (true) {
      const Answer answer;
      Traced child([&] { answer.Set(Look(by_records)); });
      const std::vector<std::string> before = child.Descriptors();
      if (!calls.RunToNext(child)) break;
      SCOPED_TRACE(ToString(calls.call(), calls.object()));
      child.Fail(error());
      child.RunToEnd();
      const std::vector<std::string> lines = absl::StrSplit(answer.said(), '\n');
      for (const std::string& line : lines) {
        EXPECT_THAT(line, AnyOf(StartsWith("taken by"), StartsWith("unavailable")));
        if (line.starts_with("unavailable")) {
          EXPECT_THAT(line, Explains(error(), calls.call()));
        }
      }
      EXPECT_THAT(child.Descriptors(), UnorderedElementsAreArray(before)) << answer.said();
    }
    EXPECT_GT(calls.visited(), 10);
  }

  const TestScope scope_{std::get<std::string>(GetParam())};
};

INSTANTIATE_TEST_SUITE_P(
    Policy, FailingCall,
    ::testing::Combine(::testing::ValuesIn(testing::EachAnd({"all(file, scan)"})),
                       ::testing::ValuesIn(kErrors)),
    [](const auto& tested) {
      return absl::StrCat(TestNameOf(std::get<std::string>(tested.param)), "_",
                          std::get<Error>(tested.param).name);
    });

TEST_P(FailingCall, H14_InTheFirstStartOfAName) { FailEachCallOfAStart(true); }

TEST_P(FailingCall, H14_InALaterStart) {
  { ASSERT_TRUE(Start(scope_).unique()); }
  FailEachCallOfAStart(false);
}

TEST_P(FailingCall, H14_InAStartThatIsRefusedNeverMakesItUnique) {
  const Start mine(scope_);
  ASSERT_TRUE(mine.unique()) << mine.said();
  CallByCall calls(CanFail);
  while (true) {
    const Answer answer;
    Traced child([&] { answer.Set(Say(scope_.Acquire(absl::Milliseconds(10)))); });
    const std::vector<std::string> before = child.Descriptors();
    if (!calls.RunToNext(child)) break;
    SCOPED_TRACE(ToString(calls.call(), calls.object()));
    child.Fail(error());
    child.RunToEnd();
    EXPECT_THAT(answer.said(), AnyOf(StartsWith(absl::StrCat("duplicate ", mine.pid(), " ")),
                                     StartsWith("undetermined")));
    if (answer.said().starts_with("undetermined")) {
      EXPECT_THAT(answer.said(), Explains(error(), calls.call()));
    }
    EXPECT_THAT(child.Descriptors(), WithRegistration(scope_, child, before));
  }
  EXPECT_GT(calls.visited(), kPlausibleCalls);
  if (mine.guard() != nullptr) {
    EXPECT_TRUE(mine.guard()->Verify().ok());
  }
  const Start other(scope_, absl::Milliseconds(10));
  EXPECT_EQ(other.said(), absl::StrCat("duplicate ", mine.pid(), " established"));
}

TEST_P(FailingCall, H14_InALookIsNeverReadAsFree) { FailEachCallOfALook(false); }

// By somebody who does not know what runs as the instance, as `guardcheck status`: only scan asks.
using FailingCallOfScan = FailingCall;
INSTANTIATE_TEST_SUITE_P(Policy, FailingCallOfScan,
                         ::testing::Combine(::testing::Values("all(file, scan)"),
                                            ::testing::ValuesIn(kErrors)),
                         [](const auto& tested) { return std::get<Error>(tested.param).name; });

TEST_P(FailingCallOfScan, H14_InALookByRecordsIsNeverReadAsFree) { FailEachCallOfALook(true); }

TEST_P(FailingCall, H14_InAReleaseLeavesTheNameFree) {
  std::vector<std::string> nothing;
  {
    const Traced idle([] {});
    nothing = idle.Descriptors();
  }
  CallByCall calls(CanFail);
  while (true) {
    std::optional<Verdict> verdict;
    Traced child([&] { verdict.emplace(scope_.Acquire()); },
                 [&] { std::get<Unique>(*verdict).guard.Release(); });
    if (!calls.RunToNext(child)) break;
    SCOPED_TRACE(ToString(calls.call(), calls.object()));
    child.Fail(error());
    child.RunToEnd();
    EXPECT_THAT(child.Descriptors(), WithRegistration(scope_, child, nothing));
    const Start next(scope_, absl::Milliseconds(10));  // the child lives
    if (calls.call().number == SYS_semop || calls.call().number == SYS_semtimedop) {
      // Giving a semaphore back needs no memory and no right that taking it did not need. Should
      // the kernel refuse all the same, it stays taken, and says by whom, until the process ends.
      EXPECT_THAT(next.said(), AnyOf(StartsWith(absl::StrCat("duplicate ", child.pid(), " ")),
                                     HasSubstr(absl::StrCat("pid ", child.pid()))));
      child.Kill();
      EXPECT_TRUE(Start(scope_).unique());
    } else {
      EXPECT_TRUE(next.unique()) << next.said();
    }
  }
  EXPECT_GT(calls.visited(), 5);
}

}  // namespace
}  // namespace soleguard
