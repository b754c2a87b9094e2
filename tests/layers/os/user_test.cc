#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "os/os.h"
#include "support/program.h"

namespace soleguard::os {
namespace {

using ::testing::StartsWith;

TEST(UserTest, FindsRoot) {
  const std::optional<User> user = FindUser(0);
  ASSERT_TRUE(user.has_value());
  EXPECT_EQ(user->name, "root");
  EXPECT_EQ(user->home, "/root");
}

TEST(UserTest, AgreesWithGetent) {
  const std::optional<User> user = FindUser(getuid());
  const soleguard::testing::Finished getent =
      soleguard::testing::RunProgram({.argv = {"getent", "passwd", std::to_string(getuid())}});
  ASSERT_EQ(user.has_value(), getent.code == 0);
  if (user.has_value()) {
    EXPECT_THAT(getent.output, StartsWith(user->name + ":"));
  }
}

TEST(UserTest, UnknownUserIsNobody) { EXPECT_FALSE(FindUser(4'000'000'001).has_value()); }

}  // namespace
}  // namespace soleguard::os
