// A program that was started without some of its standard descriptors, as daemons are, or closes
// them later: nothing of ours is ever at their numbers, so that what it logs goes into no claim,
// and what it closes is none.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/time/time.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/conflict.h"
#include "soleguard/guard.h"
#include "soleguard/inspect.h"
#include "soleguard/name.h"
#include "soleguard/names.h"
#include "soleguard/options.h"
#include "soleguard/queue.h"
#include "soleguard/send.h"
#include "support/child.h"
#include "support/kinds.h"
#include "support/test_scope.h"

namespace soleguard {
namespace {

using testing::TestScope;

constexpr char kDefault[] = "all(file, mutex, port)";
constexpr char kStrict[] = "all(file, mutex, port, scan(env=\"NO=BODY\"))";

std::string Content(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// What the three standard descriptors are: open files, or nothing.
class Standard {
 public:
  Standard() {
    for (int fd = 0; fd < 3; ++fd) {
      struct stat status = {};
      if (fstat(fd, &status) == 0) files_.at(fd).emplace(status.st_dev, status.st_ino);
    }
  }
  friend bool operator==(const Standard&, const Standard&) = default;

 private:
  std::array<std::optional<std::pair<dev_t, ino_t>>, 3> files_;
};

// As a daemon does, with what it believes to be its standard descriptors.
void LogSomething() {
  for (int fd = 1; fd < 3; ++fd) (void)!write(fd, "the program says something\n", 27);
}

class StandardDescriptors : public ::testing::TestWithParam<std::tuple<std::string, unsigned>> {
 protected:
  const std::string& policy() const { return std::get<0>(GetParam()); }
  bool IsClosed(int fd) const { return (std::get<1>(GetParam()) >> fd & 1U) != 0; }
  // The others are of no use to anybody: what is logged is not to be seen.
  void CloseSome() const {
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3; ++fd) {
      if (IsClosed(fd)) {
        (void)close(fd);
      } else {
        (void)dup2(null, fd);
      }
    }
    (void)close(null);
  }
  // By a child, as Boost.Process would use the free numbers itself.
  bool AnotherIsRefused() const {
    return testing::InChild([this] { return testing::Say(scope_.Acquire()); })
        .starts_with("duplicate");
  }
  const TestScope scope_{policy()};
};

TEST_P(StandardDescriptors, H40_R3_StdDescriptors) {
  // Says after which call something was below 3, or that did not stand.
  const std::string said = testing::InChild([this]() -> std::string {
    CloseSome();
    const Standard before;
    std::string wrong;
    const auto after = [&](const std::string& call, bool well = true) {
      if (!(Standard() == before)) absl::StrAppend(&wrong, " below 3 after ", call);
      if (!well) absl::StrAppend(&wrong, " wrong: ", call);
      LogSomething();
    };
    const Policy policy = *Policy::Parse(this->policy());
    const Options options{.scope = scope_.scope()};
    after("Announce", Announce(TestScope::kName, options).ok());
    Verdict verdict = scope_.Acquire();
    after("Acquire", testing::IsUnique(verdict));
    if (!testing::IsUnique(verdict)) return testing::Say(verdict);
    Guard& guard = std::get<Unique>(verdict).guard;
    after("Verify", guard.Verify().ok());
    after("Repair", guard.Repair().empty());
    after("Receive", guard.Receive([](const Sender&, const Message&) { return Answer{}; }).ok());
    after("Watch", guard.Watch([](const Incident&) {}, absl::Minutes(1)).ok());
    after("Repair", guard.Repair().empty());  // waits for the first look of the watch
    after("WriteSideFiles",
          guard.WriteSideFiles({.pid_file = scope_.directory() / "pid", .info_file = ""}).ok());
    {
      const auto shared = guard.ShareWithChild();
      after("ShareWithChild");
    }
    after("Send", Send(TestScope::kName, policy, options, {}, absl::Seconds(20)).ok());
    after("Inspect", Inspect(TestScope::kName, policy, options).ok());
    after("Check", Check(TestScope::kName, policy, options).ok());
    after("KnownNames", KnownNames(scope_.scope()).ok());
    (void)guard.ReportConflict("");
    after("ReportConflict");
    {
      const auto queue = MakeQueue(scope_.scope(), *InstanceName::Parse(TestScope::kName));
      after("Join", queue->Join(Queue::Line::kStandbys).ok());
    }
    after("a start by another", AnotherIsRefused());
    after("KeepOverExec", guard.KeepOverExec().ok());
    after("Verify at last", guard.Verify().ok());
    if (scope_.Asks("file") && Content(scope_.Object("lock")).find("says") != std::string::npos) {
      absl::StrAppend(&wrong, " written into the lock file");
    }
    guard.Release();
    after("Release", testing::IsUnique(scope_.Acquire()));
    return wrong.empty() ? "well" : wrong;
  });
  EXPECT_EQ(said, "well");
}

// The rest of daemon(3), after the claim was taken: it stands, and nobody's file is written.
TEST_P(StandardDescriptors, H40_ADaemonsFirstStepsAfterwardsTakeNothing) {
  const std::string log = scope_.directory() / "log";
  const std::string said = testing::InChild([&]() -> std::string {
    CloseSome();
    Verdict verdict = scope_.Acquire();
    if (!testing::IsUnique(verdict)) return testing::Say(verdict);
    Guard& guard = std::get<Unique>(verdict).guard;
#ifndef __SANITIZE_ADDRESS__  // AnotherIsRefused forks: a thread may have its allocator locked
    if (!guard.Watch([](const Incident&) {}, absl::Minutes(1)).ok()) return "not watched";
#endif
    (void)chdir("/");
    (void)umask(0);
    for (int fd = 0; fd < 3; ++fd) (void)close(fd);
    const int null = open(log.c_str(), O_RDWR | O_CREAT, 0600);
    if (null != 0) return "0 was not free";
    (void)dup2(null, 1);
    (void)dup2(null, 2);
    LogSomething();
    if (!guard.Repair().empty()) return "something was lost";
    if (!guard.Verify().ok()) return guard.Verify().ToString();
    if (!AnotherIsRefused()) return "two run";
    guard.Release();
    LogSomething();
    return testing::IsUnique(scope_.Acquire()) ? "well" : "not free";
  });
  EXPECT_EQ(said, "well");
  std::string text;
  for (int i = 0; i < 4; ++i) text += "the program says something\n";
  EXPECT_EQ(Content(log), text);
}

INSTANTIATE_TEST_SUITE_P(
    Subsets, StandardDescriptors,
    ::testing::Combine(::testing::ValuesIn(testing::EachAnd({kDefault, kStrict})),
                       ::testing::Values(1U, 2U, 3U, 4U, 5U, 6U, 7U)),
    [](const auto& test) {
      const std::string& policy = std::get<0>(test.param);
      std::string name = policy == kDefault ? "default" : policy == kStrict ? "strict" : policy;
      for (int fd = 0; fd < 3; ++fd) {
        if ((std::get<1>(test.param) >> fd & 1U) != 0) absl::StrAppend(&name, "_", fd);
      }
      return name;
    });

}  // namespace
}  // namespace soleguard
