// guardcheck run: as if it were not there. What happens to a command, by signals, by its terminal
// and by what it lets go of, happens as to one that was started without guardcheck.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/fd.h"
#include "soleguard/process.h"
#include "support/quoted.h"
#include "tools/guardcheck.h"
#include "tools/terminal.h"

namespace soleguard::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// Blocks until the record names the command: guardcheck knows then that it runs.
void AwaitRecord(const Guardcheck& guardcheck) {
  while (guardcheck.Call({"status", "x"}).output.find("guarded by") == std::string::npos) {
  }
}

// ---- the table of signals

enum class Guard { kNone, kFlock, kGuardcheck };
constexpr std::array kGuards = {Guard::kNone, Guard::kFlock, Guard::kGuardcheck};

enum class Place {
  kLeader,      // of the terminal's session, as in `xterm -e`, `ssh -t`, `tmux new`
  kBehindSh,    // a child of `sh -c`, which leads the session
  kForeground,  // a job of an interactive shell
  kBackground,
};

std::string NameOf(Place place) {
  switch (place) {
    case Place::kLeader:
      return "session leader";
    case Place::kBehindSh:
      return "behind sh -c";
    case Place::kForeground:
      return "foreground job";
    case Place::kBackground:
      return "background job";
  }
  return "?";
}

std::string NameOf(int signal) {
  if (signal >= SIGRTMIN) return absl::StrCat("RT", signal);
  return sigabbrev_np(signal);
}

// The end of a line, which the command never has for itself.
constexpr int kMarker = 64;

// The signals that can be caught, but for the marker. (32 and 33 are the C library's.)
std::vector<int> Signals() {
  std::vector<int> signals;
  for (int signal = 1; signal < kMarker; ++signal) {
    const bool is_library = signal >= __SIGRTMIN && signal < SIGRTMIN;
    if (signal != SIGKILL && signal != SIGSTOP && !is_library) signals.push_back(signal);
  }
  return signals;
}

// A sanitizer's, that guardcheck keeps.
bool HasHandler(pid_t pid, int signal) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  std::string word;
  while (status >> word && word != "SigCgt:") {
  }
  std::uint64_t caught = 0;
  status >> std::hex >> caught;
  return (caught >> (signal - 1) & 1U) != 0;
}

pid_t ParentOf(pid_t pid) { return static_cast<pid_t>(Describe(*IdentityOf(pid))->parent_pid); }

// A command at a terminal that reports each signal it gets. Its streams are FIFOs, whose other ends
// the test keeps open: only signals reach it when the terminal is gone.
class Scene {
 public:
  Scene(Guard guard, Place place) : guard_(guard) {
    for (const std::string& fifo : {in_, out_}) {
      if (mkfifo(fifo.c_str(), 0600) != 0) throw std::runtime_error("mkfifo");
    }
    reader_ = UniqueFd(open(out_.c_str(), O_RDWR | O_CLOEXEC));
    writer_ = UniqueFd(open(in_.c_str(), O_RDWR | O_CLOEXEC));
    const Words command = {Beside("instance"), "--report-all"};
    Words words = guard == Guard::kGuardcheck ? guardcheck_.Run(command)
                  : guard == Guard::kFlock
                      ? Words{"flock", "-o", guardcheck_.directory() / "lock"} + command
                      : command;
    Start(place, words);
    const std::string ready = Line();
    command_ = std::stoi(ready.substr(ready.find(' ') + 1));
    known_ = guard == Guard::kNone    ? command_
             : guard == Guard::kFlock ? ParentOf(command_)
                                      : ParentOf(ParentOf(command_));
    // guardcheck has begun to pass on what it gets, and knows the command's pid.
    for (int i = 0; i < 2; ++i) (void)SeenNow();
  }
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;
  ~Scene() {
    (void)kill(known_, SIGKILL);
    (void)kill(command_, SIGKILL);
  }

  // Of the process that the caller has started.
  pid_t known() const { return known_; }
  Terminal& terminal() { return *terminal_; }

  // The signals that the command has seen since the last call, each once.
  std::string Seen() { return Each(SeenNow(), /*once=*/true); }
  // As often as it has seen them.
  std::string SeenExactly() { return Each(SeenNow(), /*once=*/false); }

 private:
  void Start(Place place, const Words& words) {
    const std::string streams = absl::StrCat(" <", Quoted(in_), " >", Quoted(out_));
    if (place == Place::kLeader) {
      terminal_ = std::make_unique<Terminal>(
          Words{"sh", "-c", absl::StrCat("exec \"$@\"", streams), "sh"} + words);
    } else if (place == Place::kBehindSh) {
      // The shell outlives a key: its end would be a hang-up.
      terminal_ = std::make_unique<Terminal>(
          Words{"sh", "-c", absl::StrCat("trap : INT QUIT; \"$@\"", streams, "; :"), "sh"} + words);
    } else {
      terminal_ = std::make_unique<Terminal>(
          Words{"env", "LC_ALL=C", "bash", "--norc", "--noprofile", "--noediting", "-i"});
      std::string line;
      for (const std::string& word : words) line += Quoted(word) + " ";
      terminal_->Type(absl::StrCat(line, streams, place == Place::kBackground ? " &\n" : "\n"));
    }
  }

  std::string Line() {
    std::string line;
    for (char c = 0; c != '\n';) {
      if (read(reader_.get(), &c, 1) != 1) throw std::runtime_error("the FIFO was closed");
      if (c != '\n') line += c;
    }
    return line;
  }

  // What guardcheck passes on comes in order. flock(1) passes nothing on.
  Words SeenNow() {
    if (kill(guard_ == Guard::kFlock ? command_ : known_, kMarker) != 0) {
      throw std::system_error(errno, std::system_category(), "kill");
    }
    Words seen;
    while (true) {
      const std::string line = Line();
      if (line == absl::StrCat("got RT", kMarker)) return seen;
      seen.push_back(line.substr(line.find(' ') + 1));
    }
  }
  static std::string Each(Words seen, bool once) {
    std::sort(seen.begin(), seen.end());
    if (once) seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
    return seen.empty() ? "-" : absl::StrJoin(seen, " ");
  }

  const Guard guard_;
  const Guardcheck guardcheck_;
  const std::string in_ = guardcheck_.directory() / "in";
  const std::string out_ = guardcheck_.directory() / "out";
  UniqueFd reader_;
  UniqueFd writer_;
  std::unique_ptr<Terminal> terminal_;
  pid_t command_ = 0;
  pid_t known_ = 0;
};

// One line: what was done, and what the command without a guard, under flock and under guardcheck
// made of it.
using Row = std::map<Guard, std::string>;
void Print(const std::string& done, Row& row) {
  (void)std::printf("| %s | %s | %s | %s |\n", done.c_str(), row[Guard::kNone].c_str(),
                    row[Guard::kFlock].c_str(), row[Guard::kGuardcheck].c_str());
}

// What the command has seen after `send` for each signal. flock(1) may end by it, and is started
// anew.
using Send = int (*)(pid_t known, int signal);
enum class Times { kOnce, kEach };
std::map<int, Row> SeenOf(Send send, Times times) {
  std::map<int, Row> rows;
  for (const Guard guard : kGuards) {
    std::unique_ptr<Scene> scene;
    for (const int signal : Signals()) {
      if (scene == nullptr || guard == Guard::kFlock) {
        // As the leader it would end the session.
        scene = std::make_unique<Scene>(
            guard, guard == Guard::kFlock ? Place::kForeground : Place::kLeader);
      }
      if (guard == Guard::kGuardcheck && HasHandler(scene->known(), signal)) {
        rows.erase(signal);
        continue;
      }
      if (send(scene->known(), signal) != 0) {
        throw std::system_error(errno, std::system_category(), "kill");
      }
      rows[signal][guard] = times == Times::kEach ? scene->SeenExactly() : scene->Seen();
    }
  }
  return rows;
}

TEST(SignalTable, H11_ASignalToThePidThatTheCallerKnowsReachesTheCommandOnce) {
  auto rows = SeenOf([](pid_t known, int signal) { return kill(known, signal); }, Times::kEach);
  for (auto& [signal, row] : rows) {
    Print(absl::StrCat("kill -", NameOf(signal), " PID"), row);
    EXPECT_EQ(row[Guard::kNone], NameOf(signal));
    EXPECT_EQ(row[Guard::kGuardcheck], NameOf(signal));
  }
}

// It reaches the command directly, and once more through guardcheck, to which nothing tells that:
// better twice than never.
TEST(SignalTable, H11_ASignalToTheProcessGroupReachesTheCommand) {
  auto rows =
      SeenOf([](pid_t known, int signal) { return kill(-getpgid(known), signal); }, Times::kOnce);
  for (auto& [signal, row] : rows) {
    Print(absl::StrCat("kill -", NameOf(signal), " -GROUP"), row);
    EXPECT_THAT(row[Guard::kNone], NameOf(signal));
    EXPECT_EQ(row[Guard::kGuardcheck], row[Guard::kNone]);
  }
}

// What the command has seen of a key, or, if that is empty, of another size.
std::string SeenOfKey(Scene& scene, const std::string& key) {
  if (key.empty()) {
    scene.terminal().Resize();
    return scene.SeenExactly();
  }
  scene.terminal().Type(key);
  while (true) {  // the line discipline works behind the write
    std::string seen = scene.SeenExactly();
    if (seen != "-") return seen;
  }
}

TEST(SignalTable, H11_WhatTheTerminalSendsReachesTheCommandOnceWhereverItIs) {
  const std::map<std::string, std::string> keys = {
      {"Ctrl-C", "\x03"}, {"Ctrl-\\", "\x1c"}, {"Ctrl-Z", "\x1a"}, {"resize", ""}};
  for (const Place place : {Place::kLeader, Place::kBehindSh, Place::kForeground}) {
    std::map<std::string, Row> rows;
    for (const Guard guard : {Guard::kNone, Guard::kGuardcheck}) {
      Scene scene(guard, place);
      for (const auto& [what, key] : keys) rows[what][guard] = SeenOfKey(scene, key);
    }
    for (const auto& [what, key] : keys) {
      Scene scene(Guard::kFlock, place);
      const bool ends_session = place != Place::kForeground && (key == "\x03" || key == "\x1c");
      if (ends_session) {  // by flock(1), which ends first
        scene.terminal().Type(key);
        (void)scene.terminal().Wait();
      }
      rows[what][Guard::kFlock] = ends_session ? scene.Seen() : SeenOfKey(scene, key);
    }
    for (auto& [what, row] : rows) {
      Print(absl::StrCat(what, ", ", NameOf(place)), row);
      EXPECT_EQ(row[Guard::kGuardcheck], row[Guard::kNone]);
      EXPECT_NE(row[Guard::kNone], "-");
    }
  }
}

// The kernel tells the leader of the session alone. What else gets a SIGHUP has it from the leader
// (an interactive shell) or by the leader's end.
TEST(SignalTable, H11_AHangUpReachesTheCommandWhereverItIs) {
  for (const Place place :
       {Place::kLeader, Place::kBehindSh, Place::kForeground, Place::kBackground}) {
    Row row;
    for (const Guard guard : kGuards) {
      Scene scene(guard, place);
      scene.terminal().HangUp();
      // What the leader's end sends has been sent then. guardcheck itself lives as long as COMMAND.
      if (place != Place::kLeader || guard == Guard::kFlock) (void)scene.terminal().Wait();
      row[guard] = scene.Seen();
    }
    Print(absl::StrCat("hang-up, ", NameOf(place)), row);
    EXPECT_EQ(row[Guard::kGuardcheck], row[Guard::kNone]);
    EXPECT_THAT(row[Guard::kNone], HasSubstr("HUP"));
  }
}

TEST(SignalTable, H11_AHangUpReachesALeaderOnce) {
  Scene scene(Guard::kGuardcheck, Place::kLeader);
  scene.terminal().HangUp();
  EXPECT_EQ(scene.SeenExactly(), "CONT HUP");
}

// The status with which it ends, by a signal about which the command does nothing.
TEST(SignalTable, H11_TheCommandEndsByASignalAsWithoutAGuard) {
  const Words ignored = {"CHLD", "CONT", "URG", "WINCH"};
  const Words stopping = {"TSTP", "TTIN", "TTOU"};
  const Words command = {"sh", "-c", "ulimit -c 0; echo ready; exec sleep 600"};
  for (const int signal : Signals()) {
    const std::string name = NameOf(signal);
    if (std::count(ignored.begin(), ignored.end(), name) > 0) continue;
    if (std::count(stopping.begin(), stopping.end(), name) > 0) continue;
    Row row;
    for (const Guard guard : kGuards) {
      const Guardcheck guardcheck;
      Terminal terminal(guard == Guard::kNone ? command
                        : guard == Guard::kFlock
                            ? Words{"flock", "-o", guardcheck.directory() / "lock"} + command
                            : guardcheck.Run(command));
      (void)terminal.ReadUntil("ready");
      if (guard == Guard::kGuardcheck && HasHandler(terminal.pid(), signal)) break;
      ASSERT_EQ(kill(terminal.pid(), signal), 0);
      row[guard] = absl::StrCat(terminal.Wait());
      if (guard == Guard::kGuardcheck) {
        EXPECT_EQ(guardcheck.Call({"status", "x"}).code, 3) << name;
      }
    }
    if (!row.contains(Guard::kGuardcheck)) continue;
    Print(absl::StrCat("kill -", name, " PID: ends with"), row);
    EXPECT_EQ(row[Guard::kGuardcheck], row[Guard::kNone]);
  }
}

TEST(SignalTable, H11_ATerminalThatIsClosedEndsTheCommandAndFreesTheName) {
  const Guardcheck guardcheck;
  Terminal terminal(guardcheck.Run({"sh", "-c", "echo ready; exec sleep 600"}));
  (void)terminal.ReadUntil("ready");
  AwaitRecord(guardcheck);
  terminal.HangUp();
  EXPECT_EQ(terminal.Wait(), 128 + SIGHUP);
  EXPECT_EQ(guardcheck.Call({"status", "x"}).code, 3);
}

TEST(SignalTable, TheValueOfAQueuedSignalReachesTheCommand) {
  const Guardcheck guardcheck;
  Guarded run({.argv = guardcheck.Run({Beside("instance"), "--report-all"})});
  run.Settle();
  for (const int value : {7, -1}) {
    sigval sent = {};
    sent.sival_int = value;
    ASSERT_EQ(sigqueue(run.wrapper(), SIGRTMIN + 1, sent), 0);
    EXPECT_EQ(run.Line(), absl::StrCat("got RT", SIGRTMIN + 1, " with ", value));
  }
  EXPECT_EQ(run.Exit(0), 0);
}

// A timer outlives exec(2), and belongs to the process that is guardcheck now.
TEST(SignalTable, AnAlarmOfTheCallersReachesTheCommand) {
  const Guardcheck guardcheck;
  if (RunProgram({.argv = {"perl", "-e", "1"}}).code != 0) GTEST_SKIP() << "needs perl";
  const Words command = {"sh", "-c", "trap 'exit 7' ALRM; sleep 600 & wait"};
  const Finished run =
      RunProgram({.argv = Words{"perl", "-e", "alarm 2; exec @ARGV"} + guardcheck.Run(command)});
  EXPECT_EQ(run.code, 7);
}

// bash(1) leaves a loop at Ctrl-C when the command has died of it, and not when it has ended with a
// status.
TEST(SignalTable, ACtrlCEndsTheScriptAroundIt) {
  const Guardcheck guardcheck;
  const std::string script = "for i in 1 2; do \"$@\"; done; echo went on";
  const Words command = {"sh", "-c", "echo ready; exec sleep 600"};
  for (const Words& words : {command, guardcheck.Run(command)}) {
    Terminal terminal(Words{"bash", "-c", script, "bash"} + words);
    (void)terminal.ReadUntil("ready");
    terminal.Type("\x03");
    EXPECT_EQ(terminal.Wait(), 128 + SIGINT);
  }
  EXPECT_EQ(guardcheck.Call({"status", "x"}).code, 3);
  EXPECT_EQ(guardcheck.CallRun({"true"}).errors, "");  // it ended in order
}

// ---- what the command lets go of

std::string DirectoryOf(pid_t pid) {
  return std::filesystem::read_symlink(absl::StrCat("/proc/", pid, "/cwd"));
}

TEST(Surroundings, TheWorkingDirectoryIsTheCommandsAlone) {
  const Guardcheck guardcheck;
  Guarded run({.argv = guardcheck.InstanceWords(), .directory = guardcheck.directory().path()});
  run.Settle();
  EXPECT_EQ(DirectoryOf(run.wrapper()), "/");
  EXPECT_EQ(DirectoryOf(run.guardian()), "/");
  EXPECT_EQ(DirectoryOf(run.command()), guardcheck.directory().path());
  // It is the instance's that is shown.
  EXPECT_THAT(guardcheck.Call({"status", "x"}).output,
              HasSubstr("directory   " + guardcheck.directory().path()));
  EXPECT_EQ(run.Exit(0), 0);
}

// A shell that had children before it became guardcheck: a third process is between.
TEST(Surroundings, TheProcessInBetweenLeavesTheWorkingDirectoryToo) {
  const Guardcheck guardcheck;
  const std::string script = "sleep 600 </dev/null >/dev/null 2>&1 & echo $!; exec \"$@\"";
  Guarded run({.argv = Words{"sh", "-c", script, "sh"} + guardcheck.InstanceWords(),
               .directory = guardcheck.directory().path()});
  const pid_t helper = std::stoi(run.Line());
  run.Settle();
  const pid_t between = ParentOf(run.guardian());
  EXPECT_EQ(ParentOf(between), run.wrapper());
  while (DirectoryOf(between) != "/") {
  }
  EXPECT_EQ(run.Exit(0), 0);
  EXPECT_EQ(kill(helper, SIGKILL), 0);
}

TEST(Surroundings, AFilesystemThatTheCommandHasLeftCanBeUnmounted) {
  const Guardcheck guardcheck;
  const std::string mount = guardcheck.directory() / "mount";
  ASSERT_TRUE(std::filesystem::create_directory(mount));
  if (RunProgram({.argv = {"unshare", "-m", "mount", "-t", "tmpfs", "none", mount}}).code != 0) {
    GTEST_SKIP() << "needs root, to mount a filesystem";
  }
  const std::string script =
      "mount -t tmpfs none \"$0\" && cd \"$0\" || exit 1; \"$@\" & cd /; "
      "read -r go; umount \"$0\"; echo unmounted $?; wait";
  Program shell({.argv = Words{"unshare", "-m", "sh", "-c", script, mount} +
                         guardcheck.Run({"sh", "-c", "cd /; echo ready; exec sleep 600"})});
  ASSERT_EQ(shell.ReadLine(), "ready") << shell.Errors();
  AwaitRecord(guardcheck);
  shell.WriteLine("go");
  EXPECT_EQ(shell.ReadLine(), "unmounted 0");
  EXPECT_EQ(guardcheck.Call({"stop", "x"}).code, 0);
}

TEST(Surroundings, TheReaderOfItsOutputSeesTheEndWhenTheCommandClosesIt) {
  const Guardcheck guardcheck;
  Program run({.argv = guardcheck.Run({"sh", "-c", "echo said; exec >&-; read -r end; exit 3"})});
  EXPECT_EQ(run.Output(), "said\n");  // until its end
  run.WriteLine("end");
  EXPECT_EQ(run.Wait(), 3);
}

TEST(Surroundings, AnInheritedDescriptorIsTheCommandsAlone) {
  const Guardcheck guardcheck;
  const std::string fifo = guardcheck.directory() / "fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  Program run({.argv = Words{"sh", "-c", "exec \"$@\" 9>\"$0\"", fifo} +
                       guardcheck.Run({"sh", "-c", "echo said >&9; exec 9>&-; read -r end"})});
  std::ifstream reader(fifo);
  std::ostringstream text;
  text << reader.rdbuf();  // until its end
  EXPECT_EQ(text.str(), "said\n");
  run.WriteLine("end");
  EXPECT_EQ(run.Wait(), 0);
}

// A program for messages is a child of the guardian, which has left the directory.
TEST(Surroundings, AProgramForMessagesRunsWhereGuardcheckWasStarted) {
  const Guardcheck guardcheck;
  const std::string answer = guardcheck.directory() / "answer";
  std::ofstream(answer) << "#!/bin/sh\npwd\n";
  ASSERT_EQ(chmod(answer.c_str(), 0700), 0);
  Guarded run({.argv = guardcheck.InstanceWords({"--on-message", "./answer"}),
               .directory = guardcheck.directory().path()});
  run.Settle();
  const Finished sent = guardcheck.Call({"send", "x", "--timeout", "60s", "--", "where"});
  EXPECT_EQ(sent.code, 0) << sent.errors;
  EXPECT_EQ(sent.output, guardcheck.directory().path() + "\n");
  EXPECT_EQ(DirectoryOf(run.guardian()), "/");
  EXPECT_EQ(run.Exit(0), 0);
}

// ---- where flock(1) runs

class PoorPlace : public ::testing::Test {
 protected:
  Finished Run(const Words& before, const Words& options = {}) const {
    return RunProgram(
        {.argv = before + guardcheck_.Run({"sh", "-c", "echo ran; exit 3"}, options)});
  }
  const Guardcheck guardcheck_;
};

TEST_F(PoorPlace, WithoutClone3ItRuns) {
  for (const int error : {ENOSYS, EPERM}) {
    for (const Words& options : {Words{}, Words{"--exec"}}) {
      const Finished run =
          Run({Beside("instance"), "--without-clone3", absl::StrCat(error)}, options);
      EXPECT_EQ(run.code, 3) << run.errors;
      EXPECT_EQ(run.output, "ran\n");
    }
  }
}

TEST_F(PoorPlace, WithoutClone3WhatNeedsAThreadNamesIt) {
  Program run({.argv = Words{Beside("instance"), "--without-clone3", absl::StrCat(EPERM)} +
                       guardcheck_.Run({"sh", "-c", "read -r end; exit 3"})});
  EXPECT_THAT(
      run.ReadErrorLine().value_or(""),
      AllOf(HasSubstr("no thread can be started"), HasSubstr("clone3"), Not(HasSubstr("ulimit"))));
  run.WriteLine("end");
  EXPECT_EQ(run.Wait(), 3);
}

// The record says who has the name. Where it cannot be written, no start could be told.
TEST_F(PoorPlace, H40_WhereNoFileMayBeWrittenItSaysSoAndStartsNothing) {
  const Finished run = Run({"sh", "-c", "ulimit -f 0; exec \"$@\"", "sh"});
  EXPECT_EQ(run.code, 69);  // and no SIGXFSZ
  EXPECT_EQ(run.output, "");
  EXPECT_THAT(run.errors, HasSubstr("the limit of file sizes (ulimit -f) is reached; raise it"));
}

TEST_F(PoorPlace, WithoutDevNullItRuns) {
  if (RunProgram({.argv = {"unshare", "-m", "mount", "-t", "tmpfs", "none", "/dev"}}).code != 0) {
    GTEST_SKIP() << "needs root, to mount a filesystem";
  }
  for (const std::string closed : {"", "<&-", "2>&-", "<&- 2>&-"}) {
    const Finished run = Run({"unshare", "-m", "sh", "-c",
                              absl::StrCat("mount -t tmpfs none /dev; exec \"$@\" ", closed), "sh"},
                             {"--policy", "file"});
    EXPECT_EQ(run.code, 3) << closed << run.errors;
    EXPECT_EQ(run.output, "ran\n");
  }
}

}  // namespace
}  // namespace soleguard::testing
