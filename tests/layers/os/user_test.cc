#include "os/user.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <iterator>
#include <sstream>
#include <string>

#include <absl/time/clock.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/fd.h"
#include "soleguard/patience.h"
#include "support/child.h"
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

TEST(UserTest, AQuestionToTheNameServicesLeavesNothingBehind) {
  constexpr std::uint32_t kNobodyHas = 4'000'000'001;
  (void)FindUser(kNobodyHas);  // what it loads and opens once stays
  const auto count = [](const char* directory) {
    const std::filesystem::directory_iterator entries(directory);
    return std::distance(begin(entries), end(entries));
  };
  const auto descriptors = count("/proc/self/fd");
  const auto threads = count("/proc/self/task");
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(FindUser(kNobodyHas).has_value());
    EXPECT_EQ(count("/proc/self/fd"), descriptors);
    // The kernel may still list a thread that was joined (exit_notify comes after the futex).
    EXPECT_LE(count("/proc/self/task"), threads + 1);
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

// The C library asks nscd(8) first, and gives it 5 s.
TEST(UserTest, H46_ANameServiceIsNotWaitedForBeyondTheCallersTime) {
  const std::string said = soleguard::testing::InChild([]() -> std::string {
    const auto is_ready = [] {
      return unshare(CLONE_NEWNS) == 0 &&
             ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
             ::mount("tmpfs", "/run", "tmpfs", 0, nullptr) == 0 && mkdir("/run/nscd", 0755) == 0;
    };
    if (getuid() != 0 || !is_ready()) return "skip";
    const UniqueFd silent(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/nscd/socket"};
    if (bind(silent.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        listen(silent.get(), 8) != 0) {
      return "nobody listens";
    }
    const Patience patience(absl::Milliseconds(200));
    const absl::Time before = absl::Now();
    const bool found = FindUser(4'000'000'001).has_value();
    const bool again = FindUser(4'000'000'002).has_value();
    const UniqueFd asked(accept4(silent.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (found || again) return "found";
    if (!asked) return "skip";  // another C library, or it has found none before
    return absl::Now() - before < absl::Seconds(4) ? "in time" : "too late";
  });
  if (said == "skip") GTEST_SKIP() << "only root can hide /run, and only glibc asks nscd";
  EXPECT_EQ(said, "in time");
}

}  // namespace
}  // namespace soleguard::os
