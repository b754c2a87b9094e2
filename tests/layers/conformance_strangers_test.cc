// What every layer answers about the objects of a user who may not have them, and about what is
// only half made: a stranger's is never taken for an instance's, nor an instance's for an error.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "layers/conformance.h"
#include "soleguard/layer.h"
#include "soleguard/scope.h"
#include "support/claimant.h"
#include "support/temp_dir.h"
#include "support/test_scope.h"
#include "support/traced.h"
#include "support/users.h"

namespace soleguard {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using testing::CallByCall;
using testing::Candidate;
using testing::Claimant;
using testing::EveryKind;
using ::testing::HasSubstr;
using testing::kOutsider;
using testing::Say;
using ::testing::StartsWith;
using testing::TempDir;
using testing::Traced;

// A scope's directory that belongs to a stranger until it is given to this process's user, with all
// that the stranger has in it and elsewhere.
class StrangersScope {
 public:
  StrangersScope() {
    made_ = chmod(above_.path().c_str(), 0755) == 0 && mkdir(path().c_str(), 0700) == 0 &&
            GiveTo(kOutsider.uid);
  }
  bool made() const { return made_; }
  std::string path() const { return above_ / "scope"; }
  Scope scope() const { return *Scope::Directory(path()); }

  bool GiveTo(uid_t uid) const { return chown(path().c_str(), uid, uid) == 0; }

  // All that is below it: who owns it, how it may be used, and what is in it.
  std::map<std::string, std::string> Content() const {
    std::map<std::string, std::string> content;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path())) {
      struct stat status = {};
      (void)lstat(entry.path().c_str(), &status);
      std::ifstream file;
      if (entry.is_regular_file()) file.open(entry.path(), std::ios::binary);
      content[entry.path()] = absl::StrCat(
          absl::StrFormat("%o uid %d inode %d: ", status.st_mode, status.st_uid, status.st_ino),
          std::string(std::istreambuf_iterator<char>(file), {}));
    }
    return content;
  }

 private:
  const TempDir above_;
  bool made_ = false;
};

class StrangerConformance : public testing::Conformance {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "only root can be two users";
  }
};

INSTANTIATE_TEST_SUITE_P(Layers, StrangerConformance, ::testing::ValuesIn(EveryKind()),
                         [](const auto& kind) { return kind.param; });

TEST_P(StrangerConformance, H37_WhatAStrangerHasIsUnavailableAndHeIsNamed) {
  const StrangersScope place;
  ASSERT_TRUE(place.made());
  Claimant stranger(
      {.scope = place.path(), .policy = policy(), .launcher = testing::LauncherOf(kOutsider)});
  ASSERT_TRUE(stranger.unique()) << stranger.verdict();
  const auto before = place.Content();

  ASSERT_TRUE(place.GiveTo(geteuid()));
  const std::unique_ptr<Layer> layer = MakeIn(place.scope());
  const auto refuses = AllOf(StartsWith("unavailable"),
                             AnyOf(HasSubstr(absl::StrCat("(uid ", kOutsider.uid, ")")),
                                   HasSubstr(absl::StrCat("(pid ", stranger.pid(), ")"))));
  EXPECT_THAT(Say(layer->Try(Candidate(place.scope()))), refuses);
  EXPECT_THAT(Say(layer->TryFinally(Candidate(place.scope()))), refuses);
  EXPECT_THAT(Say(layer->Look()), refuses);
  EXPECT_THAT(Say(layer->Forecast()), refuses);

  EXPECT_EQ(place.Content(), before);
  ASSERT_TRUE(place.GiveTo(kOutsider.uid));
  EXPECT_EQ(stranger.Ask("verify"), "ok");
}

// What a stranger leaves behind: a start and its forecast say the same of it, whatever that is.
TEST_P(StrangerConformance, H37_WhatAStrangerLeftIsForetold) {
  const StrangersScope place;
  ASSERT_TRUE(place.made());
  {
    Claimant stranger(
        {.scope = place.path(), .policy = policy(), .launcher = testing::LauncherOf(kOutsider)});
    ASSERT_TRUE(stranger.unique()) << stranger.verdict();
    Kill(stranger);
  }
  ASSERT_TRUE(place.GiveTo(geteuid()));
  const std::string foretold = Say(MakeIn(place.scope())->Forecast());
  const std::string tried = Say(MakeIn(place.scope())->TryFinally(Candidate(place.scope())));
  EXPECT_EQ(foretold, tried == "held" ? "free" : tried);
}

// One who begins to claim and is stopped: at each of his system calls.
class StoppedConformance : public StrangerConformance {
 protected:
  void SetUp() override {
    if (const std::string why = Traced::Unusable(); !why.empty()) GTEST_SKIP() << why;
    StrangerConformance::SetUp();
  }

  // Each time in a new place, with one of `user` who has been stopped there one call later.
  static void StopAtEachCall(const testing::User& user,
                             const std::function<void(const Scope&)>& ask) {
    CallByCall calls;
    for (bool over = false; !over;) {
      const StrangersScope place;
      ASSERT_TRUE(place.made() && place.GiveTo(user.uid));
      std::optional<Attempt> attempt;
      Traced stopped(
          [&] { (void)testing::Become(user); },
          [&] { attempt.emplace(MakeIn(place.scope())->Try(Candidate(place.scope()))); });
      over = !calls.RunToNext(stopped);
      ASSERT_TRUE(place.GiveTo(geteuid()));
      SCOPED_TRACE(absl::StrCat("stopped at ", ToString(calls.call(), calls.object())));
      ask(place.scope());
    }
    EXPECT_GT(calls.visited(), 5) << "fewer would mean that nothing was tried";
  }
};

INSTANTIATE_TEST_SUITE_P(Layers, StoppedConformance, ::testing::ValuesIn(EveryKind()),
                         [](const auto& kind) { return kind.param; });

// What may be a stranger's is not called taken: at first it is unsettled, and in the end it is
// decided without him.
TEST_P(StoppedConformance, H37_AStrangerIsNeverAHolder) {
  StopAtEachCall(kOutsider, [](const Scope& scope) {
    EXPECT_THAT(Say(MakeIn(scope)->Try(Candidate(scope))),
                AnyOf("held", "unsettled", StartsWith("unavailable")));
    EXPECT_THAT(Say(MakeIn(scope)->TryFinally(Candidate(scope))),
                AnyOf("held", StartsWith("unavailable")));
    EXPECT_THAT(Say(MakeIn(scope)->Look()), AnyOf("free", StartsWith("unavailable")));
  });
}

// A contender that has not got as far as saying who he is: a start waits for him, and does not
// fail.
TEST_P(StoppedConformance, H09_AContenderIsNeverAnError) {
  StopAtEachCall(testing::kRoot, [](const Scope& scope) {
    EXPECT_THAT(Say(MakeIn(scope)->Try(Candidate(scope))),
                AnyOf("held", "unsettled", StartsWith("contested")));
    EXPECT_NE(Say(MakeIn(scope)->TryFinally(Candidate(scope))), "unsettled");
  });
}

}  // namespace
}  // namespace soleguard
