// What is special to the socket layer: the kernel says who listens, and its name outlives a release
// where a child has a copy.
#include <signal.h>

#include <array>
#include <memory>
#include <string>
#include <utility>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kit/key.h"
#include "layers/conformance.h"
#include "os/companion.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/policy.h"
#include "soleguard/process.h"
#include "soleguard/registry.h"
#include "soleguard/watch.h"
#include "support/claimant.h"
#include "support/temp_dir.h"
#include "support/test_scope.h"

namespace soleguard {
namespace {

using ::testing::AllOf;
using testing::Candidate;
using testing::Claimant;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Say;
using ::testing::StartsWith;

class SocketTest : public ::testing::Test {
 protected:
  Scope scope() const { return *Scope::Directory(directory_.path()); }
  std::unique_ptr<Layer> Make() const {
    return FindLayerKind("socket")->make({.scope = scope(), .name = *InstanceName::Parse("x")});
  }
  Claimant Start() const { return Claimant({.scope = directory_.path(), .policy = "socket"}); }
  // As socket.cc has it.
  std::string Address() const {
    return absl::StrFormat("soleguard-socket/%016x", KeyOf(scope(), *InstanceName::Parse("x")));
  }

  const testing::TempDir directory_;
};

TEST_F(SocketTest, TheKernelSaysWhoListens) {
  Claimant owner = Start();
  ASSERT_TRUE(owner.unique()) << owner.verdict();
  const absl::StatusOr<os::Peer> peer = os::CompanionPeer(Address());
  ASSERT_TRUE(peer.ok()) << peer.status();
  EXPECT_EQ(peer->pid, owner.pid());
  EXPECT_THAT(Make()->Suspects(), ElementsAre(*IdentityOf(owner.pid())));
}

// Those who have asked take the places of its backlog for as long as it lives.
TEST_F(SocketTest, H37_AFullBacklogTellsOfNobody) {
  Claimant owner = Start();
  ASSERT_TRUE(owner.unique()) << owner.verdict();
  while (os::CompanionPeer(Address()).ok()) {
  }
  const std::string pid = absl::StrCat(owner.pid());
  EXPECT_EQ(Say(Make()->Try(Candidate(scope()))), absl::StrCat("contested ", pid, " established"));
  EXPECT_EQ(Say(Make()->Look()), absl::StrCat("taken by ", pid, " established"));
}

TEST_F(SocketTest, H37_LooksTakeNoPlaceOfTheBacklog) {
  Claimant owner = Start();
  ASSERT_TRUE(owner.unique()) << owner.verdict();
  constexpr int kMoreThanItHas = 200;
  for (int i = 0; i < kMoreThanItHas; ++i) (void)Make()->Look();
  EXPECT_TRUE(os::CompanionPeer(Address()).ok());
}

// No call takes a name off a socket. It is nobody's, and free when the child ends.
TEST_F(SocketTest, H28_WhatARawCloneKeepsOverAReleaseIsNeitherTakenNorFree) {
  Claimant owner = Start();
  ASSERT_TRUE(owner.unique()) << owner.verdict();
  const ProcessIdentity orphan = *IdentityOf(std::stoi(owner.Ask("clone")));
  EXPECT_EQ(owner.Ask("release"), "released");
  EXPECT_EQ(Say(Make()->Try(Candidate(scope()))), "unsettled");
  EXPECT_THAT(Say(Make()->TryFinally(Candidate(scope()))),
              AllOf(StartsWith("unavailable"), HasSubstr(Address()), HasSubstr("nobody listens")));
  absl::StatusOr<UniqueFd> ended = OpenPidfd(orphan);
  ASSERT_TRUE(ended.ok()) << ended.status();
  ASSERT_TRUE(SendSignal(orphan, SIGKILL).ok());
  const std::array<UniqueFd, 1> wait = {*std::move(ended)};
  ASSERT_TRUE(WaitForAny(wait, absl::Seconds(30)));
  EXPECT_EQ(Say(Make()->TryFinally(Candidate(scope()))), "held");
}

TEST_F(SocketTest, TakesNoParameters) {
  EXPECT_FALSE(Policy::Parse("socket(1)").ok());
  EXPECT_FALSE(Policy::Parse("socket(path=/a)").ok());
}

}  // namespace
}  // namespace soleguard
