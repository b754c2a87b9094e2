// One clock bounds one wait: the caller's. Whatever is in the way, under whichever policy, a start
// has its verdict when the time that it was given is over, also with a dozen of them at once.
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_split.h>
#include <absl/time/clock.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "members.h"
#include "soleguard/guard.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/options.h"
#include "soleguard/patience.h"
#include "soleguard/process.h"
#include "soleguard/queue.h"
#include "support/child.h"
#include "support/dying.h"
#include "support/served_filesystem.h"
#include "support/sockets.h"
#include "support/temp_dir.h"
#include "support/test_scope.h"

namespace soleguard {
namespace {

using testing::Child;
using ::testing::HasSubstr;

// What a busy machine may add. What is tested against it are minutes.
constexpr absl::Duration kScheduling = absl::Seconds(20);
constexpr absl::Duration kFar = absl::Minutes(2);

// What is in the way of the name "x" in a scope.
class Obstacle {
 public:
  Obstacle() = default;
  Obstacle(const Obstacle&) = delete;
  Obstacle& operator=(const Obstacle&) = delete;
  virtual ~Obstacle() = default;
  const std::string& unusable() const { return unusable_; }  // empty: it is in the way
  Scope scope() const { return *Scope::Directory(scope_); }
  const std::string& policy() const { return policy_; }

 protected:
  void Stop(const Child& child) {
    (void)kill(child.pid(), SIGSTOP);
    int status = 0;
    if (waitpid(child.pid(), &status, WUNTRACED) != child.pid() || !WIFSTOPPED(status)) {
      unusable_ = "a child cannot be stopped";
    }
  }
  InstanceName name() const { return *InstanceName::Parse("x"); }

  const testing::TempDir directory_;
  std::string scope_ = directory_ / "scope";
  std::string policy_ = "file";
  std::string unusable_;
};

class ForeignListener final : public Obstacle {
 public:
  ForeignListener() : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const general = reinterpret_cast<sockaddr*>(&address);
    if (bind(socket_.get(), general, size) != 0 || listen(socket_.get(), 1) != 0 ||
        getsockname(socket_.get(), general, &size) != 0) {
      unusable_ = "cannot listen";
    }
    policy_ = absl::StrCat("port(", ntohs(address.sin_port), ")");
  }

 private:
  const UniqueFd socket_;
};

// Has the layer and has written its record, and will not decide.
class FrozenCandidate final : public Obstacle {
 public:
  explicit FrozenCandidate(std::string policy) {
    policy_ = std::move(policy);
    child_ = std::make_unique<Child>([this] {
      const Policy parsed = *Policy::Parse(policy_);
      static auto layers = MakeLayers(parsed, {.scope = scope()}, name());
      static Attempt attempt =
          layers.front()->Try(Candidate(name(), parsed, scope(), *DescribeSelf()));
      return std::string(std::holds_alternative<Held>(attempt) ? "held" : "not held");
    });
    if (child_->answer() != "held") unusable_ = "the layer cannot be held: " + child_->answer();
    Stop(*child_);
  }

 private:
  std::unique_ptr<Child> child_;
};

class EstablishedHolder final : public Obstacle {
 public:
  explicit EstablishedHolder(std::string policy) {
    policy_ = std::move(policy);
    child_ = std::make_unique<Child>([this] {
      static Verdict verdict = Guard::Acquire("x", *Policy::Parse(policy_), {.scope = scope()});
      return testing::Say(verdict);
    });
    if (!child_->answer().starts_with("unique")) unusable_ = child_->answer();
  }

 private:
  std::unique_ptr<Child> child_;
};

class DyingHolder final : public Obstacle {
 public:
  DyingHolder()
      : child_([this] {
          static Verdict verdict = Guard::Acquire("x", *Policy::Parse("file"), {.scope = scope()});
          return testing::Say(verdict);
        }),
        dying_(child_.pid()) {
    unusable_ = dying_.unusable();
  }

 private:
  Child child_;
  testing::Dying dying_;
};

// Has the lock, and no record says that it has.
class UnknownLocker final : public Obstacle {
 public:
  UnknownLocker() {
    const std::string said = testing::InChild([this] {
      return testing::Say(Guard::Acquire("x", *Policy::Parse("file"), {.scope = scope()}));
    });
    if (!said.starts_with("unique")) unusable_ = said;
    child_ = std::make_unique<Child>([this] {
      const std::string path = absl::StrCat(scope_, "/names/x");
      static const UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      return std::string(flock(fd.get(), LOCK_EX | LOCK_NB) == 0 ? "locked" : "not locked");
    });
    if (child_->answer() != "locked") unusable_ = child_->answer();
  }

 private:
  std::unique_ptr<Child> child_;
};

// Is first in line, and does not come when it is its turn.
class FrozenHead final : public Obstacle {
 public:
  FrozenHead()
      : child_([this] {
          static const std::unique_ptr<Queue> queue = MakeQueue(scope(), name());
          return std::string(queue->Join(Queue::Line::kStandbys).ok() ? "stands" : "does not");
        }) {
    if (child_.answer() != "stands") unusable_ = "nobody stands in line";
    Stop(child_);
  }

 private:
  Child child_;
};

class SilentServer final : public Obstacle {
 public:
  SilentServer() {
    unusable_ = served_.unusable();
    if (!unusable_.empty()) return;
    scope_ = served_.mount_point() + "/scope";
    served_.server().Signal(SIGSTOP);
    served_.server().WaitUntilStopped();
  }
  ~SilentServer() override {
    if (served_.unusable().empty()) served_.server().Signal(SIGCONT);
  }

 private:
  testing::ServedFilesystem served_;
};

struct Case {
  const char* name;
  std::function<std::unique_ptr<Obstacle>()> make;
  // Ends by the holder's end only, so that the wait is used up.
  bool lasts = true;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class OneClockTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    obstacle_ = GetParam().make();
    if (!obstacle_->unusable().empty()) GTEST_SKIP() << obstacle_->unusable();
  }
  // How long it takes to a verdict, which is no Unique.
  absl::StatusOr<absl::Duration> TimeOf(const Options& options) const {
    const absl::Time begin = absl::Now();
    const Verdict verdict = Guard::Acquire("x", *Policy::Parse(obstacle_->policy()), options);
    const absl::Duration took = absl::Now() - begin;
    if (!std::holds_alternative<Unique>(verdict)) return took;
    return absl::InternalError("it is unique");
  }
  // The other times are far away: they do not decide.
  Options Waits(absl::Duration wait) const {
    return {.scope = obstacle_->scope(), .deadline = kFar, .settle = kFar, .wait = wait};
  }

  std::unique_ptr<Obstacle> obstacle_;
};

TEST_P(OneClockTest, H23_AWaitBoundsAllOfAStart) {
  for (const absl::Duration wait : {absl::Milliseconds(1), absl::Milliseconds(200),
                                    absl::Milliseconds(500), absl::Seconds(3)}) {
    const absl::StatusOr<absl::Duration> took = TimeOf(Waits(wait));
    ASSERT_TRUE(took.ok()) << took.status();
    EXPECT_LT(*took, wait + kScheduling);
    if (GetParam().lasts) {
      EXPECT_GE(*took, wait);
    }
  }
}

TEST_P(OneClockTest, H23_WithoutAWaitTheDeadlineDoes) {
  const absl::StatusOr<absl::Duration> took = TimeOf({.scope = obstacle_->scope(),
                                                      .deadline = absl::Seconds(1),
                                                      .settle = absl::Milliseconds(100)});
  ASSERT_TRUE(took.ok()) << took.status();
  EXPECT_LT(*took, absl::Seconds(1) + kScheduling);
}

TEST_P(OneClockTest, H23_ADozenAtOnceEachHaveTheirTime) {
  constexpr int kStarts = 12;
  const absl::Duration wait = absl::Milliseconds(500);
  std::array<int, 2> pipe_ends = {};
  ASSERT_EQ(pipe(pipe_ends.data()), 0);
  const UniqueFd read_end(pipe_ends[0]);
  UniqueFd write_end(pipe_ends[1]);
  std::vector<pid_t> starts;
  for (int i = 0; i < kStarts; ++i) {
    starts.push_back(fork());
    if (starts.back() != 0) continue;
    const absl::StatusOr<absl::Duration> took = TimeOf(Waits(wait));
    const std::string line =
        took.ok() ? absl::StrCat(absl::ToInt64Milliseconds(*took), "\n") : "-1\n";
    _exit(write(write_end.get(), line.data(), line.size()) > 0 ? 0 : 1);
  }
  write_end.reset();
  std::string text;
  for (char byte = 0; read(read_end.get(), &byte, 1) == 1;) text += byte;
  for (const pid_t start : starts) EXPECT_EQ(waitpid(start, nullptr, 0), start);
  std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  EXPECT_EQ(lines.size(), std::size_t{kStarts});
  for (const std::string& line : lines) {
    int milliseconds = 0;
    ASSERT_TRUE(absl::SimpleAtoi(line, &milliseconds));
    EXPECT_GE(milliseconds, 0) << "it is unique";
    EXPECT_LT(absl::Milliseconds(milliseconds), wait + kScheduling);
  }
}

template <typename Made, typename... Arguments>
std::function<std::unique_ptr<Obstacle>()> Of(Arguments... arguments) {
  return [arguments...] { return std::make_unique<Made>(arguments...); };
}

INSTANTIATE_TEST_SUITE_P(
    Obstacles, OneClockTest,
    ::testing::Values(Case{"AForeignListener", Of<ForeignListener>()},
                      Case{"AFrozenCandidateOfFile", Of<FrozenCandidate>("file")},
                      Case{"AFrozenCandidateOfMutex", Of<FrozenCandidate>("mutex")},
                      Case{"AFrozenCandidateOfPort", Of<FrozenCandidate>("port")},
                      Case{"ADyingHolder", Of<DyingHolder>()},
                      Case{"ALockerThatNoRecordNames", Of<UnknownLocker>()},
                      Case{"AHolderOfFile", Of<EstablishedHolder>("file")},
                      Case{"AHolderOfMutex", Of<EstablishedHolder>("mutex")},
                      Case{"AHolderOfPort", Of<EstablishedHolder>("port")},
                      Case{"AHolderOfThree", Of<EstablishedHolder>("all(file, mutex, port)")},
                      Case{"AFrozenHeadOfTheLine", Of<FrozenHead>()},
                      Case{"AFilesystemWhoseServerIsSilent", Of<SilentServer>(), false}),
    [](const auto& of) { return std::string(of.param.name); });

// P1: what was counted in tries took as long as the machine was busy: 16 of them, while the wait
// for whoever may be one of ours is a time. Here it is shorter than 16 tries on any machine.
TEST(P1_ForeignListenerUnderLoad, H17_IsNamedHoweverFewTriesThereWereTimeFor) {
  const ForeignListener listener;
  ASSERT_EQ(listener.unusable(), "");
  for (const absl::Duration settle :
       {absl::Milliseconds(1), absl::Milliseconds(20), absl::Milliseconds(100)}) {
    const Verdict verdict = Guard::Acquire("x", *Policy::Parse(listener.policy()),
                                           {.scope = listener.scope(), .settle = settle});
    EXPECT_THAT(testing::Say(verdict), HasSubstr(absl::StrCat("pid ", getpid())));
    EXPECT_THAT(testing::Say(verdict), HasSubstr("which is not an instance"));
  }
}

TEST(P1_ForeignListenerUnderLoad, H17_ADozenStartsAtOnceNameIt) {
  const ForeignListener listener;
  ASSERT_EQ(listener.unusable(), "");
  std::vector<std::unique_ptr<testing::Claimant>> starts;
  for (int i = 0; i < 12; ++i) {
    starts.push_back(std::make_unique<testing::Claimant>(testing::Claimant::Setup{
        .scope = listener.scope().directory(), .policy = listener.policy()}));
  }
  for (const auto& start : starts) {
    EXPECT_THAT(start->verdict(), HasSubstr("which is not an instance"));
  }
}

// What waits for a server has the caller's time too, and a name service is one.
TEST(PatienceTest, TheOneThatEndsFirstCounts) {
  EXPECT_EQ(Patience::Left(), Patience::kMost);
  {
    const Patience outer(absl::Milliseconds(500));
    EXPECT_LE(Patience::Left(), absl::Milliseconds(500));
    {
      const Patience inner(absl::InfiniteDuration());
      EXPECT_LE(Patience::Left(), absl::Milliseconds(500));
      const Patience innermost(-absl::Seconds(1));
      EXPECT_EQ(Patience::Left(), absl::ZeroDuration());
    }
    EXPECT_GT(Patience::Left(), absl::ZeroDuration());
  }
  EXPECT_EQ(Patience::Left(), Patience::kMost);
}

}  // namespace
}  // namespace soleguard
