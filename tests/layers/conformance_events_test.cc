// What each event does to every layer, between two processes, against what the layer's kind says of
// it: explain and doctor rest on that. Each in a small system of its own.
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <variant>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "layers/conformance.h"
#include "soleguard/event.h"
#include "soleguard/layer.h"
#include "soleguard/name.h"
#include "soleguard/policy.h"
#include "soleguard/registry.h"
#include "soleguard/scope.h"
#include "support/attempt.h"
#include "support/child.h"
#include "support/program.h"
#include "support/test_scope.h"
#include "support/users.h"

namespace soleguard {
namespace {

namespace fs = std::filesystem;
using testing::Candidate;
using testing::Child;
using testing::EveryKind;
using ::testing::HasSubstr;
using testing::InChild;
using testing::kOutsider;
using testing::kPrimary;
using testing::kRoot;
using ::testing::Not;
using testing::Say;
using testing::User;

// --- what happens ---

// Where the user scopes of the system are.
std::string PlaceOfUsers() { return fs::path(Scope::User().directory()).parent_path().string(); }

bool MountTmpfs(const std::string& where, const char* options = "mode=1777") {
  return mount("none", where.c_str(), "tmpfs", 0, options) == 0;
}

bool OwnMounts() {
  return unshare(CLONE_NEWNS) == 0 &&
         mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

bool Write(const std::string& file, const std::string& text) {
  std::ofstream out(file);
  return static_cast<bool>(out << text << std::flush);
}

// A system of namespaces, in which nothing is left behind.
bool EnterSystem() {
  constexpr char kSmall[] = "mode=1777,size=256k,nr_inodes=100";
  return unshare(CLONE_NEWIPC | CLONE_NEWNET) == 0 && OwnMounts() && MountTmpfs("/dev/shm") &&
         MountTmpfs("/tmp", kSmall) &&
         (PlaceOfUsers() == "/tmp" || MountTmpfs(PlaceOfUsers(), kSmall));
}

// No directory.
bool RemoveFiles() {
  std::vector<fs::path> files;
  for (const std::string& place : {std::string("/tmp"), PlaceOfUsers()}) {
    for (const auto& file : fs::recursive_directory_iterator(place)) {
      if (!file.is_directory()) files.push_back(file.path());
    }
  }
  for (const fs::path& file : files) fs::remove(file);
  return true;
}

bool SquatDirectory(const Scope& scope) {
  return (mkdir(scope.directory().c_str(), 0700) == 0 || errno == EEXIST) &&
         chown(scope.directory().c_str(), kOutsider.uid, kOutsider.gid) == 0;
}

bool MakeReadOnly() {
  constexpr unsigned long kReadOnly = MS_REMOUNT | MS_BIND | MS_RDONLY;
  return OwnMounts() && mount("none", "/tmp", nullptr, kReadOnly, nullptr) == 0 &&
         mount("none", PlaceOfUsers().c_str(), nullptr, kReadOnly, nullptr) == 0;
}

// So that it shows: the directory that it is in is gone too.
bool HidePlaceOfUsers() {
  return PlaceOfUsers() != "/tmp" && OwnMounts() && MountTmpfs("/run", "mode=755");
}

// Neither a byte nor an inode is left.
bool FillDisk(const Scope& scope) {
  const fs::path place = fs::path(scope.directory()).parent_path();
  const std::string block(4096, 'x');
  std::ofstream full(place / "full");
  while (full << block << std::flush) {
  }
  int files = 0;
  while (std::ofstream(place / absl::StrCat("full", files))) ++files;
  return files > 0;
}

// `mapped`: it knows there which user it is.
bool EnterUserNamespace(bool mapped) {
  const uid_t user = geteuid();
  if (unshare(CLONE_NEWUSER) != 0) return false;
  if (!mapped) return true;
  const std::string map = absl::StrCat(user, " ", user, " 1");
  return Write("/proc/self/setgroups", "deny") && Write("/proc/self/uid_map", map) &&
         Write("/proc/self/gid_map", map);
}

struct Semaphore {
  int id = -1;
  key_t key = 0;
};

// All of the system.
std::vector<Semaphore> Semaphores() {
  std::vector<Semaphore> semaphores;
  seminfo info = {};
  const int last = semctl(0, 0, SEM_INFO, &info);
  for (int index = 0; index <= last; ++index) {
    semid_ds status = {};
    const int id = semctl(index, 0, SEM_STAT, &status);
    if (id >= 0) semaphores.push_back({.id = id, .key = status.sem_perm.__key});
  }
  return semaphores;
}

bool RemoveSemaphores() {
  const std::vector<Semaphore> all = Semaphores();
  return std::all_of(all.begin(), all.end(), [](const Semaphore& semaphore) {
    return semctl(semaphore.id, 0, IPC_RMID) == 0;
  });
}

bool RemoveSharedMemory() {
  for (const auto& segment : fs::directory_iterator("/dev/shm")) fs::remove(segment);
  return true;
}

// What is there becomes another user's, who has made it.
bool SquatSemaphores() {
  const std::vector<Semaphore> all = Semaphores();
  if (!RemoveSemaphores()) return false;
  for (const auto& segment : fs::directory_iterator("/dev/shm")) {
    if (chown(segment.path().c_str(), kOutsider.uid, kOutsider.gid) != 0) return false;
  }
  return InChild([&] {
           if (!testing::Become(kOutsider)) return "cannot become another";
           const bool made = std::all_of(all.begin(), all.end(), [](const Semaphore& semaphore) {
             return semget(semaphore.key, 1, IPC_CREAT | 0600) >= 0;
           });
           return made ? "made" : "semget failed";
         }) == "made";
}

bool ExhaustSemaphores() {
  const auto limit = absl::StrCat("32000 1024000000 500 ", Semaphores().size() + 1);
  return Write("/proc/sys/kernel/sem", limit) && semget(IPC_PRIVATE, 1, 0600) >= 0;
}

// The kernel gives back the semaphores of who leaves the undo list as its last one.
bool LeaveUndoList() {
#ifdef __SANITIZE_THREAD__
  return false;  // the sanitizer's own thread shares it
#else
  return unshare(CLONE_SYSVSEM) == 0;
#endif
}

// The addresses that somebody listens at, in a file for SquatPorts.
constexpr char kListeners[] = "/tmp/listeners";
bool NoteListeners() {
  std::ofstream noted(kListeners);
  return static_cast<bool>(noted << std::ifstream("/proc/self/net/tcp").rdbuf() << std::flush);
}

// This process listens there, which is no instance.
bool SquatPorts() {
  std::ifstream listeners(kListeners);
  std::string line;
  std::getline(listeners, line);  // the heading
  while (std::getline(listeners, line)) {
    sockaddr_in name = {};
    name.sin_family = AF_INET;
    unsigned port = 0;
    if (std::sscanf(line.c_str(), "%*d: %x:%x", &name.sin_addr.s_addr, &port) != 2) return false;
    name.sin_port = htons(static_cast<std::uint16_t>(port));
    const int squats = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);  // as long as it lives
    if (bind(squats, reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) return false;
    if (listen(squats, 1) != 0) return false;
  }
  return true;
}

bool FlushLoopback() {
  return testing::RunProgram({.argv = {"sh", "-c", "ip link set lo up; ip address flush dev lo"}})
             .code == 0;
}

// Those that this process has open.
std::set<int> Descriptors() {
  std::set<int> descriptors;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    descriptors.insert(std::stoi(entry.path().filename()));
  }
  // Without the one that listed them, which is closed by now.
  std::erase_if(descriptors, [](int fd) { return fcntl(fd, F_GETFD) < 0; });
  return descriptors;
}

void CloseAllBut(const std::set<int>& kept) {
  for (const int fd : Descriptors()) {
    if (!kept.contains(fd)) (void)close(fd);
  }
}

bool ExhaustDescriptors() {
#ifdef __SANITIZE_ADDRESS__
  return false;  // the sanitizer needs descriptors of its own
#else
  const int next = dup(STDOUT_FILENO);
  (void)close(next);
  const rlimit none = {.rlim_cur = static_cast<rlim_t>(next),
                       .rlim_max = static_cast<rlim_t>(next)};
  return next >= 0 && setrlimit(RLIMIT_NOFILE, &none) == 0;
#endif
}

// One directory by two paths.
bool MakeTwoPaths() {
  return fs::create_directory("/tmp/one") && fs::create_directory("/tmp/two") &&
         mount("/tmp/one", "/tmp/two", nullptr, MS_BIND, nullptr) == 0;
}

// --- to whom ---

using What = std::function<bool(const Scope&)>;

struct Produced {
  Event event;
  // The holder's directory and, if it is another, the newcomer's; empty: the user's scope.
  std::string directory = {};
  std::string newcomers_directory = {};
  User user = kRoot;
  // To whom it happens: the holder, once it has the layer; all; the newcomer, before it starts.
  What to_holder = {};
  What to_all = {};
  What to_newcomer = {};
  bool holder_closes_descriptors = false;
  // It happens to what a holder has left that was killed.
  bool of_former_holder = false;
  bool in_pid_namespace = false;
  // Whether it can be told here what an observer sees then.
  bool for_observers = true;
};

std::vector<Produced> AllProduced() {
  const What own_tmp = [](const Scope&) { return OwnMounts() && MountTmpfs("/tmp"); };
  const auto unshared = [](int flags) {
    return [flags](const Scope&) { return unshare(flags) == 0; };
  };
  return {
      {.event = Event::kLockFileDeleted, .to_all = [](const Scope&) { return RemoveFiles(); }},
      {.event = Event::kScopeDirectoryRemoved,
       .to_all =
           [](const Scope& scope) {
             fs::remove_all(scope.directory());
             return !fs::exists(scope.directory());
           }},
      {.event = Event::kScopeDirectorySquatted, .to_all = &SquatDirectory},
      {.event = Event::kReadOnlyFilesystem,
       .to_newcomer = [](const Scope&) { return MakeReadOnly(); }},
      {.event = Event::kDiskFull, .to_all = &FillDisk},
      {.event = Event::kPrivateTmp, .directory = "/tmp/scope", .to_newcomer = own_tmp},
      {.event = Event::kHiddenPlace,
       .to_newcomer = [](const Scope&) { return HidePlaceOfUsers(); }},
      {.event = Event::kMountNamespace,
       .directory = "/tmp/scope",
       .to_newcomer = own_tmp,
       .for_observers = false},  // the files of its program are the same ones
      {.event = Event::kTwoPaths,
       .directory = "/tmp/one/scope",
       .newcomers_directory = "/tmp/two/scope"},
      {.event = Event::kUserNamespace,
       .to_newcomer = [](const Scope&) { return EnterUserNamespace(/*mapped=*/true); }},
      {.event = Event::kHiddenUser,
       .to_newcomer = [](const Scope&) { return EnterUserNamespace(/*mapped=*/false); }},
      {.event = Event::kIpcNamespace, .to_newcomer = unshared(CLONE_NEWIPC)},
      {.event = Event::kNetworkNamespace, .to_newcomer = unshared(CLONE_NEWNET)},
      {.event = Event::kIpcAndNetworkNamespaces,
       .directory = "/tmp/scope",
       .to_newcomer = unshared(CLONE_NEWIPC | CLONE_NEWNET)},
      {.event = Event::kPidNamespace, .in_pid_namespace = true},
      {.event = Event::kContainer,
       .to_newcomer = [](const Scope&) { return EnterSystem(); },
       .in_pid_namespace = true},
      {.event = Event::kIpcRemoved, .to_all = [](const Scope&) { return RemoveSemaphores(); }},
      {.event = Event::kRemoveIpc,
       .to_all = [](const Scope&) { return RemoveSemaphores() && RemoveSharedMemory(); }},
      {.event = Event::kSemaphoreUndoUnshared,
       .to_holder = [](const Scope&) { return LeaveUndoList(); }},
      {.event = Event::kSemaphoreSquatted,
       .to_all = [](const Scope&) { return SquatSemaphores(); },
       .of_former_holder = true},
      {.event = Event::kSemaphoresExhausted,
       .to_all = [](const Scope&) { return ExhaustSemaphores(); }},
      {.event = Event::kPortSquatted,
       .to_holder = [](const Scope&) { return NoteListeners(); },
       .to_all = [](const Scope&) { return SquatPorts(); },
       .of_former_holder = true},
      {.event = Event::kNoLoopback, .to_newcomer = [](const Scope&) { return FlushLoopback(); }},
      {.event = Event::kNoLoopback,
       .user = kPrimary,
       .to_newcomer =
           [](const Scope&) {
             return Write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "32768");
           }},
      {.event = Event::kHidepid,
       .user = kPrimary,
       .to_newcomer =
           [](const Scope&) {
             return OwnMounts() && mount("proc", "/proc", "proc", 0, "hidepid=2") == 0;
           }},
      {.event = Event::kDescriptorsClosed, .holder_closes_descriptors = true},
      {.event = Event::kDescriptorsExhausted,
       .to_newcomer = [](const Scope&) { return ExhaustDescriptors(); }},
  };
}

// What takes another machine, a server or another program.
constexpr std::array kNotProduced = {Event::kNetworkFilesystem, Event::kAnotherHost,
                                     Event::kServerUnreachable, Event::kLeaseLapsed,
                                     Event::kProgramReplaced};

// --- what a newcomer finds then ---

constexpr char kNotPossible[] = "skip: not possible here";
// Of that, and of what child.h says.
bool IsNotPossible(const std::string& found) { return absl::StartsWith(found, "skip:"); }

std::string IdOf(Event event) {
  const auto info = std::find_if(Events().begin(), Events().end(),
                                 [event](const EventInfo& each) { return each.event == event; });
  return std::string(info->id);
}

// The parameter is the layer, as policy text.
class EventConformance : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root, to make a system of namespaces";
  }

  static LayerSpec spec() { return Policy::Parse(GetParam())->layers().front(); }
  static bool observes() { return spec().kind->observer; }
  static std::unique_ptr<Layer> Make(const Scope& scope) {
    return spec().kind->make({.scope = scope,
                              .name = *InstanceName::Parse("x"),
                              .parameters = spec().parameters,
                              .settle = absl::ZeroDuration(),
                              .kinds = LayerKinds()});
  }
  static Effect Said(Event event) { return spec().kind->effect(event, spec().parameters); }
  static Scope ScopeOf(const std::string& directory) {
    return directory.empty() ? Scope::User() : *Scope::Directory(directory);
  }
  static bool Happens(const What& what, const Scope& scope) { return !what || what(scope); }
  static bool BecomeOne(const User& user) {
    return user.uid == kRoot.uid || (testing::Become(user) && prctl(PR_SET_DUMPABLE, 1) == 0);
  }

  // One that has the layer or, beside an observer, a program that never asked. Its record is a
  // candidate's, so that nothing but the layer refuses.
  static std::string Hold(const Produced& produced) {
    if (!BecomeOne(produced.user)) return kNotPossible;
    if (observes()) return "holds";
    const Scope scope = ScopeOf(produced.directory);
    const std::set<int> before = Descriptors();
    static Attempt attempt = testing::OutcomeOf(*Make(scope), Candidate(scope));
    if (!std::holds_alternative<Held>(attempt)) return Say(attempt);
    if (produced.holder_closes_descriptors) CloseAllBut(before);
    return Happens(produced.to_holder, scope) ? "holds" : kNotPossible;
  }

  static std::string Start(const Produced& produced) {
    // What the event leaves no room for.
    const HolderRecord record = Candidate(ScopeOf(produced.directory));
    if (!Happens(produced.to_newcomer, ScopeOf(produced.directory)) || !BecomeOne(produced.user)) {
      return kNotPossible;
    }
    const Scope scope = ScopeOf(
        produced.newcomers_directory.empty() ? produced.directory : produced.newcomers_directory);
    const std::unique_ptr<Layer> layer = Make(scope);
    const std::string foretold = Say(layer->Forecast());
    std::string found = Say(testing::OutcomeOf(*layer, record));
    if (found == "unsettled") found = Say(layer->TryFinally(record));
    return Agree(foretold, found) ? found : absl::StrCat(foretold, " was foretold, found ", found);
  }
  static bool Agree(const std::string& foretold, const std::string& found) {
    const auto both = [&](const char* sighting, const char* attempt) {
      return absl::StartsWith(foretold, sighting) && absl::StartsWith(found, attempt);
    };
    return both("free", "held") || both("taken", "contested") || both("unavailable", "unavailable");
  }

  // A newcomer after the event, in a system of its own: beside a holder, or alone.
  static std::string StartIn(const Produced& produced, bool beside) {
    return InChild([&]() -> std::string {
      if (!EnterSystem()) return kNotPossible;
      if (!MakeTwoPaths()) return kNotPossible;
      const auto server = testing::ServerOfSystem() ? testing::ServerOfSystem()() : nullptr;
      std::optional<Child> holder;
      if (beside || produced.of_former_holder) {
        holder.emplace([&] { return Hold(produced); });
        if (holder->answer() != "holds") return holder->answer();
      }
      if (!beside && holder.has_value()) holder->Kill();
      const Scope scope = ScopeOf(produced.directory);
      // Alone there is nothing yet that could be taken away.
      if (!beside && produced.to_all) (void)mkdir(scope.directory().c_str(), 0700);
      if (!Happens(produced.to_all, scope)) return kNotPossible;
      const auto start = [&] { return Start(produced); };
      return produced.in_pid_namespace ? testing::InNewPidNamespace(start) : InChild(start);
    });
  }
};

INSTANTIATE_TEST_SUITE_P(Layers, EventConformance, ::testing::ValuesIn(EveryKind()),
                         [](const auto& layer) { return layer.param; });
// What is elsewhere than the scope.
INSTANTIATE_TEST_SUITE_P(Forms, EventConformance, ::testing::Values("file(path=/tmp/plain.lock)"),
                         [](const auto& layer) { return testing::TestNameOf(layer.param); });

// What the kind should say, by what a newcomer found.
Effect EffectSeen(const std::string& alone, const std::string& beside) {
  const auto is_unavailable = [](const std::string& found) {
    return absl::StartsWith(found, "unavailable");
  };
  if (beside != "held" && (is_unavailable(alone) || is_unavailable(beside))) {
    return Effect::kUnavailable;
  }
  return beside == "held" ? Effect::kBlinds : Effect::kNone;
}

TEST_P(EventConformance, H06_H35_H36_SaysWhatEachEventDoesToIt) {
  ASSERT_NE(spec().kind->effect, nullptr);
  for (const Produced& produced : AllProduced()) {
    if (observes() && !produced.for_observers) continue;
    const std::string alone = StartIn(produced, /*beside=*/false);
    const std::string beside =
        produced.of_former_holder ? "nobody" : StartIn(produced, /*beside=*/true);
    if (IsNotPossible(alone) || IsNotPossible(beside)) {
      std::cout << IdOf(produced.event) << " cannot be produced here\n";
      continue;
    }
    for (const std::string& found : {alone, beside}) {
      EXPECT_THAT(found, Not(HasSubstr("foretold"))) << IdOf(produced.event);
    }
    EXPECT_EQ(ToString(Said(produced.event)), ToString(EffectSeen(alone, beside)))
        << IdOf(produced.event) << ": alone it is " << alone << ", beside a holder it is "
        << beside;
  }
  EXPECT_EQ(Said(Event::kAnotherHost), spec().kind->remote ? Effect::kNone : Effect::kBlinds);
}

TEST(EventConformanceTest, EveryEventIsProducedUnlessItTakesMore) {
  std::set<Event> events(kNotProduced.begin(), kNotProduced.end());
  for (const Produced& produced : AllProduced()) {
    EXPECT_FALSE(std::count(kNotProduced.begin(), kNotProduced.end(), produced.event));
    events.insert(produced.event);
  }
  for (const EventInfo& event : Events()) {
    EXPECT_TRUE(events.contains(event.event)) << event.id;
  }
}

}  // namespace
}  // namespace soleguard
