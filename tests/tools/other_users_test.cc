// Root and the scopes of other users: a start beside a user's is said, and that user's instance can
// be seen and ended. In a system with a /run/lock of its own.
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_replace.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

class OtherUsers : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "only root can be several users";
    if (RunProgram({.argv = {"unshare", "--mount", "--pid", "--fork", "true"}}).code != 0) {
      GTEST_SKIP() << "namespaces cannot be made here";
    }
    (void)chmod(guardcheck_.directory().path().c_str(), 0755);
  }

  // Runs `script` of bash as root. In it `guardcheck` is the command, `as_user` comes before one of
  // user 4010, who has no entry in the password database, `as_nobody` before one of another user,
  // and `holder NAME` starts an instance of user 4010, and returns once it runs.
  Finished Do(const std::string& script) const {
    const std::string file = guardcheck_.directory() / "script";
    const std::string text = absl::StrCat(R"(set -u
mount -t tmpfs -o mode=1777 none /run/lock
export HOME=/
guardcheck() { GUARDCHECK "$@"; }
as_user() { setpriv --reuid=4010 --regid=4010 --clear-groups "$@"; }
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
mkfifo DIR/ready; exec 3<>DIR/ready
holder() {
  as_user GUARDCHECK run "$1" --policy file --exec -- sh -c 'echo ready >&3; exec sleep 600' &
  read -r line <&3
}
)",
                                          script);
    std::ofstream(file) << absl::StrReplaceAll(
        text, {{"GUARDCHECK", Beside("guardcheck")}, {"DIR", guardcheck_.directory().path()}});
    return RunProgram({.argv = {"unshare", "--mount", "--pid", "--ipc", "--net", "--fork",
                                "--kill-child", "--mount-proc", "bash", file}});
  }

  const Guardcheck guardcheck_{};
};

TEST_F(OtherUsers, H32_AStartOfRootBesideAUsersIsSaidAtOnce) {
  const Finished done = Do("holder bot\nguardcheck run bot --policy file --grace 3s -- echo ran\n");
  EXPECT_EQ(done.code, 0) << done.errors;
  EXPECT_EQ(done.output, "ran\n") << "advice, and no verdict";
  EXPECT_THAT(done.errors,
              MatchesRegex("guardcheck: bot runs as pid [0-9]+ of 4010 \\(uid 4010\\) in a scope "
                           "of that user; this start is in root's own, and runs beside it\n"
                           "  sudo -u '#4010' guardcheck run bot --policy file --grace 3s -- echo "
                           "ran\n      starts it as that user.*\n"));
}

TEST_F(OtherUsers, H32_WhatLooksAtRootsScopeSaysWhereTheNameRuns) {
  const Finished done = Do(R"(holder bot
for words in "status bot" "check bot" "stop bot" "list"; do
  guardcheck $words --policy file; echo "code $?"
done
guardcheck status bot --json
guardcheck status other
)");
  EXPECT_EQ(done.errors, "");
  for (const char* command : {"status bot", "stop bot", "list"}) {
    EXPECT_THAT(done.output, HasSubstr(absl::StrCat("  guardcheck ", command,
                                                    " --policy file "
                                                    "--scope user:4010\n")));
  }
  EXPECT_THAT(done.output, HasSubstr("\n  bot runs as pid "));
  EXPECT_THAT(done.output, HasSubstr("bot is not running.\n")) << "in root's scope";
  EXPECT_THAT(done.output, HasSubstr("\"other_users\":[{\"user\":\"4010\",\"uid\":4010,\"name\":"
                                     "\"bot\",\"slot\":0,\"pid\":"));
  EXPECT_THAT(done.output, HasSubstr("code 3\n"));
  const std::size_t other = done.output.find("other is not running.");
  ASSERT_NE(other, std::string::npos);
  EXPECT_THAT(done.output.substr(other), Not(HasSubstr("other users")));
}

TEST_F(OtherUsers, H32_RootWorksInTheScopeOfAUserAndStartsNothingThere) {
  const Finished done = Do(R"(holder bot
guardcheck status bot --policy file --scope user:4010; echo "status $?"
guardcheck check bot --policy file --scope user:4010 >/dev/null; echo "check $?"
guardcheck list --policy file --scope user:4010; echo "list $?"
guardcheck run bot --policy file --scope user:4010 -- echo ran; echo "run $?"
guardcheck stop bot --policy file --scope user:4010; echo "stop $?"
guardcheck status bot --policy file --scope user:4010; echo "status $?"
guardcheck run free --policy file --scope user:4010 -- echo ran; echo "run $?"
guardcheck run free --policy file --scope user:4011 -- echo ran; echo "run $?"
ls -d /run/lock/soleguard-4011
)");
  for (const char* code :
       {"status 0\n", "check 69\n", "list 0\n", "stop 0\n", "status 3\n", "run 69\n"}) {
    EXPECT_THAT(done.output, HasSubstr(code)) << done.errors;
  }
  EXPECT_THAT(done.output, Not(HasSubstr("ran\n")));
  EXPECT_THAT(done.errors, HasSubstr("/run/lock/soleguard-4010 belongs to 4010 (uid 4010)"));
  EXPECT_THAT(done.errors, HasSubstr("start it as that user (sudo -u '#4010' guardcheck run ...)"));
  EXPECT_THAT(done.errors, HasSubstr("whose first start makes it"));
  EXPECT_THAT(done.errors, HasSubstr("cannot access '/run/lock/soleguard-4011'")) << "not made";
}

TEST_F(OtherUsers, OnlyRootMayNameAnotherUser) {
  const Finished done = Do(R"(as_nobody GUARDCHECK status bot --scope user:4010; echo "$?"
as_nobody GUARDCHECK status bot --scope user:nobody; echo "$?"
guardcheck status bot --scope user:no_such_user; echo "$?"
guardcheck status bot --scope user:; echo "$?"
)");
  EXPECT_THAT(done.output, HasSubstr("64\nbot is not running.\n"));
  EXPECT_THAT(
      done.errors,
      AllOf(HasSubstr("--scope: that scope belongs to 4010 (uid 4010), and this process is "
                      "nobody (uid 65534)"),
            HasSubstr("open to that user and root alone"),
            HasSubstr("no user is called 'no_such_user'"), HasSubstr("no user is called ''")));
}

// Everybody may make the directory of a user who has none yet.
TEST_F(OtherUsers, H20_WhatAnotherHasPlantedIsNotTheUsers) {
  const Finished done = Do(R"(as_nobody mkdir -m 700 /run/lock/soleguard-4010
guardcheck status bot --scope user:4010; echo "$?"
)");
  EXPECT_EQ(done.output, "64\n");
  EXPECT_THAT(done.errors, HasSubstr("/run/lock/soleguard-4010 is no directory of 4010 (uid 4010); "
                                     "it belongs to nobody (uid 65534)"));
}

// Nothing that a user has put there leads root anywhere, keeps it, or speaks for another process.
TEST_F(OtherUsers, H20_H34_PlantedThingsAreNotFollowed) {
  const Finished done = Do(R"(holder bot
holder moved
own=/run/lock/soleguard-4010/names
as_user mv $own/moved /run/lock/moved && as_user ln -s /run/lock/moved $own/moved
as_user mkdir $own/linked $own/fifo $own/twice $own/foreign
as_user ln -s $own/bot/record $own/linked/record
as_user mkfifo $own/fifo/record
as_user ln $own/bot/record $own/twice/record
as_user ln -s $own/bot $own/folder
as_nobody mkdir -m 755 -p /run/lock/soleguard-65534/names
as_nobody ln -s $own/bot /run/lock/soleguard-65534/names/bot
as_nobody ln -s /run/lock/soleguard-4010 /run/lock/soleguard-4012
mkdir -p /run/lock/soleguard-4013/names/bot; cp $own/bot/record /run/lock/soleguard-4013/names/bot
chown -R 4013 /run/lock/soleguard-4013
for name in linked fifo twice folder moved; do guardcheck status $name --policy file; done
rm $own/twice/record
guardcheck list --policy file
)");
  EXPECT_EQ(done.errors, "");
  const std::size_t list = done.output.find("No guarded program is running in this scope.");
  ASSERT_NE(list, std::string::npos) << done.output;
  EXPECT_THAT(done.output.substr(0, list), Not(HasSubstr("other users")));
  EXPECT_THAT(done.output.substr(list),
              MatchesRegex("No guarded program is running in this scope.\n"
                           "\nIn scopes of other users, at which this call does not look\n"
                           "  bot runs as pid [0-9]+ of 4010 \\(uid 4010\\)\n"
                           "\nWhat you can do\n  guardcheck list --policy file --scope user:4010\n"
                           "      the same in the scope of 4010\n"));
}

// Whoever makes a hundred thousand entries keeps root for a moment, and no longer.
TEST_F(OtherUsers, H34_AFloodOfEntriesIsBounded) {
  const Finished done = Do(R"(holder bot
cd /run/lock && as_nobody bash -c 'for i in {1..30000}; do echo soleguard-9$i; done | xargs mkdir'
guardcheck status bot --policy file; echo "code $?"
)");
  EXPECT_EQ(done.errors, "");
  EXPECT_THAT(done.output, StartsWith("bot is not running.\n"));
  EXPECT_THAT(done.output, HasSubstr("code 3\n"));
}

}  // namespace
}  // namespace soleguard::testing
