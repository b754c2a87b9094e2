// Statuses that a public header names for a call and that no other test provokes, and what the call
// does then. tests/promises.txt has the test of each.
#include <arpa/inet.h>
#include <grp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <variant>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/census.h"
#include "soleguard/conflict.h"
#include "soleguard/coverage.h"
#include "soleguard/diagnose.h"
#include "soleguard/guard.h"
#include "soleguard/inspect.h"
#include "soleguard/name.h"
#include "soleguard/names.h"
#include "soleguard/options.h"
#include "soleguard/process.h"
#include "soleguard/send.h"
#include "soleguard/side_file.h"
#include "soleguard/stop.h"
#include "soleguard/suspect.h"
#include "soleguard/watch.h"
#include "support/child.h"
#include "support/kinds.h"
#include "support/sockets.h"
#include "support/temp_dir.h"

namespace soleguard {
namespace {

using testing::Child;
using ::testing::HasSubstr;
using testing::InChild;
using ::testing::StartsWith;

// "CODE: MESSAGE", or "OK".
std::string Said(const absl::Status& status) { return status.ToString(); }

// A limit of this process, lowered for a while.
class Lowered {
 public:
  Lowered(__rlimit_resource resource, rlim_t limit) : resource_(resource) {
    (void)getrlimit(resource_, &before_);
    const rlimit low{.rlim_cur = limit, .rlim_max = before_.rlim_max};
    (void)setrlimit(resource_, &low);
  }
  Lowered(const Lowered&) = delete;
  Lowered& operator=(const Lowered&) = delete;
  ~Lowered() { (void)setrlimit(resource_, &before_); }

 private:
  const __rlimit_resource resource_;
  rlimit before_{};
};

// Becomes a user who has no other process: the limit of processes counts a user's, and not root's.
void BecomeNobodyElse() {
  if (geteuid() != 0) return;
  const auto user = static_cast<uid_t>(1'000'000 + getpid());
  if (setgroups(0, nullptr) != 0 || setresgid(user, user, user) != 0 ||
      setresuid(user, user, user) != 0 || prctl(PR_SET_DUMPABLE, 1) != 0) {
    _exit(1);
  }
}

class Promise : public ::testing::TestWithParam<std::string> {
 protected:
  // In a child that is a user of its own, with a scope that is his.
  static std::string AsAUser(const std::function<std::string(const Options&)>& body) {
    return InChild([&]() -> std::string {
      BecomeNobodyElse();
      const testing::TempDir directory;
      return body({.scope = *Scope::Directory(directory.path())});
    });
  }
  static Verdict Acquire(const Options& options) {
    return Guard::Acquire("x", *Policy::Parse(GetParam()), options);
  }
  static absl::Status Receives(Guard& guard) {
    return guard.Receive([](const Sender&, const Message&) { return Answer{.text = "got"}; });
  }
  static absl::StatusOr<Answer> Sent(const Options& options) {
    return Send("x", *Policy::Parse(GetParam()), options, {}, absl::Seconds(20));
  }
};

INSTANTIATE_TEST_SUITE_P(Policies, Promise, ::testing::ValuesIn(testing::ExclusiveKinds()),
                         [](const auto& policy) { return policy.param; });

TEST_P(Promise, AWatchWithoutAThreadIsResourceExhaustedAndWatchesNothing) {
  EXPECT_EQ(AsAUser([](const Options& options) -> std::string {
              Verdict verdict = Acquire(options);
              Guard& guard = std::get<Unique>(verdict).guard;
              const auto watch = [&] { return guard.Watch([](const Incident&) {}); };
              {
                const Lowered none(RLIMIT_NPROC, 0);
                const absl::Status watched = watch();
                if (!absl::IsResourceExhausted(watched)) return "without threads: " + Said(watched);
                if (!absl::StrContains(watched.message(), "thread")) return Said(watched);
              }
              if (!guard.Verify().ok()) return Said(guard.Verify());
              // It is no watch: another one is not the second.
              const absl::Status again = watch();
              if (!again.ok()) return "with threads: " + Said(again);
              guard.Release();
              const Verdict next = Acquire(options);
              return std::holds_alternative<Unique>(next) ? "fine" : "not free";
            }),
            "fine");
}

TEST_P(Promise, AReleaseAfterAWatchWithoutAThreadWaitsForNobody) {
  EXPECT_EQ(AsAUser([](const Options& options) -> std::string {
              Verdict verdict = Acquire(options);
              Guard& guard = std::get<Unique>(verdict).guard;
              const Lowered none(RLIMIT_NPROC, 0);
              (void)guard.Watch([](const Incident&) {});
              guard.Release();
              return "fine";
            }),
            "fine");
}

TEST_P(Promise, ReceivingWithoutAThreadIsResourceExhaustedAndLeavesNoInbox) {
  EXPECT_EQ(AsAUser([](const Options& options) -> std::string {
              Verdict verdict = Acquire(options);
              Guard& guard = std::get<Unique>(verdict).guard;
              {
                const Lowered none(RLIMIT_NPROC, 0);
                const absl::Status receives = Receives(guard);
                if (!absl::IsResourceExhausted(receives)) return "no thread: " + Said(receives);
              }
              if (std::filesystem::exists(options.scope.directory() + "/names/x/inbox")) {
                return "an inbox is left";
              }
              const absl::Status receives = Receives(guard);
              if (!receives.ok()) return "with threads: " + Said(receives);
              const absl::StatusOr<Answer> answer = Sent(options);
              return answer.ok() ? answer->text : Said(answer.status());
            }),
            "got");
}

TEST_P(Promise, WithoutDescriptorsReceivingSaysSoAndAWatchIsUnavailable) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer looks at objects through a pipe of its own";
#endif
  EXPECT_EQ(AsAUser([](const Options& options) -> std::string {
              Verdict verdict = Acquire(options);
              Guard& guard = std::get<Unique>(verdict).guard;
              {
                const Lowered none(RLIMIT_NOFILE, 3);
                const absl::Status receives = Receives(guard);
                if (!absl::IsResourceExhausted(receives)) return "receive: " + Said(receives);
                const absl::Status watched = guard.Watch([](const Incident&) {});
                if (!absl::IsUnavailable(watched)) return "watch: " + Said(watched);
              }
              // Watched all the same.
              const absl::Status again = guard.Watch([](const Incident&) {});
              if (!absl::IsAlreadyExists(again)) return "again: " + Said(again);
              const absl::Status receives = Receives(guard);
              if (!receives.ok()) return "with descriptors: " + Said(receives);
              guard.Release();
              const Verdict next = Acquire(options);
              return std::holds_alternative<Unique>(next) ? "fine" : "not free";
            }),
            "fine");
}

TEST_P(Promise, ReceivingAfterReleaseAndInAForkedChildIsFailedPrecondition) {
  const testing::TempDir directory;
  const Options options{.scope = *Scope::Directory(directory.path())};
  Verdict verdict = Acquire(options);
  Guard& guard = std::get<Unique>(verdict).guard;
  EXPECT_THAT(InChild([&] { return Said(Receives(guard)); }),
              StartsWith("FAILED_PRECONDITION: not the owner"));
  EXPECT_TRUE(Receives(guard).ok());
  guard.Release();
  EXPECT_TRUE(absl::IsFailedPrecondition(Receives(guard)));
  EXPECT_FALSE(std::filesystem::exists(directory / "names/x/inbox"));
}

TEST_P(Promise, BeatingAfterReleaseAndInAForkedChildIsFailedPrecondition) {
  const testing::TempDir directory;
  const Options options{.scope = *Scope::Directory(directory.path())};
  Verdict verdict = Acquire(options);
  Guard& guard = std::get<Unique>(verdict).guard;
  EXPECT_THAT(InChild([&] { return Said(guard.Beat()); }),
              StartsWith("FAILED_PRECONDITION: not the owner"));
  EXPECT_FALSE(std::filesystem::exists(directory / "names/x/beat"));
  EXPECT_TRUE(guard.Beat().ok());
  EXPECT_TRUE(guard.Verify().ok());
  guard.Release();
  EXPECT_TRUE(absl::IsFailedPrecondition(guard.Beat()));
}

TEST_P(Promise, HandingOnAfterReleaseIsFailedPrecondition) {
  const testing::TempDir directory;
  Verdict verdict = Acquire({.scope = *Scope::Directory(directory.path()), .hand_on = true});
  Guard& guard = std::get<Unique>(verdict).guard;
  guard.Release();
  EXPECT_TRUE(absl::IsFailedPrecondition(guard.ShareWithChild().status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(guard.Follow(*OwnIdentity())));
  EXPECT_TRUE(absl::IsFailedPrecondition(guard.WriteSideFiles({.pid_file = directory / "pid"})));
  EXPECT_TRUE(absl::IsFailedPrecondition(guard.KeepOverExec()));
  EXPECT_TRUE(guard.Repair().empty());
  EXPECT_FALSE(std::filesystem::exists(directory / "pid"));
}

TEST(PromiseTest, WithoutAThreadRunInThreadLeavesTheSignalsAsTheyWere) {
  EXPECT_EQ(InChild([]() -> std::string {
              BecomeNobodyElse();
              sigset_t before;
              sigset_t after;
              (void)pthread_sigmask(SIG_BLOCK, nullptr, &before);
              const Lowered none(RLIMIT_NPROC, 0);
              const absl::Status started = RunInThread([] {});
              (void)pthread_sigmask(SIG_BLOCK, nullptr, &after);
              for (int signal = 1; signal < NSIG; ++signal) {
                if (sigismember(&before, signal) != sigismember(&after, signal)) return "blocked";
              }
              return std::string(absl::IsResourceExhausted(started) ? "fine" : Said(started));
            }),
            "fine");
}

// A foreign program on the port: the layer cannot tell.
TEST(PromiseTest, WhereALayerCannotTellSendingAndCheckRunningAreUnavailable) {
  const testing::TempDir directory;
  const Options options{.scope = *Scope::Directory(directory.path())};
  const std::uint16_t port = testing::FreePort();
  const UniqueFd foreign(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name = {};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  name.sin_port = htons(port);
  ASSERT_EQ(bind(foreign.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
  ASSERT_EQ(listen(foreign.get(), 1), 0);
  const Policy policy = *Policy::Parse(absl::StrCat("port(", port, ")"));
  const absl::Status sent = Send("x", policy, options, {}, absl::Seconds(20)).status();
  EXPECT_TRUE(absl::IsUnavailable(sent)) << sent;
  const absl::Status checked = CheckRunning("x", policy, options).status();
  EXPECT_TRUE(absl::IsUnavailable(checked)) << checked;
}

TEST(PromiseTest, AnInvalidNameIsInvalidArgumentToEachCall) {
  const testing::TempDir directory;
  const Options options{.scope = *Scope::Directory(directory.path())};
  const Policy policy = Policy::Default();
  EXPECT_TRUE(absl::IsInvalidArgument(TakeCensus("a/b", policy, options).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ReportConflict("a/b", "", policy, options).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Diagnose({.name = "a/b"}, policy, options).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Inspect("a/b", policy, options).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Check("a/b", policy, options).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Announce("a/b", options)));
  EXPECT_TRUE(absl::IsInvalidArgument(Send("a/b", policy, options, {}, absl::Seconds(1)).status()));
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(PromiseTest, ANameWithoutADirectoryHasNoRecords) {
  const testing::TempDir directory;
  const absl::Status files =
      RecordFiles(*Scope::Directory(directory.path()), *InstanceName::Parse("x")).status();
  EXPECT_TRUE(absl::IsNotFound(files)) << files;
}

TEST(PromiseTest, ACoverageNamesWhoIsNotOfTheNameAndWhoIsGone) {
  const testing::TempDir directory;
  const Options options{.scope = *Scope::Directory(directory.path())};
  const Coverage coverage(options.scope, *InstanceName::Parse("x"));
  const auto said = [&](pid_t process) { return Said(coverage.Of(*IdentityOf(process)).status()); };
  EXPECT_THAT(said(getpid()), StartsWith("FAILED_PRECONDITION: pid "));
  EXPECT_THAT(said(getppid()), HasSubstr("is an ancestor of this process"));
  const Child other([&] {
    static Verdict verdict = Guard::Acquire("y", *Policy::Parse("file"), options);
    return std::string();
  });
  EXPECT_THAT(said(other.pid()), HasSubstr("holds the name y"));
  const Child registered([&] { return Said(Announce("z", options)); });
  EXPECT_THAT(said(registered.pid()), HasSubstr("has asked for a name of its own"));
  Child ended([] { return std::string(); });
  const ProcessIdentity gone = *IdentityOf(ended.pid());
  EXPECT_TRUE(coverage.Of(gone).ok());
  ended.Kill();
  EXPECT_TRUE(absl::IsNotFound(coverage.Of(gone).status())) << coverage.Of(gone).status();
}

TEST(PromiseTest, SuspectsOfNobodyAreFailedPrecondition) {
  const testing::TempDir directory;
  const absl::Status found =
      FindSuspects(
          *Scope::Directory(directory.path()), *InstanceName::Parse("x"),
          {.instance = {}, .subject = {.argv = {}, .working_directory = {}, .unknown = true}})
          .status();
  EXPECT_TRUE(absl::IsFailedPrecondition(found)) << found;
}

TEST(PromiseTest, OfAProcessThatIsGoneThereAreNoDescendants) {
  Child child([] { return std::string(); });
  const ProcessIdentity process = *IdentityOf(child.pid());
  EXPECT_TRUE(DescendantsOf(process).ok());
  child.Kill();
  EXPECT_TRUE(absl::IsNotFound(DescendantsOf(process).status())) << DescendantsOf(process).status();
}

TEST(PromiseTest, AnotherUsersDescriptorsArePermissionDenied) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  const ProcessIdentity mine = *OwnIdentity();
  EXPECT_THAT(InChild([&] {
                BecomeNobodyElse();
                return Said(HasOpen(mine, {}).status());
              }),
              StartsWith("PERMISSION_DENIED"));
}

TEST(PromiseTest, AUserOfNoPasswordDatabaseHasNoHome) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  EXPECT_THAT(InChild([] {
                BecomeNobodyElse();
                return Said(HomeDirectory().status());
              }),
              StartsWith("NOT_FOUND"));
}

TEST(PromiseTest, ASideFileRefusesARelativePathAndWhatIsNoSmallFile) {
  const testing::TempDir directory;
  EXPECT_TRUE(absl::IsInvalidArgument(SideFile::At("x.pid").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(SideFile::At(directory.path() + "/").status()));
  const std::string path = directory / "x.pid";
  const auto written = [&] { return (*SideFile::At(path))->Write("1"); };
  std::filesystem::create_directory(path);
  EXPECT_TRUE(absl::IsFailedPrecondition(written())) << written();
  EXPECT_TRUE(std::filesystem::is_directory(path));
  std::filesystem::remove(path);
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(written())) << written();
  std::filesystem::remove(path);
  std::ofstream(path) << std::string((64 << 10) + 1, 'x');
  EXPECT_TRUE(absl::IsFailedPrecondition(written())) << written();
  EXPECT_EQ(std::filesystem::file_size(path), (64 << 10) + 1U);
}

TEST(PromiseTest, AStateDirectoryIsAnAbsolutePath) {
  for (const char* path : {"", "state", "/a/../b", "/a\nb"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Scope::User().WithStateDirectory(path).status())) << path;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(
      Scope::User().WithStateDirectory("/" + std::string(5000, 'x')).status()));
}

}  // namespace
}  // namespace soleguard
