// Each input that the key or the place of a layer depends on, changed for the newcomer alone: what
// happens beside a holder, against what explain and doctor say beforehand. Real processes, in a
// small system of their own: process 1, /run, /tmp, semaphores, ports.
//
// No row may be a double that explain calls safe, and check answers what run does. The rows are
// printed as a table: ctest -L surroundings -V | grep -o '| .* |$'
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "soleguard/analysis.h"
#include "soleguard/layer.h"
#include "support/claimant.h"
#include "support/test_scope.h"
#include "tools/guardcheck.h"

namespace soleguard::testing {
namespace {

using ::testing::HasSubstr;

// --- a system ---

constexpr char kBin[] = "/mnt";  // where the programs are in it: hidden by nobody
constexpr char kState[] = "/srv";
constexpr char kUid[] = "60123";

enum class Lock {
  kIsThere,  // as Debian has it: /run and in it /run/lock are tmpfs
  kMissing,  // the user scope is below /tmp
};

class System {
 public:
  explicit System(Lock lock)
      : process1_({.argv = {"unshare", "--mount", "--pid", "--ipc", "--net", "--fork",
                            "--kill-child", "--mount-proc", "sh", "-c", Script(lock), "sh",
                            Beside("guardcheck").substr(0, Beside("guardcheck").rfind('/'))}}) {
    const std::optional<std::string> up = process1_.ReadLine();
    if (up != "up") throw std::runtime_error("no system: " + process1_.Errors());
    std::ifstream children(
        absl::StrCat("/proc/", process1_.pid(), "/task/", process1_.pid(), "/children"));
    children >> pid_;
  }

  // Words before a program that runs in it.
  Words In() const {
    return {"nsenter", absl::StrCat("--target=", pid_), "--mount", "--pid", "--ipc", "--net", "--"};
  }

  static bool MayBe() {
    return geteuid() == 0 && RunProgram({.argv = {"unshare", "--mount", "--pid", "--ipc", "--net",
                                                  "--fork", "--mount-proc", "true"}})
                                     .code == 0;
  }

 private:
  static std::string Script(Lock lock) {
    return absl::StrCat(
        // What the machine itself has mounted there would look like something that is hidden.
        "set -e; mount --bind \"$1\" ", kBin,
        "; for place in /run /tmp; do umount --recursive --lazy $place 2>/dev/null || true; done",
        "; mount -t tmpfs -o mode=1777 none ", kState,
        "; mount -t tmpfs -o mode=1777 none /tmp; mount -t tmpfs -o mode=1777 none /dev/shm; "
        "mount -t tmpfs -o mode=755 none /run; ",
        lock == Lock::kIsThere ? "mkdir /run/lock; mount -t tmpfs -o mode=1777 none /run/lock; "
                               : "",
        "mkdir -m 1777 /run/shared; ln -s shared /run/link; ip link set lo up; echo up; read end");
  }

  Program process1_;
  int pid_ = 0;
};

// --- what is changed ---

enum class Who { kRoot, kUser };

struct Change {
  std::string name;
  // What it is among the events of explain, where nothing in the newcomer's surroundings shows it.
  std::vector<std::string> events = {};
  // Options of unshare(1) and a script that root runs there first, as a service manager would.
  Words unshare = {};
  std::string script = {};
  // Words that the newcomer's user puts before the program.
  Words launcher = {};
  // The newcomer's scope; empty: the holder's.
  std::string scope = {};
  std::string holder_scope = "user";
  std::vector<Lock> systems = {Lock::kIsThere};
  std::vector<Who> whose = {Who::kRoot, Who::kUser};
};

const std::vector<Lock> kWithoutLock = {Lock::kMissing};
const std::vector<Lock> kBoth = {Lock::kIsThere, Lock::kMissing};

std::string Tmpfs(const std::string& where, const std::string& mode = "1777") {
  return absl::StrCat("mount -t tmpfs -o mode=", mode, " none ", where);
}

Words Shell(const std::string& script) { return {"sh", "-c", script + " && exec \"$@\"", "sh"}; }

std::vector<Change> Changes() {
  const Words as_root = {"unshare", "--map-root-user"};
  const std::vector<std::string> elsewhere = {"mount-namespace"};
  const Words bwrap = {"bwrap", "--dev-bind", "/", "/"};
  std::vector<Change> changes = {
      {.name = "nothing", .systems = kBoth},
      // What a process is given, and what is no part of any key.
      {.name = "environment",
       .launcher = {"env", "HOME=/srv", "TMPDIR=/srv", "XDG_RUNTIME_DIR=/srv", "USER=x",
                    "LOGNAME=x", "SOLEGUARD_NAME=y", "SOLEGUARD_TOKEN=1", "SOLEGUARD_SLOT=3"}},
      {.name = "no environment", .launcher = {"env", "-i", "PATH=/usr/bin:/bin"}},
      {.name = "working directory", .launcher = {"env", "--chdir=/srv"}},
      {.name = "umask 0777", .launcher = Shell("umask 0777")},
      // Mounts.
      {.name = "tmpfs over /run",
       .events = elsewhere,
       .unshare = {"--mount"},
       .script = Tmpfs("/run", "755")},
      {.name = "a /run that looks right",
       .events = elsewhere,
       .unshare = {"--mount"},
       .script = Tmpfs("/run", "755") + "; mkdir -m 1777 /run/lock"},
      {.name = "tmpfs over /run/lock",
       .events = elsewhere,
       .unshare = {"--mount"},
       .script = Tmpfs("/run/lock")},
      {.name = "root's alone over /run/lock",
       .events = elsewhere,
       .unshare = {"--mount"},
       .script = Tmpfs("/run/lock", "755")},
      {.name = "another directory bound over /run/lock",
       .events = elsewhere,
       .unshare = {"--mount"},
       .script = "mount --bind /srv /run/lock"},
      {.name = "/run/lock bound over itself",
       .unshare = {"--mount"},
       .script = "mount --bind /run/lock /run/lock"},
      {.name = "/run/lock unmounted",
       .events = elsewhere,
       .unshare = {"--mount"},
       .script = "umount /run/lock"},
      {.name = "read-only /run/lock",
       .events = {"read-only-filesystem"},
       .unshare = {"--mount"},
       .script = "mount -o remount,bind,ro /run/lock"},
      {.name = "a /run/lock where there is none",
       .events = elsewhere,
       .unshare = {"--mount"},
       .script = Tmpfs("/run", "755") + "; mkdir -m 1777 /run/lock",
       .systems = kWithoutLock},
      {.name = "private /tmp", .unshare = {"--mount"}, .script = Tmpfs("/tmp")},
      {.name = "private /tmp",
       .events = elsewhere,
       .unshare = {"--mount"},
       .script = Tmpfs("/tmp"),
       .systems = kWithoutLock},
      {.name = "PrivateTmp as systemd makes it",
       .events = elsewhere,
       .unshare = {"--mount"},
       .script = "mkdir -p -m 1777 /srv/systemd-private-x/tmp && "
                 "mount --bind /srv/systemd-private-x/tmp /tmp",
       .systems = kWithoutLock},
      {.name = "private /dev/shm", .unshare = {"--mount"}, .script = Tmpfs("/dev/shm")},
      {.name = "chroot into the same directories",
       .unshare = {"--mount"},
       .script =
           "mkdir -p /srv/jail && mount --rbind / /srv/jail && set -- chroot /srv/jail \"$@\""},
      {.name = "chroot with a /run of its own",
       .events = elsewhere,
       .unshare = {"--mount"},
       .script = "mkdir -p /srv/jail && mount --rbind / /srv/jail && " + Tmpfs("/srv/jail/run") +
                 " && set -- chroot /srv/jail \"$@\""},
      {.name = "chroot with a /run and /tmp of its own",
       .events = elsewhere,
       .unshare = {"--mount"},
       .script = "mkdir -p /srv/jail && mount --rbind / /srv/jail && " + Tmpfs("/srv/jail/run") +
                 " && " + Tmpfs("/srv/jail/tmp") + " && set -- chroot /srv/jail \"$@\""},
      // User namespaces.
      {.name = "user namespace as root", .launcher = as_root, .systems = kBoth},
      {.name = "user namespace as oneself", .launcher = {"unshare", "--map-current-user"}},
      {.name = "user namespace as another",
       .launcher = {"unshare", "--map-user=77", "--map-group=77"}},
      {.name = "user namespace without groups",
       .launcher = {"unshare", absl::StrCat("--map-user=", kUid)}},
      {.name = "user namespace, nothing mapped", .launcher = {"unshare", "--user"}},
      {.name = "nested user namespaces",
       .launcher = as_root + Words{"unshare", "--map-user=77", "--map-group=77"}},
      {.name = "nested user namespaces without groups",
       .launcher = as_root + Words{"unshare", "--map-user=77"}},
      {.name = "nested three deep",
       .launcher = as_root + Words{"unshare", "--map-user=77", "--map-group=77", "unshare",
                                   "--map-user=60123", "--map-group=0"}},
      {.name = "user namespace with a /run/lock of its own",
       .events = elsewhere,
       .launcher = as_root + Words{"--mount"} + Shell(Tmpfs("/run/lock"))},
      {.name = "user namespace with a /tmp of its own",
       .events = elsewhere,
       .launcher = as_root + Words{"--mount"} + Shell(Tmpfs("/tmp")),
       .systems = kWithoutLock},
      // bubblewrap.
      {.name = "bubblewrap", .launcher = bwrap},
      {.name = "bubblewrap with a /tmp of its own", .launcher = bwrap + Words{"--tmpfs", "/tmp"}},
      {.name = "bubblewrap with a /tmp of its own",
       .events = elsewhere,
       .launcher = bwrap + Words{"--tmpfs", "/tmp"},
       .systems = kWithoutLock},
      {.name = "bubblewrap with a /run of its own",
       .events = elsewhere,
       .launcher = bwrap + Words{"--tmpfs", "/run"}},
      {.name = "bubblewrap with a /run and /tmp of its own",
       .events = elsewhere,
       .launcher = bwrap + Words{"--tmpfs", "/run", "--tmpfs", "/tmp"},
       .systems = kBoth},
      {.name = "bubblewrap as another",
       .launcher = bwrap + Words{"--unshare-user", "--uid", "77", "--gid", "77"}},
      {.name = "bubblewrap with little of the system",
       .events = elsewhere,
       .launcher = {"bwrap",     "--ro-bind", "/usr",      "/usr",      "--ro-bind",
                    "/etc",      "/etc",      "--symlink", "usr/bin",   "/bin",
                    "--symlink", "usr/lib",   "/lib",      "--symlink", "usr/lib64",
                    "/lib64",    "--ro-bind", kBin,        kBin,        "--proc",
                    "/proc",     "--dev",     "/dev",      "--tmpfs",   "/tmp"}},
      {.name = "bubblewrap with pids of its own",
       .events = {"pid-namespace"},
       .launcher = bwrap + Words{"--unshare-pid", "--proc", "/proc"}},
      {.name = "bubblewrap with a /run and pids of its own",
       .events = {"mount-namespace", "pid-namespace"},
       .launcher = bwrap + Words{"--tmpfs", "/run", "--unshare-pid", "--proc", "/proc"}},
      {.name = "bubblewrap, all but the network of its own",
       .events = {"mount-namespace", "pid-namespace", "ipc-namespace"},
       .launcher = bwrap + Words{"--tmpfs", "/run", "--tmpfs", "/tmp", "--unshare-pid",
                                 "--unshare-ipc", "--proc", "/proc"}},
      {.name = "bubblewrap, all of its own",
       .events = {"container"},
       .launcher =
           bwrap + Words{"--tmpfs", "/run", "--tmpfs", "/tmp", "--unshare-all", "--proc", "/proc"}},
      // The other namespaces.
      {.name = "pid namespace",
       .events = {"pid-namespace"},
       .unshare = {"--pid", "--fork", "--kill-child", "--mount-proc"}},
      {.name = "ipc namespace", .events = {"ipc-namespace"}, .unshare = {"--ipc"}},
      {.name = "network namespace",
       .events = {"network-namespace"},
       .unshare = {"--net"},
       .script = "ip link set lo up"},
      {.name = "ipc and network namespaces",
       .events = {"ipc-and-network-namespaces"},
       .unshare = {"--ipc", "--net"},
       .script = "ip link set lo up"},
      {.name = "ipc namespace and a hidden /run",
       .events = {"ipc-namespace", "mount-namespace"},
       .unshare = {"--ipc", "--mount"},
       .script = Tmpfs("/run", "755")},
      {.name = "network namespace and a hidden /run",
       .events = {"network-namespace", "mount-namespace"},
       .unshare = {"--net", "--mount"},
       .script = "ip link set lo up; " + Tmpfs("/run", "755")},
      {.name = "container",
       .events = {"container"},
       .unshare = {"--mount", "--ipc", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"},
       .script = "ip link set lo up; " + Tmpfs("/run", "755") + "; " + Tmpfs("/tmp")},
      {.name = "host name and time", .unshare = {"--uts", "--time"}},
      // The user's scope, named otherwise.
      {.name = "the user's scope as a directory", .scope = "/run/lock/soleguard-UID"},
      {.name = "the user's scope as a directory below /tmp",
       .scope = "/tmp/soleguard-UID",
       .systems = kWithoutLock},
      {.name = "the user's scope as a directory behind a link", .scope = "/var/lock/soleguard-UID"},
  };
  // A directory as the scope.
  std::vector<Change> directory = {
      {.name = "directory: nothing"},
      {.name = "directory: a link on the way", .scope = "/run/link/scope"},
      {.name = "directory: /var/run", .scope = "/var/run/shared/scope"},
      {.name = "directory: slashes and dots", .scope = "/run//./shared/scope/"},
      {.name = "directory: a bind mount",
       .events = {"two-paths"},
       .unshare = {"--mount"},
       .script = "mkdir -p /run/bound && mount --bind /run/shared /run/bound",
       .scope = "/run/bound/scope"},
      {.name = "directory: another one mounted over it",
       .events = elsewhere,
       .unshare = {"--mount"},
       .script = Tmpfs("/run/shared")},
      {.name = "directory: /run and /tmp hidden below it",
       .unshare = {"--mount"},
       .script = "mount --bind /run/shared /opt && " + Tmpfs("/run", "755") +
                 " && mkdir /run/shared && mount --bind /opt /run/shared && " + Tmpfs("/tmp")},
      {.name = "directory: user namespace as root", .launcher = as_root},
      {.name = "directory: user namespace as another",
       .launcher = {"unshare", "--map-user=77", "--map-group=77"}},
      {.name = "directory: user namespace, nothing mapped", .launcher = {"unshare", "--user"}},
      {.name = "directory: bubblewrap with a /tmp of its own",
       .launcher = bwrap + Words{"--tmpfs", "/tmp"}},
      {.name = "directory: ipc and network namespaces",
       .events = {"ipc-and-network-namespaces"},
       .unshare = {"--ipc", "--net"},
       .script = "ip link set lo up"},
  };
  for (Change& change : directory) {
    change.holder_scope = "/run/shared/scope";
    changes.push_back(std::move(change));
  }
  return changes;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
// Thousands of programs are started, each of which takes several times as long there.
const Words kPolicies = {"default", "strict", "any(file, port, veto=off)"};
#else
const Words kPolicies = {"default",
                         "strict",
                         "available",
                         "file",
                         "mutex",
                         "port",
                         "all(mutex, port)",
                         "any(mutex, port)",
                         "any(file, port, veto=off)"};
#endif

struct Row {
  Change change;
  Lock lock = Lock::kIsThere;
  Who who = Who::kRoot;

  std::string Name() const {
    return absl::StrCat(change.name, " ", lock == Lock::kIsThere ? "" : "tmp ",
                        who == Who::kRoot ? "root" : "user");
  }
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.Name(); }

std::vector<Row> Rows() {
  std::vector<Row> rows;
  for (const Change& change : Changes()) {
    for (const Lock lock : change.systems) {
      for (const Who who : change.whose)
        rows.push_back({.change = change, .lock = lock, .who = who});
    }
  }
  return rows;
}

// --- what is said beforehand ---

struct Effects {
  std::set<std::string> blinds;
  std::set<std::string> unavailable;
};

// Of one event under a policy, as explain has it.
Effects EffectsOf(const boost::json::object& explanation, const std::string& event) {
  Effects effects;
  for (const boost::json::value& each : explanation.at("events").as_array()) {
    if (each.at("event").as_string() != event) continue;
    for (const auto& layer : each.at("blinds").as_array()) {
      effects.blinds.emplace(layer.as_string());
    }
    for (const auto& layer : each.at("unavailable").as_array()) {
      effects.unavailable.emplace(layer.as_string());
    }
  }
  return effects;
}

// Whether a second one can run when all these events are the case at once.
bool MayDouble(const Policy& policy, const boost::json::object& explanation,
               const std::set<std::string>& events) {
  LayerSet all = 0;
  LayerSet blinded = 0;
  LayerSet unavailable = 0;
  for (std::size_t i = 0; i < policy.layers().size(); ++i) {
    const LayerSet layer = LayerSet{1} << i;
    all |= layer;
    for (const std::string& event : events) {
      const Effects effects = EffectsOf(explanation, event);
      if (effects.blinds.contains(policy.layers()[i].ToString())) blinded |= layer;
      if (effects.unavailable.contains(policy.layers()[i].ToString())) unavailable |= layer;
    }
  }
  // Whom one event hides from a layer, that layer does not miss under the other: scan cannot read
  // the programs outside of its user namespace, but does without where it does not see them at all.
  return MayBothHold(policy, all, all & ~(unavailable & ~blinded), all & ~blinded);
}

class SurroundingsTest : public ::testing::TestWithParam<Row> {
 protected:
  void SetUp() override {
    if (!System::MayBe()) GTEST_SKIP() << "needs root and namespaces";
    system_.emplace(GetParam().lock);
    if (GetParam().change.holder_scope != "user") {
      const Words made = {"mkdir", "-m", "700", GetParam().change.holder_scope};
      ASSERT_EQ(RunProgram({.argv = system_->In() + User() + made}).code, 0);
    }
    const Finished tried = RunProgram({.argv = Newcomer() + Words{"true"}});
    if (tried.code != 0) GTEST_SKIP() << "cannot be made here: " << tried.errors;
  }

  static bool IsRoot() { return GetParam().who == Who::kRoot; }
  Words User() const {
    if (IsRoot()) return {};
    return {"setpriv", absl::StrCat("--reuid=", kUid), absl::StrCat("--regid=", kUid),
            "--clear-groups"};
  }
  Words Newcomer() const {
    const Change& change = GetParam().change;
    Words words = system_->In();
    if (!change.unshare.empty()) words = words + Words{"unshare"} + change.unshare;
    if (!change.script.empty()) words = words + Shell(change.script);
    return words + User() + change.launcher;
  }
  std::string HolderScope() const { return GetParam().change.holder_scope; }
  std::string NewcomerScope() const {
    std::string scope = GetParam().change.scope;
    if (scope.empty()) return HolderScope();
    if (const auto at = scope.find("UID"); at != std::string::npos) {
      scope.replace(at, 3, IsRoot() ? "0" : kUid);
    }
    return scope;
  }

  static Words Guardcheck(const std::string& command, const std::string& scope,
                          const std::string& policy, const Words& more = {}) {
    return Words{absl::StrCat(kBin, "/guardcheck"),
                 command,
                 "x",
                 "--policy",
                 policy,
                 "--scope",
                 scope,
                 "--state-dir",
                 absl::StrCat(kState, "/", IsRoot() ? "0" : kUid)} +
           more;
  }
  static Words Waits() { return {"--settle", "100ms", "--deadline", "20s"}; }
  Finished Ask(const std::string& command, const std::string& policy,
               const Words& more = {}) const {
    return RunProgram({.argv = Newcomer() + Guardcheck(command, NewcomerScope(), policy, more)});
  }
  int RunTrue(const std::string& policy) const {
    return Ask("run", policy, Waits() + Words{"--", "true"}).code;
  }
  // By the library, without what `run` holds beside the policy's layers.
  std::string Claim(const std::string& policy) const {
    Words claim = Claimant::CommandOf({.scope = NewcomerScope(),
                                       .policy = policy,
                                       .settle = absl::Milliseconds(100),
                                       .deadline = absl::Seconds(20)});
    claim.front() = absl::StrCat(kBin, "/claimant");
    Program program({.argv = Newcomer() + claim});
    const std::optional<std::string> said = program.ReadLine();
    return said.has_value() ? *said : "nothing: " + program.Errors();
  }

  std::optional<System> system_;
};

// One cell of the table: what `run` answered, and what a program that uses the library got.
std::string Cell(int code, const std::string& claimed) {
  const std::string by_run = code == 0 ? "**runs**" : code == 75 ? "75" : absl::StrCat(code);
  const std::string by_library = absl::StartsWith(claimed, "unique")      ? "**unique**"
                                 : absl::StartsWith(claimed, "duplicate") ? "duplicate"
                                                                          : "cannot tell";
  return absl::StrCat(by_run, ", ", by_library);
}

std::set<std::string> EventsOf(const boost::json::object& diagnosis) {
  std::set<std::string> events;
  for (const boost::json::value& finding : diagnosis.at("findings").as_array()) {
    if (finding.at("event").is_null() || finding.at("threat").as_bool()) continue;
    events.emplace(finding.at("event").as_string());
  }
  return events;
}

TEST_P(SurroundingsTest, H35_H36_NoDoubleIsCalledSafe) {
  const Row& row = GetParam();
  int predicted = 0;
  int found = 0;
  int rows = 0;
  std::string cells;
  std::set<std::string> said_by_doctor;
  for (const std::string& policy_text : kPolicies) {
    SCOPED_TRACE(policy_text);
    const Policy policy = *Policy::Parse(policy_text);
    const boost::json::object explanation = ParseObject(
        RunProgram({.argv = {Beside("guardcheck"), "explain", policy_text, "--json"}}).output);

    int ran = 0;
    std::set<std::string> events(row.change.events.begin(), row.change.events.end());
    {
      Program holder({.argv = system_->In() + User() +
                              Guardcheck("run", HolderScope(), policy_text,
                                         Words{"--", "sh", "-c", "echo ready; read end"})});
      ASSERT_EQ(holder.ReadLine(), "ready") << holder.Errors();
      const Finished doctor = Ask("doctor", policy_text, {"--json"});
      const std::set<std::string> seen = EventsOf(ParseObject(doctor.output));
      said_by_doctor.insert(seen.begin(), seen.end());
      events.insert(seen.begin(), seen.end());
      const Finished checked = Ask("check", policy_text, {"--", "true"});
      ran = RunTrue(policy_text);
      EXPECT_EQ(checked.code, ran) << checked.output << checked.errors;
      holder.CloseInput();
      EXPECT_EQ(holder.Wait(), 1) << holder.Errors();  // read at its end
    }
    Words hold = Claimant::CommandOf({.scope = HolderScope(), .policy = policy_text});
    hold.front() = absl::StrCat(kBin, "/claimant");
    Program holder({.argv = system_->In() + User() + hold});
    const std::optional<std::string> held = holder.ReadLine();
    ASSERT_TRUE(held.has_value() && absl::StartsWith(*held, "unique"))
        << (held.has_value() ? *held : holder.Errors());
    const std::string claimed = Claim(policy_text);

    const bool said = MayDouble(policy, explanation, events);
    const bool doubled = absl::StartsWith(claimed, "unique");
    // The promise.
    EXPECT_TRUE(said || (!doubled && ran != 0)) << "run: " << ran << ", library: " << claimed
                                                << ", events: " << absl::StrJoin(events, ", ");
    ++rows;
    if (said) ++predicted;
    if (doubled) ++found;
    absl::StrAppend(&cells, " ", Cell(ran, claimed), " |");
  }
  std::cout << "| " << row.change.name << " | "
            << (row.lock == Lock::kIsThere ? "/run/lock" : "/tmp") << " | "
            << (row.who == Who::kRoot ? "root" : "user") << " | " << rows << " | " << predicted
            << " | " << found << " | " << absl::StrJoin(said_by_doctor, ", ") << " |" << cells
            << std::endl;
}

// Alone: whoever is refused by his surroundings was told so before.
TEST_P(SurroundingsTest, H35_CheckAndDoctorSayWhatAStartAloneGets) {
  for (const char* const policy : {"default", "file", "mutex"}) {
    SCOPED_TRACE(policy);
    const Finished doctor = Ask("doctor", policy);
    const Finished checked = Ask("check", policy, {"--", "true"});
    const int ran = RunTrue(policy);
    EXPECT_EQ(checked.code, ran) << checked.output << checked.errors;
    EXPECT_EQ(doctor.code, ran) << doctor.output << doctor.errors;
  }
}

// As its users met it.
TEST(HiddenPlaceTest, R1_HiddenPlace) {
  if (!System::MayBe()) GTEST_SKIP() << "needs root and namespaces";
  const System system(Lock::kIsThere);
  const Words as_user = {"setpriv", absl::StrCat("--reuid=", kUid), absl::StrCat("--regid=", kUid),
                         "--clear-groups"};
  const auto run = [](const std::string& command) {
    return Words{absl::StrCat(kBin, "/guardcheck"), "run", "x", "--", "sh", "-c", command};
  };
  const auto second = [&](const Words& launcher) {
    return RunProgram({.argv = system.In() + launcher + run("echo SECOND")});
  };
  const Words in_user_namespace =
      as_user + Words{"unshare", "--user", absl::StrCat("--map-user=", kUid)};
  {
    Program root({.argv = system.In() + run("echo ready; read end")});
    ASSERT_EQ(root.ReadLine(), "ready") << root.Errors();
    const Finished hidden = second(Words{"unshare", "--mount"} + Shell(Tmpfs("/run")));
    EXPECT_EQ(hidden.code, 75) << hidden.errors;
    EXPECT_EQ(hidden.output, "");
  }
  {
    Program user({.argv = system.In() + as_user + run("echo ready; read end")});
    ASSERT_EQ(user.ReadLine(), "ready") << user.Errors();
    const Finished sandbox =
        second(as_user + Words{"bwrap", "--dev-bind", "/", "/", "--tmpfs", "/tmp"});
    EXPECT_EQ(sandbox.code, 75) << sandbox.errors;
    const Finished mapped = second(in_user_namespace);
    EXPECT_EQ(mapped.code, 75) << mapped.errors;
    EXPECT_EQ(sandbox.output + mapped.output, "");
  }
  EXPECT_EQ(second(in_user_namespace).output, "SECOND\n") << "alone";
}

TEST(TwoSpellingsTest, W2_TwoSpellings) {
  const TempDir directory;
  ASSERT_EQ(symlink(".", (directory / "link").c_str()), 0);
  for (const char* const policy : {"mutex", "port", "all(mutex, port)", "default"}) {
    SCOPED_TRACE(policy);
    Claimant one({.scope = directory / "scope", .policy = policy});
    ASSERT_TRUE(one.unique()) << one.verdict();
    Claimant other({.scope = directory / "link/scope", .policy = policy});
    EXPECT_TRUE(other.duplicate()) << other.verdict();
    EXPECT_EQ(one.Ask("verify"), "ok");
  }
}

INSTANTIATE_TEST_SUITE_P(Matrix, SurroundingsTest, ::testing::ValuesIn(Rows()),
                         [](const ::testing::TestParamInfo<Row>& row) {
                           return TestNameOf(row.param.Name());
                         });

}  // namespace
}  // namespace soleguard::testing
