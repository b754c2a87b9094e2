// guardcheck run: that wrapper, guardian, hooks and command are one set, of which nobody is left
// and to which nobody else belongs.
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/process.h"
#include "soleguard/send.h"
#include "support/kinds.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string ContentOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<ProcessIdentity> ChildrenOf(const ProcessIdentity& parent) {
  std::vector<ProcessIdentity> children = *DescendantsOf(parent);
  std::erase_if(children, [&parent](const ProcessIdentity& child) {
    const auto description = Describe(child);
    return !description.ok() || description->parent_pid != parent.pid;
  });
  return children;
}

std::vector<ProcessIdentity> DescendantsNamed(const ProcessIdentity& ancestor,
                                              const std::string& first_words) {
  std::vector<ProcessIdentity> found;
  const auto descendants = DescendantsOf(ancestor);
  for (const ProcessIdentity& process :
       descendants.ok() ? *descendants : std::vector<ProcessIdentity>()) {
    const auto description = Describe(process);
    if (!description.ok()) continue;
    std::string line;
    for (const std::string& word : description->argv) absl::StrAppend(&line, word, " ");
    if (line.starts_with(first_words)) found.push_back(process);
  }
  return found;
}

// Blocks until it is so: for what no event tells.
template <typename Condition>
void Eventually(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!condition()) {
    ASSERT_LT(std::chrono::steady_clock::now(), end);
    std::this_thread::yield();
  }
}

// Blocks until as many have become that program.
std::vector<ProcessIdentity> AwaitNamed(const ProcessIdentity& ancestor,
                                        const std::string& first_words, std::size_t count) {
  std::vector<ProcessIdentity> found;
  Eventually([&] {
    found = DescendantsNamed(ancestor, first_words);
    return found.size() >= count;
  });
  return found;
}

void ExpectGone(const std::vector<ProcessIdentity>& processes) {
  for (const ProcessIdentity& process : processes) WaitUntilGone(process);
}

// Both guards are killed so that neither sees the other's end.
void KillBothGuards(Guarded& run) {
  run.Settle();  // the record names the command
  const pid_t guardian = run.guardian();
  ASSERT_EQ(kill(guardian, SIGSTOP), 0);
  run.program().Signal(SIGSTOP);
  run.program().WaitUntilStopped();
  ASSERT_EQ(kill(guardian, SIGKILL), 0);
  run.program().Signal(SIGKILL);
  (void)run.program().Wait();
}

// ---- P1: a pid namespace below the one that /proc shows

class P1_ForeignProc : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root to make a pid namespace";
    if (RunProgram({.argv = {"unshare", "-p", "-f", "true"}}).code != 0) {
      GTEST_SKIP() << "a pid namespace cannot be made";
    }
  }
  // sh is process 1, so that the namespace does not end with guardcheck.
  Program Start(const std::string& command) const {
    std::string run;
    for (const std::string& word : guardcheck_.Run({"sh", "-c", command}, {"--grace", "300ms"})) {
      absl::StrAppend(&run, "'", word, "' ");
    }
    return Program({.argv = {"unshare", "-p", "-f", "--kill-child", "sh", "-c",
                             absl::StrCat(run, "& wait; echo over; read -r line")}});
  }

  const Guardcheck guardcheck_;
};

TEST_F(P1_ForeignProc, AKilledWrapperTakesEverythingWithIt) {
  Program inside = Start("sleep 600 & sleep 600 & echo ready; wait");
  ASSERT_EQ(inside.ReadLine(), "ready");
  const ProcessIdentity root = *IdentityOf(inside.pid());
  const std::vector<ProcessIdentity> sleeps = AwaitNamed(root, "sleep", 2);
  const auto wrappers = DescendantsNamed(root, absl::StrCat(Beside("guardcheck"), " run"));
  ASSERT_EQ(wrappers.size(), 1U);
  ASSERT_TRUE(SendSignal(wrappers.front(), SIGKILL).ok());
  ExpectGone(sleeps);
  EXPECT_EQ(inside.ReadLine(), "over");
  const Finished next = guardcheck_.CallRun({"true"});
  EXPECT_EQ(next.code, 0) << next.errors;
}

TEST_F(P1_ForeignProc, WhatTheCommandLeavesBehindIsEnded) {
  Program inside = Start("sleep 600 & trap \"\" TERM; sleep 600 & echo ready");
  ASSERT_EQ(inside.ReadLine(), "ready");
  EXPECT_EQ(inside.ReadLine(), "over");
  EXPECT_TRUE(DescendantsNamed(*IdentityOf(inside.pid()), "sleep").empty());
  EXPECT_EQ(guardcheck_.CallRun({"true"}).code, 0);
}

TEST_F(P1_ForeignProc, H06_FromOutsideItIsSeenAndStopped) {
  Program inside = Start("sleep 600 & echo ready; wait");
  ASSERT_EQ(inside.ReadLine(), "ready");
  const ProcessIdentity root = *IdentityOf(inside.pid());
  const std::vector<ProcessIdentity> sleeps = AwaitNamed(root, "sleep", 1);
  const Finished status = guardcheck_.Call({"status", "x"});
  EXPECT_EQ(status.code, 0) << status.errors;
  EXPECT_THAT(status.output, Not(HasSubstr("cannot be seen from here")));
  const Finished stopped = guardcheck_.Call({"stop", "x"});
  EXPECT_EQ(stopped.code, 0) << stopped.output << stopped.errors;
  ExpectGone(sleeps);
}

// ---- P2: the wrapper had children before

// `helper & exec guardcheck run …`, as in the entry point of a container.
class P2_StrangerChildren : public ::testing::Test {
 protected:
  P2_StrangerChildren() {
    std::string run;
    for (const std::string& word : guardcheck_.Run({"sh", "-c", "sleep 600 & echo ready; wait"})) {
      absl::StrAppend(&run, "'", word, "' ");
    }
    program_.emplace(Program::Setup{
        .argv = {"sh", "-c", absl::StrCat("sh -c 'sleep 601 & wait' >&- 2>&- & exec ", run)}});
    ready_ = program_->ReadLine().value_or("");
    wrapper_ = *IdentityOf(program_->pid());
    for (const ProcessIdentity& child : ChildrenOf(wrapper_)) {
      const auto description = Describe(child);
      if (description.ok() && description->argv.at(0) == "sh") helper_ = child;
    }
    strangers_ = AwaitNamed(wrapper_, "sleep 601", 1);
    ours_ = AwaitNamed(wrapper_, "sleep 600", 1);
    guardians_ = AwaitNamed(wrapper_, "guardcheck: guardian", 2);  // one is between
  }
  ~P2_StrangerChildren() override {
    for (const auto& stranger : strangers_) (void)SendSignal(stranger, SIGKILL);
    if (helper_.has_value()) (void)SendSignal(*helper_, SIGKILL);
  }
  void ExpectOnlyStrangersLive(bool helper_too = true) {
    ExpectGone(ours_);
    ExpectGone(guardians_);
    if (helper_too) {
      EXPECT_EQ(LivenessOf(*helper_), Liveness::kAlive);
    }
    EXPECT_EQ(LivenessOf(strangers_.at(0)), Liveness::kAlive);
    EXPECT_EQ(guardcheck_.CallRun({"true"}).code, 0);
  }

  const Guardcheck guardcheck_;
  std::optional<Program> program_;
  std::string ready_;
  ProcessIdentity wrapper_;
  std::optional<ProcessIdentity> helper_;
  std::vector<ProcessIdentity> strangers_;
  std::vector<ProcessIdentity> ours_;
  std::vector<ProcessIdentity> guardians_;
};

TEST_F(P2_StrangerChildren, LiveOnWhenTheGuardianIsKilled) {
  ASSERT_EQ(ready_, "ready");
  ASSERT_TRUE(SendSignal(guardians_.back(), SIGKILL).ok());
  EXPECT_EQ(program_->Wait(), 70);
  ExpectOnlyStrangersLive();
}

// An orphan of theirs is no orphan of the command's.
TEST_F(P2_StrangerChildren, LiveOnAsOrphansWhenTheGuardianIsKilled) {
  ASSERT_TRUE(SendSignal(*helper_, SIGKILL).ok());
  WaitUntilGone(*helper_);
  ASSERT_TRUE(SendSignal(guardians_.back(), SIGKILL).ok());
  EXPECT_EQ(program_->Wait(), 70);
  ExpectOnlyStrangersLive(/*helper_too=*/false);
}

TEST_F(P2_StrangerChildren, LiveOnWhenTheOneBetweenIsKilled) {
  ASSERT_TRUE(SendSignal(guardians_.front(), SIGKILL).ok());
  ExpectGone({guardians_.front()});
  ASSERT_TRUE(SendSignal(wrapper_, SIGKILL).ok());
  ExpectOnlyStrangersLive();
}

// kill by the pattern of their title. Nobody else is there for the command.
TEST_F(P2_StrangerChildren, LiveOnWhenTheGuardianAndTheOneBetweenAreKilled) {
  ASSERT_EQ(ready_, "ready");
  const ProcessIdentity command = *IdentityOf(Describe(ours_.at(0))->parent_pid);
  ASSERT_TRUE(SendSignal(guardians_.front(), SIGKILL).ok());
  ExpectGone({guardians_.front()});
  ASSERT_TRUE(SendSignal(guardians_.back(), SIGKILL).ok());
  EXPECT_EQ(program_->Wait(), 70);
  EXPECT_EQ(LivenessOf(command), Liveness::kGone);
  ExpectOnlyStrangersLive();
  EXPECT_THAT(program_->Errors(),
              AllOf(HasSubstr("the guardian process was killed, and the one above it"),
                    HasSubstr("what it had left to itself may run on")));
}

TEST_F(P2_StrangerChildren, LiveOnWhenTheWrapperIsKilled) {
  ASSERT_TRUE(SendSignal(wrapper_, SIGKILL).ok());
  ExpectOnlyStrangersLive();
}

TEST_F(P2_StrangerChildren, LiveOnWhenTheCommandEnds) {
  program_->Signal(SIGTERM);
  EXPECT_EQ(program_->Wait(), 128 + SIGTERM);
  ExpectOnlyStrangersLive();
}

// ---- P3: hooks

TEST(P3_HookOutlives, ItIsGoneBeforeTheNextInstance) {
  const Guardcheck guardcheck;
  const std::string hook = guardcheck.directory() / "hook";
  const std::string fifo = guardcheck.directory() / "fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  std::ofstream(hook) << "#!/bin/sh\nsleep 600 &\necho $$ > " << fifo << "\nwait\n";
  ASSERT_EQ(chmod(hook.c_str(), 0700), 0);
  Guarded run = guardcheck.Start({"--on-message", hook});
  run.Settle();
  Program sender({.argv = guardcheck.Argv({"send", "x", "--timeout", "60s", "--", "go"})});
  pid_t pid = 0;
  std::ifstream(fifo) >> pid;
  const ProcessIdentity running = *IdentityOf(pid);
  std::vector<ProcessIdentity> hooks = *DescendantsOf(running);
  hooks.push_back(running);
  EXPECT_EQ(Describe(running)->parent_pid, run.guardian());
  run.program().Signal(SIGKILL);
  Guarded next = guardcheck.Start();
  (void)next.command();
  for (const ProcessIdentity& process : hooks) EXPECT_EQ(LivenessOf(process), Liveness::kGone);
  EXPECT_EQ(next.Exit(0), 0);
}

// A hook of a command, with a FIFO on which it says pids and one on which it is told to go on.
class HookTest : public ::testing::Test {
 protected:
  HookTest() {
    if (mkfifo(fifo_.c_str(), 0600) != 0) throw std::runtime_error("mkfifo");
    if (mkfifo(go_.c_str(), 0600) != 0) throw std::runtime_error("mkfifo");
  }
  Guarded Start(const std::string& body, const Words& options = {}) const {
    const std::string hook = guardcheck_.directory() / "hook";
    std::ofstream(hook) << "#!/bin/sh\nsaid=" << fifo_ << " go=" << go_ << "\n" << body << "\n";
    (void)chmod(hook.c_str(), 0700);
    Guarded run = guardcheck_.Start(Words{"--on-message", hook} + options);
    run.Settle();
    return run;
  }
  Program Send() const {
    return Program({.argv = guardcheck_.Argv({"send", "x", "--timeout", "60s", "--", "go"})});
  }
  // The pids that it has said: its own, which may be gone by now, and those of what it leaves.
  std::vector<pid_t> Said() const {
    std::vector<pid_t> said;
    std::ifstream in(fifo_);
    for (pid_t pid = 0; in >> pid;) said.push_back(pid);
    return said;
  }
  // It stays open: what no reader has opened yet would be lost with the close.
  void Go() {
    go_stream_.open(go_);
    go_stream_ << "go\n" << std::flush;
  }
  static bool EndsSoon(const ProcessIdentity& process) {
    absl::StatusOr<UniqueFd> ended = OpenPidfd(process);
    return !ended.ok() || WaitForAny({&*ended, 1}, absl::Seconds(20));
  }

  const Guardcheck guardcheck_;
  const std::string fifo_ = guardcheck_.directory() / "said";
  const std::string go_ = guardcheck_.directory() / "go";
  std::fstream go_stream_;
};

// As after 30 seconds, when nobody waits for its answer any more: here it answers too much.
TEST_F(HookTest, WhatOneThatHasEndedLeftIsKilledWithIt) {
  Guarded run = Start(
      "(trap '' PIPE; read -r word < $go; head -c 2000000 /dev/zero; exec sleep 600) &\n"
      "echo $$ $! > $said; exit 0");
  Program sender = Send();
  const std::vector<pid_t> said = Said();
  ASSERT_EQ(said.size(), 2U);
  const ProcessIdentity left = *IdentityOf(said[1]);
  Eventually([&] { return StateOf(said[0]) == 'Z' || StateOf(said[0]) == '-'; });
  run.Settle();  // the guardian knows
  EXPECT_EQ(LivenessOf(left), Liveness::kAlive);
  Go();
  EXPECT_TRUE(EndsSoon(left));
  EXPECT_EQ(sender.Wait(), 1);
  EXPECT_EQ(run.Exit(0), 0);
}

TEST_F(HookTest, WhatOneThatHasAnsweredLeftLivesAsLongAsTheCommand) {
  Guarded run = Start("sleep 600 >/dev/null 2>&1 & echo $$ $! > $said; echo done");
  Program sender = Send();
  const std::vector<pid_t> said = Said();
  ASSERT_EQ(said.size(), 2U);
  const ProcessIdentity left = *IdentityOf(said[1]);
  EXPECT_EQ(sender.Wait(), 0);
  EXPECT_EQ(sender.Output(), "done\n");
  // Not even a zombie of the hook is left.
  Eventually([&] { return kill(said[0], 0) != 0; });
  EXPECT_EQ(LivenessOf(left), Liveness::kAlive);
  EXPECT_EQ(run.Exit(0), 0);
  EXPECT_EQ(LivenessOf(left), Liveness::kGone);
}

TEST_F(HookTest, ItGetsNoSignalThatIsForTheCommand) {
  Guarded run = Start("echo $$ > $said; read -r word < $go; echo done", {"--until", "tree"});
  const std::string polite = run.Ask("polite");
  const ProcessIdentity command = *IdentityOf(run.command());
  run.program().WriteLine("exit 0");
  WaitUntilGone(command);
  Program sender = Send();
  ASSERT_EQ(Said().size(), 1U);
  run.program().Signal(SIGTERM);
  EXPECT_EQ(run.Line(), "asked " + polite);
  Go();
  EXPECT_EQ(sender.Wait(), 0) << sender.Errors();
  EXPECT_EQ(run.program().Wait(), 0);
}

TEST_F(HookTest, WhatItLeftIsNotTheMainProcess) {
  Guarded run = Start(
      "setsid sleep 600 >/dev/null 2>&1 & sleep 600 >/dev/null 2>&1 & echo $$ > $said; echo done",
      {"--until", "tree"});
  Program sender = Send();
  (void)Said();
  EXPECT_EQ(sender.Wait(), 0) << sender.Errors();
  const std::vector<ProcessIdentity> daemon = run.AskForProcesses("daemon");
  ASSERT_EQ(daemon.size(), 1U);
  run.program().WriteLine("exit 0");
  const std::string shown = absl::StrCat("pid         ", daemon[0].pid, ",");
  Eventually([&] {
    return guardcheck_.Call({"status", "x"}).output.find(shown) != std::string::npos;
  });
  EXPECT_EQ(guardcheck_.Call({"stop", "x", "--timeout", "10ms", "--force"}).code, 0);
  (void)run.program().Wait();
}

// ---- O1: what was claimed anew

TEST(O1_OverlapAfterReclaim, TheGuardianKeepsTheNewestClaimsOnly) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start({"--policy", "file"});
  run.Settle();
  const std::string descriptors = absl::StrCat("/proc/", run.guardian(), "/fd");
  const auto count = [&] {
    return std::distance(std::filesystem::directory_iterator(descriptors), {});
  };
  const auto before = count();
  constexpr int kMoves = 20;
  FileIdentity newest;
  for (int i = 0; i < kMoves; ++i) {
    const std::string moved = absl::StrCat(guardcheck.Object("gone"), i);
    std::filesystem::rename(guardcheck.Object("x"), moved);
    ASSERT_THAT(run.program().ReadErrorLine().value_or(""), HasSubstr("repaired"));
    struct stat directory = {};
    ASSERT_EQ(stat(guardcheck.Object("x").c_str(), &directory), 0);
    newest = {.device = directory.st_dev, .inode = directory.st_ino};
    std::filesystem::remove_all(moved);
  }
  const ProcessIdentity guardian = *IdentityOf(run.guardian());
  Eventually([&] { return HasOpen(guardian, newest).value_or(false); });
  constexpr int kSets = 8;
  constexpr int kOfOne = 3;
  // The newest one is received before the oldest one is closed.
  Eventually([&] { return count() - before <= kSets * kOfOne; });
  EXPECT_EQ(run.Exit(0), 0);
}

TEST(O1_OverlapAfterReclaim, TheGuardianGetsWhatWasClaimedAnew) {
  const Guardcheck guardcheck;
  for (const std::string policy : {"file", "all(file, mutex, port)"}) {
    Guarded run = guardcheck.Start({"--policy", policy});
    run.Settle();
    const pid_t guardian = run.guardian();
    // The watch begins once the command lasts: only what happens then is seen at once.
    std::filesystem::rename(guardcheck.Object("x"), guardcheck.Object("gone"));
    ASSERT_THAT(run.program().ReadErrorLine().value_or(""), HasSubstr("repaired"));
    struct stat directory = {};
    ASSERT_EQ(stat(guardcheck.Object("x").c_str(), &directory), 0);
    const FileIdentity file = {.device = directory.st_dev, .inode = directory.st_ino};
    Eventually([&] { return HasOpen(*IdentityOf(guardian), file).value_or(false); });
    // While it cannot end the command, the name is not free.
    ASSERT_EQ(kill(guardian, SIGSTOP), 0);
    const ProcessIdentity command = *IdentityOf(run.command());
    run.program().Signal(SIGKILL);
    (void)run.program().Wait();
    EXPECT_EQ(guardcheck.CallRun({"true"}, {"--policy", policy, "--settle", "10ms"}).code, 75);
    EXPECT_EQ(LivenessOf(command), Liveness::kAlive);
    ASSERT_EQ(kill(guardian, SIGCONT), 0);
    Guarded next = guardcheck.Start({"--policy", policy});
    EXPECT_GT(next.command(), 0);  // else: overlap
    EXPECT_EQ(next.Exit(0), 0);
    std::filesystem::remove_all(guardcheck.Object("gone"));
  }
}

// ---- H3: the instance lives, and all that the kernel had is free

TEST(H3_InstanceStillLives, ItRefusesWhateverTheKernelHasFreed) {
  for (const std::string& policy : EachAnd({AllExclusive()})) {
    const Guardcheck guardcheck;
    Guarded run({.argv = guardcheck.InstanceWords({"--policy", policy}, {"--closefrom"})});
    KillBothGuards(run);
    const ProcessIdentity command = *IdentityOf(run.command());
    const Words quick = {"--policy", policy, "--settle", "10ms"};
    EXPECT_EQ(guardcheck.Call(Words{"check", "x"} + quick).code, 75) << policy;
    const Finished refused = guardcheck.CallRun({"true"}, quick);
    EXPECT_EQ(refused.code, 75) << policy;
    EXPECT_THAT(refused.errors, AllOf(HasSubstr(absl::StrCat("pid         ", command.pid)),
                                      HasSubstr("which is gone"), HasSubstr("it lives")));
    EXPECT_EQ(guardcheck.Call({"status", "x", "--policy", policy}).code, 0);
    EXPECT_EQ(
        guardcheck.Call({"stop", "x", "--policy", policy, "--timeout", "10ms", "--force"}).code, 0)
        << policy;
    WaitUntilGone(command);
    EXPECT_EQ(guardcheck.CallRun({"true"}, quick).code, 0) << policy;
  }
}

TEST(H3_InstanceStillLives, WhatItLeftRunningIsSaid) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start({}, {"--closefrom"});
  const std::vector<ProcessIdentity> worker = run.AskForProcesses("worker");
  ASSERT_EQ(worker.size(), 1U);
  KillBothGuards(run);
  const ProcessIdentity command = *IdentityOf(run.command());
  ASSERT_TRUE(SendSignal(command, SIGKILL).ok());
  WaitUntilGone(command);
  const Finished next = guardcheck.CallRun({"true"}, {"--settle", "10ms"});
  EXPECT_EQ(next.code, 0);
  EXPECT_THAT(next.errors, AllOf(HasSubstr(absl::StrCat("It left running: pid ", worker[0].pid)),
                                 Not(HasSubstr("Nothing was left"))));
  (void)SendSignal(worker[0], SIGKILL);
}

// What may not be looked into could be one of those that are left.
TEST(H3_InstanceStillLives, WhatCannotBeSeenIsNotSaidToBeGone) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
  const Guardcheck guardcheck;
  ASSERT_EQ(chmod(guardcheck.directory().path().c_str(), 01777), 0);
  const Words nobody = {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"};
  Program killed({.argv = nobody + guardcheck.Run({"sh", "-c", "echo ready; read -r end"})});
  if (killed.ReadLine() != "ready") GTEST_SKIP() << killed.Errors();
  Program younger({.argv = {"sh", "-c", "echo ready; read -r end"}});
  ASSERT_EQ(younger.ReadLine(), "ready");
  killed.Signal(SIGKILL);
  (void)killed.Wait();
  const Finished next = RunProgram(
      {.argv = nobody + guardcheck.Run({"true"}, {"--settle", "60s", "--deadline", "60s"})});
  EXPECT_EQ(next.code, 0) << next.errors;
  EXPECT_THAT(next.errors,
              AllOf(HasSubstr("follows a holder that died"), Not(HasSubstr("Nothing was left"))));
}

TEST(Guardian, ItsArgumentsAreNoneOfTheCommands) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start();
  run.Settle();
  const std::string words = ContentOf(absl::StrCat("/proc/", run.guardian(), "/cmdline"));
  EXPECT_THAT(words, AllOf(HasSubstr("guardcheck: guardian of pid"), Not(HasSubstr("instance")),
                           Not(HasSubstr("referee"))));
  EXPECT_EQ(run.Exit(0), 0);
}

// poll(2) fails for a process that may have fewer descriptors than it polls.
TEST(Guardian, DoesNotSpinWherePollFails) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start();
  run.Settle();
  const pid_t guardian = run.guardian();
  const rlimit none = {.rlim_cur = 0, .rlim_max = 0};
  ASSERT_EQ(prlimit(guardian, RLIMIT_NOFILE, &none, nullptr), 0);
  const auto cpu = [guardian] {
    // Ticks in user and kernel mode, the 14th and 15th word (proc(5)).
    std::istringstream words(ContentOf(absl::StrCat("/proc/", guardian, "/stat")));
    std::string word;
    long ticks = 0;
    for (int i = 1; i <= 15 && words >> word; ++i) ticks += i >= 14 ? std::stol(word) : 0;
    return ticks;
  };
  const auto begin = std::chrono::steady_clock::now();
  const long before = cpu();
  int rounds = 0;
  while (std::chrono::steady_clock::now() - begin < std::chrono::milliseconds(500) || rounds < 5) {
    run.Settle();  // signals are still passed on
    ++rounds;
  }
  const double lasted =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  EXPECT_LT(static_cast<double>(cpu() - before),
            0.3 * lasted * static_cast<double>(sysconf(_SC_CLK_TCK)));
  EXPECT_EQ(run.Exit(4), 4);
}

TEST(Guardian, H48_TheRecordFollowsACommandThatDaemonises) {
  const Guardcheck guardcheck;
  Guarded run = guardcheck.Start({"--until", "tree"});
  run.Settle();
  const std::vector<ProcessIdentity> daemon = run.AskForProcesses("daemon");
  ASSERT_EQ(daemon.size(), 1U);
  run.program().WriteLine("exit 0");
  const std::string shown = absl::StrCat("pid         ", daemon[0].pid, ",");
  Eventually([&] {
    return guardcheck.Call({"status", "x"}).output.find(shown) != std::string::npos;
  });
  EXPECT_EQ(guardcheck.Call({"stop", "x"}).code, 0);
  WaitUntilGone(daemon[0]);
  EXPECT_EQ(run.program().Wait(), 0);
}

// ---- H45: all of ours are frozen together

class H45_Frozen : public ::testing::Test {
 protected:
  // SIGSTOP by a pattern that all of them match.
  void FreezeAll(Guarded& run) {
    run.Settle();
    processes_ = {*IdentityOf(run.command()), *IdentityOf(run.guardian()),
                  *IdentityOf(run.wrapper())};
    for (const ProcessIdentity& process : processes_) {
      ASSERT_TRUE(SendSignal(process, SIGSTOP).ok());
    }
  }
  const Guardcheck guardcheck_;
  std::vector<ProcessIdentity> processes_;
};

TEST_F(H45_Frozen, StopSaysSoAndByForceNobodyIsLeft) {
  Guarded run = guardcheck_.Start();
  FreezeAll(run);
  const Finished asked = guardcheck_.Call({"stop", "x", "--timeout", "10ms"});
  EXPECT_EQ(asked.code, 75);
  EXPECT_THAT(asked.output + asked.errors, HasSubstr("frozen (SIGSTOP)"));
  const Finished forced = guardcheck_.Call({"stop", "x", "--timeout", "10ms", "--force"});
  EXPECT_EQ(forced.code, 0) << forced.output << forced.errors;
  ExpectGone(processes_);
}

TEST_F(H45_Frozen, ReplaceLeavesNobody) {
  Guarded run = guardcheck_.Start();
  FreezeAll(run);
  Guarded next = guardcheck_.Start({"--replace=10ms"});
  EXPECT_GT(next.command(), 0);  // else: overlap
  ExpectGone(processes_);
  EXPECT_EQ(next.Exit(0), 0);
}

TEST_F(H45_Frozen, AGuardianThatIsLeftAloneIsEndedByForce) {
  Guarded run = guardcheck_.Start();
  FreezeAll(run);
  for (const std::size_t i : {0U, 2U}) {
    ASSERT_TRUE(SendSignal(processes_[i], SIGKILL).ok());
    WaitUntilGone(processes_[i]);
  }
  const Finished forced =
      guardcheck_.Call({"stop", "x", "--timeout", "10ms", "--settle", "10ms", "--force"});
  EXPECT_EQ(forced.code, 0) << forced.output << forced.errors;
  ExpectGone(processes_);
}

// A command that makes children faster than they are listed, each in a session of its own.
class AForkerUnderAFrozenGuardian : public H45_Frozen {
 protected:
  // What its children are called, and nobody else.
  const std::string child_ = absl::StrCat("sleep 3210.", getpid());
  Words Forker() const {
    return {"sh", "-c",
            absl::StrCat("echo $$; while :; do setsid ", child_, " & sleep 0.01; done")};
  }
  // Blocks until it makes children; its wrapper and its guardian are frozen then.
  void Freeze(Program& run) {
    const std::optional<std::string> pid = run.ReadLine();
    ASSERT_TRUE(pid.has_value()) << run.Errors();
    forker_ = *IdentityOf(std::stoi(*pid));
    guardian_ = *IdentityOf(Describe(forker_)->parent_pid);
    (void)AwaitNamed(guardian_, child_, 5);
    ASSERT_TRUE(SendSignal(guardian_, SIGSTOP).ok());
    run.Signal(SIGSTOP);
    run.WaitUntilStopped();
  }
  // All that descended from the guardian came back to it, and is ended before it is.
  void ExpectNobodyIsLeft() const {
    ExpectGone({forker_, guardian_});
    EXPECT_EQ(RunProgram({.argv = {"pgrep", "-x", "-f", child_}}).output, "");
  }
  ProcessIdentity forker_;
  ProcessIdentity guardian_;
};

TEST_F(AForkerUnderAFrozenGuardian, IsEndedByForce) {
  Program run({.argv = guardcheck_.Run(Forker())});
  ASSERT_NO_FATAL_FAILURE(Freeze(run));
  const Finished forced = guardcheck_.Call({"stop", "x", "--timeout", "10ms", "--force"});
  EXPECT_EQ(forced.code, 0) << forced.output << forced.errors;
  ExpectNobodyIsLeft();
}

TEST_F(AForkerUnderAFrozenGuardian, IsReplaced) {
  Program run({.argv = guardcheck_.Run(Forker())});
  ASSERT_NO_FATAL_FAILURE(Freeze(run));
  const Finished next = guardcheck_.CallRun({"true"}, {"--replace=10ms"});
  EXPECT_EQ(next.code, 0) << next.output << next.errors;
  ExpectNobodyIsLeft();
}

// Its wrapper has a child of its own, so that another process stands between the two.
TEST_F(H45_Frozen, AGuardianThatAnotherProcessStartedIsSeenToBeFrozen) {
  const std::string run =
      absl::StrJoin(guardcheck_.Run({"sh", "-c", "echo $$; exec sleep 3211"}), "' '");
  for (const bool replaced : {false, true}) {
    SCOPED_TRACE(replaced ? "replace" : "stop");
    Program wrapper({.argv = {"sh", "-c", absl::StrCat("sleep 3212 & exec '", run, "'")}});
    const std::optional<std::string> pid = wrapper.ReadLine();
    ASSERT_TRUE(pid.has_value()) << wrapper.Errors();
    const ProcessIdentity command = *IdentityOf(std::stoi(*pid));
    const ProcessIdentity guardian = *IdentityOf(Describe(command)->parent_pid);
    // Until the record names the command, a kill would end a start.
    Eventually([&] {
      return guardcheck_.Call({"status", "x"}).output.find(absl::StrCat(command.pid)) !=
             std::string::npos;
    });
    ASSERT_TRUE(SendSignal(guardian, SIGSTOP).ok());
    const Finished ended = replaced
                               ? guardcheck_.CallRun({"true"}, {"--replace=10ms"})
                               : guardcheck_.Call({"stop", "x", "--timeout", "10ms", "--force"});
    EXPECT_EQ(ended.code, 0) << ended.output << ended.errors;
    ExpectGone({command, guardian});
    wrapper.Signal(SIGKILL);
    (void)RunProgram({.argv = {"pkill", "-KILL", "-f", "^sleep 3212$"}});
  }
}

// The freezer of cgroup version 1, where that is; the other is read the same way.
class Cgroup {
 public:
  explicit Cgroup(const std::string& name) : path_(absl::StrCat("/sys/fs/cgroup/freezer/", name)) {
    std::error_code error;
    made_ = std::filesystem::create_directory(path_, error);
  }
  ~Cgroup() {
    Set("freezer.state", "THAWED");
    std::error_code error;
    Eventually([&] { return !made_ || std::filesystem::remove(path_, error); });
  }
  bool made() const { return made_; }
  void Set(const std::string& file, const std::string& value) const {
    std::ofstream(absl::StrCat(path_, "/", file)) << value << std::flush;
  }
  bool IsFrozen() const {
    return ContentOf(absl::StrCat(path_, "/freezer.state")).starts_with("FROZEN");
  }

 private:
  const std::string path_;
  bool made_ = false;
};

TEST_F(H45_Frozen, APausedCgroupIsNamed) {
  const Cgroup cgroup(absl::StrCat("sgt_", getpid()));
  if (!cgroup.made()) GTEST_SKIP() << "needs root and the freezer of cgroup version 1";
  Guarded run = guardcheck_.Start();
  run.Settle();
  for (const pid_t pid : {run.command(), run.guardian(), run.wrapper()}) {
    cgroup.Set("cgroup.procs", absl::StrCat(pid));
  }
  cgroup.Set("freezer.state", "FROZEN");
  Eventually([&] { return cgroup.IsFrozen(); });
  EXPECT_THAT(guardcheck_.Call({"status", "x"}).output, HasSubstr("frozen with its cgroup"));
  const Finished asked = guardcheck_.Call({"stop", "x", "--timeout", "10ms"});
  EXPECT_EQ(asked.code, 75);
  EXPECT_THAT(asked.output + asked.errors, HasSubstr("is frozen with its cgroup"));
  cgroup.Set("freezer.state", "THAWED");
  EXPECT_EQ(run.Line(), "got TERM");  // it was asked
  EXPECT_EQ(run.Exit(0), 0);
}

}  // namespace
}  // namespace soleguard::testing
