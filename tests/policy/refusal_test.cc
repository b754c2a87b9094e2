// How far a start goes that an established holder refuses, by the system calls that it makes.
#include <sys/syscall.h>

#include <cctype>
#include <optional>
#include <ostream>
#include <string>
#include <variant>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "soleguard/options.h"
#include "support/claimant.h"
#include "support/shared.h"
#include "support/temp_dir.h"
#include "support/traced.h"

namespace soleguard {
namespace {

using testing::Claimant;
using testing::Traced;

// Which of the machine's objects a start has touched.
struct Touched {
  bool directory = false;  // the name's own
  bool semaphore = false;
  bool socket = false;
  bool process_table = false;  // a walk through /proc
  bool programs = false;       // PID/exe of another process
  friend bool operator==(const Touched&, const Touched&) = default;
};
void PrintTo(const Touched& touched, std::ostream* out) {
  *out << "directory " << touched.directory << ", semaphore " << touched.semaphore << ", socket "
       << touched.socket << ", process table " << touched.process_table << ", programs "
       << touched.programs;
}

bool IsProgramOfAnother(const std::string& path, pid_t own) {
  const std::string proc = "/proc/";
  if (!path.starts_with(proc) || !path.ends_with("/exe")) return false;
  const std::string pid = path.substr(proc.size(), path.find('/', proc.size()) - proc.size());
  return std::isdigit(static_cast<unsigned char>(pid[0])) != 0 && pid != absl::StrCat(own);
}

class RefusedStart : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = Traced::Unusable(); !why.empty()) GTEST_SKIP() << why;
  }

  Claimant Holder(const std::string& policy) const {
    return Claimant({.scope = directory_.path(), .policy = policy});
  }

  enum class Expected { kUnique, kDuplicate };
  // What one start under `policy`, which gets that verdict, touches.
  Touched Start(const std::string& policy, Expected expected) const {
    const testing::Shared<bool> as_expected;
    std::optional<Verdict> verdict;
    Traced child([&] {
      Options options;
      options.scope = *Scope::Directory(directory_.path());
      options.scope = *options.scope.WithStateDirectory(directory_ / "state");
      verdict.emplace(Guard::Acquire("x", *Policy::Parse(policy), options));
      *as_expected = expected == Expected::kUnique ? std::holds_alternative<Unique>(*verdict)
                                                   : std::holds_alternative<Duplicate>(*verdict);
    });
    Touched touched;
    while (const std::optional<Traced::Call> call = child.Next()) Note(child, *call, touched);
    EXPECT_TRUE(*as_expected);
    return touched;
  }

 private:
  void Note(const Traced& child, const Traced::Call& call, Touched& touched) const {
    const std::string object = child.ObjectOf(call);
    switch (call.number) {
      case SYS_semget:
      case SYS_semctl:
      case SYS_semop:
      case SYS_semtimedop:
        touched.semaphore = true;
        return;
      case SYS_socket:
        touched.socket = true;
        return;
      case SYS_getdents64:
        if (object == "/proc") touched.process_table = true;
        return;
      default:
        if (object == directory_ / "names/x") touched.directory = true;
        if (IsProgramOfAnother(object, child.pid())) touched.programs = true;
    }
  }

  const testing::TempDir directory_;
};

// That these calls would be seen.
TEST_F(RefusedStart, OneThatIsNotRefusedAsksAllLayers) {
  EXPECT_EQ(Start("all(file, mutex, port, scan)", Expected::kUnique),
            (Touched{.directory = true,
                     .semaphore = true,
                     .socket = true,
                     .process_table = true,
                     .programs = true}));
}

TEST_F(RefusedStart, StopsAtTheFirstLayerThatAnEstablishedHolderHasAndNeverScans) {
  for (const std::string policy : {"all(file, scan)", "all(file, mutex, port, scan)",
                                   "any(scan, port, mutex, file)", "file"}) {
    Claimant holder = Holder(policy);
    ASSERT_TRUE(holder.unique()) << holder.verdict();
    EXPECT_EQ(Start(policy, Expected::kDuplicate), (Touched{.directory = true})) << policy;
  }
  for (const std::string policy : {"all(mutex, port, scan)", "all(mutex, scan)"}) {
    Claimant holder = Holder(policy);
    ASSERT_TRUE(holder.unique()) << holder.verdict();
    Touched touched = Start(policy, Expected::kDuplicate);
    touched.directory = false;  // where the mutex's FIFO is
    EXPECT_EQ(touched, (Touched{.semaphore = true})) << policy;
  }
  {
    Claimant holder = Holder("all(port, scan)");
    ASSERT_TRUE(holder.unique()) << holder.verdict();
    Touched touched = Start("all(port, scan)", Expected::kDuplicate);
    touched.directory = false;  // where the port's record is
    EXPECT_EQ(touched, (Touched{.socket = true}));
  }
}

// The holder's policy is its own matter.
TEST_F(RefusedStart, ByAHolderWithAnotherPolicyStopsThereToo) {
  Claimant holder = Holder("port");
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  EXPECT_EQ(Start("all(file, mutex, port, scan)", Expected::kDuplicate),
            (Touched{.directory = true, .semaphore = true, .socket = true}));
}

}  // namespace
}  // namespace soleguard
