// `check` says what `run` would say, and doctor never calls healthy where a start ends with 69:
// each object that a start needs, under each condition that it can be in, under each policy.
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_replace.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kit/key.h"
#include "soleguard/diagnose.h"
#include "soleguard/guard.h"
#include "soleguard/inspect.h"
#include "soleguard/name.h"
#include "soleguard/options.h"
#include "support/child.h"
#include "support/kinds.h"
#include "support/program.h"
#include "support/shared.h"
#include "support/temp_dir.h"
#include "support/test_scope.h"
#include "support/users.h"

namespace soleguard::testing {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

// Finds nobody: what the pattern matches stands in no test's name, which is on a command line.
constexpr char kScan[] = "scan(cmdline=nobody_is_called_so)";

// Who starts: a user with a scope of his own.
const User kUser{"user", 4010, 4010};

class Place {
 public:
  Place() {
    (void)chmod(directory_.path().c_str(), 0755);
    (void)mkdir(path().c_str(), 0700);
    Give("");
    (void)mkdir(state().c_str(), 0700);
    (void)chown(state().c_str(), kUser.uid, kUser.gid);
  }
  ~Place() {
    (void)semctl(semget(key(), 1, 0), 0, IPC_RMID);
    (void)fs::remove_all(segment());
  }

  std::string path() const { return directory_ / "scope"; }
  std::string state() const { return directory_ / "state"; }
  std::string At(const std::string& file) const { return path() + "/names/x/" + file; }
  Scope scope() const { return *Scope::Directory(path()); }
  std::uint64_t hash() const { return KeyOf(scope(), *InstanceName::Parse("x")); }
  key_t key() const { return static_cast<key_t>(hash() % 0x7ffffffe) + 1; }
  std::string segment() const { return absl::StrFormat("/dev/shm/soleguard-%08x", key()); }
  // As layers/port.cc has it.
  in_addr_t address() const {
    return static_cast<in_addr_t>(0x7f000000U | (1 + hash() % 254) << 16 |
                                  (hash() / 254 % 256) << 8 | (1 + hash() / 254 / 256 % 254));
  }
  std::string companion() const {
    return absl::StrFormat("soleguard/%016x/127.%d.%d.%d:23717", hash(), address() >> 16 & 255,
                           address() >> 8 & 255, address() & 255);
  }

  // The path in the scope becomes the user's.
  void Give(const std::string& file) const {
    (void)chown((path() + file).c_str(), kUser.uid, kUser.gid);
  }
  // Objects as a start leaves them.
  void MakeObjects() const {
    const Codes codes = Answer(absl::StrCat("all(file, mutex, port, ", kScan, ")"), Ask::kStart);
    ASSERT_EQ(codes.started, 0) << codes.said;
  }
  void Replace(const std::string& file, const std::string& content, mode_t mode = 0600) const {
    (void)fs::remove_all(file);
    std::ofstream(file) << content;
    (void)chmod(file.c_str(), mode);
    (void)chown(file.c_str(), kUser.uid, kUser.gid);
  }

  // What the three say, as exit codes.
  struct Codes {
    int checked = 70;
    int health = 70;
    int started = 70;
    std::string said;
  };
  enum class Ask { kAll, kStart };
  // Of the library, by a child that is the user.
  Codes Answer(const std::string& policy, Ask ask = Ask::kAll) const {
    const Shared<Codes3> codes;
    const std::string said = InChild([&]() -> std::string {
      if (!script.empty() && !Mount()) return "cannot mount";
      if (!Become(kUser)) return "cannot become";
      const Policy parsed = *Policy::Parse(policy);
      const Options options{.scope = *scope().WithStateDirectory(state()),
                            .deadline = absl::Seconds(2),
                            .settle = absl::Milliseconds(50),
                            .hand_on = true};
      std::string checked;
      if (ask == Ask::kAll) {
        const absl::StatusOr<Forecast> forecast = Check("x", parsed, options);
        if (!forecast.ok()) return forecast.status().ToString();
        codes->checked = CodeOf(forecast->decision);
        checked = absl::StrCat("check: ", forecast->status.ToString(), "\n");
        const absl::StatusOr<Diagnosis> diagnosis = Diagnose({.name = "x"}, parsed, options);
        if (!diagnosis.ok()) return diagnosis.status().ToString();
        codes->health = diagnosis->healthy() ? 0 : 69;
      }
      const Verdict verdict = Guard::Acquire("x", parsed, options);
      codes->started = std::holds_alternative<Unique>(verdict)      ? 0
                       : std::holds_alternative<Duplicate>(verdict) ? 75
                                                                    : 69;
      return absl::StrCat(checked, "start: ", Say(verdict));
    });
    return {codes->checked, codes->health, codes->started, said};
  }
  // Of the command.
  Codes CallGuardcheck(const std::string& policy) const {
    Codes codes;
    for (auto [word, code] :
         {std::pair("check", &codes.checked), std::pair("doctor", &codes.health),
          std::pair("run", &codes.started)}) {
      Words argv = LauncherOf(kUser);
      argv.insert(argv.end(), {"env", "HOME=/", "SOLEGUARD_DIR=", Beside("guardcheck"), word, "x",
                               "--policy", policy, "--scope", path(), "--state-dir", state()});
      if (word != std::string("doctor")) {
        argv.insert(argv.end(), {"--settle", "50ms", "--deadline", "2s"});
      }
      if (word == std::string("run")) argv.insert(argv.end(), {"--", "true"});
      const Finished finished = RunProgram({.argv = argv});
      *code = finished.code;
      absl::StrAppend(&codes.said, word, ": ", finished.output, finished.errors, "\n");
    }
    return codes;
  }

  std::string script;  // of sh, as root in a mount namespace of the child's own

 private:
  struct Codes3 {
    int checked = 70;
    int health = 70;
    int started = 70;
  };
  static int CodeOf(Arbiter::Decision decision) {
    switch (decision) {
      case Arbiter::Decision::kUnique:
        return 0;
      case Arbiter::Decision::kDuplicate:
        return 75;
      case Arbiter::Decision::kUndetermined:
        break;
    }
    return 69;
  }
  bool Mount() const {
    return unshare(CLONE_NEWNS) == 0 &&
           mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
           std::system(script.c_str()) == 0;  // NOLINT: of the test's own
  }

  const TempDir directory_;
};

// Keeps what it needs until the end of the comparison.
using Keeper = std::shared_ptr<void>;
struct Condition {
  std::string name;
  std::function<Keeper(Place&)> make;
};

Keeper Nothing() { return nullptr; }
Keeper In(const User& user, const std::function<std::string()>& body) {
  auto child = std::make_shared<Child>(
      [&]() -> std::string { return Become(user) ? body() : "cannot become"; });
  EXPECT_EQ(child->answer(), "");
  return child;
}

std::string Listen(const Place& place, bool listens) {
  const int squats = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in name = {};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(place.address());
  name.sin_port = htons(23717);
  if (bind(squats, reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) return "bind";
  return !listens || listen(squats, 1) == 0 ? "" : "listen";
}

std::string Squat(const Place& place, bool fill) {
  const std::string name = place.companion();
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path + 1, sizeof address.sun_path - 1);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  const auto* general = reinterpret_cast<const sockaddr*>(&address);
  const int squats = socket(AF_UNIX, SOCK_STREAM, 0);
  if (bind(squats, general, size) != 0 || listen(squats, 1) != 0) return "bind";
  while (fill && connect(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), general, size) == 0) {
  }
  return "";
}

std::string Semaphore(const Place& place, int count, bool taken) {
  const int id = semget(place.key(), count, IPC_CREAT | 0600);
  sembuf take = {.sem_num = 0, .sem_op = 1, .sem_flg = SEM_UNDO};
  return id >= 0 && (!taken || semop(id, &take, 1) == 0) ? "" : "semget";
}

// flock(1) of the user.
Keeper Flock(const std::string& path) {
  Words argv = LauncherOf(kUser);
  argv.insert(argv.end(), {"flock", "-x", "-F", path, "sleep", "60"});
  auto locker = std::make_shared<Program>(Program::Setup{.argv = argv});
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  while (flock(file.get(), LOCK_EX | LOCK_NB) == 0) {
    (void)flock(file.get(), LOCK_UN);
    (void)sched_yield();
  }
  return locker;
}

// A file that a start has, in each state that it can be found in.
void AddFile(const std::string& name, const std::function<std::string(const Place&)>& find,
             std::vector<Condition>& all) {
  struct State {
    std::string name;
    std::function<void(const Place&, const std::string&)> make;
  };
  const std::vector<State> states = {
      {"is missing", [](const Place&, const std::string& path) { fs::remove_all(path); }},
      {"is another user's",
       [](const Place& place, const std::string& path) {
         place.Replace(path, "");
         (void)chown(path.c_str(), kOutsider.uid, kOutsider.gid);
       }},
      {"is damaged",
       [](const Place& place, const std::string& path) {
         place.Replace(path, std::string(5000, '\xff'));
       }},
      {"is empty", [](const Place& place, const std::string& path) { place.Replace(path, ""); }},
      {"may not be written",
       [](const Place& place, const std::string& path) { place.Replace(path, "", 0400); }},
      {"is open to others",
       [](const Place& place, const std::string& path) { place.Replace(path, "", 0666); }},
      {"is a directory",
       [](const Place&, const std::string& path) {
         fs::remove_all(path);
         fs::create_directory(path);
       }},
      {"is a link",
       [](const Place&, const std::string& path) {
         fs::remove_all(path);
         fs::create_symlink("/etc/passwd", path);
       }},
      {"is a FIFO",
       [](const Place&, const std::string& path) {
         fs::remove_all(path);
         (void)mkfifo(path.c_str(), 0600);
         (void)chown(path.c_str(), kUser.uid, kUser.gid);
       }},
  };
  for (const State& state : states) {
    all.push_back({absl::StrCat(name, " ", state.name), [find, state](Place& place) {
                     place.MakeObjects();
                     state.make(place, find(place));
                     return Nothing();
                   }});
  }
}

// The scope's directory, or one below it.
void AddDirectory(const std::string& directory, std::vector<Condition>& all) {
  struct State {
    std::string name;
    uid_t owner = 0;
    gid_t group = 0;
    mode_t mode = 0;
  };
  for (const State& state : std::vector<State>{{"is root's", 0, 0, 0700},
                                               {"is root's and readable", 0, 0, 0755},
                                               {"is an outsider's", 65534, 65534, 0755},
                                               {"is open to all", kUser.uid, kUser.gid, 0777},
                                               {"is read-only", kUser.uid, kUser.gid, 0500},
                                               {"is a group's", 0, kUser.gid, 0770},
                                               {"is a group's by setgid", 0, kUser.gid, 02770},
                                               {"is another group's", 0, 4242, 02770},
                                               {"is public", 0, 0, 01777}}) {
    all.push_back(
        {absl::StrCat("SCOPE", directory, " ", state.name), [directory, state](Place& place) {
           place.MakeObjects();
           const std::string path = place.path() + directory;
           (void)chown(path.c_str(), state.owner, state.group);
           (void)chmod(path.c_str(), state.mode);
           return Nothing();
         }});
  }
  all.push_back({absl::StrCat("SCOPE", directory, " is missing"), [directory](Place& place) {
                   place.MakeObjects();
                   fs::remove_all(place.path() + directory);
                   return Nothing();
                 }});
  if (!directory.empty()) return;
  all.push_back({"the directory above the scope is an outsider's", [](Place& place) {
                   (void)chown(fs::path(place.path()).parent_path().c_str(), 65534, 65534);
                   return Nothing();
                 }});
}

void AddKernelsObjects(std::vector<Condition>& all) {
  all.push_back({"nothing is there", [](Place&) { return Nothing(); }});
  all.push_back({"objects of an earlier start", [](Place& place) {
                   place.MakeObjects();
                   return Nothing();
                 }});
  for (const bool taken : {false, true}) {
    for (const User& user : {kOutsider, kUser}) {
      all.push_back({absl::StrCat("a semaphore of the ", user.name, taken ? ", taken" : ", free"),
                     [user, taken](Place& place) {
                       return In(user, [&] { return Semaphore(place, 1, taken); });
                     }});
    }
  }
  all.push_back({"a set of two semaphores", [](Place& place) {
                   return In(kUser, [&] { return Semaphore(place, 2, false); });
                 }});
  for (const bool listens : {false, true}) {
    for (const User& user : {kOutsider, kUser}) {
      all.push_back({absl::StrCat("a socket of the ", user.name, " on the port, ",
                                  listens ? "listening" : "bound only"),
                     [user, listens](Place& place) {
                       return In(user, [&] { return Listen(place, listens); });
                     }});
    }
  }
  for (const bool fill : {false, true}) {
    all.push_back(
        {absl::StrCat("the outsider's companion", fill ? ", full" : ""),
         [fill](Place& place) { return In(kOutsider, [&] { return Squat(place, fill); }); }});
  }
  for (const char* what : {"lock", ""}) {
    all.push_back({absl::StrCat("a foreign flock on ", *what == 0 ? "the directory" : what),
                   [what](Place& place) {
                     place.MakeObjects();
                     return Flock(place.At(what));
                   }});
  }
}

void AddFilesystems(std::vector<Condition>& all) {
  struct Mount {
    std::string name;
    std::string script;  // $S is the scope, $T the state directory
    bool empty = true;   // of objects
  };
  const std::vector<Mount> mounts = {
      {"the scope is on a read-only filesystem", "mount --bind $S $S; mount -o remount,ro,bind $S",
       false},
      {"the scope is empty on a read-only filesystem",
       "mount --bind $S $S; mount -o remount,ro,bind $S"},
      {"the scope's disk is full",
       "mount -t tmpfs -o size=4k,uid=4010,mode=700 none $S; echo > $S/full"},
      {"the scope's inodes are used up", "mount -t tmpfs -o nr_inodes=1,uid=4010,mode=700 none $S"},
      {"/dev/shm is read-only", "mount -t tmpfs -o ro none /dev/shm"},
      {"/dev/shm is full", "mount -t tmpfs -o size=4k none /dev/shm; echo > /dev/shm/full"},
      {"/dev/shm may not be written", "mount -t tmpfs -o mode=755 none /dev/shm"},
      {"the state directory is read-only", "mount --bind $T $T; mount -o remount,ro,bind $T",
       false},
      {"the state directory is full",
       "mount -t tmpfs -o size=4k,uid=4010,mode=700 none $T; echo > $T/full"},
  };
  for (const Mount& mount : mounts) {
    all.push_back({mount.name, [mount](Place& place) {
                     if (!mount.empty) place.MakeObjects();
                     place.script = absl::StrCat("S=", place.path(), "; T=", place.state(), "; ",
                                                 mount.script);
                     return Nothing();
                   }});
  }
}

// The objects of the table, each with its conditions: a test each, so that none takes long.
const std::vector<std::string>& Objects() {
  static const auto* const objects = new std::vector<std::string>{
      "kernel",   "scope",       "names",      "name",    "lock",
      "record",   "record_port", "queue",      "inbox",   "wake_file",
      "end_port", "end_mutex",   "candidates", "segment", "filesystems"};
  return *objects;
}

std::vector<Condition> ConditionsOf(const std::string& object) {
  std::vector<Condition> all;
  if (object == "kernel") {
    AddKernelsObjects(all);
  } else if (object == "filesystems") {
    AddFilesystems(all);
  } else if (object == "scope") {
    AddDirectory("", all);
  } else if (object == "names") {
    AddDirectory("/names", all);
  } else if (object == "name") {
    AddDirectory("/names/x", all);
  } else if (object == "candidates") {
    AddFile(
        object, [](const Place& place) { return place.path() + "/candidates"; }, all);
  } else if (object == "segment") {
    AddFile(
        object, [](const Place& place) { return place.segment(); }, all);
  } else {
    const std::string file = absl::StrReplaceAll(object, {{"_", "."}});
    AddFile(
        file, [file](const Place& place) { return place.At(file); }, all);
  }
  return all;
}

// The parameters are the policy and the object.
class CheckAsRun : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  static std::string policy() {
    const std::string& policy = std::get<0>(GetParam());
    return policy == "scan" ? absl::StrCat("all(file, ", kScan, ")") : policy;
  }
  static const std::string& object() { return std::get<1>(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(
    Policy, CheckAsRun,
    ::testing::Combine(::testing::ValuesIn(testing::EachAnd({"default", "available", "scan"})),
                       ::testing::ValuesIn(Objects())),
    [](const auto& parameters) {
      return absl::StrCat(std::get<0>(parameters.param), "_", std::get<1>(parameters.param));
    });

void ExpectOneAnswer(const Place::Codes& codes) {
  EXPECT_EQ(codes.checked, codes.started) << codes.said;
  EXPECT_FALSE(codes.started == 69 && codes.health == 0) << "healthy\n" << codes.said;
}

TEST_P(CheckAsRun, H37_EachObjectUnderEachCondition) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can be several users";
  int compared = 0;
  int refused = 0;
  for (const Condition& condition : ConditionsOf(object())) {
    SCOPED_TRACE(condition.name);
    Place place;
    const Keeper keeper = condition.make(place);
    const Place::Codes codes = place.Answer(policy());
    ExpectOneAnswer(codes);
    ++compared;
    refused += codes.started == 0 ? 0 : 1;
  }
  std::cout << compared << " conditions, " << refused << " of them refuse a start\n";
  // Every policy needs the directories; the other objects are of some policies only.
  if (object() == "scope" || object() == "names" || object() == "name") {
    EXPECT_GT(refused, 5);
  }
}

// The command answers as the library does.
TEST(CheckAsRunByCommand, H37_EachObjectOfTheKernel) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can be several users";
  std::vector<Condition> all;
  AddKernelsObjects(all);
  for (const Condition& condition : all) {
    SCOPED_TRACE(condition.name);
    Place place;
    const Keeper keeper = condition.make(place);
    ExpectOneAnswer(place.CallGuardcheck("default"));
  }
}

}  // namespace
}  // namespace soleguard::testing
