#include <unistd.h>

#include <cstdint>
#include <sstream>

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

TEST(UserTest, AMemberIsOneByThePrimaryGroupOrByTheGroupsList) {
  EXPECT_TRUE(IsMember(0, 0));
  EXPECT_FALSE(IsMember(65534, 0));
  EXPECT_FALSE(IsMember(4'000'000'001, 0));
  // The first group of this machine that lists a member whom the password database knows.
  const soleguard::testing::Finished groups = soleguard::testing::RunProgram(
      {.argv = {"sh", "-c",
                "while IFS=: read -r _ _ gid members; do first=${members%%,*}; "
                "[ -n \"$first\" ] && uid=$(id -u \"$first\" 2>/dev/null) && echo \"$uid $gid\" && "
                "break; "
                "done < /etc/group"}});
  std::istringstream found(groups.output);
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  if (found >> uid >> gid) {
    EXPECT_TRUE(IsMember(uid, gid)) << groups.output;
  }
}

TEST(UserTest, UnknownUserIsNobody) { EXPECT_FALSE(FindUser(4'000'000'001).has_value()); }

}  // namespace
}  // namespace soleguard::os
