// The scan layer, with real processes. The test is the parent of all of them, so it cannot look
// itself: descendants never count. A Looker does.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/guard.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/process.h"
#include "soleguard/registry.h"
#include "support/claimant.h"
#include "support/kinds.h"
#include "support/looker.h"
#include "support/program.h"
#include "support/sockets.h"
#include "support/temp_dir.h"

namespace soleguard {
namespace {

using testing::Beside;
using testing::Claimant;
using ::testing::HasSubstr;
using testing::Looker;
using testing::Program;
using ::testing::StartsWith;

std::string Pid(const Program& program) { return std::to_string(program.pid()); }

class ScanTest : public ::testing::Test {
 protected:
  using Words = std::vector<std::string>;

  Looker LookFor(const Words& subject, const std::string& settle = "0s") {
    return Looker({.scope = directory_.path(), .settle = settle, .subject = subject});
  }
  // Says that it runs, by its first line; `argv` is a script for an interpreter, or a program.
  static Program Run(const Words& argv, const std::string& directory = "/") {
    Program program({.argv = argv, .directory = directory});
    EXPECT_EQ(program.ReadLine(), "runs");
    return program;
  }
  // A script that says so, and waits until its input is closed.
  std::string WriteScript(const std::string& name, const std::string& first_line = "") {
    std::filesystem::create_directories(std::filesystem::path(directory_ / name).parent_path());
    std::ofstream file(directory_ / name);
    file << first_line << "\nimport os, sys\nif 'root' in sys.argv: os.chdir('/')\n"
         << "print('runs', flush=True)\nsys.stdin.read()\n";
    file.close();
    std::filesystem::permissions(directory_ / name, std::filesystem::perms::owner_all);
    return directory_ / name;
  }
  std::string CopyOf(const std::string& program, const std::string& name) {
    std::filesystem::copy_file(program, directory_ / name);
    return directory_ / name;
  }

  // Whether a looker for `subject` finds `program`; it must find that one or nobody.
  bool Finds(const Program& program, const Words& subject) {
    const std::string answer = LookFor(subject).Ask("try");
    if (answer == "held") return false;
    EXPECT_THAT(answer, StartsWith("contested unguarded " + Pid(program) + " ")) << answer;
    return true;
  }

  static inline int tests_ = 0;
  const testing::TempDir directory_;
  // A program that waits, with an argument that nothing else has.
  const std::string unique_ = "60." + std::to_string(getpid()) + std::to_string(tests_++);
  const Words sleep_ = {"sleep", unique_};
};

TEST_F(ScanTest, NobodyIsHeldAndItsClaimHoldsNothing) {
  Looker looker = LookFor(sleep_);
  EXPECT_EQ(looker.Ask("try"), "held");
  EXPECT_EQ(looker.Ask("verify"), "ok");
  EXPECT_THAT(looker.Ask("verify-forked"), HasSubstr("not the owner"));
  EXPECT_EQ(looker.Ask("verify"), "ok");
  EXPECT_EQ(looker.Ask("look"), "free");
}

TEST_F(ScanTest, AProgramThatNeverAskedIsFoundAndNamed) {
  Program bypasser({.argv = sleep_});
  Looker looker = LookFor(sleep_);
  const std::string answer = looker.Ask("try");
  EXPECT_THAT(answer, StartsWith("contested unguarded " + Pid(bypasser) + " "));
  EXPECT_THAT(answer, HasSubstr("with the same arguments"));
  EXPECT_EQ(looker.Ask("look"), "taken unguarded " + Pid(bypasser));
  EXPECT_EQ(looker.Ask("suspects"), " " + Pid(bypasser));
  EXPECT_EQ(looker.Ask("waits"), "1");  // for a standby: its end
}

TEST_F(ScanTest, LookingRegistersNobodyAndCreatesNothing) {
  Looker looker = LookFor(sleep_);
  EXPECT_EQ(looker.Ask("look"), "free");
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST_F(ScanTest, H30_TheSameProgramWithOtherArgumentsIsAnotherJob) {
  Program other({.argv = {"sleep", unique_ + "1"}});
  EXPECT_FALSE(Finds(other, sleep_));
  EXPECT_FALSE(Finds(other, {"sleep", unique_ + "1", "1"}));
  EXPECT_FALSE(Finds(other, {"sleep"}));
  EXPECT_TRUE(Finds(other, {"/bin/sleep", unique_ + "1"}));
}

TEST_F(ScanTest, ACopyOfTheProgramIsTheProgramAndAnotherOfTheSameNameIsNot) {
  Program copy({.argv = {CopyOf("/bin/sleep", "renamed"), unique_}});
  EXPECT_TRUE(Finds(copy, sleep_));
  copy.Signal(SIGKILL);
  (void)copy.Wait();

  // One byte more, and one byte other at the same size.
  const std::string longer = CopyOf("/bin/sleep", "sleep");
  std::ofstream(longer, std::ios::app) << "x";
  const std::string changed = CopyOf("/bin/sleep", "changed");
  std::fstream(changed, std::ios::in | std::ios::out).seekp(-1, std::ios::end).put('\x7f');
  Program like({.argv = {longer, unique_}});
  EXPECT_FALSE(Finds(like, sleep_));
  Program other({.argv = {changed, unique_}});
  EXPECT_FALSE(Finds(other, sleep_));
}

TEST_F(ScanTest, H18_NamesThatAreEqualInTheirFirst15CharactersAreNotConfused) {
  const std::string kraken = CopyOf("/bin/sleep", "trading_bot_exchange_kraken");
  const std::string bitvavo = CopyOf("/bin/sleep", "trading_bot_exchange_bitvavo");
  std::ofstream(bitvavo, std::ios::app) << "x";
  Program other({.argv = {bitvavo, unique_}});
  EXPECT_FALSE(Finds(other, {kraken, unique_}));
}

TEST_F(ScanTest, AScriptIsKnownByItsFileWhereverItIsCalledFrom) {
  const std::string bot = WriteScript("srv/bot.py");
  const std::string other = WriteScript("elsewhere/bot.py");
  Program relative = Run({"python3", "bot.py", "a"}, directory_ / "srv");
  EXPECT_TRUE(Finds(relative, {"python3", bot, "a"}));
  EXPECT_TRUE(
      Finds(relative, {"python3", "-u", "-X", "dev", directory_ / "srv/../srv/bot.py", "a"}));
  EXPECT_FALSE(Finds(relative, {"python3", bot, "b"})) << "another job";
  EXPECT_FALSE(Finds(relative, {"python3", bot}));
  EXPECT_FALSE(Finds(relative, {"python3", other, "a"})) << "another script of the same name";
  EXPECT_FALSE(Finds(relative, {"python3", "-c", bot, "a"}));

  Looker here({.scope = directory_.path(),
               .settle = "0s",
               .subject_directory = directory_ / "srv",
               .subject = {"python3", "bot.py", "a"}});
  EXPECT_THAT(here.Ask("try"), StartsWith("contested unguarded " + Pid(relative)));
  Looker there({.scope = directory_.path(),
                .settle = "0s",
                .subject_directory = directory_ / "elsewhere",
                .subject = {"python3", "bot.py", "a"}});
  EXPECT_EQ(there.Ask("try"), "held");
}

TEST_F(ScanTest, AScriptIsKnownByItsFirstLineToo) {
  const std::string direct = WriteScript("direct.py", "#! /usr/bin/python3 -u");
  const std::string by_env = WriteScript("by_env.py", "#!/usr/bin/env python3");
  const std::string split = WriteScript("split.py", "#!/usr/bin/env -S python3 -u");
  for (const std::string& script : {direct, by_env, split}) {
    Program started = Run({script, "a"});
    EXPECT_TRUE(Finds(started, {script, "a"})) << script;
    EXPECT_TRUE(Finds(started, {"python3", script, "a"})) << script;
    EXPECT_FALSE(Finds(started, {script, "b"})) << script;
  }
}

TEST_F(ScanTest, ADaemonThatWentToTheRootIsFoundByWhereItWasStarted) {
  const std::string bot = WriteScript("bot.py");
  Program program({.argv = {"python3", "bot.py", "root"},
                   .environment = {{"PWD", directory_.path()}},
                   .directory = directory_.path()});
  ASSERT_EQ(program.ReadLine(), "runs");
  EXPECT_TRUE(Finds(program, {"python3", bot, "root"}));
}

TEST_F(ScanTest, H18_AnEditorWithTheScriptOpenIsNoInstance) {
  const std::string bot = WriteScript("bot.py");
  const std::string editor = WriteScript("editor.py");
  Program in_python = Run({"python3", editor, bot});
  EXPECT_FALSE(Finds(in_python, {"python3", bot}));
  Program tail({.argv = {"tail", "-f", bot}});
  EXPECT_FALSE(Finds(tail, {"python3", bot}));
}

TEST_F(ScanTest, H18_AShellAroundTheProgramIsNoInstance) {
  const std::string bot = WriteScript("bot.py");
  // It stays the parent, and has the whole command as its argument.
  Program shell = Run({"sh", "-c", "python3 " + bot + " a; true"});
  const std::string answer = LookFor({"python3", bot, "a"}).Ask("try");
  EXPECT_THAT(answer, StartsWith("contested unguarded "));
  EXPECT_THAT(answer, Not(HasSubstr(" " + Pid(shell) + " ")));
}

TEST_F(ScanTest, H18_AZombieIsNoInstance) {
  Program program({.argv = sleep_});
  std::array<UniqueFd, 1> end = {*OpenPidfd(*IdentityOf(program.pid()))};
  program.Signal(SIGKILL);
  ASSERT_TRUE(WaitForAny(end, absl::Seconds(30)));
  EXPECT_FALSE(Finds(program, sleep_));
}

TEST_F(ScanTest, H18_AProcessWhoseMainThreadHasEndedIsAnInstance) {
  const Looker::Setup same = {.scope = directory_.path(), .settle = "0s"};
  Looker::Setup threaded = same;
  threaded.environment = {{"LOOKER_THREAD", "1"}};
  Looker bypasser(threaded);
  // It says "ready" in its other thread; the end of the main one shows in its state.
  std::string stat;
  while (stat.find(") Z") == std::string::npos) {
    std::ifstream file("/proc/" + std::to_string(bypasser.pid()) + "/stat");
    std::getline(file, stat);
    ASSERT_FALSE(stat.empty());
  }
  Looker looker(same);
  EXPECT_THAT(looker.Ask("try"), StartsWith("contested unguarded " + Pid(bypasser.program())));
}

TEST_F(ScanTest, NeitherItsAncestorsNorItsDescendantsCount) {
  const std::string script = directory_ / "bot.sh";
  std::ofstream(script) << "\"$@\"\ntrue\n";  // stays above what it starts
  {
    Looker above({.scope = directory_.path(),
                  .settle = "0s",
                  .subject = sleep_,
                  .launcher = {"sh", script}});
    (void)above.Ask("spawn sleep " + unique_);
    EXPECT_EQ(above.Ask("try"), "held") << "its descendant";
  }
  // The shell's command line has all of the looker's.
  Looker below({.scope = directory_.path(),
                .settle = "0s",
                .layer = "scan(cmdline=\"bot.sh .*" + directory_.path() + "\")",
                .launcher = {"sh", script}});
  EXPECT_EQ(below.Ask("try"), "held") << "its ancestor";
}

// Registration: the failure cases of a scan that goes by what it sees alone.

TEST_F(ScanTest, ASlowStarterIsWaitedForUntilItRegisters) {
  const Looker::Setup same = {.scope = directory_.path(), .settle = "1h"};
  Looker slow(same);
  Looker looker(same);
  EXPECT_THAT(looker.Ask("try"), StartsWith("contested unknown " + Pid(slow.program()) + " "));
  EXPECT_EQ(looker.Ask("look"), "taken unknown " + Pid(slow.program()));
  EXPECT_EQ(looker.Ask("suspects"), " " + Pid(slow.program()));
  EXPECT_EQ(looker.Ask("waits"), "2");
  ASSERT_EQ(slow.Ask("register"), "ok");
  EXPECT_EQ(looker.Ask("wait"), "woken");
  EXPECT_EQ(looker.Ask("try"), "held");
}

TEST_F(ScanTest, ASlowStarterIsWaitedForUntilItEnds) {
  const Looker::Setup same = {.scope = directory_.path(), .settle = "1h"};
  Looker slow(same);
  Looker looker(same);
  EXPECT_THAT(looker.Ask("try"), StartsWith("contested unknown " + Pid(slow.program()) + " "));
  slow.program().Signal(SIGKILL);
  EXPECT_EQ(looker.Ask("wait"), "woken");
  EXPECT_EQ(looker.Ask("try"), "held");
}

TEST_F(ScanTest, OneThatIsOldDecidesWhoeverElseIsYoung) {
  Program old({.argv = sleep_});
  // A deadline that passes: the age of a process is what is tested. poll(2) on its pidfd is the
  // timer, and would end if it died.
  std::array<UniqueFd, 1> end = {*OpenPidfd(*IdentityOf(old.pid()))};
  ASSERT_FALSE(WaitForAny(end, absl::Milliseconds(1500)));
  Program young({.argv = sleep_});
  EXPECT_THAT(LookFor(sleep_, "1s").Ask("try"),
              StartsWith("contested unguarded " + Pid(old) + " "));
}

TEST_F(ScanTest, TwoCandidatesThatSeeEachOtherBothPass) {
  const Looker::Setup same = {.scope = directory_.path(), .settle = "0s"};
  Looker one(same);
  Looker other(same);
  ASSERT_EQ(one.Ask("register"), "ok");
  ASSERT_EQ(other.Ask("register"), "ok");
  EXPECT_EQ(one.Ask("try"), "held");
  EXPECT_EQ(other.Ask("try"), "held") << "scan does not exclude";
}

TEST_F(ScanTest, WhatARegisteredProcessStartsIsNotCounted) {
  Looker launcher({.scope = directory_.path(), .name = "another"});
  ASSERT_EQ(launcher.Ask("register"), "ok");
  (void)launcher.Ask("spawn sleep " + unique_);
  EXPECT_EQ(LookFor(sleep_).Ask("try"), "held");
}

TEST_F(ScanTest, H31_WhoLostItsRegistrationCounts) {
  const Looker::Setup same = {.scope = directory_.path(), .settle = "0s"};
  Looker one(same);
  ASSERT_EQ(one.Ask("try"), "held");
  ASSERT_EQ(one.Ask("closefrom"), "closed");
  EXPECT_THAT(Looker(same).Ask("try"), StartsWith("contested unguarded " + Pid(one.program())));
}

class ScanAndClaimsTest : public ScanTest {
 protected:
  Claimant::Setup Claim(const std::string& name, const std::string& policy) const {
    return {.scope = directory_.path(), .name = name, .policy = policy};
  }
};

TEST_F(ScanAndClaimsTest, TheEstablishedHolderOfThisNameIsFoundWhateverItsPolicy) {
  for (const std::string& policy : testing::EachAnd({"all(file, scan)"})) {
    Claimant holder(Claim("x", policy));
    ASSERT_TRUE(holder.unique()) << holder.verdict();
    EXPECT_THAT(LookFor(Claimant::CommandOf(Claim("x", policy))).Ask("try"),
                StartsWith("contested established " + Pid(holder.program()) + " "))
        << policy;
    EXPECT_EQ(LookFor(Claimant::CommandOf(Claim("x", policy))).Ask("look"),
              "taken established " + Pid(holder.program()));
  }
}

// That one is young, and may still ask; or old, and never did.
TEST_F(ScanAndClaimsTest, TheEstablishedHolderIsNamedBeforeOneThatNeverAsked) {
  Program guarded({.argv = {Beside("guardcheck"), "run", "x", "--scope", directory_.path(),
                            "--state-dir", directory_ / "state", "--policy", "file", "--", "sh",
                            "-c", "echo runs; read -r end", unique_}});
  ASSERT_EQ(guarded.ReadLine(), "runs") << guarded.Errors();
  const Words words = {"sh", "-c", "echo runs; read -r end", unique_};
  Program bypasser = Run(words);
  for (const std::string settle : {"1h", "0s"}) {
    Looker looker = LookFor(words, settle);
    EXPECT_THAT(looker.Ask("try"), StartsWith("contested established ")) << settle;
    EXPECT_THAT(looker.Ask("look"), StartsWith("taken established ")) << settle;
    EXPECT_THAT(looker.Ask("suspects"), HasSubstr(" " + Pid(bypasser))) << settle;
  }
  guarded.CloseInput();
  (void)guarded.Wait();
}

TEST_F(ScanAndClaimsTest, H30_AHolderOfAnotherNameIsCoveredByItsClaim) {
  const std::string chosen = absl::StrCat("port(", testing::FreePort(), ")");
  for (const std::string& policy : {std::string("file"), std::string("mutex"), std::string("port"),
                                    chosen, std::string("all(file, scan)")}) {
    Claimant holder(Claim("another", policy));
    ASSERT_TRUE(holder.unique()) << holder.verdict();
    EXPECT_EQ(LookFor(Claimant::CommandOf(Claim("another", policy))).Ask("try"), "held") << policy;
    ASSERT_EQ(holder.Ask("release"), "released");
  }
}

TEST_F(ScanAndClaimsTest, H30_WhatRunsUnderAnotherNameIsCoveredAndWhatItLeavesBehindToo) {
  const std::string script = directory_ / "bot.py";
  std::ofstream(script) << "import subprocess, sys\n"
                           "child = subprocess.Popen(['sleep', sys.argv[1]])\n"
                           "print('runs', flush=True)\nsys.stdin.read()\n";
  Program guarded(
      {.argv = {Beside("guardcheck"), "run", "another", "--scope", directory_.path(), "--state-dir",
                directory_ / "state", "--policy", "file", "--", "python3", script, unique_}});
  ASSERT_EQ(guarded.ReadLine(), "runs") << guarded.Errors();
  EXPECT_EQ(LookFor({"python3", script, unique_}).Ask("try"), "held");
  EXPECT_EQ(LookFor(sleep_).Ask("try"), "held");
  Looker same({.scope = directory_.path(), .name = "another", .settle = "0s", .subject = sleep_});
  EXPECT_THAT(same.Ask("try"), StartsWith("contested established "));
  guarded.CloseInput();
  (void)guarded.Wait();
}

// The whole of it: arbiter, file and scan.

TEST_F(ScanAndClaimsTest, H01_OfManyFromABarrierOneIsUniqueWhileTheOthersLinger) {
  Claimant::Setup setup = Claim("x", "all(file, scan)");
  setup.at_barrier = true;
  for (int round = 0; round < 3; ++round) {
    std::vector<Claimant> claimants;
    for (int i = 0; i < 12; ++i) claimants.emplace_back(setup);
    for (Claimant& claimant : claimants) claimant.Go();
    int unique = 0;
    for (Claimant& claimant : claimants) unique += claimant.unique() ? 1 : 0;
    EXPECT_EQ(unique, 1);
  }
}

TEST_F(ScanAndClaimsTest, WhoWasRefusedAndLingersDoesNotRefuseTheNext) {
  const Claimant::Setup setup = Claim("x", "all(file, scan)");
  Claimant first(setup);
  ASSERT_TRUE(first.unique()) << first.verdict();
  Claimant refused(setup);
  ASSERT_TRUE(refused.duplicate()) << refused.verdict();
  ASSERT_EQ(first.Ask("release"), "released");
  Claimant next(setup);
  EXPECT_TRUE(next.unique()) << next.verdict();
}

TEST_F(ScanAndClaimsTest, H04_WithTheScopeDestroyedTheHolderIsFoundAsOneThatNeverAsked) {
  const Claimant::Setup setup = Claim("x", "all(file, scan)");
  Claimant holder(setup);
  ASSERT_TRUE(holder.unique()) << holder.verdict();
  std::filesystem::remove_all(directory_ / "names");
  std::filesystem::remove(directory_ / "candidates");
  Claimant second(setup);
  EXPECT_TRUE(second.duplicate()) << second.verdict();
  EXPECT_THAT(second.verdict(), HasSubstr(Pid(holder.program()) + " unguarded"));
}

TEST_F(ScanAndClaimsTest, ABypasserThatIsOlderIsADuplicateAndNothingElseIsRefused) {
  const std::string bot = WriteScript("bot.py");
  Program bypasser = Run({"python3", bot});
  const auto run = [&](const std::string& name, const Words& command) {
    Words argv = {Beside("guardcheck"),
                  "run",
                  name,
                  "--scope",
                  directory_.path(),
                  "--state-dir",
                  directory_ / "state",
                  "--policy",
                  "all(file, scan)",
                  "--settle",
                  "100ms",
                  "--"};
    argv.insert(argv.end(), command.begin(), command.end());
    return testing::RunProgram({.argv = argv});
  };
  const auto refused = run("bot", {"python3", bot});
  EXPECT_EQ(refused.code, 75) << refused.errors;
  EXPECT_THAT(refused.errors, HasSubstr(Pid(bypasser)));
  EXPECT_EQ(run("bot", {"python3", bot, "another job"}).code, 0);
  EXPECT_EQ(run("other", {"true"}).code, 0);
}

TEST_F(ScanAndClaimsTest, ABypasserThatIsYoungIsWaitedForAndThenIsADuplicate) {
  Program bypasser({.argv = sleep_});
  const auto refused = testing::RunProgram(
      {.argv = {Beside("guardcheck"), "run", "bot", "--scope", directory_.path(), "--state-dir",
                directory_ / "state", "--policy", "all(file, scan)", "--settle", "400ms", "--",
                "sleep", unique_}});
  EXPECT_EQ(refused.code, 75) << refused.errors;
  EXPECT_THAT(refused.errors, HasSubstr(Pid(bypasser)));
}

// Parameters.

class ScanParametersTest : public ScanTest {
 protected:
  Looker LookBy(const std::string& layer) {
    return Looker({.scope = directory_.path(), .settle = "0s", .layer = layer});
  }
};

TEST_F(ScanParametersTest, APatternIsLookedForInAllArguments) {
  Program program({.argv = {"sh", "-c", "read x", "bot", "--live", unique_}});
  EXPECT_THAT(LookBy("scan(cmdline=\"bot --live " + unique_ + "$\")").Ask("try"),
              StartsWith("contested unguarded " + Pid(program)));
  EXPECT_EQ(LookBy("scan(cmdline=\"bot --paper .*" + unique_ + "$\")").Ask("try"), "held");
}

TEST_F(ScanParametersTest, H34_ForeignArgumentsMayBeAnything) {
  Program program(
      {.argv = {"sh", "-c", "read x", std::string(100'000, 'x') + "\xff\n\x1b", unique_}});
  EXPECT_THAT(LookBy("scan(cmdline=\"sh -c .* x+... " + unique_ + "$\")").Ask("try"),
              StartsWith("contested unguarded " + Pid(program)));
}

TEST_F(ScanParametersTest, AVariableIsLookedForInTheEnvironment) {
  Program program({.argv = {"cat"}, .environment = {{"BOT", unique_}}});
  EXPECT_THAT(LookBy("scan(env=\"BOT=" + unique_ + "\")").Ask("try"),
              StartsWith("contested unguarded " + Pid(program)));
  EXPECT_EQ(LookBy("scan(env=\"BOT=" + unique_ + "1\")").Ask("try"), "held");
  EXPECT_EQ(LookBy("scan(cmdline=dog, env=\"BOT=" + unique_ + "\")").Ask("try"), "held");
}

TEST(ScanTextTest, ParametersAreCheckedAndTheTextIsCanonical) {
  const LayerKind* kind = FindLayerKind("scan");
  ASSERT_NE(kind, nullptr);
  EXPECT_EQ(LayerKinds().back().name, "scan");
  EXPECT_FALSE(kind->check({{"", "x"}}).ok());
  EXPECT_FALSE(kind->check({{"cmdline", ""}}).ok());
  EXPECT_FALSE(kind->check({{"cmdline", "("}}).ok());
  EXPECT_FALSE(kind->check({{"cmdline", std::string(3000, '(')}}).ok());
  EXPECT_FALSE(kind->check({{"env", "BOT"}}).ok());
  EXPECT_FALSE(kind->check({{"env", "=x"}}).ok());
  for (const std::string text :
       {"scan", "scan(cmdline=bot)", "scan(cmdline=\"a (b|c)\", env=\"BOT=\\\"\\\\x\")"}) {
    const auto policy = Policy::Parse(text);
    ASSERT_TRUE(policy.ok()) << policy.status();
    const auto layer = kind->make({.scope = Scope::User(),
                                   .name = *InstanceName::Parse("x"),
                                   .parameters = policy->layers()[0].parameters,
                                   .subject = {}});
    EXPECT_EQ(std::string(layer->text()), policy->ToString());
  }
}

// Where the table does not show all.

class ScanAsRootTest : public ScanTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
  }
  static inline const Words kAsNobody = {"setpriv", "--reuid=65534", "--regid=65534",
                                         "--clear-groups"};
};

TEST_F(ScanAsRootTest, InUserScopeAnotherUsersProcessIsAnotherMatter) {
  Words argv = kAsNobody;
  argv.insert(argv.end(), sleep_.begin(), sleep_.end());
  Program theirs({.argv = argv});
  // Of the user scope of this mount namespace only.
  const Words launcher = {
      "unshare", "-m", "sh", "-c", "mount -t tmpfs -o mode=1777 tmpfs /run/lock && exec \"$@\"",
      "sh"};
  Looker of_user({.scope = "user", .settle = "0s", .subject = sleep_, .launcher = launcher});
  // setpriv executes sleep by and by; the scope of a directory sees it then.
  Looker of_all = LookFor(sleep_);
  while (of_all.Ask("try") == "held") {
  }
  EXPECT_THAT(of_all.Ask("try"), StartsWith("contested unguarded " + Pid(theirs)));
  EXPECT_EQ(of_user.Ask("try"), "held");
}

TEST_F(ScanAsRootTest, H06_AProcessOfAPidNamespaceBelowIsAnotherMatter) {
  Program below = Run({"unshare", "--pid", "--fork", "--kill-child", "sh", "-c",
                       "sleep " + unique_ + " & echo runs; wait"});
  EXPECT_FALSE(Finds(below, sleep_));
}

TEST_F(ScanAsRootTest, H14_AProcOfAnotherPidNamespaceIsUnavailable) {
  Looker looker({.scope = directory_.path(),
                 .settle = "0s",
                 .subject = sleep_,
                 .launcher = {"unshare", "--pid", "--fork", "--kill-child"}});
  EXPECT_THAT(looker.Ask("try"), StartsWith("unavailable"));
  EXPECT_THAT(looker.Ask("look"), HasSubstr("pid namespace"));
}

TEST_F(ScanAsRootTest, H18_HidepidIsUnavailable) {
  ASSERT_EQ(chown(directory_.path().c_str(), 65534, 65534), 0);
  for (const std::string option : {"hidepid=1", "hidepid=2", "hidepid=4"}) {
    Words launcher = {
        "unshare", "-m", "sh", "-c", "mount -t proc -o " + option + " proc /proc && exec \"$@\"",
        "sh"};
    launcher.insert(launcher.end(), kAsNobody.begin(), kAsNobody.end());
    Looker looker(
        {.scope = directory_.path(), .settle = "0s", .subject = sleep_, .launcher = launcher});
    EXPECT_THAT(looker.Ask("try"), StartsWith("unavailable")) << option;
    EXPECT_THAT(looker.Ask("try"), HasSubstr("hidepid")) << option;
    EXPECT_THAT(looker.Ask("look"), HasSubstr("hidepid")) << option;
  }
}

TEST_F(ScanAsRootTest, H14_AProgramThatMayNotBeSeenIsUnavailableOnlyIfItsArgumentsAreTheSame) {
  ASSERT_EQ(chown(directory_.path().c_str(), 65534, 65534), 0);
  Program of_root({.argv = sleep_});
  const auto look_for = [&](const Words& subject) {
    Looker looker(
        {.scope = directory_.path(), .settle = "0s", .subject = subject, .launcher = kAsNobody});
    return looker.Ask("try");
  };
  const std::string answer = look_for(sleep_);
  EXPECT_THAT(answer, StartsWith("unavailable"));
  EXPECT_THAT(answer, HasSubstr(Pid(of_root)));
  EXPECT_EQ(look_for({"sleep", unique_ + "1"}), "held");
}

TEST_F(ScanAsRootTest, H14_AScopeThatCannotBeWrittenIsUnavailable) {
  Looker looker({.scope = directory_.path(), .subject = sleep_, .launcher = kAsNobody});
  EXPECT_THAT(looker.Ask("try"), StartsWith("unavailable"));
}

}  // namespace
}  // namespace soleguard
