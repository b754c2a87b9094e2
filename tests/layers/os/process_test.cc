// Real processes in real namespaces, killed, frozen, recycled and half dead. Where the kernel wants
// root for something, the test says so and is skipped.
#include "soleguard/process.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/time/clock.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/fd.h"

namespace soleguard {
namespace {

using testing::AnyOf;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr std::uint32_t kNobody = 65534;

absl::StatusCode CodeOf(const absl::Status& status) { return status.code(); }
template <typename Value>
absl::StatusCode CodeOf(const absl::StatusOr<Value>& value) {
  return value.status().code();
}

std::string Errno(std::string_view what) {
  return absl::StrCat(std::string(what), ": ", std::generic_category().message(errno));
}

struct Pipe {
  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) std::abort();
    out.reset(ends[0]);
    in.reset(ends[1]);
  }
  UniqueFd out;  // to read from
  UniqueFd in;   // to write to
};

// Blocks until the other side says something or goes away; nothing in the latter case.
std::string Hear(const UniqueFd& fd) {
  char buffer[512];
  const ssize_t size = read(fd.get(), buffer, sizeof buffer);
  return size <= 0 ? std::string() : std::string(buffer, static_cast<std::size_t>(size));
}

void Say(const UniqueFd& fd, std::string_view text) {
  ASSERT_EQ(write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

std::string ToText(const absl::StatusOr<ProcessIdentity>& identity) {
  if (!identity.ok()) return identity.status().ToString();
  return absl::StrCat(identity->boot_id, " ", identity->pid_namespace, " ", identity->pid, " ",
                      identity->start_ticks);
}

ProcessIdentity FromText(const std::string& text) {
  ProcessIdentity identity;
  std::istringstream in(text);
  in >> identity.boot_id >> identity.pid_namespace >> identity.pid >> identity.start_ticks;
  EXPECT_FALSE(in.fail()) << text;
  return identity;
}

// What a child runs: it tells its parent something, and ends when `ears` hangs up.
struct Link {
  const UniqueFd& ears;
  const UniqueFd& mouth;
};
using Body = std::function<void(const Link&)>;

enum class How { kFork, kRawClone };

// A child process. Killed and reaped when the test leaves it.
class Child {
 public:
  explicit Child(const Body& body, How how = How::kFork) {
    (void)std::fflush(nullptr);  // or both print what is buffered
    // _Fork and clone(2) skip the handlers of pthread_atfork.
    pid_ = how == How::kFork ? fork() : static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    if (pid_ < 0) std::abort();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      to_child_.in.reset();
      from_child_.out.reset();
      body({.ears = to_child_.out, .mouth = from_child_.in});
      (void)std::fflush(nullptr);
      _exit(testing::Test::HasFailure() ? 1 : 0);
    }
    to_child_.out.reset();
    from_child_.in.reset();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (reaped_) return;
    (void)kill(pid_, SIGKILL);
    (void)Reap();
  }

  pid_t pid() const { return pid_; }
  std::string Hears() const { return Hear(from_child_.out); }
  void Tell(std::string_view text) const { Say(to_child_.in, text); }
  void HangUp() { to_child_.in.reset(); }
  ProcessIdentity Identity() const {
    const absl::StatusOr<ProcessIdentity> identity = IdentityOf(pid_);
    EXPECT_TRUE(identity.ok()) << identity.status();
    return identity.value_or(ProcessIdentity());
  }

  // Until it has ended; it stays a zombie.
  void AwaitEnd() const {
    siginfo_t info = {};
    ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT), 0);
  }
  int Reap() {
    int status = -1;
    reaped_ = true;
    EXPECT_EQ(waitpid(pid_, &status, __WALL), pid_) << Errno("waitpid");
    return status;
  }
  void Kill() {
    ASSERT_EQ(kill(pid_, SIGKILL), 0);
    (void)Reap();
  }

 private:
  Pipe to_child_;
  Pipe from_child_;
  pid_t pid_ = -1;
  bool reaped_ = false;
};

void Linger(const Link& link) {
  Say(link.mouth, "ready");
  (void)Hear(link.ears);
}

// The state in /proc/PID/stat. For what has no event: the states Z of a thread and D of a process.
char StateOf(pid_t pid) {
  std::ifstream in(absl::StrCat("/proc/", pid, "/stat"));
  std::string text;
  std::getline(in, text);
  const std::size_t end = text.rfind(')');
  return end == std::string::npos ? '-' : text[end + 2];
}

void AwaitState(pid_t pid, char state) {
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (StateOf(pid) != state) {
    ASSERT_LT(absl::Now(), deadline) << "state " << StateOf(pid);
    (void)sched_yield();
  }
}

// Runs `body` in a child that `prepare` has put somewhere else. What cannot be prepared here is
// returned, a reason to skip.
std::string Elsewhere(const std::function<std::string()>& prepare,
                      const std::function<void()>& body) {
  Child child([&](const Link& link) {
    const std::string obstacle = prepare();
    if (!obstacle.empty()) return Say(link.mouth, obstacle);
    body();
  });
  std::string obstacle = child.Hears();
  if (obstacle.empty()) {
    EXPECT_EQ(child.Reap(), 0) << "the child's expectations failed";
  }
  return obstacle;
}

bool WriteFile(const char* path, std::string_view text) {
  const UniqueFd fd(open(path, O_WRONLY | O_CLOEXEC));
  return fd && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// New namespaces for this process or its next children. Without root, inside a user namespace.
std::string Unshare(int flags) {
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  if (uid != 0) flags |= CLONE_NEWUSER;
  if (unshare(flags) != 0) return Errno("unshare is not permitted");
  if (uid == 0) return {};
  if (!WriteFile("/proc/self/uid_map", absl::StrCat("0 ", uid, " 1")) ||
      !WriteFile("/proc/self/setgroups", "deny") ||
      !WriteFile("/proc/self/gid_map", absl::StrCat("0 ", gid, " 1"))) {
    return Errno("no map of users");
  }
  return {};
}

std::string Mount(const char* type, const char* where, const char* options = nullptr) {
  if (mount("none", where, type, 0, options) == 0) return {};
  return Errno(absl::StrCat("cannot mount ", type, " at ", where));
}

// Runs `body` outside of a new pid namespace, in which its children will be.
std::string BesidePidNamespace(const std::function<void()>& body) {
  return Elsewhere([] { return Unshare(CLONE_NEWPID); }, body);
}

// Runs `body` in a new mount namespace, after `mounts` there.
std::string InMountNamespace(const std::function<std::string()>& mounts,
                             const std::function<void()>& body) {
  const auto prepare = [&] {
    std::string obstacle = Unshare(CLONE_NEWNS);
    if (!obstacle.empty()) return obstacle;
    if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return Errno("remount /");
    return mounts();
  };
  return Elsewhere(prepare, body);
}

// Runs `body` as PID 1 of a pid namespace with its own /proc.
std::string InPidNamespace(const std::function<void()>& body) {
  const auto as_first_child = [&] {
    const std::string obstacle = Unshare(CLONE_NEWPID);
    return obstacle.empty() ? InMountNamespace([] { return Mount("proc", "/proc"); }, body)
                            : obstacle;
  };
  return Elsewhere(as_first_child, [] {});
}

// Runs `body` as a user who is not root.
void AsNobody(const std::function<void()>& body) {
  const std::string obstacle = Elsewhere(
      [] {
        if (geteuid() != 0) return std::string();
        if (setresgid(kNobody, kNobody, kNobody) != 0 ||
            setresuid(kNobody, kNobody, kNobody) != 0) {
          return Errno("cannot become nobody");
        }
        // Was lost with the change of user, as it is not when a user's program is started.
        (void)prctl(PR_SET_DUMPABLE, 1);
        return std::string();
      },
      body);
  EXPECT_THAT(obstacle, IsEmpty());
}

// The next process of this pid namespace gets the number `pid`.
bool ChooseNextPid(pid_t pid) {
  return WriteFile("/proc/sys/kernel/ns_last_pid", std::to_string(pid - 1));
}

// Two processes of one number must not be started within one tick of the clock: nothing tells them
// apart then.
void AwaitNextTick() {
  const auto tick = [] {
    timespec now = {};
    (void)clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec * sysconf(_SC_CLK_TCK) + now.tv_nsec / (1'000'000'000 / sysconf(_SC_CLK_TCK));
  };
  for (const auto before = tick(); tick() == before;) (void)sched_yield();
}

class TemporaryFile {
 public:
  TemporaryFile() : path_(testing::TempDir() + "soleguard_process_XXXXXX") {
    fd_.reset(mkostemp(path_.data(), O_CLOEXEC));
    if (!fd_) std::abort();
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { (void)unlink(path_.c_str()); }

  int fd() const { return fd_.get(); }
  UniqueFd Open() const { return UniqueFd(open(path_.c_str(), O_RDWR | O_CLOEXEC)); }
  FileIdentity identity() const {
    struct stat status = {};
    EXPECT_EQ(fstat(fd_.get(), &status), 0);
    return {.device = status.st_dev, .inode = status.st_ino};
  }

 private:
  std::string path_;
  UniqueFd fd_;
};

std::string OwnExecutable() {
  char path[4096];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof path);
  return size < 0 ? std::string() : std::string(path, static_cast<std::size_t>(size));
}

// Ends the main thread while another one lives on, and says so. A raw exit(2): pthread_exit would
// unwind the frames of the test.
void EndMainThread(const Link& link, const std::function<void()>& in_thread) {
  const pid_t process = getpid();
  std::thread([&link, in_thread, process] {
    AwaitState(process, 'Z');
    in_thread();
    Say(link.mouth, "ready");
    (void)Hear(link.ears);
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }).detach();
  syscall(SYS_exit, 0);
}

// Identity.

TEST(ProcessIdentity, IsTheSameHoweverAProcessAsksForItself) {
  const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
  ASSERT_TRUE(own.ok()) << own.status();
  EXPECT_EQ(own->pid, getpid());
  EXPECT_EQ(own->boot_id.size(), 36u);
  EXPECT_GT(own->start_ticks, 0u);
  EXPECT_EQ(IdentityOf(getpid()).value(), *own);
  EXPECT_EQ(OwnIdentity().value(), *own);
  std::thread([&] { EXPECT_EQ(OwnIdentity().value(), *own); }).join();
}

TEST(ProcessIdentity, IsTheSameFromInsideAndOutside) {
  (void)OwnIdentity();  // the child must not go on with its parent's
  for (const How how : {How::kFork, How::kRawClone}) {
    Child child(
        [](const Link& link) {
          Say(link.mouth, ToText(OwnIdentity()));
          (void)Hear(link.ears);
        },
        how);
    const ProcessIdentity said = FromText(child.Hears());
    EXPECT_EQ(said.pid, child.pid());
    EXPECT_EQ(said, child.Identity());
    EXPECT_NE(said, OwnIdentity().value());
    EXPECT_EQ(LivenessOf(said), Liveness::kAlive);
  }
}

TEST(ProcessIdentity, OfAGrandchildMadeByCloneIsNotItsGrandparents) {
  Child child(
      [](const Link& link) {
        (void)OwnIdentity();
        Child grandchild([](const Link& own) { Say(own.mouth, ToText(OwnIdentity())); },
                         How::kRawClone);
        const ProcessIdentity said = FromText(grandchild.Hears());
        EXPECT_EQ(said.pid, grandchild.pid());
        Say(link.mouth, "done");
      },
      How::kRawClone);
  EXPECT_EQ(child.Hears(), "done");
  EXPECT_EQ(child.Reap(), 0);
}

// The pid alone does not tell such a child from its parent.
TEST(ProcessIdentity, OfACloneThatIsPid1AsItsParentIs) {
  const std::string obstacle = InPidNamespace([] {
    const ProcessIdentity own = OwnIdentity().value();
    EXPECT_EQ(own.pid, 1);
    Pipe pipe;
    const auto child = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD | CLONE_NEWPID, 0, 0, 0, 0));
    if (child == 0) {
      Say(pipe.in, ToText(OwnIdentity()));
      _exit(0);
    }
    const ProcessIdentity inner = FromText(Hear(pipe.out));
    EXPECT_EQ(inner.pid, 1);
    EXPECT_NE(inner.pid_namespace, own.pid_namespace);
    EXPECT_EQ(waitpid(child, nullptr, 0), child);
  });
  if (!obstacle.empty()) GTEST_SKIP() << obstacle;
}

TEST(ProcessIdentity, H05_RecycledPidIsAnotherProcess) {
  const std::string obstacle = InPidNamespace([] {
    constexpr pid_t kPid = 4711;
    ASSERT_TRUE(ChooseNextPid(kPid)) << Errno("choose the next pid");
    Child first(Linger);
    ASSERT_EQ(first.pid(), kPid);
    const ProcessIdentity former = first.Identity();
    first.Kill();
    EXPECT_EQ(LivenessOf(former), Liveness::kGone);

    AwaitNextTick();
    ASSERT_TRUE(ChooseNextPid(kPid));
    Child stranger(Linger);
    ASSERT_EQ(stranger.pid(), kPid);
    EXPECT_NE(stranger.Identity(), former);
    EXPECT_EQ(LivenessOf(former), Liveness::kGone);
    EXPECT_EQ(LivenessOf(stranger.Identity()), Liveness::kAlive);
    EXPECT_EQ(CodeOf(Describe(former)), absl::StatusCode::kNotFound);
    EXPECT_EQ(CodeOf(OpenPidfd(former)), absl::StatusCode::kNotFound);
    EXPECT_EQ(CodeOf(HoldsLock(former, {})), absl::StatusCode::kNotFound);
  });
  if (!obstacle.empty()) GTEST_SKIP() << obstacle;
}

TEST(ProcessIdentity, H06_TwoProcessesThatAreBothPid1AreTwo) {
  const ProcessIdentity outer = OwnIdentity().value();
  Pipe pipe;
  for (int i = 0; i < 2; ++i) {
    const std::string obstacle = InPidNamespace([&] {
      EXPECT_EQ(OwnIdentity().value(), IdentityOf(1).value());
      EXPECT_EQ(LivenessOf(outer), Liveness::kUnknown);
      EXPECT_EQ(CodeOf(Describe(outer)), absl::StatusCode::kFailedPrecondition);
      EXPECT_EQ(CodeOf(OpenPidfd(outer)), absl::StatusCode::kFailedPrecondition);
      EXPECT_EQ(CodeOf(SendSignal(outer, SIGKILL)), absl::StatusCode::kFailedPrecondition);
      Say(pipe.in, ToText(OwnIdentity()));
    });
    if (!obstacle.empty()) GTEST_SKIP() << obstacle;
    const ProcessIdentity inner = FromText(Hear(pipe.out));
    EXPECT_EQ(inner.pid, 1);
    EXPECT_NE(inner, outer);
    EXPECT_EQ(inner.boot_id, outer.boot_id);
    // From the initial namespace every process is seen, so that it has ended.
    constexpr std::uint64_t kInitialPidNamespace = 4026531836;
    EXPECT_EQ(LivenessOf(inner),
              outer.pid_namespace == kInitialPidNamespace ? Liveness::kGone : Liveness::kUnknown);
  }
}

// unshare --pid without --mount-proc.
TEST(ProcessIdentity, H06_WithTheProcOfAnotherPidNamespaceIsOnesOwnOnly) {
  const std::string obstacle = BesidePidNamespace([] {
    Child init([](const Link& link) {
      const absl::StatusOr<ProcessIdentity> own = OwnIdentity();
      Say(link.mouth, ToText(own));
      ASSERT_TRUE(own.ok());
      EXPECT_EQ(LivenessOf(*own), Liveness::kAlive);
      const absl::StatusOr<ProcessDescription> self = Describe(*own);
      ASSERT_TRUE(self.ok()) << self.status();
      EXPECT_EQ(self->executable, OwnExecutable());
      EXPECT_EQ(self->parent_pid, 0) << "the parent has no number in this namespace";

      Child other([](const Link& its) {
        const Child grandchild(Linger);
        Say(its.mouth, absl::StrCat(ToText(OwnIdentity()), " ", grandchild.pid()));
        (void)Hear(its.ears);
      });
      const std::string said = other.Hears();
      const ProcessIdentity identity = FromText(said);
      EXPECT_EQ(IdentityOf(other.pid()).value_or(ProcessIdentity()), identity)
          << "a child is in the list of children";
      const int grandchild = std::stoi(said.substr(said.rfind(' ')));
      EXPECT_EQ(CodeOf(IdentityOf(grandchild)), absl::StatusCode::kFailedPrecondition);
      EXPECT_EQ(CodeOf(AllPids()), absl::StatusCode::kFailedPrecondition);
      EXPECT_EQ(CodeOf(Describe(identity)), absl::StatusCode::kFailedPrecondition);
      EXPECT_EQ(CodeOf(SendSignal(identity, SIGKILL)), absl::StatusCode::kFailedPrecondition);
      EXPECT_EQ(LivenessOf(identity), Liveness::kUnknown);
      other.Kill();
      EXPECT_EQ(LivenessOf(identity), Liveness::kGone) << "that needs no /proc";
      (void)Hear(link.ears);
    });
    const ProcessIdentity inner = FromText(init.Hears());
    EXPECT_EQ(inner.pid, 1);
    EXPECT_EQ(inner.start_ticks, init.Identity().start_ticks);
    EXPECT_NE(inner.pid_namespace, init.Identity().pid_namespace);
    init.HangUp();
    EXPECT_EQ(init.Reap(), 0);
  });
  if (!obstacle.empty()) GTEST_SKIP() << obstacle;
}

// The numbers of the process in both namespaces are the same, so that /proc/self looks right.
TEST(ProcessIdentity, H06_IsNotDeceivedByEqualNumbersInTwoPidNamespaces) {
  if (geteuid() != 0) GTEST_SKIP() << "clone3 with set_tid needs root";
  const std::string obstacle = BesidePidNamespace([] {
    Child init(Linger);
    EXPECT_EQ(init.Hears(), "ready");
    // The kernel's struct clone_args of version 1, which glibc 2.36 does not declare.
    struct {
      std::uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls,
          set_tid, set_tid_size;
    } arguments = {};
    pid_t child = -1;
    for (pid_t number = 20'000; child < 0 && number < 20'100; ++number) {
      const pid_t numbers[] = {number, number};
      arguments.exit_signal = SIGCHLD;
      arguments.set_tid = reinterpret_cast<std::uint64_t>(numbers);
      arguments.set_tid_size = std::size(numbers);
      child = static_cast<pid_t>(syscall(SYS_clone3, &arguments, sizeof arguments));
    }
    ASSERT_GE(child, 0) << Errno("clone3");
    if (child == 0) {
      EXPECT_TRUE(OwnIdentity().ok());
      EXPECT_EQ(CodeOf(IdentityOf(1)), absl::StatusCode::kFailedPrecondition);
      EXPECT_EQ(CodeOf(AllPids()), absl::StatusCode::kFailedPrecondition);
      (void)std::fflush(nullptr);
      _exit(testing::Test::HasFailure() ? 1 : 0);
    }
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  });
  ASSERT_THAT(obstacle, IsEmpty());
}

TEST(ProcessIdentity, IsTheSameForReadersInTwoTimeNamespaces) {
  for (const std::string offset : {"100000 0", "86400 990000000", "-3 0"}) {
    const auto prepare = [&] {
      std::string failure = Unshare(CLONE_NEWTIME);
      if (failure.empty() &&
          !WriteFile("/proc/self/timens_offsets", absl::StrCat("boottime ", offset))) {
        failure = Errno("cannot set the clock offset");
      }
      return failure;
    };
    const std::string obstacle = Elsewhere(prepare, [] {
      // This process has the old clock still, and its children's offset in timens_offsets.
      const ProcessIdentity parent = OwnIdentity().value();
      Child child([&](const Link& link) {
        EXPECT_EQ(IdentityOf(getppid()).value(), parent);
        EXPECT_EQ(LivenessOf(parent), Liveness::kAlive);
        EXPECT_LT(absl::AbsDuration(Describe(OwnIdentity().value())->started - absl::Now()),
                  absl::Seconds(20));
        Say(link.mouth, ToText(OwnIdentity()));
        (void)Hear(link.ears);
      });
      EXPECT_EQ(FromText(child.Hears()), child.Identity());
      child.HangUp();
      EXPECT_EQ(child.Reap(), 0);

      Child between([](const Link&) {
        if (unshare(CLONE_NEWTIME) != 0) return;
        EXPECT_EQ(CodeOf(OwnIdentity()), absl::StatusCode::kFailedPrecondition)
            << "nothing tells the offset of its clock";
      });
      EXPECT_EQ(between.Reap(), 0);
    });
    if (!obstacle.empty()) GTEST_SKIP() << obstacle;
  }
}

TEST(ProcessIdentity, OfAProcessWithAnAwkwardName) {
  for (const char* name : {") R 1 (", "a b) (c", "))))", "\n\t \xff\x1b"}) {
    Child child([name](const Link& link) {
      prctl(PR_SET_NAME, name);
      Say(link.mouth, ToText(OwnIdentity()));
      (void)Hear(link.ears);
    });
    const ProcessIdentity said = FromText(child.Hears());
    EXPECT_EQ(said, child.Identity());
    EXPECT_EQ(Describe(said).value().parent_pid, getpid());
  }
}

TEST(ProcessIdentity, OfNoProcessIsNotFound) {
  Child child(Linger);
  const pid_t pid = child.pid();
  child.Kill();
  for (const std::int64_t number : {std::int64_t{pid}, std::int64_t{0}, std::int64_t{-1}, INT64_MAX,
                                    INT64_MIN, (std::int64_t{1} << 32) + getpid()}) {
    EXPECT_EQ(CodeOf(IdentityOf(number)), absl::StatusCode::kNotFound) << number;
    ProcessIdentity identity = OwnIdentity().value();
    identity.pid = number;
    EXPECT_EQ(LivenessOf(identity), Liveness::kGone) << number;
    EXPECT_EQ(CodeOf(SendSignal(identity, 0)), absl::StatusCode::kNotFound) << number;
  }
}

// kill(2) and /proc take a thread's id for a process.
TEST(ProcessIdentity, H18_OfAThreadIsNotFound) {
  Pipe pipe;
  std::thread thread([&] {
    const pid_t id = gettid();
    EXPECT_EQ(kill(id, 0), 0);
    EXPECT_EQ(CodeOf(IdentityOf(id)), absl::StatusCode::kNotFound);
  });
  thread.join();
}

TEST(ProcessIdentity, IsKeptOverAnExecByAnotherThread) {
  Child child([](const Link& link) {
    std::thread([&] {
      (void)Hear(link.ears);
      (void)dup2(link.ears.get(), STDIN_FILENO);
      execl("/bin/cat", "cat", nullptr);
      _exit(1);
    }).detach();
    Say(link.mouth, "ready");
    pause();
  });
  EXPECT_EQ(child.Hears(), "ready");
  const ProcessIdentity before = child.Identity();
  child.Tell("exec");
  EXPECT_EQ(child.Hears(), "") << "closed by the exec";
  EXPECT_EQ(child.Identity(), before);
  EXPECT_EQ(LivenessOf(before), Liveness::kAlive);
}

TEST(ProcessIdentity, OfAnEarlierBootIsGone) {
  ProcessIdentity identity = OwnIdentity().value();
  identity.boot_id.back() = identity.boot_id.back() == '0' ? '1' : '0';
  EXPECT_EQ(LivenessOf(identity), Liveness::kGone);
  EXPECT_EQ(CodeOf(SendSignal(identity, 0)), absl::StatusCode::kNotFound);
}

TEST(ProcessIdentity, H14_WithoutProcIsUnknownAndNotGone) {
  const ProcessIdentity parent = OwnIdentity().value();
  const auto hide_proc = [] { return Mount("tmpfs", "/proc"); };
  const std::string obstacle = InMountNamespace(hide_proc, [&] {
    EXPECT_EQ(CodeOf(OwnIdentity()), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(OwnIdentity().status().message()), HasSubstr("is /proc mounted"));
    EXPECT_EQ(LivenessOf(parent), Liveness::kUnknown);
    EXPECT_FALSE(IdentityOf(getppid()).ok());
    EXPECT_THAT(ProcessesWithOpen({}), IsEmpty());
  });
  if (!obstacle.empty()) GTEST_SKIP() << obstacle;
}

TEST(ProcessIdentity, H14_WithoutDescriptorsIsUnknownAndNotGone) {
  const ProcessIdentity parent = OwnIdentity().value();
  for (const bool cached : {true, false}) {
    Child child([&](const Link&) {
      if (cached) (void)OwnIdentity();
      const UniqueFd last(open("/dev/null", O_RDONLY | O_CLOEXEC));  // the lowest free number
      const rlimit limit = {static_cast<rlim_t>(last.get()), static_cast<rlim_t>(last.get())};
      ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
      EXPECT_EQ(LivenessOf(parent), Liveness::kUnknown);
      EXPECT_EQ(CodeOf(IdentityOf(parent.pid)), absl::StatusCode::kResourceExhausted);
      EXPECT_EQ(CodeOf(Describe(parent)), absl::StatusCode::kResourceExhausted);
      EXPECT_EQ(CodeOf(OpenPidfd(parent)), absl::StatusCode::kResourceExhausted);
      EXPECT_EQ(CodeOf(AllPids()), absl::StatusCode::kResourceExhausted);
      EXPECT_EQ(CodeOf(HoldsLock(parent, {})), absl::StatusCode::kResourceExhausted);
    });
    EXPECT_EQ(child.Reap(), 0);
  }
}

TEST(ProcessIdentity, H18_HiddenByHidepidIsUnknownAndNotGone) {
  if (geteuid() != 0) GTEST_SKIP() << "mounting with hidepid needs root";
  const ProcessIdentity parent = OwnIdentity().value();
  for (const char* option : {"hidepid=1", "hidepid=2"}) {
    const auto remount = [&] { return Mount("proc", "/proc", option); };
    const std::string obstacle = InMountNamespace(remount, [&] {
      AsNobody([&] {
        EXPECT_TRUE(OwnIdentity().ok()) << OwnIdentity().status();
        EXPECT_EQ(LivenessOf(parent), Liveness::kUnknown);
        EXPECT_EQ(CodeOf(IdentityOf(parent.pid)), absl::StatusCode::kPermissionDenied);
        EXPECT_EQ(CodeOf(Describe(parent)), absl::StatusCode::kPermissionDenied);
        EXPECT_EQ(CodeOf(OpenPidfd(parent)), absl::StatusCode::kPermissionDenied);
        EXPECT_EQ(CodeOf(SendSignal(parent, 0)), absl::StatusCode::kPermissionDenied);
        Child gone(Linger);
        const ProcessIdentity identity = gone.Identity();
        gone.Kill();
        EXPECT_EQ(LivenessOf(identity), Liveness::kGone);
      });
    });
    if (!obstacle.empty()) GTEST_SKIP() << obstacle;
  }
}

// Life and death.

TEST(Liveness, HasAWordForEach) {
  EXPECT_EQ(ToString(Liveness::kAlive), "alive");
  EXPECT_EQ(ToString(Liveness::kDying), "dying");
  EXPECT_EQ(ToString(Liveness::kGone), "gone");
  EXPECT_EQ(ToString(Liveness::kUnknown), "unknown");
}

TEST(Liveness, OfAKilledProcessIsGoneBeforeItsParentNotices) {
  Child child(Linger);
  const ProcessIdentity identity = child.Identity();
  EXPECT_EQ(LivenessOf(identity), Liveness::kAlive);
  ASSERT_EQ(kill(child.pid(), SIGKILL), 0);
  child.AwaitEnd();
  EXPECT_EQ(StateOf(child.pid()), 'Z');
  EXPECT_EQ(LivenessOf(identity), Liveness::kGone);
  EXPECT_EQ(CodeOf(Describe(identity)), absl::StatusCode::kNotFound);
  EXPECT_EQ(CodeOf(OpenPidfd(identity)), absl::StatusCode::kNotFound);
  EXPECT_EQ(CodeOf(SendSignal(identity, SIGTERM)), absl::StatusCode::kNotFound);
  (void)child.Reap();
  EXPECT_EQ(LivenessOf(identity), Liveness::kGone);
}

TEST(Liveness, H15_OfAStoppedProcessIsAlive) {
  Child child(Linger);
  EXPECT_EQ(child.Hears(), "ready");
  ASSERT_EQ(kill(child.pid(), SIGSTOP), 0);
  int status = 0;
  ASSERT_EQ(waitpid(child.pid(), &status, WUNTRACED), child.pid());
  ASSERT_TRUE(WIFSTOPPED(status));
  EXPECT_EQ(LivenessOf(child.Identity()), Liveness::kAlive);
  EXPECT_EQ(Describe(child.Identity()).value().state, 'T');
}

// It looks like a zombie.
TEST(Liveness, H18_OfAProcessWhoseMainThreadHasEndedIsAlive) {
  const TemporaryFile file;
  Child child([&](const Link& link) {
    const UniqueFd locked = file.Open();
    ASSERT_EQ(flock(locked.get(), LOCK_EX), 0);
    EndMainThread(link, [] {
      EXPECT_EQ(OwnIdentity().value(), IdentityOf(getpid()).value());
      EXPECT_EQ(LivenessOf(OwnIdentity().value()), Liveness::kAlive);
    });
  });
  ASSERT_EQ(child.Hears(), "ready");
  ASSERT_EQ(StateOf(child.pid()), 'Z');
  const ProcessIdentity identity = child.Identity();
  EXPECT_EQ(LivenessOf(identity), Liveness::kAlive);
  EXPECT_TRUE(HoldsLock(identity, file.identity()).value());
  EXPECT_THAT(ProcessesWithOpen(file.identity()), Contains(identity));
  const ProcessDescription description = Describe(identity).value();
  EXPECT_EQ(description.executable, OwnExecutable());
  EXPECT_THAT(description.argv, Not(IsEmpty()));
  EXPECT_NE(description.state, 'Z');
  EXPECT_GT(description.memory_bytes, 0u);

  const UniqueFd pidfd = OpenPidfd(identity).value();
  ASSERT_EQ(kill(child.pid(), SIGKILL), 0);
  pollfd entry = {pidfd.get(), POLLIN, 0};
  EXPECT_EQ(poll(&entry, 1, -1), 1);
  EXPECT_EQ(LivenessOf(identity), Liveness::kGone);
}

// Whoever killed it may start the next one as soon as kill(2) has returned. Many times, as a look
// has to fall into the moment in which the thread that takes the signal shows neither that it is
// pending nor that it was taken.
TEST(Liveness, H27_OfAProcessIsNeverAliveOnceItWasKilled) {
  for (int i = 0; i < 1000; ++i) {
    Child child([](const Link&) {
      for (;;) (void)getppid();
    });
    const ProcessIdentity identity = child.Identity();
    ASSERT_EQ(kill(child.pid(), SIGKILL), 0);
    ASSERT_THAT(LivenessOf(identity), AnyOf(Liveness::kDying, Liveness::kGone)) << i;
  }
}

// SIGKILL was taken: it is not pending for the thread any more, and PF_EXITING not set yet.
TEST(Liveness, H27_OfAProcessThatATracerHoldsWhileItDiesIsDying) {
  Child child(Linger);
  EXPECT_EQ(child.Hears(), "ready");
  const ProcessIdentity identity = child.Identity();
  if (ptrace(PTRACE_SEIZE, child.pid(), nullptr, PTRACE_O_TRACEEXIT) != 0) {
    GTEST_SKIP() << Errno("ptrace is not permitted");
  }
  EXPECT_EQ(LivenessOf(identity), Liveness::kAlive);
  ASSERT_EQ(kill(child.pid(), SIGKILL), 0);
  int status = 0;
  ASSERT_EQ(waitpid(child.pid(), &status, 0), child.pid());
  ASSERT_EQ(status >> 8, SIGTRAP | (PTRACE_EVENT_EXIT << 8));
  EXPECT_EQ(LivenessOf(identity), Liveness::kDying);
  EXPECT_TRUE(OpenPidfd(identity).ok()) << "to wait for";

  ASSERT_EQ(ptrace(PTRACE_DETACH, child.pid(), nullptr, nullptr), 0);
  child.AwaitEnd();
  EXPECT_EQ(LivenessOf(identity), Liveness::kGone);
}

TEST(Liveness, H27_OfAZombieWithAThreadThatStillDiesIsDying) {
  Child child([](const Link& link) {
    std::thread([&] {
      Say(link.mouth, std::to_string(gettid()));
      pause();
    }).join();
  });
  const pid_t thread = std::stoi(child.Hears());
  const ProcessIdentity identity = child.Identity();
  if (ptrace(PTRACE_SEIZE, thread, nullptr, PTRACE_O_TRACEEXIT) != 0) {
    GTEST_SKIP() << Errno("ptrace is not permitted");
  }
  ASSERT_EQ(kill(child.pid(), SIGKILL), 0);
  int status = 0;
  ASSERT_EQ(waitpid(thread, &status, __WALL), thread);
  ASSERT_EQ(status >> 8, SIGTRAP | (PTRACE_EVENT_EXIT << 8));
  AwaitState(child.pid(), 'Z');
  EXPECT_EQ(LivenessOf(identity), Liveness::kDying);

  ASSERT_EQ(ptrace(PTRACE_DETACH, thread, nullptr, nullptr), 0);
  child.AwaitEnd();
  EXPECT_EQ(LivenessOf(identity), Liveness::kGone);
}

// An exec kills the other threads of its process, the main thread among them.
TEST(Liveness, OfAProcessInTheMiddleOfAnExecIsAlive) {
  Child child([](const Link& link) {
    std::thread([&] {
      (void)Hear(link.ears);
      (void)dup2(link.ears.get(), STDIN_FILENO);
      execl("/bin/cat", "cat", nullptr);
      _exit(1);
    }).detach();
    Say(link.mouth, "ready");
    pause();
  });
  EXPECT_EQ(child.Hears(), "ready");
  const ProcessIdentity identity = child.Identity();
  if (ptrace(PTRACE_SEIZE, child.pid(), nullptr, PTRACE_O_TRACEEXIT) != 0) {
    GTEST_SKIP() << Errno("ptrace is not permitted");
  }
  child.Tell("exec");
  int status = 0;
  ASSERT_EQ(waitpid(child.pid(), &status, 0), child.pid());
  ASSERT_EQ(status >> 8, SIGTRAP | (PTRACE_EVENT_EXIT << 8));
  EXPECT_EQ(LivenessOf(identity), Liveness::kAlive);

  ASSERT_EQ(ptrace(PTRACE_DETACH, child.pid(), nullptr, nullptr), 0);
  EXPECT_EQ(child.Hears(), "") << "closed by the exec";
  EXPECT_EQ(LivenessOf(identity), Liveness::kAlive);
}

// PID 1 of a namespace ends only when all others were reaped; this one's parent is outside and
// waits.
TEST(Liveness, H27_OfAProcessThatIsExitingIsDying) {
  const std::string obstacle = BesidePidNamespace([] {
    Child init(Linger);
    Child other(Linger);
    const ProcessIdentity identity = init.Identity();
    EXPECT_EQ(LivenessOf(identity), Liveness::kAlive);
    init.Tell("exit");
    other.AwaitEnd();  // killed by the init in its exit
    EXPECT_EQ(LivenessOf(identity), Liveness::kDying);
    (void)other.Reap();
    init.AwaitEnd();
    EXPECT_EQ(LivenessOf(identity), Liveness::kGone);
  });
  if (!obstacle.empty()) GTEST_SKIP() << obstacle;
}

// A process that sits in a system call which no signal interrupts: a write to a pipe, which another
// writer has locked while its own memory is not there.
TEST(Liveness, H27_OfAProcessThatCannotBeInterruptedIsDyingOnceItIsKilled) {
  if (geteuid() != 0) GTEST_SKIP() << "userfaultfd for faults in the kernel needs root";
  const Pipe pipe;
  Child locker([&](const Link& link) {
    const UniqueFd faults(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC)));
    if (!faults) return Say(link.mouth, Errno("no userfaultfd"));
    uffdio_api api = {.api = UFFD_API, .features = 0, .ioctls = 0};
    ASSERT_EQ(ioctl(faults.get(), UFFDIO_API, &api), 0);
    const auto size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    void* const memory =
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uffdio_register registration = {
        .range = {.start = reinterpret_cast<std::uint64_t>(memory), .len = size},
        .mode = UFFDIO_REGISTER_MODE_MISSING,
        .ioctls = 0};
    ASSERT_EQ(ioctl(faults.get(), UFFDIO_REGISTER, &registration), 0);
    std::thread([&] {
      uffd_msg fault;
      (void)read(faults.get(), &fault, sizeof fault);
      Say(link.mouth, "locked");
      pause();
    }).detach();
    (void)write(pipe.in.get(), memory, size);
  });
  const std::string heard = locker.Hears();
  if (heard != "locked") GTEST_SKIP() << heard;

  Child victim([&](const Link&) { (void)write(pipe.in.get(), "x", 1); });
  const ProcessIdentity identity = victim.Identity();
  AwaitState(victim.pid(), 'D');
  EXPECT_EQ(LivenessOf(identity), Liveness::kAlive);
  ASSERT_EQ(kill(victim.pid(), SIGKILL), 0);
  EXPECT_EQ(StateOf(victim.pid()), 'D');
  EXPECT_EQ(LivenessOf(identity), Liveness::kDying);
  locker.Kill();
  victim.AwaitEnd();
  EXPECT_EQ(LivenessOf(identity), Liveness::kGone);
}

// Description.

TEST(Describe, TellsWhatPsTells) {
  const absl::Time before = absl::Now();
  Child child([](const Link& link) {
    ASSERT_EQ(chdir("/usr"), 0);
    timespec used = {};
    while (used.tv_sec == 0 && used.tv_nsec < 50'000'000) {
      (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    }
    Linger(link);
  });
  EXPECT_EQ(child.Hears(), "ready");
  const absl::StatusOr<ProcessDescription> description = Describe(child.Identity());
  ASSERT_TRUE(description.ok()) << description.status();
  EXPECT_EQ(description->identity, child.Identity());
  EXPECT_EQ(description->parent_pid, getpid());
  EXPECT_EQ(description->executable, OwnExecutable());
  EXPECT_EQ(description->working_directory, "/usr");
  EXPECT_EQ(description->uid, geteuid());
  EXPECT_EQ(description->user, UserName(geteuid()));
  EXPECT_THAT(description->state, AnyOf('S', 'R'));
  EXPECT_GT(description->cpu_percent, 0);
  EXPECT_LE(description->cpu_percent, 150) << "of one thread, and ticks are coarse";
  EXPECT_GT(description->memory_bytes, 100'000u);
  EXPECT_GT(description->started, before - absl::Milliseconds(50));
  EXPECT_LT(description->started, absl::Now() + absl::Milliseconds(50));
}

// Starts cat(1), which reads its input, with these arguments.
Child Cat(std::vector<std::string> arguments) {
  return Child([&](const Link& link) {
    (void)dup2(link.ears.get(), STDIN_FILENO);
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    execv("/bin/cat", pointers.data());
    _exit(1);
  });
}

TEST(Describe, H34_GivesArgumentsAsTheyAre) {
  const std::vector<std::string> arguments = {"cat\x1b[2J", "-", "", "caf\xe9", "a\nb", ") (", ""};
  const Child child = Cat(arguments);
  EXPECT_EQ(child.Hears(), "") << "closed by the exec";
  const ProcessDescription description = Describe(child.Identity()).value();
  EXPECT_EQ(description.argv, arguments);
  EXPECT_THAT(description.executable, HasSubstr("/cat"));
}

TEST(Describe, ReadsNoMoreThanAPartOfHugeArguments) {
  std::vector<std::string> arguments = {"cat", "-"};
  arguments.resize(12, std::string(100'000, 'x'));
  const Child child = Cat(arguments);
  EXPECT_EQ(child.Hears(), "") << "closed by the exec";
  const std::vector<std::string> seen = Describe(child.Identity()).value().argv;
  ASSERT_EQ(seen.size(), 5u);
  EXPECT_EQ(seen[1], "-");
  EXPECT_EQ(seen[3], arguments[3]);
  EXPECT_EQ(seen[4].size(), 262'144u - 6 - 200'002u) << "256 KiB in all";
}

TEST(Describe, OfAnotherUsersProcessLeavesOutWhatIsNotShown) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to have two users";
  const TemporaryFile file;
  ASSERT_EQ(flock(file.fd(), LOCK_EX), 0);
  const ProcessIdentity parent = OwnIdentity().value();
  AsNobody([&] {
    EXPECT_TRUE(OwnIdentity().ok()) << OwnIdentity().status();
    EXPECT_EQ(LivenessOf(parent), Liveness::kAlive);
    const ProcessDescription description = Describe(parent).value();
    EXPECT_EQ(description.executable, "");
    EXPECT_EQ(description.working_directory, "");
    EXPECT_EQ(description.uid, 0u);
    EXPECT_EQ(description.user, "root");
    EXPECT_THAT(description.argv, Not(IsEmpty()));
    EXPECT_EQ(CodeOf(HoldsLock(parent, file.identity())), absl::StatusCode::kPermissionDenied);
    EXPECT_THAT(ProcessesWithOpen(file.identity()), Each(Not(parent)));
    EXPECT_TRUE(OpenPidfd(parent).ok()) << "waiting for it is allowed";
    EXPECT_EQ(CodeOf(SendSignal(parent, SIGTERM)), absl::StatusCode::kPermissionDenied);

    // To root it shows all.
    EXPECT_EQ(Describe(OwnIdentity().value()).value().user, UserName(kNobody));
  });
}

// The files in /proc of a process that is not dumpable belong to root.
TEST(Describe, OfAProcessThatIsNotDumpableNamesItsUser) {
  AsNobody([] {
    Child child([](const Link& link) {
      (void)prctl(PR_SET_DUMPABLE, 0);
      Say(link.mouth, ToText(OwnIdentity()));
      (void)Hear(link.ears);
    });
    const ProcessIdentity identity = FromText(child.Hears());
    EXPECT_EQ(identity, child.Identity());
    EXPECT_EQ(Describe(identity).value().uid, geteuid());
    EXPECT_EQ(CodeOf(HoldsLock(identity, {})), absl::StatusCode::kPermissionDenied);
  });
}

TEST(UserName, IsTheNameOrTheNumber) {
  EXPECT_EQ(UserName(0), "root");
  EXPECT_EQ(UserName(3'999'999'999), "3999999999");
}

TEST(HostName, IsTheKernels) {
  char name[256] = {};
  ASSERT_EQ(gethostname(name, sizeof name - 1), 0);
  EXPECT_EQ(HostName(), name);
}

// Signals and pidfds.

TEST(OpenPidfd, IsReadableWhenTheProcessHasEnded) {
  Child child(Linger);
  const absl::StatusOr<UniqueFd> pidfd = OpenPidfd(child.Identity());
  ASSERT_TRUE(pidfd.ok()) << pidfd.status();
  EXPECT_EQ(fcntl(pidfd->get(), F_GETFD), FD_CLOEXEC);
  pollfd entry = {pidfd->get(), POLLIN, 0};
  EXPECT_EQ(poll(&entry, 1, 0), 0);
  child.HangUp();
  EXPECT_EQ(poll(&entry, 1, -1), 1);
  EXPECT_EQ(child.Reap(), 0);
}

TEST(SendSignal, ReachesTheProcess) {
  Child child(Linger);
  EXPECT_TRUE(SendSignal(child.Identity(), 0).ok());
  EXPECT_TRUE(SendSignal(child.Identity(), SIGTERM).ok());
  EXPECT_EQ(child.Reap(), SIGTERM);
}

TEST(SendSignal, RefusesWhatIsNoSignal) {
  Child child(Linger);
  EXPECT_EQ(CodeOf(SendSignal(child.Identity(), 4711)), absl::StatusCode::kInvalidArgument);
}

TEST(SendSignal, H16_SparesAStrangerWithARecycledPid) {
  const std::string obstacle = InPidNamespace([] {
    constexpr pid_t kPid = 4711;
    ASSERT_TRUE(ChooseNextPid(kPid)) << Errno("choose the next pid");
    Child first(Linger);
    const ProcessIdentity former = first.Identity();
    first.Kill();
    AwaitNextTick();
    ASSERT_TRUE(ChooseNextPid(kPid));
    Child stranger(Linger);
    ASSERT_EQ(stranger.pid(), first.pid());
    EXPECT_EQ(CodeOf(SendSignal(former, SIGKILL)), absl::StatusCode::kNotFound);
    stranger.HangUp();
    EXPECT_EQ(stranger.Reap(), 0) << "ended by itself";
  });
  if (!obstacle.empty()) GTEST_SKIP() << obstacle;
}

// The table and its descriptors.

TEST(AllPids, AreProcessesAndNotThreads) {
  Child child(Linger);
  std::thread([&] {
    const std::vector<std::int64_t> pids = AllPids().value();
    EXPECT_THAT(pids, Contains(getpid()));
    EXPECT_THAT(pids, Contains(child.pid()));
    EXPECT_THAT(pids, Not(Contains(gettid())));
  }).join();
}

TEST(ProcessesWithOpen, AreAllThatHaveIt) {
  const TemporaryFile file;
  Child holder(Linger);  // inherits the descriptor
  Child other([&](const Link& link) {
    ASSERT_EQ(close(file.fd()), 0);
    Linger(link);
  });
  EXPECT_EQ(other.Hears(), "ready");
  EXPECT_THAT(ProcessesWithOpen(file.identity()),
              testing::UnorderedElementsAre(OwnIdentity().value(), holder.Identity()));
  FileIdentity elsewhere = file.identity();
  ++elsewhere.device;
  EXPECT_THAT(ProcessesWithOpen(elsewhere), IsEmpty());
}

TEST(ProcessesWithOpen, FindsDirectories) {
  std::string path = testing::TempDir() + "soleguard_process_XXXXXX";
  ASSERT_NE(mkdtemp(path.data()), nullptr);
  const UniqueFd directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat status = {};
  ASSERT_EQ(fstat(directory.get(), &status), 0);
  const FileIdentity file = {.device = status.st_dev, .inode = status.st_ino};
  EXPECT_THAT(ProcessesWithOpen(file), ElementsAre(OwnIdentity().value()));
  ASSERT_EQ(flock(directory.get(), LOCK_EX), 0);
  EXPECT_TRUE(HoldsLock(OwnIdentity().value(), file).value());
  EXPECT_EQ(rmdir(path.c_str()), 0);
}

TEST(HoldsLock, SeesEachFamilyOfLocksAndWhetherItIsHeldNow) {
  struct flock whole_file = {};
  whole_file.l_type = F_WRLCK;
  whole_file.l_whence = SEEK_SET;
  const std::function<int(int)> lockers[] = {
      [](int fd) { return flock(fd, LOCK_EX); },
      [](int fd) { return flock(fd, LOCK_SH); },
      [&](int fd) { return fcntl(fd, F_SETLK, &whole_file); },
      [&](int fd) { return fcntl(fd, F_OFD_SETLK, &whole_file); },
  };
  for (const auto& lock : lockers) {
    const TemporaryFile file;
    const TemporaryFile another;
    Child child([&](const Link& link) {
      UniqueFd fd = file.Open();
      Say(link.mouth, "open");
      (void)Hear(link.ears);
      ASSERT_EQ(lock(fd.get()), 0) << Errno("lock");
      Say(link.mouth, "locked");
      (void)Hear(link.ears);
      fd.reset();
      Linger(link);
    });
    EXPECT_EQ(child.Hears(), "open");
    EXPECT_FALSE(HoldsLock(child.Identity(), file.identity()).value());
    child.Tell("lock");
    EXPECT_EQ(child.Hears(), "locked");
    EXPECT_TRUE(HoldsLock(child.Identity(), file.identity()).value());
    EXPECT_FALSE(HoldsLock(child.Identity(), another.identity()).value());
    EXPECT_FALSE(HoldsLock(OwnIdentity().value(), file.identity()).value()) << "open, not locked";
    child.Tell("unlock");
    EXPECT_EQ(child.Hears(), "ready");
    EXPECT_FALSE(HoldsLock(child.Identity(), file.identity()).value());
  }
}

// Not the locker's pid counts, which is in the kernel's text, but who has the description.
TEST(HoldsLock, H28_SeesTheChildThatKeepsADeadProcessesLock) {
  const TemporaryFile file;
  (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
  Child locker([&](const Link& link) {
    const UniqueFd fd = file.Open();
    ASSERT_EQ(flock(fd.get(), LOCK_EX), 0);
    const pid_t orphan = fork();
    if (orphan == 0) {
      pause();
      _exit(0);
    }
    Say(link.mouth, std::to_string(orphan));
  });
  const pid_t orphan = std::stoi(locker.Hears());
  EXPECT_EQ(locker.Reap(), 0);
  EXPECT_TRUE(HoldsLock(IdentityOf(orphan).value(), file.identity()).value());
  ASSERT_EQ(kill(orphan, SIGKILL), 0);
  EXPECT_EQ(waitpid(orphan, nullptr, 0), orphan);
  (void)prctl(PR_SET_CHILD_SUBREAPER, 0);
}

// The locker has no number in the reader's pid namespace.
TEST(HoldsLock, H06_SeesALockTakenInAnotherPidNamespace) {
  const TemporaryFile file;
  ASSERT_EQ(flock(file.fd(), LOCK_EX), 0);
  const std::string obstacle = InPidNamespace(
      [&] { EXPECT_TRUE(HoldsLock(OwnIdentity().value(), file.identity()).value()); });
  if (!obstacle.empty()) GTEST_SKIP() << obstacle;
}

// There the kernel's text of a lock has another device and inode than the file.
TEST(HoldsLock, IsRightOnOverlayfs) {
  const auto mounts = [] {
    std::string obstacle = Mount("tmpfs", "/mnt");
    if (!obstacle.empty()) return obstacle;
    for (const char* path : {"/mnt/lower", "/mnt/upper", "/mnt/work", "/mnt/merged"}) {
      if (mkdir(path, 0700) != 0) return Errno(path);
    }
    return Mount("overlay", "/mnt/merged",
                 "lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work");
  };
  const std::string obstacle = InMountNamespace(mounts, [] {
    const UniqueFd fd(open("/mnt/merged/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    struct stat status = {};
    ASSERT_EQ(fstat(fd.get(), &status), 0);
    const FileIdentity file = {.device = status.st_dev, .inode = status.st_ino};
    EXPECT_FALSE(HoldsLock(OwnIdentity().value(), file).value());
    ASSERT_EQ(flock(fd.get(), LOCK_EX), 0);
    EXPECT_TRUE(HoldsLock(OwnIdentity().value(), file).value());
    EXPECT_THAT(ProcessesWithOpen(file), ElementsAre(OwnIdentity().value()));
  });
  if (!obstacle.empty()) GTEST_SKIP() << obstacle;
}

// fdinfo lists leases beside locks. They are no claim.
TEST(HoldsLock, TakesNoLeaseForALock) {
  const TemporaryFile file;
  if (fcntl(file.fd(), F_SETLEASE, F_WRLCK) != 0) GTEST_SKIP() << Errno("no leases here");
  EXPECT_FALSE(HoldsLock(OwnIdentity().value(), file.identity()).value());
  ASSERT_EQ(flock(file.fd(), LOCK_EX), 0);
  EXPECT_TRUE(HoldsLock(OwnIdentity().value(), file.identity()).value());
}

}  // namespace
}  // namespace soleguard
