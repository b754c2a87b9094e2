// What another user plants where everybody may: nobody is named, signalled or sent anything by it.
#include "support/stranger.h"

#include <signal.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <optional>
#include <string>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kit/key.h"
#include "soleguard/guard.h"
#include "soleguard/name.h"
#include "soleguard/process.h"
#include "support/child.h"
#include "support/users.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// A semaphore that is taken, and a record that says of `victim` that it is the instance. `planter`:
// the one that took it, which the kernel shows.
class Plant {
 public:
  Plant(const Scope& scope, const ProcessIdentity& victim)
      : key_(static_cast<key_t>(KeyOf(scope, *InstanceName::Parse("x")) % 0x7ffffffe) + 1),
        segment_(absl::StrFormat("/dev/shm/soleguard-%08x", key_)),
        planter_([&]() -> std::string {
          if (!Become(kOutsider)) return "cannot become";
          const int id = semget(key_, 1, IPC_CREAT | 0666);
          sembuf take = {.sem_num = 0, .sem_op = 1, .sem_flg = 0};
          if (id < 0 || semop(id, &take, 1) != 0) return "semget failed";
          HolderRecord record;
          record.state = RecordState::kEstablished;
          record.name = "x";
          record.scope = scope.ToString();
          record.identity = *OwnIdentity();
          record.instance = victim;
          std::ofstream(segment_, std::ios::binary) << EncodeRecord(record, 1);
          return "planted";
        }) {}
  ~Plant() {
    (void)semctl(semget(key_, 1, 0), 0, IPC_RMID);
    (void)unlink(segment_.c_str());
  }
  Child& planter() { return planter_; }

 private:
  const key_t key_;
  const std::string segment_;
  Child planter_;
};

// R3_StopKillsStranger: the parameter is whether the planter lives.
class StopKillsStranger : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Planter, StopKillsStranger, ::testing::Bool(), [](const auto& alive) {
  return std::string(alive.param ? "Lives" : "IsDead");
});

TEST_P(StopKillsStranger, H37_NobodyIsBelievedNamedOrSignalled) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can be two users";
  const Guardcheck guardcheck;
  const Child victim([] { return "runs"; });
  Plant plant(*Scope::Directory(guardcheck.scope()), *IdentityOf(victim.pid()));
  ASSERT_EQ(plant.planter().answer(), "planted");
  if (!GetParam()) plant.planter().Kill();
  for (const Words& words :
       {Words{"status", "x"}, Words{"check", "x"}, Words{"stop", "x", "--timeout", "1s"},
        Words{"stop", "x", "--force", "--timeout", "1s"}, Words{"send", "x", "--", "hello"},
        Words{"watch", "x", "--once", "--auto-kill", "--", "sleep", "300"},
        Words{"run", "x", "--replace", "--", "true"}}) {
    const Finished finished = guardcheck.Call(words);
    SCOPED_TRACE(absl::StrCat(words[0], " ", words.back(), ": ", finished.output, finished.errors));
    EXPECT_EQ(finished.code, 69);
    EXPECT_THAT(finished.output + finished.errors,
                Not(HasSubstr(absl::StrCat("pid ", victim.pid()))));
    EXPECT_TRUE(Lives(victim.pid()));
  }
  EXPECT_THAT(guardcheck.Call({"status", "x"}).output, HasSubstr("nobody (uid 65534)"));
  EXPECT_THAT(guardcheck.Call({"list"}).output, Not(HasSubstr(absl::StrCat(victim.pid()))));
}

}  // namespace
}  // namespace soleguard::testing
