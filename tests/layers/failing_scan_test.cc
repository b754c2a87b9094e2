// Starts under scan in which one system call fails, beside processes that look like the instance:
// one that runs unguarded must not be missed, and one that is in order must not be accused.
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "support/child.h"
#include "support/failing.h"
#include "support/kinds.h"
#include "support/looker.h"
#include "support/program.h"
#include "support/start.h"
#include "support/test_scope.h"
#include "support/traced.h"

namespace soleguard {
namespace {

using testing::Answer;
using ::testing::AnyOf;
using testing::CallByCall;
using testing::CanFail;
using testing::Child;
using testing::Error;
using testing::Explains;
using testing::kErrors;
using testing::Looker;
using testing::Program;
using testing::Say;
using ::testing::StartsWith;
using testing::TestScope;
using testing::Traced;
using testing::WithRegistration;

std::string Policy(const std::string& scan) { return absl::StrCat("all(file, ", scan, ")"); }

// How a running instance is known, and one that runs and never asked.
class Instance {
 public:
  explicit Instance(const std::string& how) {
    const std::vector<std::string> sleep = {"sleep", unique_};
    if (how == "Itself") {  // the program that starts
      child_.emplace([] { return ""; });
      pid_ = child_->pid();
    } else if (how == "Command") {
      subject_ = sleep;
      Run({.argv = sleep});
    } else if (how == "Copy") {
      subject_ = sleep;
      std::filesystem::copy_file("/bin/sleep", directory_ / "copy");
      Run({.argv = {directory_ / "copy", unique_}});
    } else if (how == "Script") {
      subject_ = {WriteScript(), unique_};
      Run({.argv = subject_});
    } else if (how == "ProcessWhoseMainThreadHasEnded") {
      const Looker::Setup setup{.scope = directory_.path(),
                                .environment = {{"LOOKER_THREAD", "1"}}};
      subject_ = Looker::CommandLine(setup);
      looker_.emplace(setup);
      pid_ = looker_->pid();
    } else if (how == "CommandLine") {
      scan_ = absl::StrCat("scan(cmdline=\"", unique_, "\")");
      Run({.argv = sleep});
    } else if (how == "Environment") {
      scan_ = absl::StrCat("scan(env=\"SOLEGUARD_TEST_TAG=", unique_, "\")");
      Run({.argv = sleep, .environment = {{"SOLEGUARD_TEST_TAG", unique_}}});
    }
  }

  pid_t pid() const { return pid_; }
  const std::string& scan() const { return scan_; }
  const std::vector<std::string>& subject() const { return subject_; }

 private:
  void Run(const Program::Setup& setup) {
    program_.emplace(setup);
    pid_ = program_->pid();
  }
  // It waits until its input is closed.
  std::string WriteScript() const {
    std::string path = directory_ / "bot";
    std::ofstream(path) << "#!/bin/sh\nread line\n";
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
  }

  const testing::TempDir directory_;
  // An argument that nothing else has.
  const std::string unique_ = absl::StrCat("60.", getpid());
  std::string scan_ = "scan";
  std::vector<std::string> subject_;
  std::optional<Child> child_;
  std::optional<Program> program_;
  std::optional<Looker> looker_;
  pid_t pid_ = -1;
};

// How it is known, and the error.
class FailingScanSoakTest : public ::testing::TestWithParam<std::tuple<std::string, Error>> {
 protected:
  void SetUp() override {
    if (const std::string why = Traced::Unusable(); !why.empty()) GTEST_SKIP() << why;
  }

  int error() const { return std::get<Error>(GetParam()).number; }

  // Whether an instance is out of sight by rule once that call was not permitted: it cannot be
  // executed or read by this user, or is not to be looked into.
  bool IsOutOfSight(const Traced::Call& call, const std::string& object) const {
    if (error() != EACCES && error() != EROFS) return false;  // one code (ErrnoToStatus)
#ifdef SYS_access
    if (call.number == SYS_access) return true;
#endif
    if (call.number == SYS_faccessat) return true;
    if (object.ends_with("/environ")) return true;
    // Only the same command line says that another user's program may be the same.
    if (is_copy_ && object.ends_with("/exe")) return true;
    const bool is_program = !instance_.subject().empty() && object == instance_.subject()[0];
    return call.number == SYS_openat &&
           (is_program || object.ends_with("/sleep") || object.ends_with("/exe"));
  }

  std::string Start() const {
    return Say(
        Guard::Acquire(TestScope::kName, *soleguard::Policy::Parse(scope_.policy()),
                       {.scope = scope_.scope(),
                        .settle = absl::ZeroDuration(),  // whoever is there is old enough
                        .subject = {.argv = instance_.subject(), .working_directory = "/"}}));
  }

  const bool is_copy_ = std::get<std::string>(GetParam()) == "Copy";
  const Instance instance_{std::get<std::string>(GetParam())};
  const TestScope scope_{Policy(instance_.scan())};
};

std::string NameOf(const ::testing::TestParamInfo<std::tuple<std::string, Error>>& tested) {
  return absl::StrCat(std::get<std::string>(tested.param), "_", std::get<Error>(tested.param).name);
}

INSTANTIATE_TEST_SUITE_P(Known, FailingScanSoakTest,
                         ::testing::Combine(::testing::Values("Itself", "Command", "Copy", "Script",
                                                              "ProcessWhoseMainThreadHasEnded",
                                                              "CommandLine", "Environment"),
                                            ::testing::ValuesIn(kErrors)),
                         NameOf);
TEST_P(FailingScanSoakTest, H14_BesideAnUnguardedInstanceIsNeverUnique) {
  const std::string refused = absl::StrCat("duplicate ", instance_.pid(), " unguarded");
  CallByCall calls(CanFail);
  while (true) {
    const Answer answer;
    Traced child([&] { answer.Set(Start()); });
    const std::vector<std::string> before = child.Descriptors();
    if (!calls.RunToNext(child)) {
      EXPECT_EQ(answer.said(), refused) << "without a failure";
      break;
    }
    SCOPED_TRACE(ToString(calls.call(), calls.object()));
    child.Fail(error());
    child.RunToEnd();
    if (IsOutOfSight(calls.call(), calls.object())) continue;
    EXPECT_THAT(answer.said(), AnyOf(refused, StartsWith("undetermined")));
    if (answer.said().starts_with("undetermined")) {
      EXPECT_THAT(answer.said(), Explains(error(), calls.call()));
    }
    EXPECT_THAT(child.Descriptors(), WithRegistration(scope_, child, before));
  }
  EXPECT_GT(calls.visited(), 50);
}

// --- one that is in order ---

// The policy of the other name's guard, and the error: one that passes. Where a mechanism never
// works for this user nobody holds it either.
class FailingScanBesideAnotherJobSoakTest
    : public ::testing::TestWithParam<std::tuple<std::string, Error>> {
 protected:
  void SetUp() override {
    if (const std::string why = Traced::Unusable(); !why.empty()) GTEST_SKIP() << why;
  }
  const TestScope scope_{Policy("scan")};
};

INSTANTIATE_TEST_SUITE_P(GuardedBy, FailingScanBesideAnotherJobSoakTest,
                         ::testing::Combine(::testing::ValuesIn(testing::ExclusiveKinds()),
                                            ::testing::Values(Error{EMFILE, "EMFILE"},
                                                              Error{ENOMEM, "ENOMEM"},
                                                              Error{EIO, "EIO"})),
                         [](const auto& tested) {
                           return absl::StrCat(std::get<std::string>(tested.param), "_",
                                               std::get<Error>(tested.param).name);
                         });

// A job of another name that runs the same program, and its worker.
TEST_P(FailingScanBesideAnotherJobSoakTest, H14_H30_IsNeverRefused) {
  const int error = std::get<Error>(GetParam()).number;
  std::optional<Verdict> job_verdict;
  const Child job([&] {
    job_verdict.emplace(Guard::Acquire("another job",
                                       *soleguard::Policy::Parse(std::get<std::string>(GetParam())),
                                       {.scope = scope_.scope()}));
    if (fork() == 0) {
      (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
      closefrom(3);  // its parent's pipe to this test too
      while (true) pause();
    }
    return Say(*job_verdict);
  });
  ASSERT_THAT(job.answer(), StartsWith("unique"));

  CallByCall calls(CanFail);
  while (true) {
    const Answer answer;
    std::optional<Verdict> verdict;
    Traced child([&] {
      verdict.emplace(scope_.Acquire(absl::ZeroDuration()));
      answer.Set(Say(*verdict));
    });
    if (!calls.RunToNext(child)) {
      EXPECT_THAT(answer.said(), StartsWith("unique")) << "without a failure";
      break;
    }
    SCOPED_TRACE(ToString(calls.call(), calls.object()));
    child.Fail(error);
    child.RunToEnd();
    EXPECT_THAT(answer.said(), AnyOf(StartsWith("unique"), StartsWith("undetermined")));
    if (answer.said().starts_with("undetermined")) {
      EXPECT_THAT(answer.said(), Explains(error, calls.call()));
    }
  }
  EXPECT_GT(calls.visited(), 50);
}

// --- one that may be on its way ---

class FailingScanBesideAYoungOneSoakTest : public ::testing::TestWithParam<Error> {
 protected:
  void SetUp() override {
    if (const std::string why = Traced::Unusable(); !why.empty()) GTEST_SKIP() << why;
  }
  const TestScope scope_{Policy("scan")};
};

INSTANTIATE_TEST_SUITE_P(Error, FailingScanBesideAYoungOneSoakTest, ::testing::ValuesIn(kErrors),
                         [](const auto& error) { return error.param.name; });

// Whether it has asked or bypasses the guard will show when it registers, ends or ages.
TEST_P(FailingScanBesideAYoungOneSoakTest, H14_WaitsOrSaysWhyItCannotTell) {
  CallByCall calls(CanFail);
  int waited = 0;
  for (bool last = false; !last;) {
    Child young([] { return ""; });
    const Answer answer;
    std::optional<Verdict> verdict;
    Traced child([&] {
      verdict.emplace(scope_.Acquire(absl::Minutes(1), absl::Minutes(2)));
      answer.Set(Say(*verdict));
    });
    ASSERT_TRUE(calls.RunToNext(child)) << answer.said();
    last = calls.call().number == SYS_ppoll;  // it waits
    SCOPED_TRACE(ToString(calls.call(), calls.object()));
    child.Fail(GetParam().number);

    std::optional<Traced::Call> next = child.Next();
    while (next.has_value() && next->number != SYS_ppoll) next = child.Next();
    if (next.has_value()) {
      ++waited;
      young.Kill();
      child.RunToEnd();
    } else {
      EXPECT_THAT(answer.said(), StartsWith("undetermined")) << "it did not wait";
    }
    if (answer.said().starts_with("unique")) continue;
    EXPECT_THAT(answer.said(), StartsWith("undetermined"));
    EXPECT_THAT(answer.said(), Explains(GetParam().number, calls.call()));
  }
  EXPECT_GT(waited, 5);
}

}  // namespace
}  // namespace soleguard
