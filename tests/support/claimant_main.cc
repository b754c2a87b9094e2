// See claimant.h. Arguments: SCOPE NAME POLICY SETTLE DEADLINE barrier|now|gate:FIFO WAIT REPLACE
// SLOTS REFEREE
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <iostream>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <absl/time/time.h>

#include "soleguard/guard.h"
#include "soleguard/options.h"
#include "support/forked.h"
#include "support/referee.h"
#include "support/shared.h"

namespace {

using namespace soleguard;  // NOLINT(google-build-using-namespace): one small program

Options OptionsOf(char** argv) {
  Options options;
  const auto scope = Scope::Parse(argv[1]);
  if (!scope.ok()) std::abort();
  options.scope = *scope->WithStateDirectory(scope->directory() + "/state");
  if (!absl::ParseDuration(argv[4], &options.settle)) std::abort();
  if (!absl::ParseDuration(argv[5], &options.deadline)) std::abort();
  if (!absl::ParseDuration(argv[7], &options.wait)) std::abort();
  if (*argv[8] != '\0' && !absl::ParseDuration(argv[8], &options.replace.emplace())) std::abort();
  options.slot_count = static_cast<std::uint32_t>(std::stoul(argv[9]));
  options.waiting = [] { std::cout << "in line" << std::endl; };
  return options;
}

Verdict Acquire(char** argv) {
  const Options options = OptionsOf(argv);
  if (*argv[3] == '\0') return Guard::Acquire(argv[2], options);
  const auto policy = Policy::Parse(argv[3]);
  if (!policy.ok()) return Undetermined{.status = policy.status(), .layers = {}};
  return Guard::Acquire(argv[2], *policy, options);
}

std::string Say(const Holder& holder) {
  std::int64_t pid = 0;
  if (holder.record.has_value()) pid = holder.record->identity.pid;
  if (!holder.processes.empty()) pid = holder.processes.front().pid;
  return std::to_string(pid) + " " + std::string(ToString(holder.standing));
}

std::string Say(const Verdict& verdict) {
  if (const auto* unique = std::get_if<Unique>(&verdict)) {
    return "unique " + std::to_string(unique->guard.token().value_or(0));
  }
  if (const auto* duplicate = std::get_if<Duplicate>(&verdict)) {
    return "duplicate " + Say(duplicate->holder);
  }
  return "undetermined " + std::string(std::get<Undetermined>(verdict).status.message());
}

const std::vector<LayerReport>& LayersOf(const Verdict& verdict) {
  if (const auto* unique = std::get_if<Unique>(&verdict)) return unique->guard.layers();
  if (const auto* duplicate = std::get_if<Duplicate>(&verdict)) return duplicate->layers;
  return std::get<Undetermined>(verdict).layers;
}

std::string SayLayers(const Verdict& verdict) {
  std::string said;
  for (const LayerReport& report : LayersOf(verdict)) {
    if (!said.empty()) said += ", ";
    said += report.layer + " " + std::string(ToString(report.outcome));
    if (report.holder.has_value()) said += " " + Say(*report.holder);
  }
  return said;
}

std::string SayHolders(const Verdict& verdict) {
  const auto* duplicate = std::get_if<Duplicate>(&verdict);
  if (duplicate == nullptr) return "none";
  std::string said = Say(duplicate->holder);
  for (const Holder& other : duplicate->others) said += ", " + Say(other);
  return said;
}

// A child that keeps whatever it got until it is killed, and does not outlive the test.
[[noreturn]] void Linger() {
  alarm(60);
  while (true) pause();
}

pid_t Exec() {
  const pid_t child = testing::ForkAndWait(testing::Until::kExecuted);
  if (child == 0) {
    execlp("sleep", "sleep", "60", nullptr);
    _exit(127);
  }
  return child;
}

std::string Say(const Incident& incident) {
  const bool stood = incident.exclusion_stood;
  const std::string pid = incident.holder.has_value() ? Say(*incident.holder) : "0";
  return incident.layer + " " + std::string(ToString(incident.outcome)) +
         (stood ? " stood " : " open ") + pid.substr(0, pid.find(' ')) + " " +
         std::string(incident.lost.message());
}

// What the watch has reported and nobody has asked for yet.
class Reports {
 public:
  void Add(const std::string& report) {
    const std::lock_guard lock(mutex_);
    reports_.push_back(report);
    added_.notify_one();
  }
  std::string Next() {
    std::unique_lock lock(mutex_);
    added_.wait(lock, [this] { return !reports_.empty(); });
    std::string next = reports_.front();
    reports_.pop_front();
    return next;
  }

 private:
  std::mutex mutex_;
  std::condition_variable added_;
  std::deque<std::string> reports_;
};
Reports& TheReports() {
  static auto* const reports = new Reports;
  return *reports;
}

// How many descriptors are of `path`.
int DescriptorsOf(const std::string& path) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;  // the one that lists
    if (std::filesystem::read_symlink(entry.path(), gone) == path) ++count;
  }
  return count;
}

// Lets the process open no descriptor any more, or as many as before.
std::string LimitFiles(bool exhaust) {
  static rlimit before = {};
  if (!exhaust) return setrlimit(RLIMIT_NOFILE, &before) == 0 ? "relieved" : "cannot";
  const int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
  (void)close(next);
  if (next < 0 || getrlimit(RLIMIT_NOFILE, &before) != 0) return "cannot";
  const rlimit none = {.rlim_cur = static_cast<rlim_t>(next), .rlim_max = before.rlim_max};
  return setrlimit(RLIMIT_NOFILE, &none) == 0 ? "exhausted" : "cannot";
}

bool Unshare(const std::string& what) {
  for (const auto& [name, flag] :
       {std::pair("mnt", CLONE_NEWNS), std::pair("ipc", CLONE_NEWIPC),
        std::pair("net", CLONE_NEWNET), std::pair("pid", CLONE_NEWPID),
        std::pair("user", CLONE_NEWUSER), std::pair("sysvsem", CLONE_SYSVSEM)}) {
    if (what == name) return unshare(flag) == 0;
  }
  return false;
}

bool DropCapabilities() {
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  const __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  return syscall(SYS_capset, &header, none) == 0;
}

bool Enter(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool entered = fd >= 0 && setns(fd, 0) == 0;
  (void)close(fd);
  return entered;
}

// As the commands `become` say.
std::string Become(const std::string& what) {
  const std::string verb = what.substr(0, what.find(' '));
  const std::string argument = verb == what ? "" : what.substr(verb.size() + 1);
  const auto id = [&] { return static_cast<uid_t>(std::stoul(argument)); };
  bool became = false;
  if (verb == "chroot") became = chroot(argument.c_str()) == 0 && chdir("/") == 0;
  if (verb == "chdir") became = chdir(argument.c_str()) == 0;
  if (verb == "unshare") became = Unshare(argument);
  if (verb == "enter") became = Enter(argument);
  if (verb == "setuid") became = setresuid(id(), id(), id()) == 0;
  if (verb == "seteuid") became = seteuid(id()) == 0;
  if (verb == "nogroups") became = setgroups(0, nullptr) == 0;
  if (verb == "nocaps") became = DropCapabilities();
  if (verb == "mount") {
    // Not for others: private first.
    became = mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
             mount("tmpfs", argument.c_str(), "tmpfs", 0, "mode=700") == 0;
  }
  return became ? "became" : std::string("cannot: ") + std::system_category().message(errno);
}

std::string Say(const absl::Status& status, const std::string& ok) {
  return status.ok() ? ok : status.ToString();
}

// Answers to commands that have an argument, or nothing for others.
std::string ObeyWithArgument(const std::string& command, const std::string& argument,
                             Guard* guard) {
  if (command == "watch" && guard != nullptr) {
    absl::Duration period;
    if (!absl::ParseDuration(argument, &period)) std::abort();
    const absl::Status status =
        guard->Watch([](const Incident& incident) { TheReports().Add(Say(incident)); }, period);
    return status.ok() ? "watched" : status.ToString();
  }
  if (command == "become") return Become(argument);
  if (command == "files" && guard != nullptr) {
    return Say(guard->WriteSideFiles({.pid_file = argument, .info_file = ""}), "wrote");
  }
  if (command == "occupy") {
    closefrom(3);
    constexpr int kLast = 100;
    while (open(argument.c_str(), O_RDWR | O_CLOEXEC) < kLast) {
    }
    return "occupied";
  }
  if (command == "descriptors") return std::to_string(DescriptorsOf(argument));
  return "";
}

// Answers messages as `how` says, and counts them.
class Receiver {
 public:
  std::string Receive(Guard& guard, const std::string& how) {
    const absl::Status status = guard.Receive([this, how](const Sender&, const Message& message) {
      const bool alone = !busy_.exchange(true);
      ++messages_;
      messages_.notify_all();
      const Answer answer = AnswerTo(message, how);
      busy_ = false;
      return alone ? answer : Answer{.ok = false, .text = "two at once"};
    });
    return status.ok() ? "receives" : status.ToString();
  }
  int messages() const { return messages_; }
  void Await() const { messages_.wait(0); }

 private:
  static Answer AnswerTo(const Message& message, const std::string& how) {
    if (how == " error") return {.ok = false, .text = "no: " + message.payload};
    if (how == " exception") throw std::runtime_error("thrown: " + message.payload);
    if (how == " number") throw 7;  // NOLINT(hicpp-exception-baseclass): as programs do
    if (how == " size") return {.text = std::to_string(message.payload.size())};
    if (how == " much") return {.text = std::string(kMaxPayloadBytes + 1, 'x')};
    while (how == " forever") pause();
    return {.text = "got " + message.payload};
  }
  std::atomic<bool> busy_ = false;
  std::atomic<int> messages_ = 0;
};

std::string Obey(const std::string& command, Verdict& verdict) {
  static Receiver receiver;

  auto* unique = std::get_if<Unique>(&verdict);
  Guard* guard = unique != nullptr ? &unique->guard : nullptr;
  if (command == "layers") return SayLayers(verdict);
  if (command == "verify") {
    const absl::Status status =
        guard != nullptr ? guard->Verify() : absl::NotFoundError("no guard");
    return status.ok() ? "ok" : status.ToString();
  }
  if (command == "predecessor") {
    const bool any = guard != nullptr && guard->predecessor().has_value();
    return any ? std::to_string(guard->predecessor()->identity.pid) : "none";
  }
  if (command == "slot") return guard != nullptr ? std::to_string(guard->slot()) : "none";
  if (command == "holders") return SayHolders(verdict);
  if (command == "incident") return TheReports().Next();
  if (command == "repair") {
    std::string said;
    for (const Incident& incident : guard->Repair()) {
      said += (said.empty() ? "" : "; ") + Say(incident);
    }
    return said.empty() ? "nothing" : said;
  }
  if (guard != nullptr && command.starts_with("receive")) {
    return receiver.Receive(*guard, command.substr(7));
  }
  if (command == "messages") return std::to_string(receiver.messages());
  if (command == "await message") {
    receiver.Await();
    return "got it";
  }
  if (command == "beat" && guard != nullptr) return Say(guard->Beat(absl::Seconds(10)), "beats");
  if (command == "share" && guard != nullptr) {
    const auto shared = guard->ShareWithChild();
    return Say(shared.status(), "shares " + std::to_string(shared.ok() ? shared->size() : 0));
  }
  if (command == "keep" && guard != nullptr) return Say(guard->KeepOverExec(), "kept");
  if (command == "drop") {
    verdict = Undetermined{};
    return "dropped";
  }
  if (command == "release") {
    if (guard != nullptr) guard->Release();
    return "released";
  }
  if (command == "fork") {
    const pid_t child = testing::ForkAndWait(testing::Until::kForkReturned);
    if (child == 0) Linger();
    return std::to_string(child);
  }
  if (command == "clone") {
    const auto child =
        static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0));
    if (child == 0) Linger();
    return std::to_string(child);
  }
  if (command == "exec") return std::to_string(Exec());
  if (command == "closefrom") {
    closefrom(3);
    return "closed";
  }
  if (command == "exhaust" || command == "relieve") return LimitFiles(command == "exhaust");
  if (command == "allocate") {
    constexpr std::size_t kGigabyte = std::size_t{1} << 30;
    void* memory = mmap(nullptr, kGigabyte, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return memory != MAP_FAILED ? "touched" : "no memory";
  }
  const std::size_t blank = command.find(' ');
  if (blank != std::string::npos) {
    return ObeyWithArgument(command.substr(0, blank), command.substr(blank + 1), guard);
  }
  return "unknown command " + command;
}

void TellReferee(const std::string& file, const Verdict& verdict) {
  using Referee = testing::Shared<testing::Referee>;
  // Never unmapped: the kernel finds the mutex in it when this process ends.
  static const auto* const referee = new Referee(Referee::Of(file));
  if (std::holds_alternative<Unique>(verdict)) (*referee)->Enter();
  ++(*referee)->verdicts;
}

// Returns when nobody has `fifo` open for writing any more.
void WaitAtGate(const std::string& fifo) {
  const int gate = open(fifo.c_str(), O_RDONLY | O_CLOEXEC);
  if (gate < 0) std::abort();
  std::cout << "waits" << std::endl;
  char byte = 0;
  (void)!read(gate, &byte, 1);
  (void)close(gate);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 11) return 64;
  std::string command;
  const std::string start = argv[6];
  const std::string gate = "gate:";
  // A failure to announce shows in the verdict.
  if (start != "now") (void)Announce(argv[2], OptionsOf(argv));
  if (start == "barrier") std::getline(std::cin, command);
  if (start.starts_with(gate)) WaitAtGate(start.substr(gate.size()));
  Verdict verdict = Acquire(argv);
  if (*argv[10] != '\0') TellReferee(argv[10], verdict);
  std::cout << Say(verdict) << std::endl;
  while (std::getline(std::cin, command)) {
    std::cout << Obey(command, verdict) << std::endl;
  }
  return 0;
}
