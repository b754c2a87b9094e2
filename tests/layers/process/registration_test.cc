// Registration of candidates, with real processes.
#include "process/registration.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "os/lock.h"
#include "soleguard/guard.h"
#include "soleguard/layer.h"
#include "soleguard/options.h"
#include "soleguard/process.h"
#include "soleguard/registration.h"
#include "support/looker.h"
#include "support/temp_dir.h"

namespace soleguard {
namespace {

using testing::Beside;
using ::testing::HasSubstr;
using testing::Looker;

class RegistrationTest : public ::testing::Test {
 protected:
  absl::Status Add() const { return Register(scope()); }
  Scope scope() const { return *Scope::Directory(directory_.path()); }
  bool Has(const ProcessIdentity& process) const {
    Registrations registrations;
    EXPECT_TRUE(registrations.Open(scope()).ok());
    const absl::StatusOr<bool> has = registrations.Has(process);
    EXPECT_TRUE(has.ok()) << has.status();
    return has.ok() && *has;
  }
  std::vector<ProcessIdentity> All() const {
    Registrations registrations;
    EXPECT_TRUE(registrations.Open(scope()).ok());
    return *registrations.All();
  }
  std::string file() const { return directory_ / "candidates"; }

  const testing::TempDir directory_;
};

TEST_F(RegistrationTest, WhoHasRegisteredIsKnownAndNobodyElseIs) {
  EXPECT_FALSE(Has(*OwnIdentity()));
  EXPECT_FALSE(std::filesystem::exists(file())) << "looking must create nothing";
  ASSERT_TRUE(Add().ok());
  ASSERT_TRUE(Add().ok());  // once more does nothing
  EXPECT_TRUE(Has(*OwnIdentity()));
  EXPECT_FALSE(Has(*IdentityOf(getppid())));
  EXPECT_EQ(All(), std::vector<ProcessIdentity>{*OwnIdentity()});
  struct stat status = {};
  ASSERT_EQ(stat(file().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
}

TEST_F(RegistrationTest, AnIdentityOfAnotherTimeOrPlaceIsAnother) {
  ASSERT_TRUE(Add().ok());
  for (const auto& change : std::vector<void (*)(ProcessIdentity&)>{
           [](ProcessIdentity& other) { ++other.start_ticks; },
           [](ProcessIdentity& other) { ++other.pid_namespace; },
           [](ProcessIdentity& other) { other.boot_id[0] ^= 1; }}) {
    ProcessIdentity other = *OwnIdentity();
    change(other);
    EXPECT_FALSE(Has(other));
  }
}

TEST_F(RegistrationTest, AnnounceRegistersAndRefusesABadName) {
  Options options;
  options.scope = scope();
  EXPECT_TRUE(absl::IsInvalidArgument(Announce("a/b", options)));
  EXPECT_FALSE(Has(*OwnIdentity()));
  EXPECT_TRUE(Announce("x", options).ok());
  EXPECT_TRUE(Has(*OwnIdentity()));
}

TEST_F(RegistrationTest, ItVanishesWithTheProcessThatWasKilled) {
  Looker looker({.scope = directory_.path()});
  const ProcessIdentity process = *IdentityOf(looker.pid());
  EXPECT_FALSE(Has(process));
  ASSERT_EQ(looker.Ask("register"), "ok");
  EXPECT_TRUE(Has(process));
  looker.program().Signal(SIGKILL);
  (void)looker.program().Wait();
  EXPECT_FALSE(Has(process));
  EXPECT_TRUE(All().empty());
}

TEST_F(RegistrationTest, H10_AForkedChildIsNotItsParentsRegistrationAndMayHaveItsOwn) {
  ASSERT_TRUE(Add().ok());
  const ProcessIdentity parent = *OwnIdentity();
  const pid_t child = fork();
  if (child == 0) {
    if (Has(*OwnIdentity())) _exit(1);
    if (!Has(parent)) _exit(2);
    if (!Add().ok()) _exit(3);
    _exit(Has(*OwnIdentity()) && Has(parent) ? 0 : 4);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(Has(parent));
}

TEST_F(RegistrationTest, H10_AForkedChildThatOutlivesItsParentDoesNotKeepIt) {
  Looker looker({.scope = directory_.path()});
  ASSERT_EQ(looker.Ask("register"), "ok");
  const ProcessIdentity process = *IdentityOf(looker.pid());
  const ProcessIdentity child = *IdentityOf(std::stoll(looker.Ask("fork")));
  looker.program().Signal(SIGKILL);
  (void)looker.program().Wait();
  EXPECT_EQ(LivenessOf(child), Liveness::kAlive);
  EXPECT_FALSE(Has(process));
  EXPECT_FALSE(Has(child));
  EXPECT_TRUE(All().empty());
}

TEST_F(RegistrationTest, H31_AProgramThatClosedAllDescriptorsLosesItAndMayRegisterAgain) {
  Looker looker({.scope = directory_.path()});
  ASSERT_EQ(looker.Ask("register"), "ok");
  ASSERT_EQ(looker.Ask("closefrom"), "closed");
  EXPECT_FALSE(Has(*IdentityOf(looker.pid())));
  ASSERT_EQ(looker.Ask("register"), "ok");
  EXPECT_TRUE(Has(*IdentityOf(looker.pid())));
}

TEST_F(RegistrationTest, H04_WhenTheFileWasDeletedTheNextRegistrationMakesItAnew) {
  ASSERT_TRUE(Add().ok());
  ASSERT_TRUE(std::filesystem::remove(file()));
  EXPECT_FALSE(Has(*OwnIdentity()));
  ASSERT_TRUE(Add().ok());
  EXPECT_TRUE(Has(*OwnIdentity()));
}

TEST_F(RegistrationTest, DamagedSlotsAreNobodysAndAreTakenAgain) {
  ASSERT_TRUE(Add().ok());
  std::string bytes(std::filesystem::file_size(file()), '\0');
  std::ifstream(file()).read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  const std::size_t slot = bytes.find("soleguard-candidate");
  ASSERT_NE(slot, std::string::npos);
  // Each byte of the text counts.
  for (std::size_t i = slot; bytes[i] != '\n'; ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    std::ofstream(file(), std::ios::in)
        .write(damaged.data(), static_cast<std::streamsize>(damaged.size()));
    ASSERT_FALSE(Has(*OwnIdentity())) << "byte " << i - slot;
  }
  std::ofstream(file(), std::ios::in)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  EXPECT_TRUE(Has(*OwnIdentity()));

  std::ofstream(file(), std::ios::trunc).write("", 0);
  EXPECT_FALSE(Has(*OwnIdentity()));
  EXPECT_TRUE(All().empty());
  std::ofstream(file()) << std::string(100'000, '\xff');
  EXPECT_FALSE(Has(*OwnIdentity()));
  ASSERT_TRUE(Add().ok());
  EXPECT_TRUE(Has(*OwnIdentity()));
}

TEST_F(RegistrationTest, TheSlotsOfTheDeadAreTakenAgainAndTheFileStaysBounded) {
  constexpr int kProcesses = 300;
  for (int i = 0; i < kProcesses; ++i) {
    const pid_t child = fork();
    if (child == 0) _exit(Add().ok() ? 0 : 1);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
  }
  EXPECT_TRUE(All().empty());
  EXPECT_LE(std::filesystem::file_size(file()), 4096U * 256);
}

// A process has 128 slots to choose from: all of them taken, it is told so.
TEST_F(RegistrationTest, WhenItsSlotsAreTakenItSaysSo) {
  { std::ofstream(file()) << ""; }
  ASSERT_EQ(chmod(file().c_str(), 0600), 0);
  const UniqueFd all(open(file().c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(*os::TryOfdLock(all.get()));
  const absl::Status status = Add();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_FALSE(Has(*OwnIdentity()));
  os::UnlockOfd(all.get());
  EXPECT_TRUE(Add().ok());
  EXPECT_TRUE(Has(*OwnIdentity()));
}

TEST_F(RegistrationTest, ThreadsMayRegisterAtOnce) {
  std::vector<std::thread> threads;
  std::atomic<int> failures = 0;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([this, &failures] {
      for (int j = 0; j < 20; ++j) failures += Add().ok() ? 0 : 1;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(All(), std::vector<ProcessIdentity>{*OwnIdentity()});
}

TEST_F(RegistrationTest, H01_ManyAtOnceAllGetASlotOfTheirOwn) {
  constexpr std::size_t kProcesses = 64;
  std::vector<Looker> lookers;
  for (std::size_t i = 0; i < kProcesses; ++i) {
    lookers.emplace_back(Looker::Setup{.scope = directory_.path()});
  }
  for (Looker& looker : lookers) looker.program().WriteLine("register");
  for (Looker& looker : lookers) EXPECT_EQ(looker.program().ReadLine(), "ok");
  for (Looker& looker : lookers) EXPECT_TRUE(Has(*IdentityOf(looker.pid())));
  EXPECT_EQ(All().size(), kProcesses);
}

TEST_F(RegistrationTest, AWatchWakesAtTheNextRegistration) {
  ASSERT_TRUE(Add().ok());
  Registrations registrations;
  ASSERT_TRUE(registrations.Open(scope()).ok());
  std::array<UniqueFd, 1> watch = {*registrations.Watch()};
  EXPECT_FALSE(WaitForAny(watch, absl::Nanoseconds(1)));
  Looker another({.scope = directory_.path()});
  ASSERT_EQ(another.Ask("register"), "ok");
  EXPECT_TRUE(WaitForAny(watch, absl::Seconds(30)));
}

TEST_F(RegistrationTest, H14_WhatStandsInTheWayIsAnErrorThatNamesIt) {
  ASSERT_TRUE(std::filesystem::create_directory(file()));
  const absl::Status status = Add();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(file()));
  Registrations registrations;
  EXPECT_FALSE(registrations.Open(scope()).ok());
}

TEST_F(RegistrationTest, H20_APlantedLinkIsRefusedAndItsTargetUntouched) {
  const std::string target = directory_ / "target";
  std::ofstream(target) << "mine";
  std::filesystem::create_symlink(target, file());
  EXPECT_FALSE(Add().ok());
  std::string text;
  std::ifstream(target) >> text;
  EXPECT_EQ(text, "mine");
}

TEST_F(RegistrationTest, ALimitOfFileSizesIsAnErrorAndNoSignal) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "the sanitizer itself writes beyond such a limit";
#endif
  const auto run =
      testing::RunProgram({.argv = {"bash", "-c", "ulimit -f 0; echo register | exec \"$0\" \"$@\"",
                                    Beside("looker"), directory_.path(), "x", "0s", "scan", "/"}});
  EXPECT_EQ(run.code, 0);
  EXPECT_THAT(run.output, HasSubstr("ulimit -f"));
}

}  // namespace
}  // namespace soleguard
