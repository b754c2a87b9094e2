// Memory that is not there. The program has an operator new of its own, and in each test the first,
// the second, the third … allocation of a call fails, each in a process of its own, until the call
// needs no more (of a call with many, one in several, and each one in the soak). It is right that
// the call throws std::bad_alloc. It is not right that the program ends, that a name stays taken, a
// descriptor open or a thread behind, or that what was held is not held any more.
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "soleguard/inspect.h"
#include "soleguard/options.h"
#include "soleguard/process.h"
#include "soleguard/send.h"
#include "support/child.h"
#include "support/kinds.h"
#include "support/shared.h"
#include "support/system_v.h"
#include "support/test_scope.h"

namespace {

// How many allocations are made before one fails; negative: none does. In memory that a test shares
// with its children.
std::atomic<std::atomic<std::int64_t>*> g_left{nullptr};
// Of the test's own thread, while no call is tried: its allocations do not count.
thread_local bool t_is_exempt = false;

void* Allocate(std::size_t size, std::size_t alignment = 0) {
  std::atomic<std::int64_t>* const left = t_is_exempt ? nullptr : g_left.load();
  if (left != nullptr && left->load() >= 0 && left->fetch_sub(1) == 0) throw std::bad_alloc();
  void* const memory =
      alignment == 0
          ? std::malloc(size == 0 ? 1 : size)
          : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) { return Allocate(size); }
void* operator new[](std::size_t size) { return Allocate(size); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return Allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return Allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace soleguard {
namespace {

using testing::Child;

bool BecomesSo(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

int CountIn(const char* directory) {
  return static_cast<int>(std::distance(std::filesystem::directory_iterator(directory), {}));
}

// Signals that the calling thread has blocked.
int BlockedSignals() {
  sigset_t blocked;
  (void)pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
  int count = 0;
  for (int signal = 1; signal < NSIG; ++signal) count += sigismember(&blocked, signal) == 1 ? 1 : 0;
  return count;
}

// The parameter: a policy.
class Allocation : public ::testing::TestWithParam<std::string> {
 protected:
  Allocation() : scope_(GetParam()) {
    *left_ = -1;
    g_left = &*left_;
    t_is_exempt = true;
  }
  ~Allocation() override { g_left = nullptr; }

  Verdict Acquire(Options options = {}) const {
    options.scope = scope_.scope();
    return Guard::Acquire(testing::TestScope::kName, policy(), options);
  }
  Policy policy() const { return *Policy::Parse(scope_.policy()); }

  // In the child: whether `call` threw as its allocation failed.
  bool Throws(const std::function<void()>& call) const {
    Arm();
    const bool threw = ThrowsWhileArmed(call);
    Disarm();
    return threw;
  }
  static bool ThrowsWhileArmed(const std::function<void()>& call) {
    bool threw = false;
    t_is_exempt = false;
    try {
      call();
    } catch (const std::bad_alloc&) {
      threw = true;
    }
    t_is_exempt = true;
    return threw;
  }
  // From here on the allocations of the library's threads count.
  void Arm() const { *left_ = number_ - 1; }
  void Disarm() const {
    const std::int64_t left = left_->exchange(-1);
    if (left < 0) {
      *reached_ = true;
    } else {
      *made_ = std::max(made_->load(), number_ - 1 - left);
    }
  }

  // Whether each allocation is made to fail, or one in several.
  virtual bool TriesEach() const { return false; }

  // Lets one allocation after the other fail that `body` makes between Arm and Disarm, each time in
  // a new child. `body` returns what is wrong, or nothing; then, while the child lives, so does
  // `look`, for another process.
  void FailEach(const std::function<std::string()>& body,
                const std::function<std::string()>& look) {
    std::vector<std::string> traces;
    const auto fail_one = [&] { FailOne(body, look, traces); };
    number_ = kNone;
    fail_one();
    if (HasFatalFailure()) return;
    traces.clear();
    constexpr std::int64_t kTried = 20;
    const std::int64_t step = TriesEach() ? 1 : 1 + *made_ / kTried;
    for (number_ = 1;; number_ += step) {
      fail_one();
      if (HasFatalFailure()) return;
      if (!*reached_) break;
    }
    for (std::size_t i = 0; i < traces.size(); ++i) {
      EXPECT_EQ(traces[i], traces.back())
          << "allocation " << 1 + static_cast<std::int64_t>(i) * step;
    }
    std::cout << traces.size() - 1 << " of " << *made_ << " allocations; " << traces.back() << "\n";
  }

  // One child, and in `traces` what it has left.
  void FailOne(const std::function<std::string()>& body, const std::function<std::string()>& look,
               std::vector<std::string>& traces) const {
    *reached_ = false;
    const Child child([&] {
      std::string wrong = body();
      const bool alone = BecomesSo([] { return CountIn("/proc/self/task") == 1; });
      return absl::StrCat(wrong.empty() ? "" : "wrong: " + wrong, alone ? "" : "a thread is left; ",
                          BlockedSignals(), " blocked signals, ", CountIn("/proc/self/fd"),
                          " descriptors");
    });
    ASSERT_FALSE(child.answer().empty()) << "allocation " << number_ << " ended the process";
    ASSERT_FALSE(absl::StartsWith(child.answer(), "wrong: "))
        << "allocation " << number_ << ": " << child.answer();
    const std::string seen = look();
    *left_ = -1;
    ASSERT_EQ(seen, "") << "allocation " << number_;
    traces.push_back(child.answer());
  }

  // Whether another process than the child finds the name free, or the child's.
  std::string FreeForOthers() const {
    const Verdict verdict = Acquire();
    return testing::IsUnique(verdict) ? "" : "not free for others: " + testing::Say(verdict);
  }
  std::string TakenForOthers() const {
    const Verdict verdict = Acquire();
    return testing::IsDuplicate(verdict) ? "" : "not taken for others: " + testing::Say(verdict);
  }

  // The answer to a message.
  std::string Sent() const {
    const absl::StatusOr<Answer> answer =
        Send("x", policy(), {.scope = scope_.scope()}, {.payload = "got"}, kLong);
    return answer.ok() ? answer->text : answer.status().ToString();
  }
  // A file that a look puts right.
  std::string AnObject() const {
    if (scope_.policy() == "mutex") return scope_.Object("end.mutex");
    return scope_.policy() == "port" ? scope_.Object("record.port") : scope_.Object("record");
  }

  // What is tried.
  void OfAStart(), OfAStartWhoseClaimIsHandedOn(), OfAStartThatIsRefused(), OfAStartThatWaits(),
      OfALook(), OfARelease(), OfADestructor(), OfADestructorWithAllThatAGuardCanHave(),
      OfAVerify(), OfHandingOn(), OfSideFiles(), OfAWatch(), OfARepair(), OfARepairInVain(),
      OfARepairOfWhatIsGone(), OfReceiving(), OfAnAnswer(), OfSending(), OfAnnouncing();

  static constexpr std::int64_t kNone = std::int64_t{1} << 40;  // more than are ever made
  static constexpr absl::Duration kLong = absl::Seconds(20);
  const testing::TestScope scope_;
  testing::Shared<std::atomic<std::int64_t>> left_;
  testing::Shared<std::atomic<bool>> reached_;
  testing::Shared<std::atomic<std::int64_t>> made_;  // the most that one call needed
  std::int64_t number_ = 0;
};

// Hundreds of children for each call.
class AllocationSoakTest : public Allocation {
 protected:
  bool TriesEach() const override { return true; }
};

std::string NameOf(const ::testing::TestParamInfo<std::string>& policy) {
  return testing::TestNameOf(policy.param);
}

void Allocation::OfAStart() {
  FailEach(
      [this]() -> std::string {
        {
          std::optional<Verdict> verdict;
          const bool threw = Throws([&] { verdict.emplace(Acquire()); });
          if (!threw && !testing::IsUnique(*verdict)) return testing::Say(*verdict);
        }
        // Before this process, whose own records refuse it nothing, takes it once more.
        const Child other([this] { return FreeForOthers(); });
        if (!other.answer().empty()) return other.answer();
        const Verdict again = Acquire();
        return testing::IsUnique(again) ? "" : "not free any more: " + testing::Say(again);
      },
      [this] { return FreeForOthers(); });
}

void Allocation::OfAStartWhoseClaimIsHandedOn() {
  FailEach(
      [this]() -> std::string {
        {
          std::optional<Verdict> verdict;
          (void)Throws([&] { verdict.emplace(Acquire({.hand_on = true})); });
        }
        const Verdict again = Acquire();
        return testing::IsUnique(again) ? "" : "not free any more: " + testing::Say(again);
      },
      [this] { return FreeForOthers(); });
}

void Allocation::OfAStartThatIsRefused() {
  const Verdict mine = Acquire();
  ASSERT_TRUE(testing::IsUnique(mine)) << testing::Say(mine);
  FailEach(
      [this]() -> std::string {
        std::optional<Verdict> verdict;
        const bool threw = Throws([&] { verdict.emplace(Acquire()); });
        if (!threw && !testing::IsDuplicate(*verdict)) return testing::Say(*verdict);
        verdict.reset();
        const Verdict again = Acquire();
        return testing::IsDuplicate(again) ? "" : testing::Say(again);
      },
      [&] { return std::string(std::get<Unique>(mine).guard.Verify().message()); });
}

// It stands in line before it is refused, and not any more after that.
void Allocation::OfAStartThatWaits() {
  FailEach(
      [this]() -> std::string {
        const Child holder([this] {
          static Verdict verdict = Acquire();
          return testing::Say(verdict);
        });
        std::optional<Verdict> verdict;
        (void)Throws([&] { verdict.emplace(Acquire({.wait = absl::Microseconds(1)})); });
        return "";
      },
      [this] { return FreeForOthers(); });
}

void Allocation::OfALook() {
  const Verdict mine = Acquire();
  FailEach(
      [this]() -> std::string {
        (void)Throws([&] { (void)Inspect("x", policy(), {.scope = scope_.scope()}); });
        (void)Throws([&] { (void)Check("x", policy(), {.scope = scope_.scope()}); });
        return "";
      },
      [&] { return std::string(std::get<Unique>(mine).guard.Verify().message()); });
}

void Allocation::OfARelease() {
  FailEach(
      [this]() -> std::string {
        const Verdict verdict = Acquire();
        auto& guard = const_cast<Guard&>(std::get<Unique>(verdict).guard);
        return Throws([&] { guard.Release(); }) ? "it threw" : "";
      },
      [this] { return FreeForOthers(); });
}

void Allocation::OfADestructor() {
  FailEach(
      [this]() -> std::string {
        std::optional<Verdict> verdict = Acquire();
        (void)Throws([&] { verdict.reset(); });
        return "";
      },
      [this] { return FreeForOthers(); });
}

// Of one that is watched, receives, has written side files and handed its claim on.
void Allocation::OfADestructorWithAllThatAGuardCanHave() {
  FailEach(
      [this]() -> std::string {
        std::optional<Verdict> verdict = Acquire({.hand_on = true});
        Guard& guard = std::get<Unique>(*verdict).guard;
        const std::string file = scope_.directory() / "pid";
        if (!guard.WriteSideFiles({.pid_file = file, .info_file = {}}).ok()) return "no side file";
        if (!guard.Watch([](const Incident&) {}).ok()) return "no watch";
        if (!guard.Receive([](const Sender&, const Message&) { return Answer{}; }).ok()) {
          return "no inbox";
        }
        (void)guard.ShareWithChild();
        (void)Throws([&] { verdict.reset(); });
        return "";
      },
      [this] { return FreeForOthers(); });
}

void Allocation::OfAVerify() {
  FailEach(
      [this]() -> std::string {
        static Verdict verdict = Acquire();
        const Guard& guard = std::get<Unique>(verdict).guard;
        absl::Status first;
        (void)Throws([&] { first = guard.Verify(); });
        if (!first.ok()) return std::string(first.message());
        return std::string(guard.Verify().message());
      },
      [this] { return TakenForOthers(); });
}

void Allocation::OfHandingOn() {
  FailEach(
      [this]() -> std::string {
        Verdict verdict = Acquire({.hand_on = true});
        Guard& guard = std::get<Unique>(verdict).guard;
        (void)Throws([&] {
          (void)guard.ShareWithChild();
          (void)guard.Follow(*OwnIdentity());
          (void)guard.KeepOverExec();
        });
        const absl::Status verified = guard.Verify();
        return std::string(verified.message());
      },
      [this] { return FreeForOthers(); });
}

void Allocation::OfSideFiles() {
  const std::string directory = scope_.directory() / "files";
  std::filesystem::create_directory(directory);
  FailEach(
      [&]() -> std::string {
        Verdict verdict = Acquire();
        Guard& guard = std::get<Unique>(verdict).guard;
        (void)Throws([&] {
          (void)guard.WriteSideFiles(
              {.pid_file = directory + "/pid", .info_file = directory + "/info"});
        });
        return std::string(guard.Verify().message());
      },
      [&] {
        const std::string left =
            std::filesystem::is_empty(directory)
                ? ""
                : "a side file is left: " +
                      std::filesystem::directory_iterator(directory)->path().string();
        std::filesystem::remove_all(directory);
        std::filesystem::create_directory(directory);
        return left.empty() ? FreeForOthers() : left;
      });
}

// Also in the watch's own thread, while it looks and mends.
void Allocation::OfAWatch() {
  FailEach(
      [this]() -> std::string {
        Verdict verdict = Acquire();
        Guard& guard = std::get<Unique>(verdict).guard;
        const auto watch = [&] { return guard.Watch([](const Incident&) {}); };
        absl::Status watched;
        const std::string object = AnObject();
        Arm();
        const bool threw = ThrowsWhileArmed([&] { watched = watch(); });
        if (!threw) std::filesystem::remove(object);
        if (!threw && !BecomesSo([&] { return std::filesystem::exists(object); })) {
          return "it was not mended";
        }
        Disarm();
        if (threw) watched = watch();
        if (absl::IsAlreadyExists(watched)) return std::string(watched.message());
        return std::string(guard.Verify().message());
      },
      [this] { return FreeForOthers(); });
}

void Allocation::OfARepair() {
  FailEach(
      [this]() -> std::string {
        static Verdict verdict = Acquire();
        Guard& guard = std::get<Unique>(verdict).guard;
        const std::string object = AnObject();
        std::filesystem::remove(object);
        std::size_t found = 0;
        (void)Throws([&] { found += guard.Repair().size(); });
        found += guard.Repair().size();
        if (!std::filesystem::exists(object)) return "it was not mended";
        if (found == 0) return "it was mended and not said";
        return std::string(guard.Verify().message());
      },
      [this] { return TakenForOthers(); });
}

// What cannot be put right is told once, by whichever look has the memory for that.
void Allocation::OfARepairInVain() {
  FailEach(
      [this]() -> std::string {
        static Verdict verdict = Acquire();
        Guard& guard = std::get<Unique>(verdict).guard;
        const std::string object = AnObject();
        std::filesystem::remove(object);
        std::filesystem::create_directories(object + "/in-the-way");
        std::size_t told = 0;
        (void)Throws([&] { told += guard.Repair().size(); });
        told += guard.Repair().size();
        std::filesystem::remove_all(object);
        return told == 1 ? "" : absl::StrCat("it was told ", told, " times");
      },
      [this] { return TakenForOthers(); });
}

// A claim that is gone wholly is taken anew.
void Allocation::OfARepairOfWhatIsGone() {
  FailEach(
      [this]() -> std::string {
        static Verdict verdict = Acquire();
        Guard& guard = std::get<Unique>(verdict).guard;
        std::filesystem::remove_all(scope_.path() + "/names");
        testing::RemoveMutexObjects(scope_.directory().path());
        (void)Throws([&] { (void)guard.Repair(); });
        (void)guard.Repair();
        return std::string(guard.Verify().message());
      },
      [this] { return TakenForOthers(); });
}

void Allocation::OfReceiving() {
  FailEach(
      [this]() -> std::string {
        Verdict verdict = Acquire();
        Guard& guard = std::get<Unique>(verdict).guard;
        const auto receive = [&] {
          return guard.Receive([](const Sender&, const Message&) { return Answer{.text = "got"}; });
        };
        absl::Status receives;
        if (Throws([&] { receives = receive(); })) receives = receive();
        if (!receives.ok()) return std::string(receives.message());
        const Child sender([this] { return Sent(); });
        if (sender.answer() != "got") return sender.answer();
        guard.Release();
        return std::filesystem::exists(scope_.Object("inbox")) ? "the inbox is left" : "";
      },
      [this] { return FreeForOthers(); });
}

// In the thread that serves: at most that message is lost.
void Allocation::OfAnAnswer() {
  FailEach(
      [this]() -> std::string {
        Verdict verdict = Acquire();
        Guard& guard = std::get<Unique>(verdict).guard;
        const absl::Status receives = guard.Receive(
            [](const Sender&, const Message& message) { return Answer{.text = message.payload}; });
        if (!receives.ok()) return std::string(receives.message());
        Arm();
        const Child first([this] { return Sent(); });
        Disarm();
        const Child second([this] { return Sent(); });
        return second.answer() == "got" ? "" : "the next one: " + second.answer();
      },
      [this] { return FreeForOthers(); });
}

void Allocation::OfSending() {
  // In a process of its own: what it allocates is not the sender's.
  const Child holder([this] {
    g_left = nullptr;
    static Verdict verdict = Acquire();
    const absl::Status receives = std::get<Unique>(verdict).guard.Receive(
        [](const Sender&, const Message& message) { return Answer{.text = message.payload}; });
    return absl::StrCat("receives ", receives.ToString());
  });
  ASSERT_EQ(holder.answer(), "receives OK");
  FailEach(
      [this]() -> std::string {
        (void)Throws([&] { (void)Send("x", policy(), {.scope = scope_.scope()}, {}, kLong); });
        return "";
      },
      [this] { return Sent() == "got" ? "" : Sent(); });
}

void Allocation::OfAnnouncing() {
  FailEach(
      [this]() -> std::string {
        const Options options{.scope = scope_.scope()};
        (void)Throws([&] { (void)Announce("x", options); });
        return std::string(Announce("x", options).message());
      },
      [this] { return FreeForOthers(); });
}

#define SOLEGUARD_ALLOCATION_TEST(name) \
  TEST_P(Allocation, name) { name(); }  \
  TEST_P(AllocationSoakTest, name) { name(); }

// Forks beside a thread, which may have the sanitizer's allocator locked.
#ifdef __SANITIZE_ADDRESS__
#define SOLEGUARD_ALLOCATION_TEST_WITH_THREADS(name)
#else
#define SOLEGUARD_ALLOCATION_TEST_WITH_THREADS(name) SOLEGUARD_ALLOCATION_TEST(name)
#endif

SOLEGUARD_ALLOCATION_TEST(OfAStart)
SOLEGUARD_ALLOCATION_TEST(OfAStartWhoseClaimIsHandedOn)
SOLEGUARD_ALLOCATION_TEST(OfAStartThatIsRefused)
SOLEGUARD_ALLOCATION_TEST(OfAStartThatWaits)
SOLEGUARD_ALLOCATION_TEST(OfALook)
SOLEGUARD_ALLOCATION_TEST(OfARelease)
SOLEGUARD_ALLOCATION_TEST(OfADestructor)
SOLEGUARD_ALLOCATION_TEST(OfADestructorWithAllThatAGuardCanHave)
SOLEGUARD_ALLOCATION_TEST(OfAVerify)
SOLEGUARD_ALLOCATION_TEST(OfHandingOn)
SOLEGUARD_ALLOCATION_TEST(OfARepairOfWhatIsGone)
SOLEGUARD_ALLOCATION_TEST_WITH_THREADS(OfReceiving)
SOLEGUARD_ALLOCATION_TEST_WITH_THREADS(OfAnAnswer)
SOLEGUARD_ALLOCATION_TEST(OfSending)
SOLEGUARD_ALLOCATION_TEST(OfAnnouncing)
SOLEGUARD_ALLOCATION_TEST(OfSideFiles)
SOLEGUARD_ALLOCATION_TEST(OfARepair)
SOLEGUARD_ALLOCATION_TEST(OfARepairInVain)
SOLEGUARD_ALLOCATION_TEST(OfAWatch)

// And each kind that a server decides, beside a file.
std::vector<std::string> Policies() {
  std::vector<std::string> policies;
  for (const LayerKind& kind : testing::Kinds()) {
    const std::string name(kind.name);
    if (!kind.observer)
      policies.push_back(kind.remote ? absl::StrCat("all(file, ", name, ")") : name);
  }
  policies.emplace_back("all(file, mutex, port)");
  return policies;
}

INSTANTIATE_TEST_SUITE_P(Policies, Allocation, ::testing::ValuesIn(Policies()), &NameOf);
INSTANTIATE_TEST_SUITE_P(Policies, AllocationSoakTest, ::testing::ValuesIn(Policies()), &NameOf);

}  // namespace
}  // namespace soleguard
